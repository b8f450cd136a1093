//! Taking away on a host without Kubernetes, where every path is somebody's: what this program mounted itself,
//! known by its own number, and directories that this process made.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::AtFlags;
use rustix::mount::UnmountFlags;

use crate::identity::MountId;
use crate::local::{absent, is_busy, when_free};
use crate::place::{Place, is_mount_root};
use crate::{removal, table};
use program::failpoint;

/// How long an unmount waits for who still reads, before it takes the mount out of the tree regardless.
const BUSY: Duration = Duration::from_millis(500);

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
    pub(crate) fn has(&self, path: &Path, place: &Place) -> bool {
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
    let stat = rustix::fs::statat(place.parent(), place.name(), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Unmounts `mount` if that is what is seen at `place`, the place of `target`. That it is gone is fine.
///
/// # Errors
///
/// Something else hides it or is mounted below it: that stays, and so does the mount.
pub(crate) fn unmount(place: &Place, target: &Path, mount: &MountId) -> io::Result<()> {
    if is_seen(place, mount)? { take(place, mount) } else { not_hidden(target, mount) }
}

/// Refuses if `mount` stands in the table at `target`, where something else is seen or nothing.
pub(crate) fn not_hidden(target: &Path, mount: &MountId) -> io::Result<()> {
    let stands = table::ours()?.iter().any(|found| found.id == mount.number() && found.point == target);
    if stands { Err(covered()) } else { Ok(()) }
}

fn covered() -> io::Error {
    refused("something else was mounted over it; unmount that first".to_owned())
}

/// Unmounts what secretfs made and mounted at `place`, as its own mark tells, however often. Tells how often.
pub(crate) fn unmount_ours(place: &Place) -> io::Result<usize> {
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
fn mount_root(place: &Place) -> io::Result<Option<OwnedFd>> {
    let Some(root) = absent(place.open())? else { return Ok(None) };
    Ok(is_mount_root(&root)?.then_some(root))
}

fn is_seen(place: &Place, mount: &MountId) -> io::Result<bool> {
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

fn nothing_below(mount: &MountId) -> io::Result<()> {
    match table::mounted_on(mount.number())? {
        None => Ok(()),
        Some(point) => {
            Err(refused(format!("something else is mounted at {}; unmount that first", point.display())))
        }
    }
}

/// Makes the directory beside `place` in which a store puts its files, or takes one that is empty.
pub(crate) fn make_beside(beside: &Place, path: &Path, made: &Made) -> io::Result<()> {
    if beside.make_directory()? {
        return made.note(path, beside);
    }
    if mount_root(beside)?.is_some() || !removal::is_empty(beside)? {
        return Err(refused(format!("{} is in the way, and not ours; remove it", path.display())));
    }
    Ok(())
}

/// Unmounts what was lent at `beside` and removes the directory with what lies in it, where that is known to be ours:
/// a mount of ours stood on it, or this process made it.
pub(crate) fn take_back(beside: &Place, path: &Path, made: &Made) -> io::Result<()> {
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
