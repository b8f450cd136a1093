//! Tells kernels what has changed, apart from all that answers them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use fuse_tree::Notice;

use crate::pending::Pending;
use crate::served::Served;
use crate::wire::Notification;

/// After how long a notification counts as stuck.
const STUCK: Duration = Duration::from_secs(1);
/// How many threads there are at most. All but one of them are stuck.
const WORKERS_MAX: usize = 4;
/// How many notices of one volume may be under way.
const QUEUED_MAX: usize = 65_536;

/// Says when a kernel has heard all that it was to be told.
#[derive(Debug)]
pub struct Delivery(Receiver<io::Result<()>>);

impl Delivery {
    /// Waits so long for it.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `ConnectionAborted` where the volume has ended; those of writing.
    pub fn wait(&self, patience: Duration) -> io::Result<()> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.0.recv_timeout(patience) {
            Ok(delivered) => delivered,
            Err(Timeout) => Err(io::ErrorKind::TimedOut.into()),
            Err(Disconnected) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Notifier {
    state: Mutex<State>,
    changed: Condvar,
    pending: Weak<Pending>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Batch>,
    /// What each worker is at, by its number: a volume, and since when.
    busy: BTreeMap<usize, (u64, Instant)>,
    workers: usize,
    is_stopped: bool,
}

#[derive(Debug)]
struct Batch {
    served: Arc<Served>,
    notices: Vec<Notice>,
    done: Sender<io::Result<()>>,
}

impl Notifier {
    pub(crate) fn start(pending: &Arc<Pending>) -> io::Result<Arc<Self>> {
        let (state, changed) = Default::default();
        let notifier = Arc::new(Self { state, changed, pending: Arc::downgrade(pending) });
        notifier.hire()?;
        Ok(notifier)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a kernel told these, in this order.
    pub(crate) fn tell(&self, served: &Arc<Served>, notices: Vec<Notice>) -> io::Result<Delivery> {
        let (done, delivery) = channel();
        let mut state = self.state();
        let queued = state.queue.iter().filter(|batch| batch.served.key == served.key);
        let queued: usize = queued.map(|batch| batch.notices.len()).sum();
        if queued.saturating_add(notices.len()) > QUEUED_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        state.queue.push_back(Batch { served: served.clone(), notices, done });
        self.changed.notify_one();
        Ok(Delivery(delivery))
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.state().busy.is_empty()
    }

    /// Volumes that a notification is stuck in, and for how long.
    pub(crate) fn stuck(&self) -> Vec<(u64, Duration)> {
        let state = self.state();
        let times = state.busy.values().map(|(volume, since)| (*volume, since.elapsed()));
        times.filter(|(_, time)| *time > STUCK).collect()
    }

    /// Gets another worker if all of them are stuck.
    pub(crate) fn replace_stuck(self: &Arc<Self>) {
        let (stuck, workers) = (self.stuck().len(), self.state().workers);
        if stuck >= workers && workers < WORKERS_MAX {
            let _ = self.hire();
        }
    }

    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.queue.clear();
        self.changed.notify_all();
    }

    /// Waits until all threads have ended but those that are stuck: those end with what they are stuck in.
    pub(crate) fn join(&self, patience: Duration) {
        let state = self.state();
        let _ = self.changed.wait_timeout_while(state, patience, |state| state.workers > 0);
    }

    fn hire(self: &Arc<Self>) -> io::Result<()> {
        let number = {
            let mut state = self.state();
            state.workers = state.workers.saturating_add(1);
            state.workers
        };
        let notifier = self.clone();
        let thread = thread::Builder::new().name("fuse-notify".to_owned());
        let started = thread.spawn(move || notifier.work(number)).map(drop);
        if started.is_err() {
            self.leave();
        }
        started
    }

    fn leave(&self) {
        let mut state = self.state();
        state.workers = state.workers.saturating_sub(1);
        self.changed.notify_all();
    }

    fn work(&self, number: usize) {
        while let Some(batch) = self.next(number) {
            if let Some(pending) = self.pending.upgrade() {
                // So that somebody looks how long this takes.
                pending.poke();
            }
            let told = batch.notices.into_iter().map(Notification::Changed);
            let done = told.map(|notice| batch.served.device.notify(&notice)).find(Result::is_err);
            self.state().busy.remove(&number);
            self.changed.notify_all();
            let _ = batch.done.send(done.unwrap_or(Ok(())));
        }
        self.leave();
    }

    /// The first batch of a volume that no other worker is at.
    fn next(&self, number: usize) -> Option<Batch> {
        let mut state = self.state();
        loop {
            if state.is_stopped {
                return None;
            }
            let is_free = |batch: &Batch| !state.busy.values().any(|(volume, _)| *volume == batch.served.key);
            if let Some(batch) = state.queue.iter().position(is_free).and_then(|at| state.queue.remove(at)) {
                state.busy.insert(number, (batch.served.key, Instant::now()));
                return Some(batch);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use fuse_tree::{AllowAll, Errno, Look, NodeId, Volume};
    use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
    use tempfile::TempDir;

    use super::*;
    use crate::answering::answer;
    use crate::device::Device;
    use crate::journal::Journal;
    use crate::scratch::Scratch;
    use crate::sessions::Settings;
    use crate::wire::{Operation, REQUEST_MAX, Request};

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A mount that nobody serves.
    struct Silent {
        served: Arc<Served>,
        directory: TempDir,
    }

    impl Silent {
        fn new(key: u64) -> Self {
            let (directory, device) = (TempDir::new().unwrap(), Device::open().unwrap());
            let root = crate::mount(&device, "fuse-test").unwrap();
            let agreed = device.agree(PATIENCE).unwrap();
            crate::attach(root.as_fd(), directory.path()).unwrap();
            let look = Look { uid: 0, gid: 0, directory_mode: 0o755 };
            let volume = Arc::new(Volume::new("silent", look, Arc::new(AllowAll)));
            Self { served: Arc::new(Served::new(key, device, agreed, volume)), directory }
        }

        /// The number of the next lookup. What comes before it is answered.
        fn lookup(&self) -> u64 {
            let (mut scratch, mut bytes) = (Scratch::new().unwrap(), vec![0; REQUEST_MAX]);
            loop {
                self.served.device.wait(PATIENCE).unwrap();
                let count = rustix::io::read(&self.served.device, &mut bytes).unwrap();
                let request = Request::parse(&bytes[..count]).unwrap();
                if matches!(request.operation, Operation::Lookup(_)) {
                    return request.header.unique;
                }
                answer(&self.served, &bytes[..count], &mut scratch).unwrap();
            }
        }
    }

    impl Drop for Silent {
        fn drop(&mut self) {
            let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
        }
    }

    /// Answers a lookup at last, whatever becomes of the test: there is no such name.
    struct Unanswered(Arc<Served>, u64);

    impl Drop for Unanswered {
        fn drop(&mut self) {
            let _ = self.0.device.refuse(self.1, Errno::NOENT);
        }
    }

    fn notices() -> Vec<Notice> {
        vec![Notice::Entry { parent: NodeId::ROOT, name: "y".to_owned() }]
    }

    #[test]
    fn a_notification_that_is_stuck_holds_up_its_own_volume_only() {
        sys::leave_mount_namespace().unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let journal = Arc::new(Journal::new(1, 1).unwrap());
        let settings = Settings { patience: PATIENCE, waiting_for_each: 1, ..Settings::default() };
        let notifier = Notifier::start(&Arc::new(Pending::new(journal, &settings))).unwrap();
        let (stuck, other) = (Silent::new(1), Silent::new(2));
        let name = stuck.directory.path().join("x");
        // It holds the directory's lock until it is answered.
        let lookup = thread::spawn(move || std::fs::metadata(name).is_err());
        let unanswered = Unanswered(stuck.served.clone(), stuck.lookup());

        let late = notifier.tell(&stuck.served, notices()).unwrap();
        assert_eq!(late.wait(STUCK.saturating_mul(2)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(notifier.stuck().first().map(|(volume, _)| *volume), Some(1));
        let soon = notifier.tell(&other.served, notices()).unwrap();
        notifier.replace_stuck();
        soon.wait(PATIENCE).unwrap();

        drop(unanswered);
        late.wait(PATIENCE).unwrap();
        assert!(lookup.join().unwrap() && notifier.stuck().is_empty());
    }
}
