//! What processes left mounted: `mount --once`, or one that was killed.

use std::fs;
use std::path::Path;

use engine::volume::record::{self, VolumeRecord};
use mounter::MountId;

/// A volume that no process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What is known of it.
    pub record: VolumeRecord,
    /// The mount that it is seen through.
    pub mount: MountId,
}

/// Every volume below the host's state directory that is mounted, whoever serves it. Records of what is not
/// mounted any more are passed over.
pub fn left(state: &Path) -> Vec<Left> {
    let Ok(entries) = fs::read_dir(state.join("mounts")) else { return Vec::new() };
    let directories = entries.flatten().map(|entry| entry.path());
    directories.flat_map(|directory| record::all_of(&directory)).filter_map(mounted).collect()
}

fn mounted(record: VolumeRecord) -> Option<Left> {
    let mount = mount_of(&record)?;
    Some(Left { record, mount })
}

/// Looks whether a mount that the records in `directory` tell of is at `target` and hidden.
///
/// # Errors
///
/// One is: what lies over it must go first.
pub fn none_hidden(target: &Path, directory: &Path) -> Result<(), mounter::Error> {
    let mut mounts = record::all_of(directory).into_iter().filter_map(|record| record.mount);
    mounts.try_for_each(|mount| mounter::not_hidden(target, &mount))
}

/// The mount of `record`, if it is seen at its target. Records of earlier versions tell no mount; what is mounted
/// there under our name and says nothing else is what they mean.
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
