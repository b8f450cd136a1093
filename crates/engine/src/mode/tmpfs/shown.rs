//! A volume in its tmpfs, from its mount to its end.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use mounter::{Error, MountId, Mounter};
use provider::ObjectPath;

use super::room::{self, Room};
use super::tree::{Look, Tree};
use super::{NAME, device, enter};
use crate::mode::retired::Retired;
use crate::mode::sweeper::{Sweeper, Swept};
use crate::mode::{self, Mounted, ShownFile, Usage};
use crate::snapshot::Snapshot;

/// A volume that a tmpfs shows.
pub(super) struct Shown {
    pub(super) mounter: Arc<dyn Mounter>,
    pub(super) max_bytes: u64,
    pub(super) takes_over: bool,
    pub(super) sweeper: Arc<Sweeper>,
    pub(super) target: PathBuf,
    pub(super) look: Look,
    /// The device number, which differs from that of a file system that somebody mounts over ours.
    pub(super) device: u64,
    pub(super) mount: Option<MountId>,
    /// Locked while the files change. The versions that are kept although they are no longer shown.
    pub(super) changing: Mutex<Retired>,
}

impl Shown {
    fn enter(&self) -> Result<OwnedFd, Error> {
        let entered = enter(&self.mounter, &self.target, self.takes_over)?;
        let gone = |reason: &str| Err(io::Error::new(io::ErrorKind::NotFound, reason.to_owned()));
        let ours = match entered {
            None => gone("the volume is not mounted there any more"),
            Some(root) => match device(&root) {
                Ok(device) if device == self.device => Ok(root),
                Ok(_) => gone("something else is mounted there now"),
                Err(error) => Err(error),
            },
        };
        ours.map_err(Error::of("enter the volume at", &self.target))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        Error::of(action, &self.target)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Retired> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for `snapshot` in the tmpfs below `root`, in addition to what it holds. If the volume would become
    /// too large, removes the old versions that are kept for a moment because a process may be about to open one. Waits
    /// until their time is over, or removes them at once if the new snapshot withdraws files.
    fn make_room(
        &self,
        root: &OwnedFd,
        retired: &mut Retired,
        snapshot: &Snapshot,
        takes_back: bool,
    ) -> Result<(), Error> {
        let to_grow = || Room::to_grow(root.as_fd(), snapshot, self.max_bytes);
        let grown = match (to_grow(), retired.last_due()) {
            (Err(_), Some(due)) => {
                let pause = if takes_back { None } else { due.checked_duration_since(Instant::now()) };
                thread::sleep(pause.unwrap_or_default());
                self.remove(root, &retired.take_due(due)).and_then(|()| to_grow())
            }
            (grown, _) => grown,
        };
        match grown.map_err(self.failed("write the files of"))? {
            Some(room) => self.mounter.resize(root.as_fd(), room.bytes, room.inodes),
            None => Ok(()),
        }
    }

    fn remove(&self, root: &OwnedFd, names: &[String]) -> io::Result<()> {
        Tree::new(root.as_fd(), self.look).remove_stale(names)
    }

    /// Notes the versions that are no longer shown, and makes the sweeper remove them in time.
    pub(super) fn retire(self: &Arc<Self>, tree: &Tree<'_>, retired: &mut Retired) {
        match tree.stale() {
            Ok(stale) => retired.are(stale, Instant::now()),
            Err(error) => tracing::warn!(%error, "old versions stay until the next rotation"),
        }
        if let (Some(due), false) = (retired.first_due(), retired.is_awaited) {
            retired.is_awaited = true;
            let swept: Weak<Self> = Arc::downgrade(self);
            self.sweeper.come_back(due, swept);
        }
    }
}

impl Swept for Shown {
    fn sweep(&self) -> Option<Instant> {
        let (mut retired, now) = (self.lock(), Instant::now());
        let due = retired.take_due(now);
        // A rotation may already have removed them to make room.
        let removed = if due.is_empty() {
            Ok(())
        } else {
            self.enter()
                .and_then(|root| self.remove(&root, &due).map_err(self.failed("remove an old version of")))
        };
        if let Err(error) = removed {
            tracing::debug!(%error, "tried again later");
            retired.put_back(due, now);
        }
        retired.is_awaited = retired.first_due().is_some();
        retired.first_due()
    }
}

impl Mounted for Arc<Shown> {
    fn mode(&self) -> &'static str {
        NAME
    }

    fn mount_id(&self) -> Option<MountId> {
        self.mount.clone()
    }

    fn replace(&self, snapshot: &Snapshot, withdrawn: &BTreeSet<ObjectPath>) -> Result<(), mode::Error> {
        let mut retired = self.lock();
        let root = self.enter()?;
        self.make_room(&root, &mut retired, snapshot, !withdrawn.is_empty())?;
        let (tree, now) = (Tree::new(root.as_fd(), self.look), Instant::now());
        tree.rotate(snapshot, withdrawn, &|name| retired.spares(name, now)).map_err(self.failed("rotate"))?;
        self.retire(&tree, &mut retired);
        Ok(())
    }

    fn contents(&self) -> Result<Vec<ShownFile>, mode::Error> {
        let _changing = self.lock();
        let root = self.enter()?;
        Ok(Tree::new(root.as_fd(), self.look).read().map_err(self.failed("read back"))?)
    }

    fn usage(&self) -> Result<Usage, mode::Error> {
        let root = self.enter()?;
        Ok(room::usage(root.as_fd()).map_err(self.failed("ask for the usage of"))?)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown")
            .field("target", &self.target)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
