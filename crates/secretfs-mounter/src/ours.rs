//! Which mounts are ours, as the kernel tells of each mount where its file system comes from.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use mountinfo::FileSystem;
use rustix::io::Errno;

use crate::place::refused;

/// What `/proc/mounts` calls our file systems.
pub const SOURCE: &str = "secretfs";
/// The same for a directory that is lent: it is no volume.
pub const LENT: &str = "secretfs-lent";
/// The kind of our FUSE file systems, as `/proc/mounts` has it.
const FUSE: &str = "fuse.secretfs";

/// Whether the file system of the mount at the open `directory` is one that we make, and says it comes from `source`.
pub(crate) fn is_ours(directory: &OwnedFd, source: &str) -> io::Result<bool> {
    judged(directory, |shown| is_file_system_of_ours(&shown.kind, &shown.source, source))
}

/// Whether the mount at the open `directory` is a FUSE file system of ours.
pub(crate) fn is_our_fuse(directory: &OwnedFd) -> io::Result<bool> {
    judged(directory, |shown| is_fuse_from(&shown.kind, &shown.source, SOURCE))
}

/// Whether the mount at the open `directory` is a tmpfs of ours.
pub(crate) fn is_our_tmpfs(directory: &OwnedFd) -> io::Result<bool> {
    judged(directory, |shown| is_tmpfs_from(&shown.kind, &shown.source, SOURCE))
}

fn judged(directory: &OwnedFd, judge: impl Fn(&FileSystem) -> bool) -> io::Result<bool> {
    Ok(mountinfo::mounted_at(directory)?.is_some_and(|shown| judge(&shown)))
}

/// Whether a file system of this `kind` from `shown` is one that we make, and says it comes from `source`.
pub fn is_file_system_of_ours(kind: &OsStr, shown: &OsStr, source: &str) -> bool {
    is_tmpfs_from(kind, shown, source) || is_fuse_from(kind, shown, source)
}

/// The table of mounts has the whole name. Of a single mount the kernel tells the part before the dot.
fn is_fuse_from(kind: &OsStr, shown: &OsStr, source: &str) -> bool {
    (kind == FUSE || kind == "fuse") && shown == source
}

/// Whether a file system of this `kind` from `shown` is a tmpfs that says it comes from `source`.
fn is_tmpfs_from(kind: &OsStr, shown: &OsStr, source: &str) -> bool {
    kind == "tmpfs" && shown == source
}

/// Refuses a root that no mounter gave. Those that were given are mounted nowhere, and writable.
pub(crate) fn is_given(root: BorrowedFd<'_>) -> io::Result<()> {
    let stranger = || refused("it is no file system that this mounter gave");
    if mountinfo::mounted_at(root)?.is_some() {
        return Err(stranger());
    }
    // The kernel refuses to change a mount of another namespace.
    sys::make_writable(root).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => stranger(),
        _ => error,
    })
}
