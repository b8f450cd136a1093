//! Files in a tmpfs of their own, laid out as kubelet lays out its Secret volumes:
//! `name → ..data/name`, `..data → ..<moment>`, and the files in `..<moment>`.
//!
//! A rotation writes every file anew, also those that have not changed: a hard link to a published
//! inode would save a page and change what watchers see of it.

mod room;
mod shown;
mod tree;
mod walk;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use mounter::{Error, MountId, Mounter};
use program::failpoint;

use self::room::Room;
use self::shown::Shown;
use self::tree::{Look, Tree};
use super::retired::GRACE;
use super::sweeper::Sweeper;
use super::{Abilities, Appearance, Mode, Mounted, Prepared};
use crate::mode;
use crate::snapshot::Snapshot;

/// What a class calls it.
const NAME: &str = "tmpfs";

/// A tmpfs for each volume.
#[derive(Debug, Clone)]
pub struct Tmpfs {
    mounter: Arc<dyn Mounter>,
    max_bytes: u64,
    takes_over: bool,
    sweeper: Arc<Sweeper>,
}

/// A filled tmpfs that is not mounted anywhere yet, and the volume that it becomes.
#[derive(Debug)]
struct Filled {
    /// What is attached. Files may have been written through another mount.
    root: OwnedFd,
    shown: Shown,
}

impl Tmpfs {
    /// Largest size of a volume in bytes, unless the administrator sets another.
    pub const DEFAULT_MAX_BYTES: u64 = 64 << 20;

    /// Makes volumes of at most `max_bytes` each, including the room for a rotation.
    pub fn new(mounter: Arc<dyn Mounter>, max_bytes: u64) -> Self {
        Self { mounter, max_bytes, takes_over: false, sweeper: Arc::default() }
    }

    /// Also adopts a tmpfs that another driver mounted at the target, with kubelet's layout or with files that a
    /// provider wrote itself. Not for plain hosts: there, such a mount belongs to somebody else.
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
            mode: self.look(appearance).root_mode(),
            gid: appearance.fs_group.unwrap_or(0),
            selinux_context: appearance.selinux_context.clone(),
        })
    }

    fn look(&self, appearance: &Appearance) -> Look {
        Look::of(appearance, !self.mounter.makes_files_of_root())
    }

    /// Sets limits if another driver set none.
    fn bound(&self, root: &OwnedFd) -> Result<(), Error> {
        let bounds = Room::to_bound(root.as_fd(), self.max_bytes)
            .map_err(Error::of("look at", Path::new("a tmpfs")))?;
        bounds.map_or(Ok(()), |room| self.mounter.resize(root.as_fd(), room.bytes, room.inodes))
    }

    fn shown(&self, target: &Path, look: Look, root: &OwnedFd, mount: Option<MountId>) -> io::Result<Shown> {
        Ok(Shown {
            mounter: Arc::clone(&self.mounter),
            max_bytes: self.max_bytes,
            takes_over: self.takes_over,
            sweeper: Arc::clone(&self.sweeper),
            target: target.to_owned(),
            look,
            device: device(root)?,
            mount,
            changing: Mutex::default(),
        })
    }
}

impl Mode for Tmpfs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_mounted(&self, target: &Path) -> Result<bool, mode::Error> {
        Ok(self.mounter.look(target)?.is_some())
    }

    /// Each version has inodes of its own, and a bind mount of a file keeps the old inode.
    fn abilities(&self) -> Abilities {
        Abilities { rotates_through_sub_path: false, asks_when_opened: false }
    }

    fn prepare(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        appearance: &Appearance,
    ) -> Result<Box<dyn Prepared>, mode::Error> {
        let root = self.make(snapshot, appearance)?;
        failpoint::hit("mount.created");
        let (look, own) = (self.look(appearance), self.mounter.writable(root.as_fd())?);
        let tree = Tree::new(own.as_ref().unwrap_or(&root).as_fd(), look);
        let filled = tree.dress().and_then(|()| tree.fill(snapshot));
        filled.map_err(Error::of("write the files of", target))?;
        failpoint::hit("mount.written");
        // A mount keeps its number when it is moved onto its target.
        let mount = MountId::of(&root).ok();
        let shown = self.shown(target, look, &root, mount).map_err(Error::of("mount", target))?;
        Ok(Box::new(Filled { root, shown }))
    }

    fn adopt(&self, target: &Path, appearance: &Appearance) -> Result<Option<Box<dyn Mounted>>, mode::Error> {
        let Some(root) = enter(&self.mounter, target, self.takes_over)? else { return Ok(None) };
        let failed = || Error::of("adopt the volume at", target);
        let look = self.look(appearance).within(root.as_fd()).map_err(failed())?;
        let tree = Tree::new(root.as_fd(), look);
        if tree.has_versions().map_err(failed())? {
            tidy(&tree).map_err(failed())?;
        } else if !self.takes_over {
            return Ok(None);
        }
        if self.takes_over {
            self.bound(&root)?;
            tree.dress().map_err(failed())?;
        }
        let mount = self.mounter.mounted_at(target).ok().flatten();
        let shown = Arc::new(self.shown(target, look, &root, mount).map_err(failed())?);
        shown.retire(&tree, &mut shown.lock());
        Ok(Some(Box::new(shown)))
    }
}

/// The writable root of the mount at `target`. With `takes_over`, also of a mount that another driver made.
fn enter(mounter: &Arc<dyn Mounter>, target: &Path, takes_over: bool) -> Result<Option<OwnedFd>, Error> {
    match mounter.enter(target)? {
        None if takes_over && mounter.look(target)?.is_some() => mounter.take_over(target),
        entered => Ok(entered),
    }
}

/// Cleans up after an earlier process. A version that it may have shown a moment ago stays for now.
fn tidy(tree: &Tree<'_>) -> io::Result<()> {
    let is_fresh = tree.was_swapped_within(GRACE)?;
    if is_fresh {
        tree.empty_what_is_hidden()?;
    }
    tree.tidy(&|_| is_fresh).map(drop)
}

impl Prepared for Filled {
    fn mount_id(&self) -> Option<MountId> {
        self.shown.mount.clone()
    }

    fn show(self: Box<Self>) -> Result<Box<dyn Mounted>, mode::Error> {
        self.shown.mounter.attach(self.root.as_fd(), &self.shown.target)?;
        Ok(Box::new(Arc::new(self.shown)))
    }
}

fn device(root: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(root)?.st_dev)
}
