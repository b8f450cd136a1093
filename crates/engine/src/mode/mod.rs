//! How a snapshot becomes files: one module for each way.

mod door;
mod error;
mod fuse;
mod modes;
mod retired;
mod sweeper;
mod tmpfs;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mounter::MountId;
use provider::ObjectPath;

use crate::snapshot::Snapshot;

pub use door::{Caller, Door, Listing, Loan};
pub use error::{Cause, Error};
pub use fuse::{Front, Fuse, Inheritance, KeptEdition, Left, Live, Ready};
pub use modes::{Bounds, Modes, Serving, Unknown};
pub use tmpfs::Tmpfs;

/// What a volume may take where nobody says otherwise, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = Tmpfs::DEFAULT_MAX_BYTES;

/// How a volume's files look, beside what its class says of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appearance {
    /// The pod's `fsGroup`, or a host's `--group`: owner group of every file and directory.
    pub fs_group: Option<u32>,
    /// On a host: owner of every file and directory, which nobody else but the group may read. In a pod whoever runs
    /// in it may.
    pub owner: Option<u32>,
    /// SELinux label of the whole mount (`context=`), as kubelet passes it.
    pub selinux_context: Option<String>,
}

impl Appearance {
    /// Permission bits of a file whose class says none.
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

/// What is different between modes for who serves their volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// A container that mounts a single file of a volume (`subPath`) sees its rotations.
    pub rotates_through_sub_path: bool,
    /// What a file holds may not be known before it is opened: nobody can make anything else of the files. A class may
    /// have them fetched only then.
    pub knows_contents_when_opened: bool,
}

/// A way of showing a [`Snapshot`] at a path.
pub trait Mode: fmt::Debug + Send + Sync {
    /// The name that a class chooses it by, and that is written down with its volumes.
    fn name(&self) -> &'static str;

    /// What it can.
    fn abilities(&self) -> Abilities;

    /// Makes what is to be shown at `target`, where nobody sees it yet.
    ///
    /// # Errors
    ///
    /// The set is too large, or the kernel refuses.
    fn prepare(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        appearance: &Appearance,
    ) -> Result<Box<dyn Prepared>, Error>;

    /// Makes the files of `listing` for `target`, where nobody sees them yet. What one of them holds is asked for at
    /// `door` each time that somebody opens it, and before that by nobody.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the mode [knows contents](Abilities::knows_contents_when_opened) before.
    fn prepare_on_open(
        &self,
        _target: &Path,
        _listing: &Listing,
        _appearance: &Appearance,
        _door: &Arc<dyn Door>,
    ) -> Result<Box<dyn Prepared>, Error> {
        Err(knows_contents(self.name()))
    }

    /// Mounts `snapshot` at `target`, complete from the first moment that it can be seen.
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

    /// Takes over what an earlier process mounted at `target`, and finishes or undoes what it died in the middle
    /// of; `None` if nothing of ours is mounted there.
    ///
    /// # Errors
    ///
    /// The mount cannot be entered or tidied; calling again is safe.
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

    /// Whether anything is mounted at `target`. Costs one system call.
    ///
    /// # Errors
    ///
    /// The path cannot be asked for another reason than that it is missing.
    fn is_mounted(&self, target: &Path) -> Result<bool, Error> {
        Ok(mounter::is_mount_root(target)?)
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

/// A volume that nobody sees yet. Dropping it leaves nothing.
pub trait Prepared: fmt::Debug + Send {
    /// The mount that it will be seen through, from before anybody sees it; `None` where the kernel does not tell.
    fn mount_id(&self) -> Option<MountId>;

    /// Shows it at its target, which is made if it is missing (its parent is not).
    ///
    /// # Errors
    ///
    /// What is at the target stays as it is: nothing new is mounted there, and there is no directory that was
    /// not there before.
    fn show(self: Box<Self>) -> Result<Box<dyn Mounted>, Error>;
}

/// A mounted volume. Dropping it leaves the mount in place, so that a restart
/// does not take secrets from running pods.
pub trait Mounted: fmt::Debug + Send + Sync {
    /// The [name](Mode::name) of the mode that shows it.
    fn mode(&self) -> &'static str;

    /// The mount that it is seen through, as this process sees the mount table; `None` where that is not known.
    fn mount_id(&self) -> Option<MountId>;

    /// Shows `snapshot` from now on. Readers see all of the old one or all of the new.
    /// Files in `withdrawn` are taken back: handles that are held on them read end of file.
    ///
    /// # Errors
    ///
    /// The old snapshot is still shown, whole. [`Error::is_too_large`] where it is the size that keeps the new one out.
    fn replace(&self, snapshot: &Snapshot, withdrawn: &BTreeSet<ObjectPath>) -> Result<(), Error>;

    /// Shows the files of `listing` from now on, of a volume that was [made to ask](Mode::prepare_on_open), and asks at
    /// `door` what they hold: the class was edited, or this process took the volume over.
    ///
    /// # Errors
    ///
    /// The old files are still shown, or the mode does not ask.
    fn list(&self, _listing: &Listing, _door: &Arc<dyn Door>) -> Result<(), Error> {
        Err(knows_contents(self.mode()))
    }

    /// Reads back the files that are shown, with their modes: what a new process knows of a volume it adopts. None of
    /// a volume that was [made to ask](Mode::prepare_on_open).
    ///
    /// # Errors
    ///
    /// The mount cannot be read or holds something that no snapshot does.
    fn contents(&self) -> Result<Vec<ShownFile>, Error>;

    /// What the volume takes and may take.
    ///
    /// # Errors
    ///
    /// The mount cannot be asked.
    fn usage(&self) -> Result<Usage, Error>;
}

/// The name of a version's directory, as kubelet makes its own: the moment, and digits that make it unique.
fn version_name() -> String {
    format!("{}.{}", jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S"), fastrand::u64(..))
}

fn knows_contents(mode: &str) -> Error {
    Error::Failed(format!("mode {mode} knows what files hold before they are opened").into())
}

/// A file as it is shown by a mount.
#[derive(Debug, Clone)]
pub struct ShownFile {
    /// Where.
    pub path: ObjectPath,
    /// What it holds.
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
