//! Who keeps the devices while processes that serve come and go.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::mounted::Place;
use super::packet;
use fuse_session::{Device, Journal};

/// How the next process learns what the last one left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Resend,
    Journal,
}

#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) places: Vec<(Place, Device)>,
    by: By,
    /// Whether the next process tells what is asked for.
    pub(crate) answers: bool,
    journal: Option<OwnedFd>,
    serving: Option<(Child, OwnedFd)>,
    killed: Option<Child>,
}

impl Keeper {
    pub(crate) fn of(volumes: usize, by: By, answers: bool) -> Self {
        let places = (0..volumes).map(|_| Place::new()).collect();
        let mut keeper = Self { places, by, answers, journal: None, serving: None, killed: None };
        keeper.start();
        keeper
    }

    fn start(&mut self) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let child = Command::new(program()).stdin(theirs).spawn().unwrap();
        let journal = self.journal.take().filter(|_| self.by == By::Journal);
        // Before the first process there is an empty one.
        let journal = journal.or_else(|| (self.by == By::Journal).then(empty_journal));
        let word = if self.answers { "answer" } else { "silence" };
        packet::send(&ours, word, journal.as_ref().map(AsFd::as_fd)).unwrap();
        self.journal = packet::receive(&ours).unwrap().1;
        for (key, (place, device)) in self.places.iter().enumerate() {
            packet::send(&ours, &format!("{key} {}", place.agreed), Some(device.as_fd())).unwrap();
        }
        packet::send(&ours, "go", None).unwrap();
        assert_eq!(packet::receive(&ours).unwrap().0, "ready");
        self.serving = Some((child, ours));
    }

    /// Kills the process that serves, and starts the next before the kernel has buried the first: a thread of that may
    /// hang in a notification until what it left is answered.
    pub(crate) fn restart(&mut self) {
        let killed = self.kill();
        self.start();
        if let Some(mut child) = killed {
            child.wait().unwrap();
        }
    }

    /// Kills the process that serves. Nobody does from now on.
    pub(crate) fn stop(&mut self) {
        self.killed = self.kill();
    }

    /// Starts the next process.
    pub(crate) fn go_on(&mut self) {
        self.start();
    }

    fn kill(&mut self) -> Option<Child> {
        let (mut child, _) = self.serving.take()?;
        child.kill().unwrap();
        Some(child)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let killed = self.kill().into_iter().chain(self.killed.take());
        // With the last device whoever still waits gets an error, and so the dead are free.
        self.places.clear();
        killed.for_each(|mut child| drop(child.wait()));
    }
}

fn empty_journal() -> OwnedFd {
    Journal::new(1, 1).unwrap().as_fd().try_clone_to_owned().unwrap()
}

/// The example of this crate, which is built with its tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/serve");
    assert!(program.exists(), "cargo build -p fuse-session --example serve");
    program
}
