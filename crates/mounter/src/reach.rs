//! What may be done for a caller who is not trusted to choose: only what is known to be ours by itself.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::StatxFlags;
use rustix::io::Errno;
use sys::MountedFileSystem;

use crate::identity::MNT_ID_UNIQUE;
use crate::local::{absent, unmount_all, unmount_one};
use crate::place::{Place, Reach, is_mount_root};
use crate::table::is_tmpfs_from;
use crate::{identity, kubelet, table};

/// Unmounts all that is stacked at `place`; or only what came from `source`, where no more is in reach.
pub(crate) fn unmount_in_reach(place: &Place, source: &str) -> io::Result<()> {
    match place.reach() {
        Reach::All => unmount_all(place),
        Reach::Ours => unmount_ours(place, source),
    }
}

/// Refuses where something else is mounted on top.
fn unmount_ours(place: &Place, source: &str) -> io::Result<()> {
    while let Some(directory) = absent(place.open())? {
        if !is_mount_root(&directory)? {
            break;
        }
        if !is_ours(&directory, source)? {
            return Err(kubelet::unnamed());
        }
        drop(directory);
        unmount_one(place)?;
    }
    Ok(())
}

/// Whether the file system of the mount at the open `directory` is a tmpfs that says it comes from `source`.
pub(crate) fn is_ours(directory: &OwnedFd, source: &str) -> io::Result<bool> {
    Ok(attached(directory)?.is_some_and(|shown| is_tmpfs_from(&shown.kind, &shown.source, source)))
}

/// What the mount of the open `directory` shows; `None` if it is mounted nowhere in this thread's mount namespace.
fn attached(directory: impl AsFd) -> io::Result<Option<MountedFileSystem>> {
    if let Some(unique) = identity::asked(&directory, MNT_ID_UNIQUE)?
        && let Ok(found) = sys::mount_by_number(unique)
    {
        return Ok(found);
    }
    // An older kernel tells it only in the table of all mounts, which takes longer the more there are.
    identity::asked(directory, StatxFlags::MNT_ID)?.map_or(Ok(None), table::by_number)
}

/// Refuses a root that no mounter gave. Those that were given are mounted nowhere, and writable.
pub(crate) fn given(root: BorrowedFd<'_>) -> io::Result<()> {
    if attached(root)?.is_some() {
        return Err(stranger());
    }
    // The kernel refuses to change a mount of another namespace.
    sys::make_writable(root).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => stranger(),
        _ => error,
    })
}

fn stranger() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "it is no file system that this mounter gave")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{Mode, OFlags};

    use super::*;

    #[test]
    fn the_kernel_tells_of_one_mount_what_its_table_of_all_mounts_tells() {
        let table = fs::read("/proc/thread-self/mountinfo").unwrap();
        let mut compared = 0;

        for listed in mountinfo::mounts(&table) {
            let Ok(root) = rustix::fs::open(&listed.point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            else {
                continue;
            };
            if identity::asked(&root, StatxFlags::MNT_ID).unwrap() != Some(listed.id) {
                continue; // Another mount hides it.
            }
            let Some(found) = identity::asked(&root, MNT_ID_UNIQUE).unwrap().map(sys::mount_by_number) else {
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
