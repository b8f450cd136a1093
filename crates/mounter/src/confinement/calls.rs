//! The system calls that a mounter may make. Any other call fails as on a kernel that does not know it.

use std::collections::BTreeMap;

use libc::c_long;
use program::failpoint;
use rustix::fs::OFlags;
use seccompiler::{
    BackendError, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompRule as Rule,
};

/// Making, moving and removing mounts.
const MOUNTS: &[c_long] = &[
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_umount2,
    sys::SYS_STATMOUNT,
];

/// Looking at files, making and removing directories and sockets. What opens is further below.
const FILES: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fcntl,
];

/// Sockets that are there; what makes one is further below.
const SOCKETS: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_shutdown,
];

/// Memory, threads, time and signals.
const PROCESS: &[c_long] = &[
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_ppoll,
];

/// Older names that x86-64 has beside these.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] =
    &[libc::SYS_poll, libc::SYS_readlink, libc::SYS_stat, libc::SYS_lstat, libc::SYS_mkdir];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Bits of clone(2) that take a thread out of its process's namespaces, or make it another process.
const APART: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;
/// `PR_SET_VMA`, by which glibc names what it maps.
const PR_SET_VMA: u64 = 0x5356_4d41;

/// The calls that are allowed, with what their arguments have to be, to a mounter of the process id `own`.
pub(super) fn of_a_mounter(own: u32) -> Result<BTreeMap<i64, Vec<Rule>>, BackendError> {
    let whole = [MOUNTS, FILES, SOCKETS, PROCESS, OLDER].concat();
    let mut rules: BTreeMap<i64, Vec<Rule>> = whole.into_iter().map(|call| (call, Vec::new())).collect();
    let written = OFlags::WRONLY | OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
    let read_only = masked(u64::from(written.bits()), 0);
    rules.insert(libc::SYS_openat, vec![when(2, read_only.clone())?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![when(1, read_only)?]);
    // Its flags lie in memory, where no filter looks.
    rules.insert(libc::SYS_openat2, Vec::new());
    rules.insert(libc::SYS_socket, vec![when(0, equal(libc::AF_UNIX))?]);
    rules.insert(libc::SYS_socketpair, vec![when(0, equal(libc::AF_UNIX))?]);
    let thread = masked(u64::from((APART | libc::CLONE_THREAD).cast_unsigned()), libc::CLONE_THREAD);
    // clone3 has its flags in memory: where it is not known, clone is taken.
    rules.insert(libc::SYS_clone, vec![when(0, thread)?]);
    let named = [libc::PR_SET_NAME.cast_unsigned().into(), PR_SET_VMA];
    rules.insert(
        libc::SYS_prctl,
        named.map(|option| when(0, (Op::Eq, option))).into_iter().collect::<Result<_, _>>()?,
    );
    // Whether it is a terminal that is written to.
    rules.insert(libc::SYS_ioctl, vec![when(1, (Op::Eq, libc::TCGETS))?]);
    for to_itself in to_itself() {
        rules.insert(*to_itself, vec![when(0, (Op::Eq, own.into()))?]);
    }
    Ok(rules)
}

/// Signals to itself: its own abort, and a test's failpoint.
fn to_itself() -> &'static [c_long] {
    if failpoint::ARMED { &[libc::SYS_tgkill, libc::SYS_kill] } else { &[libc::SYS_tgkill] }
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
