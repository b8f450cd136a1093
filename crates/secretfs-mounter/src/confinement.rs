//! What the mounter gives up once it runs: capabilities that no mount needs, and system calls that it never makes.
//!
//! Its caller counts as hostile. An attacker who finds a fault in the mounter has no network, no programs, no other
//! namespace and no other process to use.

mod calls;

use std::io;

use program::privileges;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use seccompiler::{BpfProgram, SeccompAction};

/// What mounts need: the mounting itself, kubelet's directories whatever their modes, and what lies below a target in
/// directories where only owners may remove.
pub(crate) const NEEDED: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::DAC_OVERRIDE).union(CapabilitySet::FOWNER);

/// Leaves all threads of this process, and those to come, the system calls of a mounter. Others fail as if the kernel
/// did not know them.
///
/// # Errors
///
/// A kernel without seccomp, or a processor that nobody wrote the filter for.
pub(crate) fn filter_calls() -> io::Result<()> {
    seccompiler::apply_filter_all_threads(&program()?).map_err(io::Error::other)
}

fn program() -> io::Result<BpfProgram> {
    // glibc tries older calls when it hears that the kernel does not know a new one, and does not for a refusal.
    let unknown = privileges::refusal(Errno::NOSYS);
    let rules = calls::of_a_mounter(std::process::id()).map_err(io::Error::other)?;
    privileges::call_filter(rules, SeccompAction::Allow, unknown)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// On a thread of its own, for a filter stays with its thread.
    fn filtered<T: Send>(attempt: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                seccompiler::apply_filter(&program().unwrap()).unwrap();
                attempt()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn what_no_mounter_calls_fails_and_what_it_calls_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "text").unwrap();

        let outcomes = filtered(|| {
            vec![
                ("a network socket", TcpListener::bind("127.0.0.1:0").err()),
                ("a program", Command::new("/bin/true").status().err()),
                ("a file opened for writing", fs::write(&path, "more").err()),
                ("a link", std::os::unix::fs::symlink("a", directory.path().join("link")).err()),
                ("a rename", fs::rename(&path, directory.path().join("other")).err()),
                ("another root", rustix::process::chroot("/").err().map(Into::into)),
                ("a device", {
                    let node = rustix::fs::mknodat(
                        rustix::fs::CWD,
                        directory.path().join("null"),
                        rustix::fs::FileType::CharacterDevice,
                        rustix::fs::Mode::RUSR,
                        rustix::fs::makedev(1, 3),
                    );
                    node.err().map(Into::into)
                }),
                ("the old mount call", {
                    let flags = rustix::mount::MountFlags::empty();
                    rustix::mount::mount("none", directory.path(), "tmpfs", flags, None).err().map(Into::into)
                }),
                ("a signal to another", {
                    rustix::process::test_kill_process(rustix::process::Pid::INIT).err().map(Into::into)
                }),
            ]
        });
        let done = filtered(|| {
            drop(UnixStream::pair().unwrap());
            let thread = std::thread::spawn(|| vec![0_u8; 1 << 20].len());
            (thread.join().unwrap(), fs::read_to_string(&path).unwrap())
        });

        for (what, error) in outcomes {
            let errno = error.as_ref().and_then(io::Error::raw_os_error);
            println!("{what}: {error:?}");
            assert_eq!(errno, Some(Errno::NOSYS.raw_os_error()), "{what}");
        }
        assert_eq!(done, (1 << 20, "text".to_owned()));
    }
}
