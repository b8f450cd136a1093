use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fuse_tree::{Errno, Notice, Volume};
use rustix::event::{EventfdFlags, epoll, eventfd};

use crate::agreed::Agreed;
use crate::answering::{Outcome, answer};
use crate::clock::Clock;
use crate::device::Device;
use crate::journal::Journal;
use crate::notifier::{Delivery, Notifier};
use crate::pending::Pending;
use crate::scratch::Scratch;
use crate::served::Served;
use crate::wire::{Notification, REQUEST_MAX};

/// How many requests of one volume are answered before another volume has its turn.
const TURN: usize = 32;
/// How long a thread looks for the next request of a volume before it waits in the kernel. Who opened a file reads it next:
/// to be woken for that takes longer, above all on another processor.
const LINGER: Duration = Duration::from_micros(25);
/// The event that ends the threads.
const STOP: u64 = u64::MAX;
/// How long the end waits for notifications.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many volumes' requests are served.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Threads that serve, for all volumes together; at least one.
    pub threads: usize,
    /// How long an open or a read may wait.
    pub patience: Duration,
    /// How long of that for a policy that does not know yet who asks.
    pub recognition: Duration,
    /// How many requests may wait, of all volumes together.
    pub waiting: usize,
    /// How many of one volume.
    pub waiting_for_each: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 2,
            patience: Duration::from_secs(30),
            recognition: Duration::from_secs(5),
            waiting: 1024,
            waiting_for_each: 128,
        }
    }
}

/// How a process that takes a volume over learns what the one before left unanswered.
#[derive(Debug, Clone, Copy)]
pub enum Resume<'a> {
    /// The kernel sends it again.
    Resend,
    /// It is in the journal of that process. There are more where an earlier process was killed while it took over.
    Journals(&'a [Journal]),
}

/// How a process's volumes are doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Volumes that are served.
    pub volumes: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Volumes in which a notification is stuck, and for how long.
    pub stuck: Vec<(u64, Duration)>,
}

/// All volumes that a process serves.
#[derive(Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
    clock: Arc<Clock>,
    stop: OwnedFd,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    epoll: OwnedFd,
    /// Threads that wait for a request of any volume.
    idle: AtomicUsize,
    served: RwLock<HashMap<u64, Arc<Served>>>,
    journal: Arc<Journal>,
    pending: Arc<Pending>,
    notifier: Arc<Notifier>,
    /// For requests that another process left.
    scratch: Mutex<Scratch>,
}

impl Sessions {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// There is no memory, or no thread.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let count = settings.threads.max(1);
        let journal = Arc::new(Journal::new(count, settings.waiting)?);
        let pending = Arc::new(Pending::new(journal.clone(), &settings));
        let notifier = Notifier::start(&pending)?;
        let is_stopped = AtomicBool::new(false);
        let clock = Arc::new(Clock { pending: pending.clone(), notifier: notifier.clone(), is_stopped });
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (idle, served, scratch) = (AtomicUsize::new(0), RwLock::default(), Mutex::new(Scratch::new()?));
        let shared = Arc::new(Shared { epoll, idle, served, journal, pending, notifier, scratch });
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&shared.epoll, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let mut sessions = Self { shared, clock, stop, threads: Vec::new() };
        (0..count).try_for_each(|index| sessions.start_serving(index))?;
        sessions.start_clock()?;
        Ok(sessions)
    }

    fn start_serving(&mut self, index: usize) -> io::Result<()> {
        let (shared, mut scratch) = (self.shared.clone(), Scratch::new()?);
        let thread = thread::Builder::new().name("fuse-serve".to_owned());
        self.threads.push(thread.spawn(move || shared.serve(index, &mut scratch))?);
        Ok(())
    }

    fn start_clock(&mut self) -> io::Result<()> {
        let (clock, mut scratch) = (self.clock.clone(), Scratch::new()?);
        let thread = thread::Builder::new().name("fuse-clock".to_owned());
        self.threads.push(thread.spawn(move || clock.run(&mut scratch))?);
        Ok(())
    }

    /// What this process has read and not answered. Whoever keeps the devices keeps this too, from before the first
    /// volume is served.
    pub fn journal(&self) -> BorrowedFd<'_> {
        self.shared.journal.as_fd()
    }

    /// Serves a new volume. Its key names it here and in the journal, and is the same in each process; it is not
    /// `u64::MAX`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; those of epoll.
    pub fn serve(
        &self,
        key: u64,
        device: Device,
        agreed: Agreed,
        volume: Arc<Volume>,
    ) -> io::Result<Arc<Served>> {
        let served = Arc::new(Served::new(key, device, agreed, volume));
        {
            let mut all = self.shared.served.write().unwrap_or_else(PoisonError::into_inner);
            if key == STOP || all.contains_key(&key) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            all.insert(key, served.clone());
        }
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        let added = epoll::add(&self.shared.epoll, &served.device, epoll::EventData::new_u64(key), flags);
        added.inspect_err(|_| self.shared.forget(key))?;
        Ok(served)
    }

    /// Serves a volume that an earlier process served, and what that left unanswered. It shows what `volume` shows, so
    /// that has to have the editions that it had.
    ///
    /// # Errors
    ///
    /// As of [`Self::serve`].
    pub fn resume(
        &self,
        key: u64,
        device: Device,
        agreed: Agreed,
        volume: Arc<Volume>,
        resume: Resume<'_>,
    ) -> io::Result<Arc<Served>> {
        let served = self.serve(key, device, agreed, volume)?;
        match resume {
            Resume::Resend => served.device.notify(&Notification::Resend)?,
            Resume::Journals(journals) => {
                journals.iter().for_each(|journal| self.shared.take_over(&served, journal));
            }
        }
        Ok(served)
    }

    /// Serves a volume no longer. If nobody else has its device, whoever uses it gets errors from now on.
    pub fn stop(&self, key: u64) {
        self.shared.forget(key);
    }

    /// Has the kernel of a volume told of a change.
    ///
    /// # Errors
    ///
    /// `NotFound`; `QuotaExceeded` where too much is under way already.
    pub fn tell(&self, key: u64, notices: Vec<Notice>) -> io::Result<Delivery> {
        let served = self.shared.find(key).ok_or(io::ErrorKind::NotFound)?;
        self.shared.notifier.tell(&served, notices)
    }

    /// Has the kernel of a volume told of files that were withdrawn: what of them it keeps for mappings goes too.
    ///
    /// # Errors
    ///
    /// As of [`Self::tell`].
    pub fn withdraw<'a>(&self, key: u64, paths: impl IntoIterator<Item = &'a str>) -> io::Result<Delivery> {
        let served = self.shared.find(key).ok_or(io::ErrorKind::NotFound)?;
        let notices = served.volume().withdraw(paths).into_iter().chain(served.filled());
        self.shared.notifier.tell(&served, notices.collect())
    }

    /// Has the kernel of a volume drop the pages that it keeps of the file at `path` for mappings, soon. Waits for nobody.
    /// `of_earlier` if an earlier process may have given it some.
    ///
    /// # Errors
    ///
    /// As of [`Self::tell`]. The pages stay until a handle of the file goes.
    pub fn drop_pages(&self, key: u64, path: &str, of_earlier: bool) -> io::Result<()> {
        let served = self.shared.find(key).ok_or(io::ErrorKind::NotFound)?;
        let nodes = served.volume().nodes_of(path);
        if of_earlier {
            nodes.iter().for_each(|node| served.fill(*node));
        }
        let notices = served.emptied(&nodes);
        if notices.is_empty() {
            return Ok(());
        }
        let told = self.shared.notifier.tell(&served, notices).map(drop);
        told.inspect_err(|_| nodes.iter().for_each(|node| served.fill(*node)))
    }

    /// How the volumes are doing.
    pub fn health(&self) -> Health {
        let volumes = self.shared.served.read().unwrap_or_else(PoisonError::into_inner).len();
        Health { volumes, waiting: self.shared.pending.count(), stuck: self.shared.notifier.stuck() }
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        self.clock.stop();
        self.shared.notifier.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.shared.notifier.join(FAREWELL);
    }
}

impl Shared {
    fn find(&self, key: u64) -> Option<Arc<Served>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    fn forget(&self, key: u64) {
        let gone = self.served.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(served) = gone {
            let _ = epoll::delete(&self.epoll, &served.device);
            served.end();
            self.pending.drop_volume(key);
        }
    }

    fn serve(&self, thread: usize, scratch: &mut Scratch) {
        let mut request = vec![0; REQUEST_MAX];
        loop {
            let mut events = [const { std::mem::MaybeUninit::uninit() }; 1];
            self.idle.fetch_add(1, Ordering::Relaxed);
            let woken = epoll::wait(&self.epoll, &mut events, None);
            self.idle.fetch_sub(1, Ordering::Relaxed);
            let key = match woken {
                Ok((events, _)) => events.first().map(|event| event.data.u64()),
                Err(Errno::INTR) => None,
                Err(_) => return,
            };
            match key {
                Some(STOP) => return,
                Some(key) => self.serve_turn(thread, key, &mut request, scratch),
                None => {}
            }
        }
    }

    fn serve_turn(&self, thread: usize, key: u64, request: &mut [u8], scratch: &mut Scratch) {
        let Some(served) = self.find(key) else { return };
        let (mut left, mut last) = (TURN, Instant::now());
        while left > 0 {
            match self.serve_one(thread, &served, request, scratch) {
                Ok(true) => (left, last) = (left - 1, Instant::now()),
                // Who asks may need this processor.
                Ok(false) if self.may_linger(last) => thread::yield_now(),
                Ok(false) => break,
                Err(_) => return self.forget(key),
            }
        }
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        let _ = epoll::modify(&self.epoll, &served.device, epoll::EventData::new_u64(key), flags);
    }

    /// Whether a thread may stay with its volume since its `last` request. Other volumes need a thread too.
    fn may_linger(&self, last: Instant) -> bool {
        self.idle.load(Ordering::Relaxed) > 0 && last.elapsed() < LINGER
    }

    /// Reads and answers one request. `false` if there is none; an error if there never will be.
    fn serve_one(
        &self,
        thread: usize,
        served: &Arc<Served>,
        request: &mut [u8],
        scratch: &mut Scratch,
    ) -> io::Result<bool> {
        let count = match self.journal.read(thread, served.key, served.device.as_fd()) {
            Ok(count) => count,
            Err(error) => return has_more(&error).ok_or(error),
        };
        let Some(bytes) = request.get_mut(..count) else { return Ok(true) };
        self.journal.load(thread, bytes)?;
        self.look_at(served, bytes, scratch);
        self.journal.done(thread)?;
        Ok(true)
    }

    /// Answers a request, or has it wait. That an answer cannot be written is told by the next read.
    fn look_at(&self, served: &Arc<Served>, bytes: &[u8], scratch: &mut Scratch) {
        match answer(served, bytes, scratch) {
            Ok(Outcome::Done) | Err(_) => {}
            Ok(Outcome::Tell(notice)) => drop(self.notifier.tell(served, vec![notice])),
            Ok(Outcome::Wait(waits, why)) => self.pending.add(served, waits, why, bytes),
            Ok(Outcome::GivenUp(unique)) => self.pending.give_up(served, unique),
        }
    }

    fn take_over(&self, served: &Arc<Served>, journal: &Journal) {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        for request in journal.left(served.key) {
            self.look_at(served, &request, &mut scratch);
        }
    }
}

/// What an error of reading a device means: whether there may be another request at once; `None` if there never will.
fn has_more(error: &io::Error) -> Option<bool> {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN) => Some(false),
        // A caller gave up before its request was read.
        Some(Errno::NOENT | Errno::INTR) => Some(true),
        _ => None,
    }
}
