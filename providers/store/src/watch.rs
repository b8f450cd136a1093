//! Notices what other processes put, within milliseconds.
//!
//! inotify reports that a file of the database was written. `PRAGMA data_version` shows whether that was a commit. A
//! commit counts only when the log is on the disk and its index says so, which may be after the last event. So for a
//! while after each event the watch looks again.

use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use inotify::{Event, EventMask, Inotify, WatchMask};
use provider::{Changes, Pauses, Restarts};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::watch;

use crate::database::{Database, FILE, Role};

/// How often to try to watch a store that does not exist yet.
const RETRY: Duration = Duration::from_secs(1);
/// The first and the last wait between looks after an event. Each wait is a quarter longer than the one before. So a
/// change is noticed at most a quarter later than the time since the event.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// One thread that watches a store for all subscribers. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    announcements: watch::Receiver<Instant>,
    /// Closing it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// One subscriber. It keeps the [`Watcher`] alive.
struct Subscription {
    announcements: watch::Receiver<Instant>,
    _watcher: Arc<Watcher>,
}

impl Watcher {
    /// Watches the store in `directory`. It announces every commit after this returns. If there is no store yet, it
    /// announces when one appears.
    pub(crate) fn start(directory: PathBuf, restarts: Arc<Restarts>) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let (announce, announcements) = watch::channel(Instant::now());
        let first = Watched::begin(&directory).ok();
        let thread = std::thread::Builder::new().name("store-watch".to_owned()).spawn(move || {
            let watch = |first| run(&directory, first, &stopped, &announce);
            keep(first, &stopped, &restarts, watch);
        })?;
        Ok(Self { announcements, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn subscribe(self: Arc<Self>) -> impl Changes + use<> {
        Subscription { announcements: self.announcements.clone(), _watcher: self }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches the store panicked");
        }
    }
}

#[async_trait]
impl Changes for Subscription {
    async fn changed(&mut self) -> Instant {
        match self.announcements.changed().await {
            Ok(()) => *self.announcements.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Runs `watch` until the thread is stopped, beginning with `first`. If `watch` ends unexpectedly it is started again.
/// Until then volumes see changes at their next refresh.
fn keep(
    first: Option<Watched>,
    stopped: &PipeReader,
    restarts: &Restarts,
    mut watch: impl FnMut(Option<Watched>),
) {
    let (mut first, mut pauses) = (first, Pauses::default());
    loop {
        let (next, begun) = (first.take(), Instant::now());
        // The message of a panic may hold anything, so it is not logged.
        if catch_unwind(AssertUnwindSafe(|| watch(next))).is_ok() {
            return;
        }
        restarts.count();
        tracing::error!(
            "the watch of the embedded store ended by itself, which is a fault of secretfs; it is begun anew, and \
             changes are seen at the next refresh meanwhile"
        );
        if let Woken::Stopped = wait(None, stopped, Some(pauses.after(begun.elapsed()))) {
            return;
        }
    }
}

/// Watches until the thread is stopped. If `first` is `None`, it announces as soon as there is something to watch.
fn run(directory: &Path, first: Option<Watched>, stopped: &PipeReader, announce: &watch::Sender<Instant>) {
    let mut watched = first;
    loop {
        if let Some(watched) = watched.take()
            && let End::Stopped = watched.until_lost(stopped, announce)
        {
            return;
        }
        watched = Watched::begin(directory).ok();
        if watched.is_some() {
            announce.send_replace(Instant::now());
        } else if let Woken::Stopped = wait(None, stopped, Some(RETRY)) {
            return;
        }
    }
}

/// Why a watch ended.
enum End {
    Stopped,
    /// The database or its directory was moved, removed or replaced.
    Lost,
}

/// Why a wait ended.
enum Woken {
    Stopped,
    Event,
    Timeout,
}

struct Watched {
    inotify: Inotify,
    database: Database,
    seen: i32,
}

impl Watched {
    fn begin(directory: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let inotify = Inotify::init()?;
        let files = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
        inotify.watches().add(directory, files | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF)?;
        let database = Database::open(directory, Role::Reader)?;
        let seen = database.data_version()?;
        Ok(Self { inotify, database, seen })
    }

    fn until_lost(mut self, stopped: &PipeReader, announce: &watch::Sender<Instant>) -> End {
        let mut look = None;
        loop {
            match wait(Some(&self.inotify), stopped, look) {
                Woken::Stopped => return End::Stopped,
                Woken::Timeout => look = look.and_then(later_look),
                Woken::Event => match self.drain() {
                    Ok(Concern::Database) => look = Some(FIRST_LOOK),
                    Ok(Concern::Nothing) => continue,
                    Ok(Concern::Loss) | Err(_) => return End::Lost,
                },
            }
            match self.database.data_version() {
                Ok(version) if version == self.seen => {}
                Ok(version) => {
                    self.seen = version;
                    announce.send_replace(Instant::now());
                }
                Err(_) => return End::Lost,
            }
        }
    }

    fn drain(&mut self) -> io::Result<Concern> {
        let mut buffer = [0; 4096];
        let mut most = Concern::Nothing;
        loop {
            match self.inotify.read_events(&mut buffer) {
                Ok(events) => events.for_each(|event| most = most.max(Concern::of(&event))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if most == Concern::Loss && self.database.is_in_place() { Ok(Concern::Database) } else { Ok(most) }
    }
}

/// The wait before the next look, after a wait of `last`; `None` after the last look.
fn later_look(last: Duration) -> Option<Duration> {
    last.saturating_mul(5).checked_div(4).filter(|wait| *wait <= LAST_LOOK)
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Concern {
    Nothing,
    Database,
    Loss,
}

impl Concern {
    fn of(event: &Event<&OsStr>) -> Self {
        let loss = EventMask::CREATE
            | EventMask::DELETE
            | EventMask::MOVED_FROM
            | EventMask::MOVED_TO
            | EventMask::DELETE_SELF
            | EventMask::MOVE_SELF
            | EventMask::IGNORED
            | EventMask::UNMOUNT;
        let ours = event.name.is_none_or(|name| name.as_encoded_bytes().starts_with(FILE.as_bytes()));
        match ours {
            false => Self::Nothing,
            true if event.mask.intersects(loss) => Self::Loss,
            true => Self::Database,
        }
    }
}

fn wait(inotify: Option<&Inotify>, stopped: &PipeReader, timeout: Option<Duration>) -> Woken {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut fds = vec![PollFd::new(stopped, PollFlags::IN)];
    fds.extend(inotify.map(|inotify| PollFd::new(inotify, PollFlags::IN)));
    let woken = poll(&mut fds, timeout.as_ref());
    let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
    match woken {
        Ok(_) if ready(0) => Woken::Stopped,
        Ok(_) if ready(1) => Woken::Event,
        _ => Woken::Timeout,
    }
}

#[cfg(test)]
mod tests;
