//! Files in a tmpfs of their own, laid out as kubelet lays out its Secret volumes:
//! `name → ..data/name`, `..data → ..<moment>`, and the files in `..<moment>`.
//!
//! A rotation writes every file anew, also those that have not changed: a hard link to a published
//! inode would save a page and change what watchers see of it.

mod room;
mod tree;
mod walk;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use provider::ObjectPath;

use self::room::Room;
use self::tree::{Look, Tree};
use super::{Appearance, Mode, Mounted, Prepared, ShownFile, Usage};
use crate::failpoint;
use crate::mounter::{self, Error, MountId, Mounter};
use crate::snapshot::Snapshot;

/// A tmpfs for each volume.
#[derive(Debug, Clone)]
pub struct Tmpfs {
    mounter: Arc<dyn Mounter>,
    max_bytes: u64,
    takes_over: bool,
}

/// A filled tmpfs that is mounted nowhere, and what becomes of it.
#[derive(Debug)]
struct Filled {
    root: OwnedFd,
    shown: Shown,
}

/// A volume that a tmpfs shows.
struct Shown {
    mounter: Arc<dyn Mounter>,
    max_bytes: u64,
    target: PathBuf,
    look: Look,
    /// Tells our file system from one that somebody mounts over it.
    device: u64,
    mount: Option<MountId>,
    /// Held while the files change.
    changing: Mutex<()>,
}

impl Tmpfs {
    /// What a volume may take where nobody says otherwise, in bytes.
    pub const DEFAULT_MAX_BYTES: u64 = 64 << 20;

    /// Volumes that take at most `max_bytes` each, the room for a rotation included.
    pub fn new(mounter: Arc<dyn Mounter>, max_bytes: u64) -> Self {
        Self { mounter, max_bytes, takes_over: false }
    }

    /// Adopts what another driver mounted where kubelet wants a volume of ours: any tmpfs, with kubelet's layout or
    /// with files that a provider wrote by itself. On a plain host such a mount is somebody's, and stays his.
    #[must_use]
    pub fn taking_over(self) -> Self {
        Self { takes_over: true, ..self }
    }

    fn make(&self, snapshot: &Snapshot, appearance: &Appearance) -> Result<OwnedFd, Error> {
        let room =
            Room::for_volume(snapshot, self.max_bytes).map_err(Error::of("make", Path::new("a tmpfs")))?;
        self.mounter.create(&mounter::Tmpfs {
            size: room.bytes,
            inodes: room.inodes,
            mode: Look::of(appearance).directory_mode,
            gid: appearance.fs_group.unwrap_or(0),
            selinux_context: appearance.selinux_context.clone(),
        })
    }

    /// Sets limits where another driver set none.
    fn bound(&self, root: &OwnedFd) -> Result<(), Error> {
        let bounds = Room::to_bound(root.as_fd(), self.max_bytes)
            .map_err(Error::of("look at", Path::new("a tmpfs")))?;
        bounds.map_or(Ok(()), |room| self.mounter.resize(root.as_fd(), room.bytes, room.inodes))
    }

    fn shown(
        &self,
        target: &Path,
        appearance: &Appearance,
        root: &OwnedFd,
        mount: Option<MountId>,
    ) -> io::Result<Shown> {
        Ok(Shown {
            mounter: Arc::clone(&self.mounter),
            max_bytes: self.max_bytes,
            target: target.to_owned(),
            look: Look::of(appearance),
            device: device(root)?,
            mount,
            changing: Mutex::new(()),
        })
    }
}

impl Mode for Tmpfs {
    fn prepare(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        appearance: &Appearance,
    ) -> Result<Box<dyn Prepared>, Error> {
        let root = self.make(snapshot, appearance)?;
        failpoint::hit("mount.created");
        let look = Look::of(appearance);
        Tree::new(root.as_fd(), look).fill(snapshot).map_err(Error::of("write the files of", target))?;
        failpoint::hit("mount.written");
        // A mount keeps its number when it is moved onto its target.
        let mount = MountId::of(&root).ok();
        let shown = self.shown(target, appearance, &root, mount).map_err(Error::of("mount", target))?;
        Ok(Box::new(Filled { root, shown }))
    }

    fn adopt(&self, target: &Path, appearance: &Appearance) -> Result<Option<Box<dyn Mounted>>, Error> {
        let Some(root) = self.mounter.enter(target)? else { return Ok(None) };
        let tree = Tree::new(root.as_fd(), Look::of(appearance));
        let failed = || Error::of("adopt the volume at", target);
        if tree.has_versions().map_err(failed())? {
            tree.tidy().map_err(failed())?;
        } else if !self.takes_over {
            return Ok(None);
        }
        if self.takes_over {
            self.bound(&root)?;
            tree.dress().map_err(failed())?;
        }
        let mount = MountId::at(target).ok().flatten();
        let shown = self.shown(target, appearance, &root, mount).map_err(failed())?;
        Ok(Some(Box::new(shown)))
    }
}

impl Prepared for Filled {
    fn mount_id(&self) -> Option<MountId> {
        self.shown.mount.clone()
    }

    fn show(self: Box<Self>) -> Result<Box<dyn Mounted>, Error> {
        self.shown.mounter.attach(self.root.as_fd(), &self.shown.target)?;
        Ok(Box::new(self.shown))
    }
}

impl Shown {
    fn enter(&self) -> Result<OwnedFd, Error> {
        let entered = self.mounter.enter(&self.target)?;
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

    fn make_room(&self, root: &OwnedFd, snapshot: &Snapshot) -> Result<(), Error> {
        let grown = Room::to_grow(root.as_fd(), snapshot, self.max_bytes);
        match grown.map_err(self.failed("write the files of"))? {
            Some(room) => self.mounter.resize(root.as_fd(), room.bytes, room.inodes),
            None => Ok(()),
        }
    }
}

impl Mounted for Shown {
    fn mount_id(&self) -> Option<MountId> {
        self.mount.clone()
    }

    fn replace(&self, snapshot: &Snapshot, withdrawn: &BTreeSet<ObjectPath>) -> Result<(), Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let root = self.enter()?;
        self.make_room(&root, snapshot)?;
        Tree::new(root.as_fd(), self.look).rotate(snapshot, withdrawn).map_err(self.failed("rotate"))
    }

    fn contents(&self) -> Result<Vec<ShownFile>, Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let root = self.enter()?;
        Tree::new(root.as_fd(), self.look).read().map_err(self.failed("read back"))
    }

    fn usage(&self) -> Result<Usage, Error> {
        let root = self.enter()?;
        room::usage(root.as_fd()).map_err(self.failed("ask for the usage of"))
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

fn device(root: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(root)?.st_dev)
}
