//! Volumes that processes left mounted: `mount --once`, or a process that was killed.

use std::fs;
use std::path::Path;

use engine::volume::record::{self, VolumeRecord};
use mounter::MountId;

/// A mounted volume that no process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its record in the state directory.
    pub record: VolumeRecord,
    /// The mount that is visible at its target.
    pub mount: MountId,
}

/// Every mounted volume below the host's state directory, whether a process serves it or not. Records without a mount
/// are skipped.
pub fn left(state: &Path) -> Vec<Left> {
    let Ok(entries) = fs::read_dir(state.join("mounts")) else { return Vec::new() };
    let directories = entries.flatten().map(|entry| entry.path());
    directories.flat_map(|directory| record::all_of(&directory)).filter_map(mounted).collect()
}

fn mounted(record: VolumeRecord) -> Option<Left> {
    let mount = mount_of(&record)?;
    Some(Left { record, mount })
}

/// Checks that no mount that the records in `directory` name is hidden under another mount at `target`.
///
/// # Errors
///
/// A mount is hidden. The mount on top of it must go first.
pub fn none_hidden(target: &Path, directory: &Path) -> Result<(), mounter::Error> {
    let mut mounts = record::all_of(directory).into_iter().filter_map(|record| record.mount);
    mounts.try_for_each(|mount| mounter::not_hidden(target, &mount))
}

/// The mount of `record`, if it is visible at its target. The records of earlier versions name no mount. For those, it
/// is the mount at the target that is called like ours and carries no mark, as `mounter::earlier_at` finds it.
fn mount_of(record: &VolumeRecord) -> Option<MountId> {
    let seen = MountId::at(&record.target).ok()??;
    match &record.mount {
        Some(mount) => (*mount == seen).then_some(seen),
        None => mounter::earlier_at(&record.target).ok().flatten(),
    }
}

impl Left {
    /// The volume whose state is in `directory`, if it is mounted.
    pub fn of(directory: &Path) -> Option<Self> {
        record::all_of(directory).into_iter().find_map(mounted)
    }
}
