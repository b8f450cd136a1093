//! The directory beside a target that a store on this node may put files into.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What the name of a lent directory begins with. A directory of such a name is ours.
const PREFIX: &str = ".secretfs-";

/// Where a directory is lent for the volume at `target`: next to it, where whoever sees the volume sees it too.
pub fn beside(target: &Path) -> PathBuf {
    target.with_file_name(name_for(target.file_name().unwrap_or_default()))
}

pub(crate) fn name_for(target: &OsStr) -> OsString {
    let mut name = OsString::from(PREFIX);
    name.push(target);
    name
}
