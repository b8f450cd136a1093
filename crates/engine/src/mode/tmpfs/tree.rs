//! The files of a volume: kubelet's layout, written, rotated, tidied and read back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use program::failpoint;
use provider::ObjectPath;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::super::{Appearance, ShownFile};
use super::walk::{self, foreign, open_directory};
use crate::mode::version_name;
use crate::snapshot::{self, Snapshot};

/// The link that every file is read through: it names the directory of the current version.
const DATA: &str = "..data";
/// The next `..data`, until it is renamed.
const NEXT_DATA: &str = "..data_tmp";
/// The beginning of the name of a directory that stood where our link stands now.
const REPLACED: &str = "..replaced-";
/// The beginning of every name that does not show a file.
const OWN: &str = "..";

/// Whether a name of ours must stay although it shows no file.
pub(super) type Spared<'a> = &'a dyn Fn(&str) -> bool;

/// Owner, group and default modes of a volume's files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    uid: Option<u32>,
    gid: Option<u32>,
    pub(super) directory_mode: u32,
    file_mode: u32,
    /// Whether files get owner and group from where they are made, because this process may not change these.
    inherits: bool,
    /// Whether everybody who gets to a file may do what its group may: it has not the group that is wished, and nobody but
    /// that group gets there.
    stands_for_group: bool,
}

/// A directory gives its group to what is made in it.
const SET_GID: u32 = 0o2000;

impl Look {
    /// `inherits`: whether this process may not change owners and groups.
    pub(super) fn of(appearance: &Appearance, inherits: bool) -> Self {
        Self {
            uid: appearance.owner,
            gid: appearance.fs_group,
            directory_mode: appearance.directory_mode(),
            file_mode: appearance.file_mode(),
            inherits,
            stands_for_group: false,
        }
    }

    /// Mode of the root of a volume.
    pub(super) fn root_mode(self) -> u32 {
        if self.inherits && self.gid.is_some() { self.directory_mode | SET_GID } else { self.directory_mode }
    }

    /// The same, for a volume that somebody else made, whose root is `root`: root's process, or another driver. If what is made
    /// there does not get the group that is wished, files are open to whom they were open to before, by the mode of the root.
    pub(super) fn within(self, root: BorrowedFd<'_>) -> io::Result<Self> {
        let stat = rustix::fs::fstat(root)?;
        let gives = |gid| gid == stat.st_gid && stat.st_mode & SET_GID != 0;
        if !self.inherits || self.gid.is_none_or(gives) {
            return Ok(self);
        }
        let stands_for_group = stat.st_mode & 0o007 == 0;
        Ok(Self { stands_for_group, ..Self::of(&Appearance::default(), true) })
    }

    fn mode_of(self, file: &snapshot::File) -> u32 {
        let mode = file.mode.map_or(self.file_mode, |mode| mode.bits());
        if self.stands_for_group { mode | (mode & 0o070) >> 3 } else { mode }
    }

    fn give(self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        if !self.inherits && (self.uid.is_some() || self.gid.is_some()) {
            rustix::fs::fchown(file, self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw))?;
        }
        // Set again, because the umask removed some bits when the file was made.
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
    }
}

/// The writable root of a volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    look: Look,
}

/// The version that `..data` names.
#[derive(Debug)]
struct Version {
    name: String,
    directory: OwnedFd,
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

    /// Shows `snapshot` instead of the current version, and empties `withdrawn` files in old versions. The current
    /// version becomes a [stale](Self::stale) one and stays, as do other stale ones that are `spared`.
    pub(super) fn rotate(
        &self,
        snapshot: &Snapshot,
        withdrawn: &BTreeSet<ObjectPath>,
        spared: Spared<'_>,
    ) -> io::Result<()> {
        let Some(version) = self.current()? else { return self.begin(snapshot, withdrawn, spared) };
        let before = self.tidy_beside(version, spared)?;
        self.swap(snapshot, &before).inspect_err(|_| {
            let _ = self.tidy(spared);
        })?;
        if !withdrawn.is_empty() {
            let withdrawn: BTreeSet<&str> = withdrawn.iter().map(ObjectPath::as_str).collect();
            self.empty_all(&before.own, &|path| withdrawn.contains(path))?;
        }
        failpoint::hit("rotate.truncated");
        Ok(())
    }

    /// Names of ours that show no file: versions that were shown, and leftovers of interrupted rotations.
    pub(super) fn stale(&self) -> io::Result<Vec<String>> {
        let current = self.current()?.map(|version| version.name);
        Ok(self.list()?.own.into_iter().filter(|name| Some(name) != current.as_ref()).collect())
    }

    /// Removes these stale names, with everything in them. Missing names are no error.
    pub(super) fn remove_stale(&self, names: &[String]) -> io::Result<()> {
        names.iter().try_for_each(|name| match walk::remove(self.root, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
    }

    /// Whether another version may have been shown within `time`. This depends on the wall clock, which somebody may
    /// have set back.
    pub(super) fn was_swapped_within(&self, time: Duration) -> io::Result<bool> {
        let stat = rustix::fs::statat(self.root, DATA, AtFlags::SYMLINK_NOFOLLOW)?;
        let swapped = jiff::Timestamp::new(stat.st_ctime, i32::try_from(stat.st_ctime_nsec).unwrap_or(0));
        let age = swapped.map(|swapped| jiff::Timestamp::now().duration_since(swapped));
        Ok(age.is_ok_and(|age| age.is_negative() || age.unsigned_abs() < time))
    }

    /// Does everything that can fail before it changes anything that a reader sees. Names appear after the files that
    /// they point to, and vanish before them, so no name ever dangles.
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

    /// Writes the first version into a root whose files somebody wrote without our layout, and then replaces these
    /// files.
    fn begin(
        &self,
        snapshot: &Snapshot,
        withdrawn: &BTreeSet<ObjectPath>,
        spared: Spared<'_>,
    ) -> io::Result<()> {
        self.remove_all(&self.list()?.own)?;
        let version = self.write(snapshot)?;
        failpoint::hit("rotate.written");
        self.link(&version, NEXT_DATA)?;
        self.rename(NEXT_DATA, DATA)?;
        failpoint::hit("rotate.swapped");
        withdrawn.iter().for_each(|path| self.empty_plain(path));
        self.tidy(spared).map(drop)
    }

    /// Empties a file outside of our layout. It may be gone, or be a link.
    fn empty_plain(&self, path: &ObjectPath) {
        let (flags, resolve) =
            (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS);
        if let Ok(place) = rustix::fs::openat2(self.root, path.as_path(), flags, Mode::empty(), resolve)
            && let Ok(file) = walk::open_place(&place, OFlags::WRONLY)
        {
            let _ = rustix::fs::ftruncate(file, 0);
        }
    }

    /// Whether the root has our layout, or kubelet's, which is the same.
    pub(super) fn has_versions(&self) -> io::Result<bool> {
        Ok(self.current()?.is_some())
    }

    /// The version that is shown, if there is one. If somebody else wrote the link, it may point anywhere.
    fn current(&self) -> io::Result<Option<Version>> {
        let name = match rustix::fs::readlinkat(self.root, DATA, Vec::new()) {
            Ok(name) => name.into_string().unwrap_or_default(),
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !name.starts_with(OWN) || name == OWN || name.contains('/') {
            return Ok(None);
        }
        match open_directory(self.root, &name) {
            Ok(directory) => Ok(Some(Version { name, directory })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the root match `..data` again, after any interrupted rotation.
    ///
    /// Empties files that are no longer shown, because it is not known any more whether they were withdrawn.
    /// Directories that are `spared` stay.
    pub(super) fn tidy(&self, spared: Spared<'_>) -> io::Result<Listing> {
        let version = self.current()?.ok_or_else(|| foreign(DATA))?;
        self.tidy_beside(version, spared)
    }

    /// Empties files that are no longer shown, also in versions that will be spared. For a process that does not know
    /// which files were withdrawn.
    pub(super) fn empty_what_is_hidden(&self) -> io::Result<()> {
        let version = self.current()?.ok_or_else(|| foreign(DATA))?;
        self.empty_all(&self.stale()?, &|path| !walk::exists(version.directory.as_fd(), path))
    }

    fn tidy_beside(&self, version: Version, spared: Spared<'_>) -> io::Result<Listing> {
        let Version { name: current, directory } = version;
        let found = self.list()?;
        let stays = |name: &String| *name == current || (spared(name) && walk::is_directory(self.root, name));
        let (own, stale): (Vec<_>, Vec<_>) = found.own.into_iter().partition(stays);
        self.empty_all(&stale, &|path| !walk::exists(directory.as_fd(), path))?;
        self.remove_all(&stale)?;
        let shown = walk::entries(directory.as_fd())?.into_iter().map(|entry| entry.name).collect();
        self.align(&found.shown, &shown)?;
        Ok(Listing { own, shown })
    }

    fn align(&self, found: &BTreeSet<String>, wanted: &BTreeSet<String>) -> io::Result<()> {
        found.difference(wanted).try_for_each(|name| walk::remove(self.root, name))?;
        wanted.difference(found).try_for_each(|name| self.link(&behind_data(name), name))?;
        found
            .intersection(wanted)
            .filter(|name| !self.is_linked(name))
            .try_for_each(|name| self.replace(name))
    }

    fn is_linked(&self, name: &str) -> bool {
        let leads_to = rustix::fs::readlinkat(self.root, name, Vec::new());
        leads_to.is_ok_and(|leads_to| leads_to.to_bytes() == behind_data(name).as_bytes())
    }

    /// Puts our link in the place of something else with its name, so that one of the two always exists. A directory
    /// becomes a stale one, because a process may be about to open it.
    fn replace(&self, name: &str) -> io::Result<()> {
        let next = format!("{REPLACED}{}", fastrand::u64(..));
        self.link(&behind_data(name), &next)?;
        rustix::fs::renameat_with(self.root, &next, self.root, name, RenameFlags::EXCHANGE)?;
        if walk::is_directory(self.root, &next) { Ok(()) } else { walk::remove(self.root, &next) }
    }

    /// Reads every file that is shown.
    pub(super) fn read(&self) -> io::Result<Vec<ShownFile>> {
        match self.current()? {
            Some(version) => walk::read(version.directory.as_fd()),
            None => walk::read_plain(self.root, OWN),
        }
    }

    /// Sets owner, group and mode of the root, which somebody else may have made.
    pub(super) fn dress(&self) -> io::Result<()> {
        // The descriptor of the root was opened as a path only, which does not allow a change of mode.
        let root = open_directory(self.root, ".")?;
        let (stat, mode) = (rustix::fs::fstat(&root)?, self.look.root_mode());
        if self.look.inherits {
            // It has owner and group from its mount. Set again, the mode would lose what gives the group to files.
            let is_dressed = stat.st_mode & 0o7777 == mode || stat.st_mode & SET_GID != 0;
            return if is_dressed { Ok(()) } else { self.look.give(root.as_fd(), mode) };
        }
        let is_dressed = stat.st_mode & 0o7777 == mode
            && self.look.uid.is_none_or(|uid| uid == stat.st_uid)
            && self.look.gid.is_none_or(|gid| gid == stat.st_gid);
        if is_dressed { Ok(()) } else { self.look.give(root.as_fd(), mode) }
    }

    fn list(&self) -> io::Result<Listing> {
        let names = walk::entries(self.root)?.into_iter().map(|entry| entry.name).filter(|name| name != DATA);
        let (own, shown): (Vec<String>, Vec<String>) = names.partition(|name| name.starts_with(OWN));
        Ok(Listing { own, shown: shown.into_iter().collect() })
    }

    /// Writes `snapshot` into a new directory and returns its name.
    fn write(&self, snapshot: &Snapshot) -> io::Result<String> {
        let name = version_name();
        let version = make_directory(self.root, &name)?;
        let mut parent = ("", version.try_clone()?);
        let mut made = BTreeSet::new();
        for (path, file) in snapshot.iter() {
            let (directory, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
            // In path order, the files of one directory are next to each other.
            if directory != parent.0 {
                parent = (directory, make_directories(&version, directory, &mut made)?);
            }
            self.write_file(&parent.1, name, file)?;
        }
        // Last, because a new mode may take from a directory what gives its group to files.
        for path in made {
            self.look.give(open_directory(version.as_fd(), path)?.as_fd(), self.look.directory_mode)?;
        }
        self.look.give(version.as_fd(), self.look.directory_mode)?;
        Ok(name)
    }

    fn write_file(&self, directory: &OwnedFd, name: &str, file: &snapshot::File) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut written = File::from(written);
        written.write_all(file.contents.expose())?;
        self.look.give(written.as_fd(), self.look.mode_of(file))
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

    /// Empties the files for which `emptied` is true, in the versions among `names`.
    fn empty_all(&self, names: &[String], emptied: &dyn Fn(&str) -> bool) -> io::Result<()> {
        names.iter().try_for_each(|name| walk::empty(self.root, name, emptied))
    }

    fn remove_all(&self, names: &[String]) -> io::Result<()> {
        names.iter().try_for_each(|name| walk::remove(self.root, name))
    }
}

/// Makes the directories of `path`, and notes them in `made`.
fn make_directories<'p>(
    version: &OwnedFd,
    path: &'p str,
    made: &mut BTreeSet<&'p str>,
) -> io::Result<OwnedFd> {
    if path.is_empty() {
        return version.try_clone();
    }
    let mut ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let mut begins = 0;
    ends.try_fold(version.try_clone()?, |parent, end| {
        let name = path.get(begins..end).unwrap_or_default();
        begins = end.saturating_add(1);
        made.insert(path.get(..end).unwrap_or_default());
        make_directory(parent.as_fd(), name)
    })
}

fn make_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_directory(parent, name),
        Err(error) => Err(error.into()),
    }
}

fn tops(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.iter().map(|(path, _)| path.top()).collect()
}

fn behind_data(top: &str) -> String {
    format!("{DATA}/{top}")
}

/// The temporary name of a link until its target exists.
fn next_link(index: usize) -> String {
    format!("..link_tmp-{index}")
}
