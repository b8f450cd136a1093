//! What may be done for a caller who is not trusted to choose: only what is known to be ours by itself.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mountinfo::Mount;
use rustix::fs::StatxFlags;
use rustix::io::Errno;

use super::local::{absent, unmount_all, unmount_one};
use super::place::{Place, Reach, is_mount_root};
use super::{identity, kubelet, table};

/// Unmounts all that is stacked at `place`; or only what came from `source`, where no more is in reach.
pub(super) fn unmount_in_reach(place: &Place, source: &str) -> io::Result<()> {
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
pub(super) fn is_ours(directory: &OwnedFd, source: &str) -> io::Result<bool> {
    Ok(attached(directory)?.is_some_and(|mount| table::is_from(&mount, source)))
}

/// The mount of the open `directory`, as this thread's mount table has it; `None` if it is mounted nowhere here.
fn attached(directory: impl AsFd) -> io::Result<Option<Mount>> {
    identity::asked(directory, StatxFlags::MNT_ID)?.map_or(Ok(None), table::by_number)
}

/// Refuses a root that no mounter gave. Those that were given are mounted nowhere, and writable.
pub(super) fn given(root: BorrowedFd<'_>) -> io::Result<()> {
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
