//! What the mounter keeps for the next process, and what this process gives the next mounter.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mounter::{Error, Mounter};

use super::kept::{Kept, Ours};

/// How often it is looked whether the mounter has everything. A mounter that hears nothing for half a minute believes that
/// nobody serves.
const LOOK: Duration = Duration::from_secs(2);

/// Files that the mounter keeps, by name, and the words about them.
pub(super) type Listing = BTreeMap<String, Vec<u8>>;

/// What this process has the mounter keep. A thread gives it again to a mounter that was restarted.
#[derive(Debug)]
pub(super) struct Keeping {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    mounter: Arc<dyn Mounter>,
    /// Held during calls about single files, so that the mounter has what was said last.
    ours: Mutex<Ours>,
    state: Mutex<State>,
    changed: Condvar,
    is_away: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    /// Whether what is kept and not ours may go: what an earlier process left was looked at.
    is_settled: bool,
}

impl Keeping {
    pub(super) fn new(mounter: Arc<dyn Mounter>) -> Self {
        let (ours, state, changed, is_away) = Default::default();
        Self { shared: Arc::new(Shared { mounter, ours, state, changed, is_away }), thread: Mutex::default() }
    }

    /// What is kept, whoever gave it. Nothing where the mounter keeps no files.
    pub(super) fn listing(&self) -> Result<Listing, Error> {
        self.shared.listing()
    }

    pub(super) fn take(&self, name: &str) -> Result<OwnedFd, Error> {
        self.shared.mounter.take_file(name)
    }

    /// Has `file` kept, out of the share of `tenant`. If that cannot be done, what was kept before stays.
    pub(super) fn keep(
        &self,
        name: &str,
        about: &[u8],
        file: BorrowedFd<'_>,
        tenant: &Arc<str>,
    ) -> Result<(), Error> {
        let kept = Kept::new(name, about, file, tenant)?;
        let mut ours = self.shared.ours();
        ours.has_room(name, &kept).map_err(Error::of("keep", name.as_ref()))?;
        self.shared.mounter.keep_file(name, about, kept.file.as_fd())?;
        ours.insert(name, kept);
        self.look_after_it()
    }

    /// Notes what is kept already, and is this process's now.
    pub(super) fn adopt(
        &self,
        name: &str,
        about: &[u8],
        file: BorrowedFd<'_>,
        tenant: &Arc<str>,
    ) -> Result<(), Error> {
        let kept = Kept::new(name, about, file, tenant)?;
        self.shared.ours().insert(name, kept);
        self.look_after_it()
    }

    /// Lets go of all files whose names begin like this.
    pub(super) fn forget(&self, beginning: &str) {
        let mut ours = self.shared.ours();
        let names: Vec<String> = ours.names().filter(|name| name.starts_with(beginning)).cloned().collect();
        for name in names {
            ours.remove(&name);
            if let Err(error) = self.shared.mounter.forget_file(&name) {
                tracing::debug!(%error, "it is forgotten later");
            }
        }
    }

    /// Tells a kernel of a change by the device of this name. `None` where the mounter is away.
    pub(super) fn notify(&self, name: &str, told: &[u8]) -> Option<Result<(), Error>> {
        let is_away = self.shared.is_away.load(Ordering::Relaxed);
        (!is_away).then(|| self.shared.mounter.notify_file(name, told))
    }

    /// Whether a file of this name is this process's.
    pub(super) fn has(&self, name: &str) -> bool {
        self.shared.ours().get(name).is_some()
    }

    /// From now on nothing is kept but what this process had kept.
    pub(super) fn settle(&self) {
        self.shared.state().is_settled = true;
        self.shared.changed.notify_all();
        if let Err(error) = self.shared.compare() {
            tracing::warn!(%error, "what earlier volumes left is forgotten later");
        }
    }

    fn look_after_it(&self) -> Result<(), Error> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let started = thread::Builder::new().name("fuse-keep".to_owned()).spawn(move || shared.run());
            *thread = Some(started.map_err(Error::of("keep", "files".as_ref()))?);
        }
        Ok(())
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.shared.state().is_stopped = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that has files kept panicked");
        }
    }
}

impl Shared {
    fn ours(&self) -> MutexGuard<'_, Ours> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let waited = self.changed.wait_timeout_while(self.state(), LOOK, |state| !state.is_stopped);
            if waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped {
                return;
            }
            let done = self.compare();
            let was_away = self.is_away.swap(done.is_err(), Ordering::Relaxed);
            if let (Err(error), false) = (&done, was_away) {
                tracing::warn!(%error, "FUSE volumes end with this process until the mounter keeps them");
            }
        }
    }

    /// Has the mounter keep all that is ours, and nothing else.
    fn compare(&self) -> Result<(), Error> {
        let is_settled = self.state().is_settled;
        let kept = self.listing()?;
        let wanted: Listing =
            self.ours().iter().map(|(name, kept)| (name.clone(), kept.about.clone())).collect();
        let missing = wanted.iter().filter(|(name, about)| kept.get(*name) != Some(*about));
        missing.map(|(name, _)| name).try_for_each(|name| self.keep_again(name))?;
        if is_settled {
            kept.keys().filter(|name| !wanted.contains_key(*name)).try_for_each(|name| self.forget(name))?;
        }
        Ok(())
    }

    fn keep_again(&self, name: &str) -> Result<(), Error> {
        match self.ours().get(name) {
            Some(Kept { about, file, .. }) => self.mounter.keep_file(name, about, file.as_fd()),
            None => Ok(()),
        }
    }

    fn forget(&self, name: &str) -> Result<(), Error> {
        let ours = self.ours();
        if ours.get(name).is_some() { Ok(()) } else { self.mounter.forget_file(name) }
    }

    fn listing(&self) -> Result<Listing, Error> {
        match self.mounter.kept_files() {
            Ok(kept) => Ok(kept.into_iter().collect()),
            Err(error) if error.source.kind() == io::ErrorKind::Unsupported => Ok(Listing::new()),
            Err(error) => Err(error),
        }
    }
}
