//! The program `fusermount3`. It runs as root whoever starts it, and does for him what he may have: mounts of FUSE on
//! directories that he may write, and the unmounting of those.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mounter_protocol::{receive, set_patience};
use program::visible::visible;
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use secretfs_mounter::SOURCE;

use crate::host::MAY_NOT_MOUNT;

const PROGRAM: &str = "fusermount3";
/// How long it may take. It waits for nobody but the kernel.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often this process looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(2);
/// How much of what it says is told on, in bytes.
const MOST_SAID: u64 = 1024;
/// Names the open file at which it hands over the kernel's end: its standard input.
const COMMUNICATION: (&str, &str) = ("_FUSE_COMMFD", "0");
const DEVICE: &str = "/dev/fuse";

/// What it says to a user without a name, as in a container that runs with a number of its own.
const NAMELESS: &str = "could not determine username";

/// What it says where the kernel does not let it mount.
const FORBIDDEN: &str = "mount failed: Operation not permitted";

/// How a mount is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// If nobody uses it.
    WhenFree,
    /// Out of the tree, while somebody has files in it open.
    FromReaders,
}

/// Mounts a FUSE file system of ours at `target`, for this user alone, and returns the kernel's end.
pub(super) fn mount(target: &Path) -> io::Result<OwnedFd> {
    let options = format!("rw,nosuid,nodev,noexec,default_permissions,fsname={SOURCE},subtype={SOURCE}");
    let (ours, theirs) = UnixStream::pair()?;
    let (ours, theirs) = (OwnedFd::from(ours), OwnedFd::from(theirs));
    set_patience(&ours, PATIENCE)?;
    let mut words = Command::new(PROGRAM);
    words.args(["-o", &options, "--"]).arg(target).env(COMMUNICATION.0, COMMUNICATION.1);
    run(words, Stdio::from(theirs)).map_err(|error| with_remedy(&error))?;
    let handed = receive(&ours).and_then(|received| {
        let device = received.and_then(|received| received.file);
        device.ok_or_else(|| io::Error::other(format!("{PROGRAM} mounted and handed nothing over")))
    });
    if handed.is_err() {
        // Nobody can serve what was just mounted. The error says what failed first.
        let _ = unmount(target, Way::FromReaders);
    }
    handed
}

/// Unmounts what is mounted at `target`, if it is FUSE and this user's.
pub(super) fn unmount(target: &Path, way: Way) -> io::Result<()> {
    let mut words = Command::new(PROGRAM);
    words.arg("-u");
    if way == Way::FromReaders {
        words.arg("-z");
    }
    words.arg("--").arg(target);
    run(words, Stdio::null())
}

/// Runs it to its end. What it says when it fails becomes the error. `words` is spent, so that nobody but the program has
/// `input`.
fn run(mut words: Command, input: Stdio) -> io::Result<()> {
    let child = words.stdin(input).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    drop(words);
    let mut child = child.map_err(|error| not_started(&error))?;
    let status = ended(&mut child)?;
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(MOST_SAID).read_to_string(&mut said);
    }
    if status.success() { Ok(()) } else { Err(failed(status, &said)) }
}

fn not_started(error: &io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return io::Error::new(error.kind(), format!("{PROGRAM} does not start: {error}"));
    }
    io::Error::new(
        io::ErrorKind::NotFound,
        format!(
            "{PROGRAM} is not installed, and without root nothing mounts but by it; install the package fuse3 \
             (`apt install fuse3`), or run this as root"
        ),
    )
}

/// Waits for its end, and kills it if that takes too long.
fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            let reason = format!("{PROGRAM} did not end within {} s", PATIENCE.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        thread::sleep(PAUSE);
    }
}

fn failed(status: ExitStatus, said: &str) -> io::Error {
    let said = said.trim().trim_start_matches(PROGRAM).trim_start_matches(':').trim();
    let said = if said.is_empty() { status.to_string() } else { visible(said).into_owned() };
    io::Error::other(format!("{PROGRAM}: {said}"))
}

/// The failure of a mount, and what to do about it where that can be seen.
fn with_remedy(error: &io::Error) -> io::Error {
    let remedy = remedy(&error.to_string()).map(|remedy| format!("; {remedy}")).unwrap_or_default();
    io::Error::new(error.kind(), format!("{error}{remedy}"))
}

fn remedy(said: &str) -> Option<&'static str> {
    if said.contains(NAMELESS) {
        return Some("it serves only users that /etc/passwd has a line for");
    }
    match rustix::fs::accessat(CWD, DEVICE, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS) {
        Err(Errno::NOENT) => {
            return Some(
                "there is no /dev/fuse: load the kernel's module (`modprobe fuse`), or give the container the device \
                 (`--device /dev/fuse`)",
            );
        }
        Err(Errno::ACCESS | Errno::PERM) => {
            return Some(
                "this user may not open /dev/fuse, which all users may on most systems: root changes that by \
                 `chmod 666 /dev/fuse`",
            );
        }
        _ => {}
    }
    if rustix::thread::no_new_privs().unwrap_or_default() {
        return Some(
            "this process may gain no privileges, so fusermount3 has none (no_new_privs: `NoNewPrivileges=` of a \
             service, `allowPrivilegeEscalation: false` of a container)",
        );
    }
    said.contains(FORBIDDEN).then_some(MAY_NOT_MOUNT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn what_the_program_says_is_told_once_and_on_one_line() {
        let said = |text: &str| failed(ExitStatus::from_raw(256), text).to_string();

        assert_eq!(said("fusermount3: mount failed: No\n"), "fusermount3: mount failed: No");
        assert_eq!(said("a\nb\u{1b}[2J"), "fusermount3: a\\nb\\u{1b}[2J");
        assert_eq!(said(""), "fusermount3: exit status: 1");
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_its_package() {
        let error = not_started(&io::ErrorKind::NotFound.into()).to_string();

        assert!(error.contains("apt install fuse3"), "{error}");
    }
}
