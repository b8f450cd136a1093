//! The directory beside a target that a store on this node may put files into.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::place::Place;

/// What the name of a lent directory begins with. A directory of such a name is ours.
const PREFIX: &str = ".secretfs-";

/// Where a directory is lent for the volume at `target`: next to it, where whoever sees the volume sees it too.
pub fn beside(target: &Path) -> PathBuf {
    target.with_file_name(name_for(target.file_name().unwrap_or_default()))
}

pub(super) fn name_for(target: &OsStr) -> OsString {
    let mut name = OsString::from(PREFIX);
    name.push(target);
    name
}

/// Removes the directory and everything below it, never through a link and never across a mount.
pub(super) fn remove(place: &Place) -> io::Result<()> {
    let parent = place.parent().as_fd();
    match empty(parent, place.name()) {
        Ok(()) => Ok(rustix::fs::unlinkat(parent, place.name(), AtFlags::REMOVEDIR)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn empty<N: rustix::path::Arg>(parent: BorrowedFd<'_>, name: N) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            remove_entry(directory.as_fd(), entry.file_name())?;
        }
    }
    Ok(())
}

fn remove_entry(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        };
    }
    empty(parent, name)?;
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
