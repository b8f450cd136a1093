//! Walking through the directories of a volume, always relative to an open directory.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use provider::{ObjectPath, SecretBytes};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::ShownFile;

/// How deep directories are read: no object's path is longer.
const MOST_DIRECTORIES: usize = 16;

/// A name in a directory.
pub(super) struct Entry {
    pub(super) name: String,
    kind: FileType,
}

/// The entries of `directory`.
pub(super) fn entries(directory: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in Dir::new(open_directory(directory, ".")?)? {
        let entry = entry?;
        let name = entry.file_name().to_str().map_err(|_| foreign("a name that is no UTF-8"))?;
        if name != "." && name != ".." {
            found.push(Entry { name: name.to_owned(), kind: entry.file_type() });
        }
    }
    Ok(found)
}

pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

pub(super) fn exists(directory: BorrowedFd<'_>, path: &str) -> bool {
    rustix::fs::statat(directory, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Whether `name` is a directory, and not a link to one.
pub(super) fn is_directory(parent: BorrowedFd<'_>, name: &str) -> bool {
    kind(parent, name).is_ok_and(|kind| kind == FileType::Directory)
}

/// Every file below `version`.
pub(super) fn read(version: BorrowedFd<'_>) -> io::Result<Vec<ShownFile>> {
    read_below(version, "")
}

/// Every file below `root` that somebody wrote without our layout: names that begin with `own` are left out. Skips
/// entries that are neither files nor directories, or whose name no object can have.
pub(super) fn read_plain(root: BorrowedFd<'_>, own: &str) -> io::Result<Vec<ShownFile>> {
    let mut files = Vec::new();
    for Entry { name, kind } in entries(root)?.into_iter().filter(|entry| !entry.name.starts_with(own)) {
        let found = match kind {
            FileType::RegularFile => read_one(root, &name, &name).map(|file| vec![file]),
            FileType::Directory => read_below(open_directory(root, &name)?.as_fd(), &format!("{name}/")),
            _ => continue,
        };
        match found {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            found => files.extend(found?),
        }
    }
    Ok(files)
}

fn read_below(directory: BorrowedFd<'_>, above: &str) -> io::Result<Vec<ShownFile>> {
    let mut files = Vec::new();
    each_file(directory, above, &mut |directory, name, path| {
        files.push(read_one(directory, name, path)?);
        Ok(())
    })?;
    Ok(files)
}

fn read_one(directory: BorrowedFd<'_>, name: &str, path: &str) -> io::Result<ShownFile> {
    let path =
        ObjectPath::try_from(path).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    read_file(path, File::from(open_file(directory, name, OFlags::RDONLY)?))
}

fn read_file(path: ObjectPath, mut file: File) -> io::Result<ShownFile> {
    let stat = rustix::fs::fstat(&file)?;
    if stat.st_size > stat.st_blocks * 512 {
        return Err(foreign("a file with holes"));
    }
    // Large enough from the start, because a buffer that grows leaves copies of the secret behind.
    let mut contents = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0) + 1);
    file.read_to_end(&mut contents)?;
    Ok(ShownFile { path, contents: SecretBytes::new(contents), mode: stat.st_mode & 0o777 })
}

/// Empties the files below the directory `name` for which `emptied` is true. Does nothing if `name` is not a directory.
pub(super) fn empty(parent: BorrowedFd<'_>, name: &str, emptied: &dyn Fn(&str) -> bool) -> io::Result<()> {
    if kind(parent, name)? != FileType::Directory {
        return Ok(());
    }
    each_file(open_directory(parent, name)?.as_fd(), "", &mut |directory, name, path| {
        if emptied(path) {
            rustix::fs::ftruncate(open_file(directory, name, OFlags::WRONLY)?, 0)?;
        }
        Ok(())
    })
}

/// Removes `name`, with everything in it if it is a directory.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let kind = kind(parent, name)?;
    remove_entry(parent, &Entry { name: name.to_owned(), kind })
}

fn remove_entry(parent: BorrowedFd<'_>, entry: &Entry) -> io::Result<()> {
    if entry.kind != FileType::Directory {
        return Ok(rustix::fs::unlinkat(parent, &entry.name, AtFlags::empty())?);
    }
    let directory = open_directory(parent, &entry.name)?;
    entries(directory.as_fd())?.iter().try_for_each(|entry| remove_entry(directory.as_fd(), entry))?;
    Ok(rustix::fs::unlinkat(parent, &entry.name, AtFlags::REMOVEDIR)?)
}

/// Calls `visit` with the directory, name and path of every file below `directory`.
fn each_file(
    directory: BorrowedFd<'_>,
    above: &str,
    visit: &mut dyn FnMut(BorrowedFd<'_>, &str, &str) -> io::Result<()>,
) -> io::Result<()> {
    if above.split('/').count() > MOST_DIRECTORIES {
        return Err(foreign("a directory so deep"));
    }
    for entry in entries(directory)? {
        let path = format!("{above}{}", entry.name);
        match entry.kind {
            FileType::RegularFile => visit(directory, &entry.name, &path)?,
            FileType::Directory => {
                each_file(open_directory(directory, &entry.name)?.as_fd(), &format!("{path}/"), visit)?;
            }
            _ => return Err(foreign(&path)),
        }
    }
    Ok(())
}

fn kind(parent: BorrowedFd<'_>, name: &str) -> io::Result<FileType> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    Ok(FileType::from_raw_mode(stat.map_err(io::Error::from)?.st_mode))
}

fn open_file(directory: BorrowedFd<'_>, name: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, access | flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let place = rustix::fs::openat(directory, name, OFlags::PATH | flags, Mode::empty())?;
            open_own(&place, access)
        }
        opened => opened,
    }
}

/// Opens the file at `place`.
pub(super) fn open_place(place: &OwnedFd, access: OFlags) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    match rustix::fs::open(&path, access | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::ACCESS) => open_own(place, access),
        opened => opened,
    }
}

/// Opens a file of this user whose mode does not let him: it has another mode for a moment.
fn open_own(place: &OwnedFd, access: OFlags) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let mode = Mode::from_raw_mode(rustix::fs::fstat(place)?.st_mode);
    rustix::fs::chmod(&path, mode | Mode::RUSR | Mode::WUSR)?;
    let opened = rustix::fs::open(&path, access | OFlags::CLOEXEC, Mode::empty());
    rustix::fs::chmod(&path, mode)?;
    opened
}

/// The error if a volume holds something that we do not write.
pub(super) fn foreign(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not as secretfs writes it"))
}
