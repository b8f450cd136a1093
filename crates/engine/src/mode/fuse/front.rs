use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use callers::Processes;
use fuse_session::TakeStep;
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

    /// Whether anything is mounted at `target`.
    ///
    /// # Errors
    ///
    /// The path cannot be looked at.
    fn is_mounted(&self, target: &Path) -> Result<bool, Error> {
        Ok(mounter::is_mount_root(target)?)
    }

    /// The threads that may ask for files, by the numbers that the kernel tells of them.
    ///
    /// # Errors
    ///
    /// Who knows them cannot be asked, or nobody knows them.
    fn processes(&self) -> Result<Arc<Processes>, Error> {
        Err(Error::Failed("who opens a file cannot be told here".into()))
    }

    /// Whether somebody [keeps](Ready::keep) what the next process needs to serve the volumes further.
    fn hands_over(&self) -> bool {
        false
    }

    /// What an earlier process left at `target`. It asks nobody for files there.
    ///
    /// # Errors
    ///
    /// Who keeps it cannot be asked.
    fn left(&self, _target: &Path) -> Result<Left, Error> {
        Ok(Left::Nothing)
    }

    /// Whatever was left was asked for, and is served or is of no use: nothing else is kept any longer.
    fn settle(&self) {}

    /// The volume at `target` has ended: nothing of it is kept any longer.
    fn forget(&self, _target: &Path) {}

    /// In how many volumes the kernel is told of a change and has not taken it for more than a second.
    fn stuck(&self) -> usize {
        0
    }
}

/// What an earlier process left of a volume.
#[derive(Debug)]
pub enum Left {
    /// Nothing is mounted.
    Nothing,
    /// A mount that nobody can serve: whoever uses it gets errors. Says why.
    Dead(String),
    /// A mount that this process can serve.
    Alive(Box<dyn Inheritance>),
}

/// A mount that an earlier process served.
pub trait Inheritance: fmt::Debug + Send {
    /// The editions that it handed over, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// Who keeps them cannot be asked.
    fn editions(&self) -> Result<Vec<KeptEdition>, Error>;

    /// Serves `volume` in that mount: who waits there is answered from now on.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    fn resume(self: Box<Self>, volume: &Arc<Volume>) -> Result<Arc<dyn Live>, Error>;
}

/// An edition as it is kept.
#[derive(Debug)]
pub struct KeptEdition {
    /// The words about it.
    pub about: Vec<u8>,
    /// Its values.
    pub values: OwnedFd,
}

/// A volume that is served and not seen yet. Dropping it leaves nothing.
pub trait Ready: fmt::Debug + Send {
    /// The mount that it will be seen through; `None` where that is known only later.
    fn mount_id(&self) -> Option<MountId>;

    /// Has edition `number` kept for the next process.
    ///
    /// # Errors
    ///
    /// Nobody keeps it.
    fn keep(&self, _number: u64, _about: &[u8], _values: BorrowedFd<'_>) -> Result<(), Error> {
        Ok(())
    }

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

    /// Has edition `number` kept for the next process, in place of what was kept of it.
    ///
    /// # Errors
    ///
    /// Nobody keeps it.
    fn keep(&self, _number: u64, _about: &[u8], _values: BorrowedFd<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Who makes these changes below `root` in the stead of this process; nobody where it does that itself.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    fn changed_by(&self, _root: &OwnedFd) -> io::Result<Option<Arc<dyn TakeStep>>> {
        Ok(None)
    }

    /// Whether it is mounted at its target. Nobody is asked for files.
    fn is_there(&self) -> bool {
        self.root().is_ok()
    }

    /// Has edition `number` kept no longer.
    fn forget(&self, _number: u64) {}

    /// Tells the kernel of changes and waits, for a few seconds at most, until it knows.
    ///
    /// # Errors
    ///
    /// It does not know in time, or the volume is mounted nowhere any more.
    fn tell(&self, notices: Vec<Notice>) -> io::Result<()>;

    /// Has the kernel drop the pages that it keeps of the file at `path` for mappings, soon. Waits for nobody.
    /// `of_earlier` if an earlier process may have given it some.
    ///
    /// # Errors
    ///
    /// Too much is to be told already, or the volume has ended. The pages stay until a handle of the file goes.
    fn drop_pages(&self, path: &str, of_earlier: bool) -> io::Result<()>;

    /// Takes the files at `paths` back: from names, open handles and mappings. Waits as [`tell`](Self::tell) does.
    ///
    /// # Errors
    ///
    /// As of [`tell`](Self::tell). Nobody can open or read the files any more, but mappings may still show them.
    fn withdraw(&self, paths: &[&str]) -> io::Result<()>;
}
