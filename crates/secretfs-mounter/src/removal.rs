//! Removes what lies on the node's own disk where a volume, or what is lent for one, should have been mounted: never
//! through a link, never across a mount (what is mounted below is somebody's live data).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::place::{Place, Reach, path_of};

/// Deepest directory below a target: no provider writes deeper.
const MAX_DEPTH: usize = 32;

/// Removes the directory at `place`, where nothing is mounted any more, and, if it is one that kubelet gave to a CSI
/// driver, what another driver or a provider of its left in it.
///
/// By the CSI specification the target is the driver's to make and to remove; kubelet removes no directory that
/// holds something, and the pod would never end.
pub(crate) fn remove_target(place: &Place) -> io::Result<()> {
    if place.remove_directory()? || place.reach != Reach::Volume {
        return Ok(());
    }
    let files = remove(place)?;
    tracing::warn!(
        volume = %std::fs::read_link(path_of(&place.parent)).unwrap_or_default().display(), files,
        "another driver left files on this node's disk where a volume was to be mounted; they are removed, \
         and the secrets in them should be changed"
    );
    Ok(())
}

/// Removes the directory at `place`, if it is there, and all that it holds. Tells how many files that was.
///
/// # Errors
///
/// Something is mounted below it, or the kernel refuses.
pub fn remove(place: &Place) -> io::Result<usize> {
    if place.remove_directory()? {
        return Ok(0);
    }
    let removed = empty(open(place.parent.as_fd(), &place.name)?.as_fd(), MAX_DEPTH)?;
    place.remove_directory()?;
    Ok(removed)
}

/// Removes all that `directory` holds, and tells how many files that was.
fn empty(directory: BorrowedFd<'_>, depth: usize) -> io::Result<usize> {
    let depth = depth.checked_sub(1).ok_or_else(|| refused("directories are nested too deeply in it"))?;
    let mut removed = 0;
    for (name, kind) in entries(directory)? {
        let (below, flags) = match kind {
            FileType::Directory => (empty(open(directory, &name)?.as_fd(), depth)?, AtFlags::REMOVEDIR),
            _ => (1, AtFlags::empty()),
        };
        match rustix::fs::unlinkat(directory, &*name, flags) {
            // Who wrote it may be at it still.
            Ok(()) | Err(Errno::NOENT) => removed += below,
            Err(error) => return Err(in_the_way(error)),
        }
    }
    Ok(removed)
}

fn entries(directory: BorrowedFd<'_>) -> io::Result<Vec<(OsString, FileType)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            entries.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(entries)
}

fn open(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve).map_err(in_the_way)
}

fn in_the_way(error: Errno) -> io::Error {
    match error {
        Errno::XDEV | Errno::BUSY => refused("something is mounted below it; unmount that"),
        other => other.into(),
    }
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, reason.to_owned())
}
