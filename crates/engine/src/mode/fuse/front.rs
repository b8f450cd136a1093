use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use fuse_tree::{Notice, Volume};
use mounter::MountId;

use crate::mode::{Appearance, Error};

/// How a kernel reaches the files of volumes.
pub trait Front: fmt::Debug + Send + Sync {
    /// Serves `volume`, where nobody sees it yet, to be shown at `target`.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    fn prepare(
        &self,
        target: &Path,
        volume: &Arc<Volume>,
        appearance: &Appearance,
    ) -> Result<Box<dyn Ready>, Error>;

    /// Unmounts what an earlier process made and left at `target`. Nobody serves it any more, so whoever uses it gets
    /// errors. A mount of somebody else stays.
    ///
    /// # Errors
    ///
    /// Something hides it, or the kernel refuses.
    fn clear(&self, target: &Path) -> Result<(), Error>;
}

/// A volume that is served and not seen yet. Dropping it leaves nothing.
pub trait Ready: fmt::Debug + Send {
    /// The mount that it will be seen through; `None` where that is known only later.
    fn mount_id(&self) -> Option<MountId>;

    /// Shows it at its target.
    ///
    /// # Errors
    ///
    /// The kernel refuses. Nothing new is mounted.
    fn show(self: Box<Self>) -> Result<Arc<dyn Live>, Error>;
}

/// A volume that is served and seen. Dropping it leaves it served as long as this process lives.
pub trait Live: fmt::Debug + Send + Sync {
    /// The mount that it is seen through; `None` where that is not known.
    fn mount_id(&self) -> Option<MountId>;

    /// The root of the mount, through which this process makes the changes that watchers see.
    ///
    /// # Errors
    ///
    /// It is not mounted at its target any more.
    fn root(&self) -> Result<OwnedFd, Error>;

    /// Tells the kernel of changes and waits, for a few seconds at most, until it knows.
    ///
    /// # Errors
    ///
    /// It does not know in time, or the volume is mounted nowhere any more.
    fn tell(&self, notices: Vec<Notice>) -> io::Result<()>;

    /// Takes the files at `paths` back: from names, open handles and mappings. Waits as [`tell`](Self::tell) does.
    ///
    /// # Errors
    ///
    /// As of [`tell`](Self::tell). Nobody can open or read the files any more, but mappings may still show them.
    fn withdraw(&self, paths: &[&str]) -> io::Result<()>;
}
