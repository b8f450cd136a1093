use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// One more than the largest id.
const IDS: u32 = u32::MAX;

/// A user namespace in which the user 0 is `uid` outside of it, and no other user is known. Groups are the same inside and
/// outside, except that 0 and `uid` take each other's place. For [`show_owners_as`](crate::show_owners_as).
///
/// It starts a process for a moment: to be called while there is one thread.
///
/// # Errors
///
/// `uid` is 0 or no user; the kernel has no room for one more namespace; the caller may not map this user.
pub fn user_namespace(uid: u32) -> io::Result<OwnedFd> {
    if uid == 0 || uid == IDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let Some(inside) = Pid::from_raw(waiting_child()?) else { return Err(io::ErrorKind::Other.into()) };
    let of = |file: &str| format!("/proc/{}/{file}", inside.as_raw_nonzero());
    let namespace = fs::write(of("uid_map"), format!("0 {uid} 1\n"))
        .and_then(|()| fs::write(of("gid_map"), groups(uid)))
        .and_then(|()| File::open(of("ns/user")));
    let _ = kill_process(inside, Signal::KILL);
    let _ = waitpid(Some(inside), WaitOptions::empty());
    namespace.map(OwnedFd::from)
}

/// All groups, where 0 and `gid` have changed places.
fn groups(gid: u32) -> String {
    let swapped = format!("0 {gid} 1\n{gid} 0 1\n");
    let (below, above) = (gid.saturating_sub(1), gid.saturating_add(1));
    let rest = [(1, below), (above, IDS.saturating_sub(above))];
    let rest = rest.into_iter().filter(|(_, count)| *count > 0);
    rest.fold(swapped, |map, (first, count)| format!("{map}{first} {first} {count}\n"))
}

/// The id of a process in a user namespace of its own, which does nothing until it is killed.
fn waiting_child() -> io::Result<i32> {
    // SAFETY: without CLONE_VM the child has a copy of this memory, and its stack is at the same address there. It makes
    // system calls only.
    let child = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::CLONE_NEWUSER | libc::SIGCHLD,
            0_usize,
            0_usize,
            0_usize,
            0_usize,
        )
    };
    match child {
        0 => loop {
            // SAFETY: it takes no pointer. The child ends with the thread that made it.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // SAFETY: it takes nothing.
            unsafe { libc::pause() };
        },
        child if child < 0 => Err(io::Error::last_os_error()),
        child => i32::try_from(child).map_err(io::Error::other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_is_mapped_once_on_both_sides() {
        for gid in [1, 2, 47_512, IDS - 1] {
            let lines: Vec<Vec<u32>> = groups(gid)
                .lines()
                .map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect())
                .collect();
            for side in [0, 1] {
                let mut ranges: Vec<(u32, u32)> = lines.iter().map(|line| (line[side], line[2])).collect();
                ranges.sort_unstable();
                let end = ranges.iter().fold(0, |end, (first, count)| {
                    assert_eq!(*first, end, "{lines:?}");
                    first + count
                });
                assert_eq!(end, IDS);
            }
        }
    }
}
