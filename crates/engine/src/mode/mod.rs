//! How a snapshot becomes files: one module for each way.

mod confinement;
mod door;
mod error;
mod fuse;
mod modes;
mod opening;
mod retired;
mod sweeper;
mod tmpfs;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mounter::MountId;
use provider::ObjectPath;

use crate::snapshot::{Made, Snapshot};

pub use confinement::Confinement;
pub use door::{Caller, Door, Listing, Loan};
pub use error::{Cause, Error};
pub use fuse::{Front, Fuse, Inheritance, KeptEdition, Left, Live, Ready};
pub use modes::{Bounds, Modes, Serving, Unknown};
pub use opening::{Due, Opening, Unopened};
pub use tmpfs::Tmpfs;

/// Largest size of a volume in bytes, unless the administrator sets another.
pub const DEFAULT_MAX_BYTES: u64 = Tmpfs::DEFAULT_MAX_BYTES;

/// How the files of a volume look, in addition to the modes that its class sets, whose they are, and who may open them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appearance {
    /// The pod's `fsGroup`, or a host's `--group`: owner group of every file and directory.
    pub fs_group: Option<u32>,
    /// On a host: owner of every file and directory. Only the owner and the group may read them. In a pod there is no
    /// owner: every user in it may read.
    pub owner: Option<u32>,
    /// SELinux label of the whole mount (`context=`), as kubelet passes it.
    pub selinux_context: Option<String>,
    /// Whose volume it is, where it is made: the namespace whose share of what is kept for a later process it takes.
    pub tenant: String,
    /// Which containers may open which files, if the class has rules. Modes that cannot tell containers apart refuse.
    pub access: Option<Confinement>,
    /// Of a volume that an earlier process served: files that nobody may read any more.
    pub withheld: BTreeSet<ObjectPath>,
}

impl Appearance {
    /// Permission bits of a file if the class sets none.
    pub fn file_mode(&self) -> u32 {
        match (self.fs_group, self.owner) {
            (Some(_), _) => 0o440,
            (None, Some(_)) => 0o400,
            (None, None) => 0o644,
        }
    }

    /// Permission bits of every directory.
    pub fn directory_mode(&self) -> u32 {
        match (self.fs_group, self.owner) {
            (Some(_), _) => 0o750,
            (None, Some(_)) => 0o700,
            (None, None) => 0o755,
        }
    }
}

/// The differences between modes that matter to the code which serves their volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether a container that mounts a single file of a volume (`subPath`) sees rotations.
    pub rotates_through_sub_path: bool,
    /// Whether a class may have files read only when they are opened. Nothing else can be made of such files.
    pub asks_when_opened: bool,
}

/// A way of showing a [`Snapshot`] at a path.
pub trait Mode: fmt::Debug + Send + Sync {
    /// The name that classes use, and that the records of volumes keep.
    fn name(&self) -> &'static str;

    /// What the mode can do.
    fn abilities(&self) -> Abilities;

    /// Makes the mount for `target`. Nobody sees it yet.
    ///
    /// # Errors
    ///
    /// The files are too large, or the kernel refuses.
    fn prepare(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        appearance: &Appearance,
    ) -> Result<Box<dyn Prepared>, Error>;

    /// Makes a mount for `target` with the files of `listing`. Nobody sees it yet. The mode asks `door` for the
    /// contents of a file each time that a process opens it, and never before.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the mode cannot [ask when files are opened](Abilities::asks_when_opened).
    fn prepare_on_open(
        &self,
        _target: &Path,
        _listing: &Listing,
        _appearance: &Appearance,
        _door: &Arc<dyn Door>,
    ) -> Result<Box<dyn Prepared>, Error> {
        Err(knows_contents(self.name()))
    }

    /// Mounts `snapshot` at `target`. It is complete from the first moment that anybody sees it.
    ///
    /// # Errors
    ///
    /// As [`Prepared::show`].
    fn mount(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        appearance: &Appearance,
    ) -> Result<Box<dyn Mounted>, Error> {
        self.prepare(target, snapshot, appearance)?.show()
    }

    /// Takes over the mount that an earlier process made at `target`. Completes or undoes work that the process left
    /// unfinished. `None` if nothing of ours is mounted there.
    ///
    /// # Errors
    ///
    /// The mount cannot be entered or cleaned up. Calling again is safe.
    fn adopt(&self, target: &Path, appearance: &Appearance) -> Result<Option<Box<dyn Mounted>>, Error>;

    /// Goes on with volumes that an earlier process served itself, before anybody else asks for files there. Tells which
    /// of them nobody can serve any more. What an earlier process left of other volumes is let go.
    ///
    /// # Errors
    ///
    /// Who keeps what was left cannot be asked. Nothing is let go.
    fn resume(&self, _volumes: &[(PathBuf, Appearance)]) -> Result<Vec<Lost>, Error> {
        Ok(Vec::new())
    }

    /// The volume at `target` has ended: nothing of it is handed to a later process.
    fn forget(&self, _target: &Path) {}

    /// In how many volumes the kernel is told of a change and has not taken it for more than a second.
    fn stuck(&self) -> usize {
        0
    }

    /// Whether anything is mounted at `target`. Costs one system call.
    ///
    /// # Errors
    ///
    /// The path cannot be looked at. A missing path is no error.
    fn is_mounted(&self, target: &Path) -> Result<bool, Error> {
        Ok(mounter::is_mount_root(target)?)
    }

    /// As [`Mode::is_mounted`], without waiting. `None` if that cannot be told at once.
    fn is_mounted_at_once(&self, target: &Path) -> Option<bool> {
        mounter::is_mount_root_at_once(target)
    }
}

/// A volume that is mounted and that nobody can serve any more: whoever uses it gets errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Where it is mounted.
    pub target: PathBuf,
    /// Why nobody can, for people.
    pub why: String,
}

/// A volume that nobody sees yet. Dropping it leaves nothing behind.
pub trait Prepared: fmt::Debug + Send {
    /// The identity of the mount, already before anybody sees it. `None` if the kernel does not tell.
    fn mount_id(&self) -> Option<MountId>;

    /// Shows the volume at its target. Makes the target if it is missing, but not its parent.
    ///
    /// # Errors
    ///
    /// The target stays as it was: nothing new is mounted there, and no new directory is left.
    fn show(self: Box<Self>) -> Result<Box<dyn Mounted>, Error>;
}

/// A mounted volume. Dropping it leaves the mount in place, so that a restart
/// does not take secrets from running pods.
pub trait Mounted: fmt::Debug + Send + Sync {
    /// The [name](Mode::name) of the mode that shows it.
    fn mode(&self) -> &'static str;

    /// The identity of the mount, in the mount table of this process. `None` if it is not known.
    fn mount_id(&self) -> Option<MountId>;

    /// Shows `snapshot` from now on. Readers see either all of the old snapshot or all of the new one. Files in
    /// `withdrawn` are taken back: open handles on them read end of file.
    ///
    /// # Errors
    ///
    /// The old snapshot is still shown, complete. [`Error::is_too_large`] tells whether the new one is too large.
    fn replace(&self, snapshot: &Snapshot, withdrawn: &BTreeSet<ObjectPath>) -> Result<(), Error>;

    /// Shows the files of `listing` from now on, and asks `door` for their contents. Called if the class was edited, or
    /// if this process took the volume over. For volumes that [ask when files are opened](Mode::prepare_on_open).
    ///
    /// # Errors
    ///
    /// The old files are still shown, or the mode cannot ask.
    fn list(&self, _listing: &Listing, _door: &Arc<dyn Door>) -> Result<(), Error> {
        Err(knows_contents(self.mode()))
    }

    /// Lets containers open files by these rules from now on, or everybody without rules. It may ask the mounter.
    ///
    /// # Errors
    ///
    /// The mode cannot tell containers apart, or not now. The rules of before hold.
    fn confine(&self, confinement: Option<&Confinement>) -> Result<(), Error> {
        confinement.map_or(Ok(()), |_| Err(confinement::unjudged(self.mode())))
    }

    /// Takes what is known of those who opened files, for the audit trail. Waits for nobody. Nothing where the kernel alone
    /// knows, or nobody wants to.
    fn take_opens(&self, _due: Due) -> Vec<Opening> {
        Vec::new()
    }

    /// The files that are shown were made of this. For volumes that this process took over: so [`Opening`]s say it.
    fn made_of(&self, _made: &[Made]) {}

    /// Whether [`take_opens`](Self::take_opens) tells of every open.
    fn knows_opens(&self) -> bool {
        false
    }

    /// Reads the shown files back, with their modes. A new process learns so what a volume shows. Empty for a volume
    /// that [asks when files are opened](Mode::prepare_on_open).
    ///
    /// # Errors
    ///
    /// The mount cannot be read, or holds something that no snapshot has.
    fn contents(&self) -> Result<Vec<ShownFile>, Error>;

    /// The space that the volume uses, and its limits.
    ///
    /// # Errors
    ///
    /// The file system cannot be asked.
    fn usage(&self) -> Result<Usage, Error>;
}

/// The name of a version's directory, as kubelet makes its own: the moment, and digits that make it unique.
fn version_name() -> String {
    format!("{}.{}", jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S"), fastrand::u64(..))
}

fn knows_contents(mode: &str) -> Error {
    Error::Failed(format!("mode {mode} knows what files hold before they are opened").into())
}

/// A file as a mount shows it.
#[derive(Debug, Clone)]
pub struct ShownFile {
    /// Its path in the volume.
    pub path: ObjectPath,
    /// Its contents.
    pub contents: provider::SecretBytes,
    /// Its permission bits.
    pub mode: u32,
}

/// Bytes and inodes of a volume, as `NodeGetVolumeStats` reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes the volume may hold.
    pub total_bytes: u64,
    /// Bytes it holds.
    pub used_bytes: u64,
    /// Inodes the volume may hold.
    pub total_inodes: u64,
    /// Inodes it holds.
    pub used_inodes: u64,
}
