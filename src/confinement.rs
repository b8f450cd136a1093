//! What `secretfs node` gives up beside its mounter: system calls that it never makes, signals to other processes, and
//! abstract sockets of other processes. Its answers come from strangers; one who takes it over has less of the kernel.
//!
//! A list of what is refused, and not of what is allowed: TLS, DNS, SQLite and the runtime may call others tomorrow. The
//! profile of the container (RuntimeDefault) is a list of what is allowed.

use std::collections::BTreeMap;
use std::io;

use libc::{c_int, c_long};
use program::privileges;
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompRule as Rule,
};

/// Numbers of libc, by their names.
macro_rules! numbers {
    ($($call:ident)*) => { &[$(libc::$call),*] };
}

/// Mounts, roots and namespaces.
const MOUNTS: &[c_long] = numbers! {
    SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_open_tree
    SYS_move_mount SYS_mount_setattr SYS_unshare SYS_setns SYS_swapon SYS_swapoff SYS_quotactl
};
/// Other processes, and who this one is.
const PROCESSES: &[c_long] = numbers! {
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_kcmp SYS_pidfd_getfd SYS_pidfd_send_signal
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setfsuid SYS_setfsgid SYS_setgroups
    SYS_capset SYS_personality
};
/// The kernel itself, and parts of it that were often at fault.
const KERNEL: &[c_long] = numbers! {
    SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_reboot SYS_acct SYS_syslog SYS_bpf
    SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_add_key SYS_keyctl
    SYS_request_key SYS_fanotify_init SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex SYS_sethostname
    SYS_setdomainname SYS_vhangup SYS_mknodat SYS_name_to_handle_at SYS_open_by_handle_at SYS_lookup_dcookie
};
/// Those that only this processor has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] =
    numbers! { SYS_mknod SYS_iopl SYS_ioperm SYS_modify_ldt SYS_uselib SYS_kexec_file_load };
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];
/// Programs.
const PROGRAMS: &[c_long] = numbers! { SYS_execve SYS_execveat };

/// The sockets that are made: to processes of this host and to stores, and what tells the resolver of networks.
const SOCKETS: &[c_int] = numbers! { AF_UNIX AF_INET AF_INET6 AF_NETLINK };
/// Bits of clone(2) that make namespaces.
const APART: &[c_int] = numbers! {
    CLONE_NEWNS CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET
};

/// Gives up signals to other processes and their abstract sockets, where the kernel knows how (Linux 6.12), and new
/// privileges by programs: to be called while there is one thread. Files and the network stay: landlock would refuse
/// every access inside of mounts that are handed over later, and a class may name any port.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn leave_others_alone() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    match sys::scope_to_itself() {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => Ok(()),
        left => left,
    }
}

/// Refuses those calls to all threads of this process and those to come, as if they were not permitted. `starts_programs`:
/// whether it may start other programs.
///
/// # Errors
///
/// A kernel without seccomp, or a processor that nobody wrote the filter for.
pub fn filter_calls(starts_programs: bool) -> io::Result<()> {
    for program in programs(starts_programs)? {
        seccompiler::apply_filter_all_threads(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn programs(starts_programs: bool) -> io::Result<[BpfProgram; 2]> {
    let not_permitted = refused(starts_programs).map_err(io::Error::other)?;
    // It has its flags in memory, where no filter looks. Where it is not known, clone is called.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([filter(not_permitted, Errno::PERM)?, filter(unknown, Errno::NOSYS)?])
}

fn filter(refused: BTreeMap<i64, Vec<Rule>>, answer: Errno) -> io::Result<BpfProgram> {
    privileges::call_filter(refused, privileges::refusal(answer), SeccompAction::Allow)
}

fn refused(starts_programs: bool) -> Result<BTreeMap<i64, Vec<Rule>>, seccompiler::BackendError> {
    let always = [MOUNTS, PROCESSES, KERNEL, OLDER].into_iter().flatten();
    let programs = PROGRAMS.iter().filter(|_| !starts_programs);
    let mut rules: BTreeMap<i64, Vec<Rule>> =
        always.chain(programs).map(|call| (*call, Vec::new())).collect();
    let other = SOCKETS.iter().map(|family| condition(0, Op::Ne, *family)).collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_socket, vec![Rule::new(other)?]);
    let apart = APART.iter().map(|bit| {
        let set = Op::MaskedEq(bit.cast_unsigned().into());
        Rule::new(vec![condition(0, set, *bit)?])
    });
    rules.insert(libc::SYS_clone, apart.collect::<Result<_, _>>()?);
    Ok(rules)
}

fn condition(argument: u8, operator: Op, value: c_int) -> Result<Condition, seccompiler::BackendError> {
    Condition::new(argument, Len::Dword, operator, value.cast_unsigned().into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// On a thread of its own, for a filter stays with its thread.
    fn filtered<T: Send>(attempt: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                for program in programs(false).unwrap() {
                    seccompiler::apply_filter(&program).unwrap();
                }
                attempt()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn what_no_node_calls_is_not_permitted_and_what_it_calls_is() {
        use rustix::mount::{FsOpenFlags, MountFlags, UnmountFlags};
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let to = |family| socket_with(family, SocketType::DGRAM, SocketFlags::empty(), None);

        let outcomes = filtered(|| {
            let unit = |result: rustix::io::Result<()>| result.err().map(io::Error::from);
            vec![
                ("a program", Command::new("/bin/true").status().err()),
                ("a mount", unit(rustix::mount::mount("n", &path, "tmpfs", MountFlags::empty(), None))),
                ("a file system", unit(rustix::mount::fsopen("tmpfs", FsOpenFlags::empty()).map(drop))),
                ("an unmount", unit(rustix::mount::unmount(&path, UnmountFlags::empty()))),
                ("another root", unit(rustix::process::chroot("/"))),
                ("packets", unit(to(AddressFamily::PACKET).map(drop))),
                ("the kernel's cryptography", unit(to(AddressFamily::from_raw(38)).map(drop))),
                ("a device", {
                    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
                    unit(rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, rustix::fs::makedev(1, 3)))
                }),
            ]
        });
        let done = filtered(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop(UnixStream::pair().unwrap());
            fs::write(&path, "text").unwrap();
            std::thread::spawn(|| vec![0_u8; 1 << 20].len()).join().unwrap()
        });

        for (what, error) in outcomes {
            let errno = error.as_ref().and_then(io::Error::raw_os_error);
            println!("{what}: {error:?}");
            assert_eq!(errno, Some(Errno::PERM.raw_os_error()), "{what}");
        }
        assert_eq!(done, 1 << 20);
    }
}
