//! A volume that FUSE shows, from its mount to its end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use fuse_tree::Volume;
use mounter::MountId;
use provider::ObjectPath;

use super::NAME;
use super::edition::{self, Shelf};
use super::front::Live;
use crate::mode::retired::Retired;
use crate::mode::sweeper::{Sweeper, Swept};
use crate::mode::{Appearance, Error, Mounted, ShownFile, Usage};
use crate::snapshot::Snapshot;

/// How long a change that watchers see may take. After that it is made unseen by them.
const PATIENCE: Duration = Duration::from_secs(5);
/// Inodes beside the files: the root, `..data` and the directory of the edition.
const OWN_INODES: u64 = 3;

/// A volume that FUSE shows.
#[derive(Debug)]
pub(super) struct Shown {
    live: Arc<dyn Live>,
    volume: Arc<Volume>,
    appearance: Appearance,
    max_bytes: u64,
    sweeper: Arc<Sweeper>,
    /// Held while the files change.
    changing: Mutex<Changing>,
}

#[derive(Debug)]
struct Changing {
    /// Of the edition that is shown.
    number: u64,
    shelf: Shelf,
    /// Editions that are shown no more, by number, and when they lose their names.
    retired: Retired,
}

impl Shown {
    pub(super) fn new(
        live: Arc<dyn Live>,
        volume: Arc<Volume>,
        appearance: Appearance,
        max_bytes: u64,
        sweeper: Arc<Sweeper>,
        first: Shelf,
    ) -> Self {
        let changing = Changing { number: edition::FIRST, shelf: first, retired: Retired::default() };
        Self { live, volume, appearance, max_bytes, sweeper, changing: Mutex::new(changing) }
    }

    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows edition `number`. If that cannot be done so that watchers see it, it is done all the same.
    fn swap(&self, root: std::os::fd::OwnedFd, number: u64) -> Result<(), Error> {
        let Err(error) = fuse_session::rotate(&self.volume, root, number, PATIENCE) else { return Ok(()) };
        tracing::warn!(%error, "the new files are shown, but programs that watch the directory are not told");
        let notices = self.volume.show(number).map_err(edition::unfit)?;
        self.tell(notices);
        Ok(())
    }

    /// Takes the name of edition `number` away.
    fn remove(&self, number: u64) -> Result<(), Error> {
        let Ok(steps) = self.volume.steps_to_remove(number) else { return Ok(()) };
        let root = self.live.root()?;
        if let Err(error) = fuse_session::take_steps(&self.volume, root, steps, PATIENCE) {
            tracing::debug!(%error, "an old version goes unseen");
            self.tell(self.volume.unname(number));
        }
        Ok(())
    }

    fn tell(&self, notices: Vec<fuse_tree::Notice>) {
        if let Err(error) = self.live.tell(notices) {
            tracing::warn!(%error, "the kernel may show the names of before for a while");
        }
    }

    /// Has the editions that are shown no more lose their names in time.
    fn retire(self: &Arc<Self>, changing: &mut Changing) {
        let named = self.volume.editions().into_iter().filter(|(_, is_named)| *is_named);
        let stale = named.map(|(number, _)| number).filter(|number| *number != changing.number);
        changing.retired.are(stale.map(|number| number.to_string()).collect(), Instant::now());
        if let (Some(due), false) = (changing.retired.first_due(), changing.retired.is_awaited) {
            changing.retired.is_awaited = true;
            let swept: Weak<Self> = Arc::downgrade(self);
            self.sweeper.come_back(due, swept);
        }
    }

    fn replace_in(
        self: &Arc<Self>,
        changing: &mut Changing,
        snapshot: &Snapshot,
        withdrawn: &BTreeSet<ObjectPath>,
    ) -> Result<(), Error> {
        edition::fits(snapshot, self.max_bytes)?;
        let root = self.live.root()?;
        let number = changing.number.saturating_add(1);
        let (edition, shelf) = edition::of(number, snapshot, &self.appearance)?;
        self.volume.add(edition).map_err(edition::unfit)?;
        self.swap(root, number)?;
        (changing.number, changing.shelf) = (number, shelf);
        self.withdraw(withdrawn);
        self.retire(changing);
        Ok(())
    }

    fn withdraw(&self, withdrawn: &BTreeSet<ObjectPath>) {
        if withdrawn.is_empty() {
            return;
        }
        let paths: Vec<&str> = withdrawn.iter().map(ObjectPath::as_str).collect();
        if let Err(error) = self.live.withdraw(&paths) {
            tracing::warn!(%error, "withdrawn files cannot be read, but programs may keep what they mapped");
        }
    }
}

impl Swept for Shown {
    fn sweep(&self) -> Option<Instant> {
        let (mut changing, now) = (self.lock(), Instant::now());
        let due = changing.retired.take_due(now);
        let removed =
            due.iter().filter_map(|number| number.parse().ok()).try_for_each(|number| self.remove(number));
        if let Err(error) = removed {
            tracing::debug!(%error, "tried again later");
            changing.retired.put_back(due, now);
        }
        changing.retired.is_awaited = changing.retired.first_due().is_some();
        changing.retired.first_due()
    }
}

impl Mounted for Arc<Shown> {
    fn mode(&self) -> &'static str {
        NAME
    }

    fn mount_id(&self) -> Option<MountId> {
        self.live.mount_id()
    }

    fn replace(&self, snapshot: &Snapshot, withdrawn: &BTreeSet<ObjectPath>) -> Result<(), Error> {
        self.replace_in(&mut self.lock(), snapshot, withdrawn)
    }

    fn contents(&self) -> Result<Vec<ShownFile>, Error> {
        Ok(self.lock().shelf.read())
    }

    fn usage(&self) -> Result<Usage, Error> {
        let changing = self.lock();
        let inodes = OWN_INODES.saturating_add(changing.shelf.len() as u64);
        Ok(Usage {
            total_bytes: self.max_bytes,
            used_bytes: changing.shelf.bytes(),
            total_inodes: inodes,
            used_inodes: inodes,
        })
    }
}
