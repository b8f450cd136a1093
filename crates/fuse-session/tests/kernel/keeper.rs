//! Who keeps the devices while processes that serve come and go.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use fuse_session::{Device, Journal};

use super::mounted::Place;
use super::program::Program;
use super::watchdog::LIMIT;

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
    serving: Option<Program>,
    killed: Option<Program>,
}

impl Keeper {
    pub(crate) fn of(volumes: usize, by: By, answers: bool) -> Self {
        Self::watched(volumes, by, answers, LIMIT)
    }

    /// The same for a test that takes no longer than `limit`.
    pub(crate) fn watched(volumes: usize, by: By, answers: bool, limit: Duration) -> Self {
        let places = (0..volumes).map(|_| Place::watched(limit)).collect();
        let mut keeper = Self { places, by, answers, journal: None, serving: None, killed: None };
        keeper.start();
        keeper
    }

    fn start(&mut self) {
        let serving = Program::start("serve", [""; 0]);
        let journal = self.journal.take().filter(|_| self.by == By::Journal);
        // Before the first process there is an empty one.
        let journal = journal.or_else(|| (self.by == By::Journal).then(empty_journal));
        let word = if self.answers { "answer" } else { "silence" };
        serving.send(word, journal.as_ref().map(AsFd::as_fd));
        self.journal = serving.receive().1;
        for (key, (place, device)) in self.places.iter().enumerate() {
            serving.send(&format!("{key} {}", place.agreed), Some(device.as_fd()));
        }
        serving.send("go", None);
        assert_eq!(serving.receive().0, "ready");
        self.serving = Some(serving);
    }

    /// Kills the process that serves, and starts the next before the kernel has buried the first: a thread of that may
    /// hang in a notification until what it left is answered.
    pub(crate) fn restart(&mut self) {
        let killed = self.kill();
        self.start();
        assert!(killed.is_none_or(|mut killed| killed.has_ended()), "what was killed does not end");
    }

    /// Kills the process that serves. Nobody does from now on.
    pub(crate) fn stop(&mut self) {
        self.killed = self.kill();
    }

    /// Starts the next process.
    pub(crate) fn go_on(&mut self) {
        self.start();
    }

    fn kill(&mut self) -> Option<Program> {
        let mut serving = self.serving.take()?;
        serving.kill();
        Some(serving)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let killed = self.kill();
        // With the last device whoever still waits gets an error, and so the dead are free.
        self.places.clear();
        drop(killed);
    }
}

fn empty_journal() -> OwnedFd {
    Journal::new(1, 1).unwrap().as_fd().try_clone_to_owned().unwrap()
}
