//! Files that a process serves itself, over FUSE, in kubelet's layout.
//!
//! Other than a tmpfs it shows rotations through single files that a container mounts (`subPath`), and takes withdrawn
//! files from open handles and mappings within moments. Its price: programs read nothing while no process serves them.
//!
//! [`Front`] is how a kernel reaches the files. What they show is decided here, and is the same for every front.

mod edition;
mod front;
mod kernel;
mod shown;

use std::path::Path;
use std::sync::Arc;

use fuse_tree::{AllowAll, Look, Volume};
use mounter::{MountId, Mounter};

use self::kernel::Kernel;
use self::shown::Shown;
use super::sweeper::Sweeper;
use super::{Abilities, Appearance, Error, Mode, Mounted, Prepared};
use crate::snapshot::Snapshot;

pub use front::{Front, Live, Ready};

/// What a class calls it.
const NAME: &str = "fuse";

/// A FUSE file system for each volume.
#[derive(Debug, Clone)]
pub struct Fuse {
    front: Arc<dyn Front>,
    max_bytes: u64,
    sweeper: Arc<Sweeper>,
}

/// A volume that is served and not seen yet.
#[derive(Debug)]
struct Served {
    ready: Box<dyn Ready>,
    volume: Arc<Volume>,
    appearance: Appearance,
    max_bytes: u64,
    sweeper: Arc<Sweeper>,
    first: edition::Shelf,
}

impl Fuse {
    /// Volumes of at most `max_bytes` each, room for a rotation included, that this process serves from few threads for
    /// all of them. `mounter` makes the mounts.
    pub fn new(mounter: Arc<dyn Mounter>, max_bytes: u64) -> Self {
        Self::through(Arc::new(Kernel::new(mounter)), max_bytes)
    }

    /// Volumes of at most `max_bytes` each, that kernels reach through `front`.
    pub fn through(front: Arc<dyn Front>, max_bytes: u64) -> Self {
        Self { front, max_bytes, sweeper: Arc::default() }
    }
}

impl Mode for Fuse {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Whoever keeps a file of an edition that is gone finds the one that is shown.
    fn abilities(&self) -> Abilities {
        Abilities { rotates_through_sub_path: true, knows_contents_when_opened: false }
    }

    fn prepare(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        appearance: &Appearance,
    ) -> Result<Box<dyn Prepared>, Error> {
        edition::fits(snapshot, self.max_bytes)?;
        let volume = Arc::new(Volume::new(&name_of(target), look(appearance), Arc::new(AllowAll)));
        let (edition, first) = edition::of(edition::FIRST, snapshot, appearance)?;
        volume.add(edition).map_err(edition::unfit)?;
        // Nobody has asked for anything yet, so there is nobody to tell.
        volume.show(edition::FIRST).map_err(edition::unfit)?;
        let ready = self.front.prepare(target, &volume, appearance)?;
        let (appearance, sweeper) = (appearance.clone(), Arc::clone(&self.sweeper));
        Ok(Box::new(Served { ready, volume, appearance, max_bytes: self.max_bytes, sweeper, first }))
    }

    /// What an earlier process served ended with that process, so its mount is taken away.
    fn adopt(&self, target: &Path, _: &Appearance) -> Result<Option<Box<dyn Mounted>>, Error> {
        self.front.clear(target)?;
        Ok(None)
    }
}

impl Prepared for Served {
    fn mount_id(&self) -> Option<MountId> {
        self.ready.mount_id()
    }

    fn show(self: Box<Self>) -> Result<Box<dyn Mounted>, Error> {
        let Self { ready, volume, appearance, max_bytes, sweeper, first } = *self;
        let live = ready.show()?;
        Ok(Box::new(Arc::new(Shown::new(live, volume, appearance, max_bytes, sweeper, first))))
    }
}

/// A part of all numbers of the volume's files. Nobody sees it.
fn name_of(target: &Path) -> String {
    target.to_string_lossy().into_owned()
}

/// Whatever group nobody chose is this process's, as of files that it makes in a tmpfs.
fn look(appearance: &Appearance) -> Look {
    Look {
        uid: appearance.owner.unwrap_or(0),
        gid: appearance.fs_group.unwrap_or_else(|| rustix::process::getegid().as_raw()),
        directory_mode: appearance.directory_mode(),
    }
}
