//! Classes in files, read again whenever the files change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use inotify::{EventStream, Inotify, WatchMask, Watches};
use manifest::Class;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::scan::{Problem, Scan, Source};
use super::{ClassName, Classes, Error};

/// How long after the first event of a burst the files are read.
const SETTLE: Duration = Duration::from_millis(20);
/// How often they are read without an event: links may lead to where no event comes from.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often while there is nothing that events could come from.
const UNTIL_ATTACHED: Duration = Duration::from_millis(250);
/// Room for one batch of events, each up to 272 bytes.
const EVENT_BYTES: usize = 4096;

/// The classes of a directory or of one file, as they are now. A file that breaks keeps its last good classes.
#[derive(Debug)]
pub struct WatchedClasses {
    state: RwLock<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    scan: Scan,
    by_name: BTreeMap<ClassName, Arc<Class>>,
}

impl WatchedClasses {
    /// The classes in every `*.yaml`, `*.yml` and `*.json` of `directory`, and what keeps them current.
    /// Broken files are [`problems`](Self::problems), not errors.
    ///
    /// # Errors
    ///
    /// It is no directory that can be watched.
    pub fn directory(directory: impl Into<PathBuf>) -> io::Result<(Arc<Self>, Watch)> {
        Self::open(Source::Directory(directory.into()), || {})
    }

    /// The classes of one file, and what keeps them current.
    ///
    /// # Errors
    ///
    /// Its directory cannot be watched. The file itself may be broken or missing: see [`problems`](Self::problems).
    pub fn file(file: impl Into<PathBuf>) -> io::Result<(Arc<Self>, Watch)> {
        Self::open(Source::File(file.into()), || {})
    }

    /// Does `between` once the files are listened to and before they are read, so that nothing falls between.
    fn open(source: Source, between: impl FnOnce()) -> io::Result<(Arc<Self>, Watch)> {
        let events = Inotify::init()?;
        let watches = events.watches();
        let events = events.into_event_stream([0; EVENT_BYTES])?;
        let classes = Arc::new(Self { state: RwLock::default(), changes: watch::Sender::new(0) });
        let mut watch = Watch { classes: Arc::clone(&classes), source, watches, events, attached: true };
        watch.attach()?;
        between();
        classes.take(Scan::default().next(&watch.source));
        Ok((classes, watch))
    }

    /// The names of all classes, in order.
    pub fn names(&self) -> Vec<ClassName> {
        self.read(|state| state.by_name.keys().cloned().collect())
    }

    /// What is wrong with the files now.
    pub fn problems(&self) -> Vec<Problem> {
        self.read(|state| state.scan.problems.clone())
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, scan: Scan) {
        let by_name = scan.by_name();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        tell(&state.scan.problems, &scan.problems);
        let changed = state.by_name != by_name;
        *state = State { scan, by_name };
        drop(state);
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

/// Logs new problems, and logs when no problem is left.
fn tell(before: &[Problem], now: &[Problem]) {
    let known: BTreeSet<_> = before.iter().collect();
    for problem in now.iter().filter(|problem| !known.contains(problem)) {
        tracing::warn!(file = %problem.file.display(), "{}", problem.reason);
    }
    if now.is_empty() && !before.is_empty() {
        tracing::info!("every file of classes is whole again");
    }
}

#[async_trait]
impl Classes for WatchedClasses {
    async fn get(&self, name: &ClassName) -> Result<Arc<Class>, Error> {
        self.read(|state| match state.by_name.get(name) {
            Some(class) => Ok(Arc::clone(class)),
            None => Err(absent(name, &state.scan.problems)),
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// A class that is not there may be in a file that is broken: then that is worth saying.
fn absent(name: &ClassName, problems: &[Problem]) -> Error {
    match problems.first() {
        None => Error::NotFound(name.clone()),
        Some(problem) => Error::Invalid(format!(
            "SecretProviderClass {name} is in no file that could be read, and {} could not be: {}",
            problem.file.display(),
            problem.reason
        )),
    }
}

/// What keeps [`WatchedClasses`] current for as long as it runs.
pub struct Watch {
    classes: Arc<WatchedClasses>,
    source: Source,
    watches: Watches,
    events: EventStream<[u8; EVENT_BYTES]>,
    attached: bool,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Watch {
    /// Reads the files again whenever they change, until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let stopped = shutdown.cancelled();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => return,
                () = self.something() => {}
            }
            self.look().await;
        }
    }

    /// Waits until the files may have changed and the burst of events is over.
    async fn something(&mut self) {
        let patience = if self.attached { LOOK_AGAIN } else { UNTIL_ATTACHED };
        match tokio::time::timeout(patience, self.events.next()).await {
            Ok(Some(Ok(_))) => self.settle().await,
            Ok(_) => tokio::time::sleep(UNTIL_ATTACHED).await,
            Err(_) => {}
        }
    }

    async fn settle(&mut self) {
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                () = &mut settled => return,
                event = self.events.next() => if !matches!(event, Some(Ok(_))) {
                    return;
                }
            }
        }
    }

    async fn look(&mut self) {
        // The directory may be another one of the same name by now. If it is gone, the scan says so.
        self.attached = self.attach().is_ok();
        let (before, source) = (self.classes.read(|state| state.scan.clone()), self.source.clone());
        match tokio::task::spawn_blocking(move || before.next(&source)).await {
            Ok(scan) => self.classes.take(scan),
            Err(_) => {
                tracing::error!("reading the files of classes did not come to its end; they are read again")
            }
        }
    }

    fn attach(&mut self) -> io::Result<()> {
        let changes = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF;
        self.watches.add(self.source.directory(), changes | WatchMask::ONLYDIR).map(drop)
    }
}

#[cfg(test)]
mod tests;
