//! Ends tests that hang. It is a process of its own, because a process that waits for a volume of its own may have no
//! thread left that can do anything.
//!
//! Standard input is a socket. `watch KEY MILLISECONDS TEST` comes with what aborts a connection of the kernel if it is
//! written to; that happens when the time is over. `end KEY` is answered by `in time` or `aborted`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test starts it and sees it fail")]

#[path = "../tests/kernel/packet.rs"]
mod packet;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};

/// How long tests have to fail when nothing serves their volumes any more.
const GRACE: Duration = Duration::from_secs(30);
/// How often it looks.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

struct Watched {
    key: String,
    test: String,
    abort: OwnedFd,
    until: Instant,
    is_aborted: bool,
}

fn main() {
    let socket = std::io::stdin();
    let tests = pidfd_open(getppid().unwrap(), PidfdFlags::empty()).unwrap();
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        if rustix::event::poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&PAUSE)).unwrap() > 0 {
            // Without this the tests have ended.
            let Ok((text, abort)) = packet::receive(&socket) else { return };
            match abort {
                Some(abort) => watched.push(Watched::new(&text, abort)),
                None => packet::send(&socket, end(&mut watched, &text), None).unwrap(),
            }
        }
        abort_late(&mut watched);
        if let Some(hanging) = watched.iter().find(|watched| watched.is_late(GRACE)) {
            eprintln!("watchdog: {} hangs although its volumes are aborted: all tests end", hanging.test);
            return pidfd_send_signal(tests, Signal::KILL).unwrap();
        }
    }
}

fn end(watched: &mut Vec<Watched>, text: &str) -> &'static str {
    let key = text.strip_prefix("end ").unwrap();
    let at = watched.iter().position(|watched| watched.key == key).unwrap();
    if watched.swap_remove(at).is_aborted { "aborted" } else { "in time" }
}

fn abort_late(watched: &mut [Watched]) {
    let is_late = |watched: &&mut Watched| watched.is_late(Duration::ZERO) && !watched.is_aborted;
    let mut last = None;
    for late in watched.iter_mut().filter(is_late) {
        late.abort();
        if last != Some(&late.test) {
            eprintln!("watchdog: {} has not ended in time: its volumes are aborted", late.test);
        }
        last = Some(&late.test);
    }
}

impl Watched {
    fn new(text: &str, abort: OwnedFd) -> Self {
        let words: Vec<&str> = text.splitn(4, ' ').collect();
        let [_, key, limit, test] = words[..] else { panic!("{text}") };
        let until = Instant::now().checked_add(Duration::from_millis(limit.parse().unwrap())).unwrap();
        Self { key: key.to_owned(), test: test.to_owned(), abort, until, is_aborted: false }
    }

    fn is_late(&self, by: Duration) -> bool {
        self.until.elapsed() > by
    }

    fn abort(&mut self) {
        rustix::io::write(&self.abort, b"1").unwrap();
        self.is_aborted = true;
    }
}
