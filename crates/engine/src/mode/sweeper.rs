//! A thread that comes back to volumes some time after they changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// A volume that the sweeper comes back to.
pub(super) trait Swept: Send + Sync {
    /// Does what is due. Returns when the next work will be due, if there is any.
    fn sweep(&self) -> Option<Instant>;
}

/// The thread and its queue. The thread starts with the first entry and ends when the last holder drops the sweeper.
/// The next process does what is left then.
#[derive(Default)]
pub(super) struct Sweeper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// One entry for each waiting volume. Volumes that no longer exist are skipped.
#[derive(Default)]
struct Queue {
    waiting: BTreeMap<(Instant, u64), Weak<dyn Swept>>,
    /// Makes keys unique if several entries are due at the same moment.
    numbers: u64,
    is_ended: bool,
}

impl Sweeper {
    /// Calls [`Swept::sweep`] of `swept` at `due`, and again when it says so.
    pub(super) fn come_back(&self, due: Instant, swept: Weak<dyn Swept>) {
        self.shared.lock().add(due, swept);
        self.shared.changed.notify_one();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = Arc::clone(&self.shared);
            match thread::Builder::new().name("sweeper".to_owned()).spawn(move || shared.run()) {
                Ok(started) => *thread = Some(started),
                Err(error) => {
                    tracing::warn!(%error, "no thread to remove old versions; each goes with the next rotation")
                }
            }
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.shared.lock().is_ended = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The thread itself may have dropped the last holder, and cannot join itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the thread that removes old versions panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some(swept) = self.next() {
            let Some(swept) = swept.upgrade() else { continue };
            if let Some(due) = swept.sweep() {
                self.lock().add(due, Arc::downgrade(&swept));
            }
        }
    }

    /// Waits until the next entry is due and returns it; `None` at the end.
    fn next(&self) -> Option<Weak<dyn Swept>> {
        let mut queue = self.lock();
        loop {
            if queue.is_ended {
                return None;
            }
            let now = Instant::now();
            queue = match queue.waiting.first_key_value().map(|((due, _), _)| *due) {
                Some(due) if due <= now => return queue.waiting.pop_first().map(|(_, swept)| swept),
                Some(due) => {
                    let waited = self.changed.wait_timeout(queue, due.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Queue {
    fn add(&mut self, due: Instant, swept: Weak<dyn Swept>) {
        self.numbers += 1;
        self.waiting.insert((due, self.numbers), swept);
    }
}

impl std::fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sweeper({} waiting)", self.shared.lock().waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Sends a message each time that it is swept, and wants to be swept this often.
    struct Told(mpsc::Sender<Instant>, Mutex<u32>);

    impl Swept for Told {
        fn sweep(&self) -> Option<Instant> {
            let now = Instant::now();
            self.0.send(now).unwrap();
            let mut left = self.1.lock().unwrap();
            *left -= 1;
            (*left > 0).then(|| now + Duration::from_millis(20))
        }
    }

    #[test]
    fn each_is_swept_when_it_is_due_and_again_as_it_says() {
        let (sweeper, (told, heard)) = (Sweeper::default(), mpsc::channel());
        let [late, early]: [Arc<dyn Swept>; 2] =
            [Arc::new(Told(told.clone(), Mutex::new(1))), Arc::new(Told(told, Mutex::new(2)))];
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);

        sweeper.come_back(after(200), Arc::downgrade(&late));
        sweeper.come_back(after(50), Arc::downgrade(&early));
        let swept: Vec<Instant> =
            (0..3).map(|_| heard.recv_timeout(Duration::from_secs(30)).unwrap()).collect();

        assert!(swept[0] >= after(50) && swept[1] >= after(70) && swept[2] >= after(200), "{swept:?}");
    }

    #[test]
    fn what_is_gone_is_passed_over_and_the_thread_ends_with_its_owner() {
        let (sweeper, (told, heard)) = (Sweeper::default(), mpsc::channel());
        let gone: Arc<dyn Swept> = Arc::new(Told(told.clone(), Mutex::new(1)));
        let later: Arc<dyn Swept> = Arc::new(Told(told, Mutex::new(1)));

        sweeper.come_back(Instant::now(), Arc::downgrade(&gone));
        drop(gone);
        sweeper.come_back(Instant::now() + Duration::from_secs(3600), Arc::downgrade(&later));
        drop(sweeper);
        drop(later);

        // The first one may be swept before it is dropped or not; the scheduler decides.
        assert!(heard.iter().count() <= 1);
    }
}
