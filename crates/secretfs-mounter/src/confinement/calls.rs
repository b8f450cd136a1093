//! The system calls that a mounter may make. Any other call fails as on a kernel that does not know it.

use std::collections::BTreeMap;

use libc::c_long;
use program::failpoint;
use rustix::fs::OFlags;
use seccompiler::{
    BackendError, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompRule as Rule,
};

/// Numbers of libc, by their names.
macro_rules! numbers {
    ($($call:ident)*) => { &[$(libc::$call),*] };
}

/// Making, moving and removing mounts.
const MOUNTS: &[c_long] = numbers! {
    SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_open_tree SYS_move_mount SYS_mount_setattr
    SYS_umount2
};
/// It tells of one mount what the table tells of all.
const STATMOUNT: &[c_long] = &[sys::SYS_STATMOUNT];

/// Looking at files, changing names in FUSE volumes, making and removing directories and sockets. What opens is further below.
const FILES: &[c_long] = numbers! {
    SYS_read SYS_write SYS_writev SYS_close SYS_lseek SYS_fstat SYS_newfstatat SYS_statx SYS_fstatfs
    SYS_statfs SYS_getdents64 SYS_readlinkat SYS_faccessat SYS_mkdirat SYS_unlinkat SYS_symlinkat SYS_renameat2 SYS_fchmod SYS_fchmodat
    SYS_fcntl
};

/// Sockets that are there; what makes one is further below.
const SOCKETS: &[c_long] = numbers! {
    SYS_bind SYS_listen SYS_accept4 SYS_connect SYS_recvmsg SYS_sendmsg SYS_recvfrom SYS_sendto
    SYS_getsockopt SYS_setsockopt SYS_getsockname SYS_getpeername SYS_shutdown
};

/// Memory, threads, time and signals.
const PROCESS: &[c_long] = numbers! {
    SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_brk SYS_futex SYS_set_robust_list SYS_rseq
    SYS_sigaltstack SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_restart_syscall SYS_sched_yield
    SYS_sched_getaffinity SYS_clock_gettime SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_getrandom
    SYS_getpid SYS_gettid SYS_getuid SYS_geteuid SYS_exit SYS_exit_group SYS_ppoll
};

/// Older names that processors have beside these.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = numbers! { SYS_poll SYS_readlink SYS_stat SYS_lstat SYS_mkdir SYS_renameat };
#[cfg(target_arch = "aarch64")]
const OLDER: &[c_long] = numbers! { SYS_renameat };
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLDER: &[c_long] = &[];

/// Bits of clone(2) that take a thread out of its process's namespaces.
const APART: &[i32] = numbers! {
    CLONE_NEWNS CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET
};
/// `PR_SET_VMA`, by which glibc names what it maps.
const PR_SET_VMA: u64 = 0x5356_4d41;

/// The calls that are allowed, with what their arguments have to be, to a mounter of the process id `own`.
pub(super) fn of_a_mounter(own: u32) -> Result<BTreeMap<i64, Vec<Rule>>, BackendError> {
    let mut rules = BTreeMap::new();
    for call in [MOUNTS, STATMOUNT, FILES, SOCKETS, PROCESS, OLDER].into_iter().flatten() {
        rules.insert(*call, Vec::new());
    }
    let written = OFlags::WRONLY | OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
    let read_only = masked(u64::from(written.bits()), 0);
    rules.insert(libc::SYS_openat, vec![when(2, read_only.clone())?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![when(1, read_only)?]);
    // Its flags lie in memory, where no filter looks.
    rules.insert(libc::SYS_openat2, Vec::new());
    rules.insert(libc::SYS_socket, vec![when(0, equal(libc::AF_UNIX))?]);
    rules.insert(libc::SYS_socketpair, vec![when(0, equal(libc::AF_UNIX))?]);
    let apart = APART.iter().fold(libc::CLONE_THREAD, |bits, bit| bits | bit);
    // A thread of this process, and not another process.
    let thread = masked(apart.cast_unsigned().into(), libc::CLONE_THREAD);
    // clone3 has its flags in memory: where it is not known, clone is taken.
    rules.insert(libc::SYS_clone, vec![when(0, thread)?]);
    let named = [libc::PR_SET_NAME.cast_unsigned().into(), PR_SET_VMA];
    rules.insert(
        libc::SYS_prctl,
        named.map(|option| when(0, (Op::Eq, option))).into_iter().collect::<Result<_, _>>()?,
    );
    // Whether it is a terminal that is written to.
    rules.insert(libc::SYS_ioctl, vec![when(1, (Op::Eq, libc::TCGETS))?]);
    // Signals to itself: its own abort, and a test's failpoint.
    for to_itself in [libc::SYS_tgkill, libc::SYS_kill].iter().take(1 + usize::from(failpoint::ARMED)) {
        rules.insert(*to_itself, vec![when(0, (Op::Eq, own.into()))?]);
    }
    Ok(rules)
}

fn equal(value: i32) -> (Op, u64) {
    (Op::Eq, value.cast_unsigned().into())
}

fn masked(mask: u64, value: i32) -> (Op, u64) {
    (Op::MaskedEq(mask), value.cast_unsigned().into())
}

fn when(argument: u8, (operator, value): (Op, u64)) -> Result<Rule, BackendError> {
    Rule::new(vec![Condition::new(argument, Len::Dword, operator, value)?])
}
