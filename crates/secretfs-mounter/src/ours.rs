//! Which mounts are ours, as the kernel tells of each mount where its file system comes from.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::place::refused;

/// What `/proc/mounts` calls our file systems.
pub const SOURCE: &str = "secretfs";
/// The same for a directory that is lent: it is no volume.
pub const LENT: &str = "secretfs-lent";
/// The kind of our FUSE file systems, as `/proc/mounts` has it.
const FUSE: &str = "fuse.secretfs";
/// The mount table as the calling thread sees it.
pub const TABLE: &str = "/proc/thread-self/mountinfo";
/// Asks the kernel alone, not who serves the file system: that may be a process which hangs.
const KERNEL_ONLY: AtFlags = AtFlags::EMPTY_PATH.union(AtFlags::STATX_DONT_SYNC);
/// Asks for a number that no other mount of this boot ever gets (since Linux 6.8).
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Whether the file system of the mount at the open `directory` is one that we make, and says it comes from `source`.
pub(crate) fn is_ours(directory: &OwnedFd, source: &str) -> io::Result<bool> {
    Ok(attached(directory, |kind, shown| is_file_system_of_ours(kind, shown, source))?.unwrap_or(false))
}

/// Whether the mount at the open `directory` is a FUSE file system of ours. The kernel tells it: who serves it is not
/// asked.
pub(crate) fn is_our_fuse(directory: &OwnedFd) -> io::Result<bool> {
    Ok(attached(directory, |kind, shown| is_fuse_from(kind, shown, SOURCE))?.unwrap_or(false))
}

/// Whether the mount at the open `directory` is a tmpfs of ours.
pub(crate) fn is_our_tmpfs(directory: &OwnedFd) -> io::Result<bool> {
    Ok(attached(directory, |kind, shown| is_tmpfs_from(kind, shown, SOURCE))?.unwrap_or(false))
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

/// What `judge` says of the kind and source of the mount that `directory` lies on; `None` if it is mounted nowhere in
/// this thread's mount namespace.
fn attached(directory: impl AsFd, judge: impl Fn(&OsStr, &OsStr) -> bool) -> io::Result<Option<bool>> {
    if let Some(unique) = unique_number(&directory)?
        && let Ok(found) = sys::mount_by_number(unique)
    {
        return Ok(found.map(|shown| judge(&shown.kind, &shown.source)));
    }
    // An older kernel tells it only in the table of all mounts, which takes longer the more there are.
    let number = mount_number(directory)?;
    let listed = mountinfo::mounts(&std::fs::read(TABLE)?).find(|mount| Some(mount.id) == number);
    Ok(listed.map(|mount| judge(mount.kind.as_ref(), mount.source.as_ref())))
}

/// Refuses a root that no mounter gave. Those that were given are mounted nowhere, and writable.
pub(crate) fn is_given(root: BorrowedFd<'_>) -> io::Result<()> {
    let stranger = || refused("it is no file system that this mounter gave");
    if attached(root, |_, _| true)?.is_some() {
        return Err(stranger());
    }
    // The kernel refuses to change a mount of another namespace.
    sys::make_writable(root).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => stranger(),
        _ => error,
    })
}

/// The number of the mount that `file` lies on, which no other mount of this boot ever gets; `None` before Linux 6.8.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn unique_number(file: impl AsFd) -> io::Result<Option<u64>> {
    number(file, MNT_ID_UNIQUE)
}

/// The number of the mount that `file` lies on, as the mount table has it.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn mount_number(file: impl AsFd) -> io::Result<Option<u64>> {
    number(file, StatxFlags::MNT_ID)
}

fn number(file: impl AsFd, which: StatxFlags) -> io::Result<Option<u64>> {
    let told = rustix::fs::statx(file, "", KERNEL_ONLY, which)?;
    Ok((told.stx_mask & which.bits() != 0).then_some(told.stx_mnt_id))
}

/// Whose the open `directory` is. Who serves its file system is not asked.
pub(crate) fn owner(directory: impl AsFd) -> io::Result<u32> {
    Ok(rustix::fs::statx(directory, "", KERNEL_ONLY, StatxFlags::UID)?.stx_uid)
}

/// Whether something is mounted with its root at the open `directory`.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn is_mount_root(directory: &OwnedFd) -> io::Result<bool> {
    let stat = rustix::fs::statx(directory, "", KERNEL_ONLY, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{Mode, OFlags};

    use super::*;

    #[test]
    fn the_kernel_tells_of_one_mount_what_its_table_of_all_mounts_tells() {
        let table = fs::read(TABLE).unwrap();
        let mut compared = 0;

        for listed in mountinfo::mounts(&table) {
            let Ok(root) = rustix::fs::open(&listed.point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            else {
                continue;
            };
            if mount_number(&root).unwrap() != Some(listed.id) {
                continue; // Another mount hides it.
            }
            let Some(found) = unique_number(&root).unwrap().map(sys::mount_by_number) else {
                continue;
            };
            match found {
                Ok(found) => {
                    let found = found.expect("a mount of this namespace");
                    let is_from = |source: &str| is_tmpfs_from(&found.kind, &found.source, source);
                    assert_eq!(
                        is_from(listed.source.to_str().unwrap()),
                        listed.kind == "tmpfs",
                        "{listed:?}"
                    );
                    assert!(!is_from("another"), "{listed:?}");
                    compared += 1;
                }
                // Linux before 6.8, or before 6.13.
                Err(error) => assert!(
                    matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::OPNOTSUPP)),
                    "{error}"
                ),
            }
        }

        println!("{compared} mounts compared");
    }
}
