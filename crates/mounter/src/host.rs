//! The verbs on a host without Kubernetes, where every path is somebody's. Taken away is only what this program mounted
//! itself, known by its own number, and directories that this process made.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mounter_protocol::beside;
use mountinfo::is_mount_root;
use program::failpoint;
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use secretfs_mounter::file_system::{self, is_busy, show_lent, when_free};
use secretfs_mounter::{Place, absent, removal};

use crate::identity::MountId;
use crate::local::{Roots, anywhere as place};
use crate::{Error, LocalMounter, Mounter, Tmpfs, table};

/// How long an unmount waits for who still reads, before it takes the mount out of the tree regardless.
const BUSY: Duration = Duration::from_millis(500);

/// What to do where not even root may mount.
pub(crate) const MAY_NOT_MOUNT: &str = "nobody may mount here, as in most containers: start the container with \
    `--cap-add SYS_ADMIN --device /dev/fuse`, or the command in a user namespace (`unshare -U -r -m`)";

/// The privileged verbs on a plain host, done by this process. Its caller chose the paths.
#[derive(Debug)]
pub struct HostMounter {
    verbs: LocalMounter,
    swap_allowed: bool,
    made: Made,
}

impl Default for HostMounter {
    /// One that keeps secrets out of swap.
    fn default() -> Self {
        Self { verbs: LocalMounter::new(Roots::default()), swap_allowed: false, made: Made::default() }
    }
}

impl HostMounter {
    /// Makes file systems that may be swapped, where the kernel (before 6.4) cannot keep them out of it.
    #[must_use]
    pub fn allow_swap(self, allowed: bool) -> Self {
        Self { verbs: self.verbs.allow_swap(allowed), swap_allowed: allowed, ..self }
    }

    fn attach_at(&self, root: BorrowedFd<'_>, target: &Path, place: &Place) -> io::Result<()> {
        let made = place.make_directory()?;
        if made {
            self.made.note(target, place)?;
        }
        file_system::show(root, place, made)
    }

    /// Shows a new tmpfs beside `place`, in the stead of what lay there.
    fn lend_at(&self, tmpfs: &Tmpfs, target: &Path, place: &Place) -> io::Result<OwnedFd> {
        let (beside, path) = (place.beside()?, beside(target));
        take_back(&beside, &path, &self.made)?;
        let root = file_system::make_lent(tmpfs, self.swap_allowed)?;
        mark(&root)?;
        make_beside(&beside, &path, &self.made)?;
        show_lent(&root, &beside)?;
        Ok(root)
    }

    fn take_back_at(&self, target: &Path, place: &Place) -> io::Result<()> {
        take_back(&place.beside()?, &beside(target), &self.made)
    }

    fn detach_at(&self, target: &Path, place: &Place) -> io::Result<()> {
        detach_ours(place)?;
        self.take_back_at(target, place)
    }

    fn unmount_at(&self, target: &Path, place: &Place, mount: &MountId) -> io::Result<()> {
        unmount(place, target, mount)?;
        failpoint::hit("detach.unmounted");
        self.made.remove(target, place)?;
        failpoint::hit("detach.removed");
        self.take_back_at(target, place)
    }
}

impl Mounter for HostMounter {
    fn create(&self, tmpfs: &Tmpfs) -> Result<OwnedFd, Error> {
        let root = self.verbs.create(tmpfs).map_err(with_remedy)?;
        // A tmpfs may be built without attributes: then the volume's record tells. Of what is lent nothing would.
        let _ = mark(&root);
        Ok(root)
    }

    fn attach(&self, root: BorrowedFd<'_>, target: &Path) -> Result<(), Error> {
        place(target)
            .and_then(|place| self.attach_at(root, target, &place))
            .map_err(Error::of("mount", target))
    }

    fn open_fuse(&self) -> Result<OwnedFd, Error> {
        self.verbs.open_fuse()
    }

    fn create_fuse(&self, device: BorrowedFd<'_>, label: Option<&str>) -> Result<OwnedFd, Error> {
        self.verbs.create_fuse(device, label)
    }

    fn enter_fuse(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        self.verbs.enter_fuse(target)
    }

    fn enter(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        self.verbs.enter(target)
    }

    fn take_over(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        self.verbs.take_over(target)
    }

    fn resize(&self, root: BorrowedFd<'_>, size: u64, inodes: u64) -> Result<(), Error> {
        self.verbs.resize(root, size, inodes)
    }

    fn lend(&self, tmpfs: &Tmpfs, target: &Path) -> Result<OwnedFd, Error> {
        let lent = place(target).and_then(|place| self.lend_at(tmpfs, target, &place));
        lent.map_err(Error::of("lend a directory beside", target))
    }

    fn take_back(&self, target: &Path) -> Result<(), Error> {
        absent(place(target))
            .and_then(|place| place.map_or(Ok(()), |place| self.take_back_at(target, &place)))
            .map_err(Error::of("take back the directory beside", target))
    }

    fn detach(&self, target: &Path) -> Result<(), Error> {
        absent(place(target))
            .and_then(|place| place.map_or(Ok(()), |place| self.detach_at(target, &place)))
            .map_err(Error::of("unmount", target))
    }

    fn unmount(&self, target: &Path, mount: &MountId) -> Result<(), Error> {
        absent(place(target))
            .and_then(|place| match place {
                Some(place) => self.unmount_at(target, &place, mount),
                None => not_hidden(target, mount),
            })
            .map_err(Error::of("unmount", target))
    }

    fn listen(&self, path: &Path) -> Result<UnixListener, Error> {
        self.verbs.listen(path)
    }

    fn keep(&self, name: &str, blob: &[u8]) -> Result<(), Error> {
        self.verbs.keep(name, blob)
    }

    fn kept(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.verbs.kept()
    }

    fn forget(&self, name: &str) -> Result<(), Error> {
        self.verbs.forget(name)
    }
}

/// Says what to do where the kernel lets nobody mount.
fn with_remedy(error: Error) -> Error {
    if Errno::from_io_error(&error.source) != Some(Errno::PERM) {
        return error;
    }
    let told = format!("{}; {MAY_NOT_MOUNT}", error.source);
    Error { source: io::Error::new(io::ErrorKind::PermissionDenied, told), ..error }
}

/// Has a file system that was just made say by which mount that was.
fn mark(root: &OwnedFd) -> io::Result<()> {
    MountId::of(root)?.mark(root)
}

/// Unmounts what secretfs mounted at `place`, then removes the directory if that leaves it free.
fn detach_ours(place: &Place) -> io::Result<()> {
    if unmount_ours(place)? == 0 {
        return Ok(());
    }
    failpoint::hit("detach.unmounted");
    if !place.open().and_then(|directory| is_mount_root(&directory))? {
        place.remove_directory()?;
    }
    failpoint::hit("detach.removed");
    Ok(())
}

/// Directories that this process made, by their own identity: at their paths may be others meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Made(Mutex<BTreeMap<PathBuf, (u64, u64)>>);

impl Made {
    /// Remembers the directory at `place`, which was just made.
    pub(crate) fn note(&self, path: &Path, place: &Place) -> io::Result<()> {
        let directory = file_id(place)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), directory);
        Ok(())
    }

    /// Whether the directory at `place` is the one that was made at `path`.
    fn has(&self, path: &Path, place: &Place) -> bool {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        made.is_some_and(|made| file_id(place).is_ok_and(|found| found == made))
    }

    /// Removes the directory at `place`, if it was made by this process and holds nothing.
    pub(crate) fn remove(&self, path: &Path, place: &Place) -> io::Result<()> {
        if self.has(path, place) && place.remove_directory()? {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        }
        Ok(())
    }
}

/// Device and inode.
fn file_id(place: &Place) -> io::Result<(u64, u64)> {
    let stat = place.stat()?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Unmounts `mount` if that is what is seen at `place`, the place of `target`. That it is gone is fine.
///
/// # Errors
///
/// Something else hides it or is mounted below it: that stays, and so does the mount.
fn unmount(place: &Place, target: &Path, mount: &MountId) -> io::Result<()> {
    if is_seen(place, mount)? { take(place, mount) } else { not_hidden(target, mount) }
}

/// Refuses if `mount` stands in the table at `target`, where something else is seen or nothing.
pub(crate) fn not_hidden(target: &Path, mount: &MountId) -> io::Result<()> {
    let stands = table::ours()?.iter().any(|found| found.id == mount.number() && found.point == target);
    if stands && !number_is_anothers(target, mount)? { Err(covered()) } else { Ok(()) }
}

/// Whether another mount, which is seen at `target`, has the number by which the table knew `mount`. The kernel gives the
/// smallest free number to the next mount.
fn number_is_anothers(target: &Path, mount: &MountId) -> io::Result<bool> {
    Ok(MountId::at(target)?.is_some_and(|seen| seen.number() == mount.number() && seen != *mount))
}

pub(crate) fn covered() -> io::Error {
    refused("something else was mounted over it; unmount that first".to_owned())
}

/// Unmounts what secretfs made and mounted at `place`, as its own mark tells, however often. Tells how often.
fn unmount_ours(place: &Place) -> io::Result<usize> {
    let mut unmounted = 0;
    while let Some(mount) = ours(place)? {
        take(place, &mount)?;
        unmounted += 1;
    }
    Ok(unmounted)
}

fn ours(place: &Place) -> io::Result<Option<MountId>> {
    match mount_root(place)? {
        Some(root) => MountId::of_ours(root),
        None => Ok(None),
    }
}

/// The root of what is mounted at `place`.
pub(crate) fn mount_root(place: &Place) -> io::Result<Option<OwnedFd>> {
    let Some(root) = absent(place.open())? else { return Ok(None) };
    Ok(is_mount_root(&root)?.then_some(root))
}

pub(crate) fn is_seen(place: &Place, mount: &MountId) -> io::Result<bool> {
    let Some(root) = mount_root(place)? else { return Ok(false) };
    let seen = MountId::of(root)? == *mount;
    // A number that is used again may be another's by now; its source may not.
    Ok(seen && (mount.is_unique() || table::ours()?.iter().any(|found| found.id == mount.number())))
}

/// The kernel unmounts by path only, so the path is looked at immediately before. What is mounted
/// below makes that call fail, so nothing of others goes with it.
fn take(place: &Place, mount: &MountId) -> io::Result<()> {
    nothing_below(mount)?;
    let unmount = || match is_seen(place, mount)? {
        true => Ok(rustix::mount::unmount(place.path(), UnmountFlags::NOFOLLOW)?),
        false => Err(covered()),
    };
    match when_free(BUSY, unmount) {
        Err(error) if is_busy(&error) => take_from_readers(place, mount),
        done => done,
    }
}

/// Takes the mount out of the tree while somebody holds files in it open.
fn take_from_readers(place: &Place, mount: &MountId) -> io::Result<()> {
    let root = place.open()?;
    if MountId::of(&root)? != *mount {
        return Err(covered());
    }
    nothing_below(mount)?;
    // Through the open root: this very mount, whatever the path leads to by now.
    let path = format!("/proc/self/fd/{}", root.as_fd().as_raw_fd());
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH)?)
}

pub(crate) fn nothing_below(mount: &MountId) -> io::Result<()> {
    match table::mounted_on(mount.number())? {
        None => Ok(()),
        Some(point) => {
            Err(refused(format!("something else is mounted at {}; unmount that first", point.display())))
        }
    }
}

/// Makes the directory beside `place` in which a store puts its files, or takes one that is empty.
fn make_beside(beside: &Place, path: &Path, made: &Made) -> io::Result<()> {
    if beside.make_directory()? {
        return made.note(path, beside);
    }
    if mount_root(beside)?.is_some() || !is_empty(beside)? {
        return Err(refused(format!("{} is in the way, and not ours; remove it", path.display())));
    }
    Ok(())
}

/// Whether the directory at `place` holds nothing.
fn is_empty(place: &Place) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(place.open()?, ".", flags, Mode::empty())?;
    let mut entries = Dir::read_from(directory)?;
    Ok(entries.all(|entry| entry.is_ok_and(|entry| [c".", c".."].contains(&entry.file_name()))))
}

/// Unmounts what was lent at `beside` and removes the directory with what lies in it, where that is known to be ours:
/// a mount of ours stood on it, or this process made it.
fn take_back(beside: &Place, path: &Path, made: &Made) -> io::Result<()> {
    if absent(beside.open())?.is_none() {
        return Ok(());
    }
    let unmounted = unmount_ours(beside)?;
    failpoint::hit("lend.unmounted");
    let is_free = mount_root(beside)?.is_none();
    if is_free && (unmounted > 0 || made.has(path, beside)) {
        removal::remove(beside)?;
    }
    Ok(())
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, reason)
}
