//! Whether a process was killed and cannot end, because the kernel does something for it that does not end.

use std::fs;
use std::path::Path;

/// The bit of `SIGKILL` in a set of signals.
const SIGKILL: u64 = 1 << 8;
/// `PF_EXITING`: it is on its way out.
const EXITING: u64 = 0x4;

/// Whether the process `pid` was killed: each of its threads is over, or will be before it does anything of its own
/// again. It is there because a thread waits in the kernel. `false` if it is not there, or in no pid namespace of this process.
pub fn is_killed(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let mut threads = threads.flatten().peekable();
    threads.peek().is_some() && threads.all(|thread| is_over(&thread.path()))
}

fn is_over(thread: &Path) -> bool {
    // A thread that is gone meanwhile is over.
    fs::read_to_string(thread.join("stat")).map_or(true, |stat| says_over(&stat).unwrap_or(false))
}

/// What proc_pid_stat(5) says of a thread; `None` where it makes no sense.
fn says_over(stat: &str) -> Option<bool> {
    // The name before it may have any letters.
    let (_, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split(' ');
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let pending: u64 = fields.nth(21)?.parse().ok()?;
    Some(matches!(state, "Z" | "X") || flags & EXITING != 0 || pending & SIGKILL != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a test arranges has to fail it loudly")]

    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_runs_sleeps_or_is_stopped_was_not_killed() {
        let mut sleeping = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(sleeping.id()).unwrap();
        let process = rustix::process::Pid::from_child(&sleeping);

        let asleep = is_killed(pid);
        rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
        let stopped = is_killed(pid);
        sleeping.kill().unwrap();
        // Nobody has waited for it.
        while !is_killed(pid) {
            std::thread::yield_now();
        }
        sleeping.wait().unwrap();

        assert!(!asleep && !stopped && !is_killed(pid));
        assert!(!is_killed(std::process::id().cast_signed()) && !is_killed(0));
    }

    #[test]
    fn a_thread_is_over_by_its_state_or_by_what_waits_for_it() {
        let told = |state: &str, flags: u64, pending: u64| {
            let between = "0 ".repeat(21);
            says_over(&format!("7 (a) b) {state} 1 7 7 0 -1 {flags} {between}{pending} 0 0"))
        };

        assert_eq!(told("D", 0x0040_0040, 0), Some(false));
        assert_eq!(told("D", 0x0040_0040, 0x100), Some(true));
        assert_eq!(told("D", 0x0040_0044, 0), Some(true));
        assert_eq!(told("Z", 0, 0), Some(true));
        assert_eq!(told("S", 0, 0x80), Some(false));
        assert_eq!(says_over("7 (a) D 1"), None);
    }
}
