//! The files of a volume: kubelet's layout, written, rotated, tidied and read back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use provider::ObjectPath;
use rustix::fs::{AtFlags, Gid, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Appearance, ShownFile};
use super::walk::{self, foreign, open_directory};
use crate::failpoint;
use crate::snapshot::{self, Snapshot};

/// The link that every file is read through: it names the directory of the current version.
const DATA: &str = "..data";
/// The next `..data`, until it is renamed.
const NEXT_DATA: &str = "..data_tmp";
/// What every name begins with that is not a file's own.
const OWN: &str = "..";

/// Owner group and default modes of a volume's files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    gid: Option<u32>,
    pub(super) directory_mode: u32,
    file_mode: u32,
}

impl Look {
    pub(super) fn of(appearance: &Appearance) -> Self {
        match appearance.fs_group {
            Some(gid) => Self { gid: Some(gid), directory_mode: 0o750, file_mode: 0o440 },
            None => Self { gid: None, directory_mode: 0o755, file_mode: 0o644 },
        }
    }

    fn give(self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        if let Some(gid) = self.gid {
            rustix::fs::fchown(file, None, Some(Gid::from_raw(gid)))?;
        }
        // Said again, since the umask took its part of what the file was made with.
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
    }
}

/// The writable root of a volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    look: Look,
}

/// What the root holds.
#[derive(Debug)]
pub(super) struct Listing {
    /// Names that begin with `..`, other than `..data`.
    own: Vec<String>,
    /// Links that show files.
    shown: BTreeSet<String>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, look: Look) -> Self {
        Self { root, look }
    }

    /// Writes the first version into an empty root.
    pub(super) fn fill(&self, snapshot: &Snapshot) -> io::Result<()> {
        let version = self.write(snapshot)?;
        self.link(&version, DATA)?;
        tops(snapshot).iter().try_for_each(|top| self.link(&behind_data(top), top))
    }

    /// Shows `snapshot` instead of the current version, and empties the files of old versions that are `withdrawn`.
    pub(super) fn rotate(&self, snapshot: &Snapshot, withdrawn: &BTreeSet<ObjectPath>) -> io::Result<()> {
        let before = self.tidy()?;
        self.swap(snapshot, &before).inspect_err(|_| {
            let _ = self.tidy();
        })?;
        if !withdrawn.is_empty() {
            let withdrawn: BTreeSet<&str> = withdrawn.iter().map(ObjectPath::as_str).collect();
            self.empty_all(&before.own, &|path| withdrawn.contains(path))?;
        }
        failpoint::hit("rotate.truncated");
        self.remove_all(&before.own)
    }

    /// Whatever can fail is done before anything that a reader sees changes.
    /// Names appear after what they lead to and vanish before it, so that none ever dangles.
    fn swap(&self, snapshot: &Snapshot, before: &Listing) -> io::Result<()> {
        let wanted = tops(snapshot);
        let added: Vec<&str> = wanted.iter().copied().filter(|top| !before.shown.contains(*top)).collect();
        let version = self.write(snapshot)?;
        failpoint::hit("rotate.written");
        self.link(&version, NEXT_DATA)?;
        for (index, top) in added.iter().enumerate() {
            self.link(&behind_data(top), &next_link(index))?;
        }
        failpoint::hit("rotate.staged");
        for top in before.shown.iter().filter(|top| !wanted.contains(top.as_str())) {
            self.unlink(top)?;
        }
        failpoint::hit("rotate.hidden");
        self.rename(NEXT_DATA, DATA)?;
        failpoint::hit("rotate.swapped");
        for (index, top) in added.iter().enumerate() {
            self.rename(&next_link(index), top)?;
        }
        failpoint::hit("rotate.shown");
        Ok(())
    }

    /// The directory that is shown, if this is a volume of ours.
    pub(super) fn current(&self) -> io::Result<Option<String>> {
        match rustix::fs::readlinkat(self.root, DATA, Vec::new()) {
            Ok(name) => Ok(Some(name.into_string().map_err(|_| foreign(DATA))?)),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Brings the root back in line with `..data`, whatever a rotation that ended in its middle left.
    ///
    /// Files that are no longer shown are emptied: whether they were withdrawn is not known any more.
    pub(super) fn tidy(&self) -> io::Result<Listing> {
        let current = self.current()?.ok_or_else(|| foreign(DATA))?;
        let version = open_directory(self.root, &current)?;
        let found = self.list()?;
        let (own, stale): (Vec<_>, Vec<_>) = found.own.into_iter().partition(|name| *name == current);
        self.empty_all(&stale, &|path| !walk::exists(version.as_fd(), path))?;
        self.remove_all(&stale)?;
        let shown = walk::entries(version.as_fd())?.into_iter().map(|entry| entry.name).collect();
        self.align(&found.shown, &shown)?;
        Ok(Listing { own, shown })
    }

    fn align(&self, shown: &BTreeSet<String>, wanted: &BTreeSet<String>) -> io::Result<()> {
        shown.difference(wanted).try_for_each(|name| self.unlink(name))?;
        wanted.difference(shown).try_for_each(|name| self.link(&behind_data(name), name))
    }

    /// Every file of the current version.
    pub(super) fn read(&self) -> io::Result<Vec<ShownFile>> {
        let current = self.current()?.ok_or_else(|| foreign(DATA))?;
        walk::read(open_directory(self.root, &current)?.as_fd())
    }

    fn list(&self) -> io::Result<Listing> {
        let names = walk::entries(self.root)?.into_iter().map(|entry| entry.name).filter(|name| name != DATA);
        let (own, shown): (Vec<String>, Vec<String>) = names.partition(|name| name.starts_with(OWN));
        Ok(Listing { own, shown: shown.into_iter().collect() })
    }

    /// Writes `snapshot` into a new directory and tells its name.
    fn write(&self, snapshot: &Snapshot) -> io::Result<String> {
        let name = version_name();
        let version = self.make_directory(self.root, &name)?;
        let mut parent = ("", version.try_clone()?);
        for (path, file) in snapshot.iter() {
            let (directory, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
            // Files of one directory stand together in path order.
            if directory != parent.0 {
                parent = (directory, self.make_directories(&version, directory)?);
            }
            self.write_file(&parent.1, name, file)?;
        }
        Ok(name)
    }

    fn make_directories(&self, version: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(version.try_clone()?, |parent, name| self.make_directory(parent.as_fd(), name))
    }

    fn make_directory(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {
                let directory = open_directory(parent, name)?;
                self.look.give(directory.as_fd(), self.look.directory_mode)?;
                Ok(directory)
            }
            Err(Errno::EXIST) => open_directory(parent, name),
            Err(error) => Err(error.into()),
        }
    }

    fn write_file(&self, directory: &OwnedFd, name: &str, file: &snapshot::File) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut written = File::from(written);
        written.write_all(file.contents.expose())?;
        self.look.give(written.as_fd(), file.mode.map_or(self.look.file_mode, |mode| mode.bits()))
    }

    fn link(&self, to: &str, name: &str) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(to, self.root, name)?)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self.root, name, AtFlags::empty())?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(self.root, from, self.root, to)?)
    }

    /// Empties what `emptied` says in the versions among `names`.
    fn empty_all(&self, names: &[String], emptied: &dyn Fn(&str) -> bool) -> io::Result<()> {
        names.iter().try_for_each(|name| walk::empty(self.root, name, emptied))
    }

    fn remove_all(&self, names: &[String]) -> io::Result<()> {
        names.iter().try_for_each(|name| walk::remove(self.root, name))
    }
}

fn tops(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.iter().map(|(path, _)| path.top()).collect()
}

fn behind_data(top: &str) -> String {
    format!("{DATA}/{top}")
}

/// The name of a link until what it leads to is there.
fn next_link(index: usize) -> String {
    format!("..link_tmp-{index}")
}

/// As kubelet names its own: the moment, and digits that make it unique.
fn version_name() -> String {
    format!("{}.{}", jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S"), fastrand::u64(..))
}
