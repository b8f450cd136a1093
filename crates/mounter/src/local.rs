use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::blobs::Blobs;
use crate::place::{Place, Reach, Roots, is_mount_root};
use crate::reach::{given, is_ours, unmount_in_reach};
use crate::sockets::Sockets;
use crate::{Error, Mounter, Tmpfs, removal};
use program::failpoint;

/// How long an unmount waits for who still uses the mount, before it takes the mount out of the tree regardless.
const BUSY: Duration = Duration::from_secs(2);
/// How long it waits between two looks.
const PAUSE: Duration = Duration::from_millis(5);
/// What `/proc/mounts` calls our file systems.
pub(crate) const SOURCE: &str = "secretfs";
/// The same for a directory that is lent: it is no volume.
const LENT_SOURCE: &str = "secretfs-lent";
/// Mode of a directory that is lent: root's alone, on a host where others may enter what is above.
const LENT_MODE: u32 = 0o700;
/// `f_type` of a tmpfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// The privileged verbs for volumes of kubelet, done by this process.
#[derive(Debug)]
pub struct LocalMounter {
    roots: Roots,
    swap_allowed: bool,
    /// Held from the look at a target to the mount on it, so that two calls never stack their mounts.
    attaching: Mutex<()>,
    sockets: Mutex<Sockets>,
    blobs: Mutex<Blobs>,
}

impl LocalMounter {
    /// A mounter that acts below `roots` only and keeps secrets out of swap.
    pub fn new(roots: Roots) -> Self {
        let (attaching, sockets, blobs) = Default::default();
        Self { roots, swap_allowed: false, attaching, sockets, blobs }
    }

    /// Makes file systems that may be swapped, where the kernel (before 6.4) cannot keep them out of it.
    #[must_use]
    pub fn allow_swap(self, allowed: bool) -> Self {
        Self { swap_allowed: allowed, ..self }
    }

    /// A file system to lend: root's alone, whatever else `tmpfs` says.
    pub(crate) fn make_lent(&self, tmpfs: &Tmpfs) -> io::Result<OwnedFd> {
        let tmpfs = Tmpfs { mode: LENT_MODE, gid: 0, ..tmpfs.clone() };
        make(&tmpfs, LENT_SOURCE, self.swap_allowed)
    }

    /// Shows a new tmpfs beside `place`, in the stead of what lay there.
    fn lend_at(&self, tmpfs: &Tmpfs, place: &Place) -> io::Result<OwnedFd> {
        let beside = place.beside()?;
        take_back(&beside)?;
        let root = self.make_lent(tmpfs)?;
        beside.make_directory()?;
        show_lent(&root, &beside)?;
        Ok(root)
    }

    /// Shows what is below `root` at `target`, and has `note` know of a directory that was made for it.
    pub(crate) fn attach_noting(
        &self,
        root: BorrowedFd<'_>,
        target: &Path,
        note: impl FnOnce(&Place) -> io::Result<()>,
    ) -> io::Result<()> {
        let place = self.roots.for_mount(target)?;
        let made = place.make_directory()?;
        if made {
            note(&place)?;
        }
        failpoint::hit("attach.directory");
        let shown = self.show(root, &place).inspect_err(|_| {
            if made {
                let _ = place.remove_directory();
            }
        });
        failpoint::hit("attach.moved");
        shown
    }

    /// What `read` makes of all that is kept under names after `name`.
    pub(crate) fn kept_after<T>(
        &self,
        name: &str,
        read: impl FnOnce(&mut dyn Iterator<Item = (String, Vec<u8>)>) -> T,
    ) -> T {
        read(&mut self.blobs.lock().unwrap_or_else(PoisonError::into_inner).after(name))
    }

    /// Whether a caller that is not trusted to choose may change what is mounted at `directory` as its own.
    fn may_enter(&self, directory: &OwnedFd) -> io::Result<bool> {
        if self.roots.driver.is_none() { Ok(true) } else { is_ours(directory, SOURCE) }
    }

    fn show(&self, root: BorrowedFd<'_>, place: &Place) -> io::Result<()> {
        let directory = place.open()?;
        let _attaching = self.attaching.lock().unwrap_or_else(PoisonError::into_inner);
        if is_mount_root(&directory)? {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "something is mounted there already"));
        }
        // A process that this one forks holds our descriptors until it executes something else.
        when_free(BUSY, || sys::make_read_only(root))?;
        move_onto(&directory, root)
    }
}

impl Mounter for LocalMounter {
    fn create(&self, tmpfs: &Tmpfs) -> Result<OwnedFd, Error> {
        make(tmpfs, SOURCE, self.swap_allowed).map_err(Error::of("make", Path::new("a tmpfs")))
    }

    fn attach(&self, root: BorrowedFd<'_>, target: &Path) -> Result<(), Error> {
        self.attach_noting(root, target, |_| Ok(())).map_err(Error::of("mount", target))
    }

    fn enter(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        absent(self.roots.for_removal(target).and_then(|place| place.open()))
            .and_then(|directory| match directory {
                Some(directory) if self.may_enter(&directory)? => writable_clone(&directory),
                _ => Ok(None),
            })
            .map_err(Error::of("enter the mount at", target))
    }

    fn take_over(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        absent(self.roots.for_mount(target).and_then(|place| place.open()))
            .and_then(|directory| directory.map_or(Ok(None), |directory| writable_clone(&directory)))
            .map_err(Error::of("take over the mount at", target))
    }

    fn resize(&self, root: BorrowedFd<'_>, size: u64, inodes: u64) -> Result<(), Error> {
        given(root)
            .and_then(|()| reconfigure(root, size, inodes))
            .map_err(Error::of("resize", Path::new("a tmpfs")))
    }

    fn lend(&self, tmpfs: &Tmpfs, target: &Path) -> Result<OwnedFd, Error> {
        let lent = self.roots.for_mount(target).and_then(|place| self.lend_at(tmpfs, &place));
        lent.map_err(Error::of("lend a directory beside", target))
    }

    fn take_back(&self, target: &Path) -> Result<(), Error> {
        absent(self.roots.for_removal(target))
            .and_then(|place| place.map_or(Ok(()), |place| take_back(&place.beside()?)))
            .map_err(Error::of("take back the directory beside", target))
    }

    fn detach(&self, target: &Path) -> Result<(), Error> {
        absent(self.roots.for_removal(target))
            .and_then(|place| place.map_or(Ok(()), |place| detach(&place)))
            .map_err(Error::of("unmount", target))
    }

    fn listen(&self, path: &Path) -> Result<UnixListener, Error> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let listening = self.roots.for_socket(path).and_then(|place| sockets.listen(path, &place));
        listening.map_err(Error::of("listen at", path))
    }

    fn keep(&self, name: &str, blob: &[u8]) -> Result<(), Error> {
        let kept = self.blobs.lock().unwrap_or_else(PoisonError::into_inner).keep(name, blob);
        kept.map_err(Error::of("keep", Path::new(name)))
    }

    fn kept(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        Ok(self.blobs.lock().unwrap_or_else(PoisonError::into_inner).all())
    }

    fn forget(&self, name: &str) -> Result<(), Error> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).forget(name);
        Ok(())
    }
}

/// What was put there by who did not see the mount lies on the node's disk: it is removed as well.
fn take_back(beside: &Place) -> io::Result<()> {
    unmount_in_reach(beside, LENT_SOURCE)?;
    failpoint::hit("lend.unmounted");
    match beside.reach() {
        Reach::All => removal::remove(beside).map(drop),
        Reach::Ours => beside.remove_directory().map(drop),
    }
}

fn make(tmpfs: &Tmpfs, source: &str, swap_allowed: bool) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !keep_out_of_swap(context.as_fd())? && !swap_allowed && swap_is_on()? {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel (before 6.4) cannot keep a tmpfs out of swap, and swap is on; \
             turn swap off, or allow it with --allow-swap",
        ));
    }
    set_limits(context.as_fd(), tmpfs.size, tmpfs.inodes)?;
    let set = |key, value: &str| rustix::mount::fsconfig_set_string(context.as_fd(), key, value);
    set("source", source)?;
    set("mode", &format!("{:o}", tmpfs.mode))?;
    set("gid", &tmpfs.gid.to_string())?;
    if let Some(label) = &tmpfs.selinux_context {
        set("context", label).map_err(|error| unlabelled(label, error))?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn unlabelled(label: &str, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    let reason = format!("the kernel does not take the SELinux label {label} ({error}); is SELinux on?");
    io::Error::new(error.kind(), reason)
}

fn reconfigure(root: BorrowedFd<'_>, size: u64, inodes: u64) -> io::Result<()> {
    // What is not said again counts as taken back, and that is refused; what was never said may not be said now.
    match reconfigure_as(root, size, inodes, true) {
        Err(Errno::INVAL) => Ok(reconfigure_as(root, size, inodes, false)?),
        done => Ok(done?),
    }
}

fn reconfigure_as(root: BorrowedFd<'_>, size: u64, inodes: u64, noswap: bool) -> rustix::io::Result<()> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(root, "", flags)?;
    if noswap {
        keep_out_of_swap(context.as_fd())?;
    }
    set_limits(context.as_fd(), size, inodes)?;
    rustix::mount::fsconfig_reconfigure(context.as_fd())
}

fn set_limits(context: BorrowedFd<'_>, size: u64, inodes: u64) -> rustix::io::Result<()> {
    rustix::mount::fsconfig_set_string(context, "size", size.to_string())?;
    rustix::mount::fsconfig_set_string(context, "nr_inodes", inodes.to_string())
}

/// `false` where the kernel does not know how.
fn keep_out_of_swap(context: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    match rustix::mount::fsconfig_set_flag(context, "noswap") {
        Ok(()) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

fn swap_is_on() -> io::Result<bool> {
    // The first line is a heading.
    Ok(std::fs::read_to_string("/proc/swaps")?.lines().nth(1).is_some())
}

fn writable_clone(directory: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    if !is_mount_root(directory)? || rustix::fs::fstatfs(directory)?.f_type as i64 != TMPFS_MAGIC {
        return Ok(None);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = rustix::mount::open_tree(directory, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?;
    sys::make_writable(clone.as_fd())?;
    Ok(Some(clone))
}

/// Unmounts all that is stacked at `place`, then removes the directory, and takes back what was lent beside it.
fn detach(place: &Place) -> io::Result<()> {
    unmount_in_reach(place, SOURCE)?;
    failpoint::hit("detach.unmounted");
    removal::remove_target(place)?;
    failpoint::hit("detach.removed");
    take_back(&place.beside()?)
}

/// Shows what is lent at `beside`, whose directory is there; it is removed where that fails.
pub(crate) fn show_lent(root: &OwnedFd, beside: &Place) -> io::Result<()> {
    failpoint::hit("lend.directory");
    let shown = beside.open().and_then(|directory| move_onto(&directory, root));
    shown.inspect_err(|_| {
        let _ = beside.remove_directory();
    })?;
    failpoint::hit("lend.mounted");
    Ok(())
}

fn move_onto(directory: &OwnedFd, root: impl AsFd) -> io::Result<()> {
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(root, "", directory, "", both)?)
}

pub(crate) fn unmount_all(place: &Place) -> io::Result<()> {
    while unmount_one(place)? {}
    Ok(())
}

/// `false` if nothing was mounted.
pub(crate) fn unmount_one(place: &Place) -> io::Result<bool> {
    let path = place.path();
    let unmount = |flags| Ok(rustix::mount::unmount(&path, UnmountFlags::NOFOLLOW | flags)?);
    let unmounted = when_free(BUSY, || unmount(UnmountFlags::empty()))
        .or_else(|error: io::Error| if is_busy(&error) { unmount(UnmountFlags::DETACH) } else { Err(error) });
    match unmounted {
        Ok(()) => Ok(true),
        // Not a mount; or nothing at all.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::NOENT)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Does `attempt` again while the kernel answers that something is busy, as long as `patience`.
pub(crate) fn when_free(patience: Duration, attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && start.elapsed() < patience => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

pub(crate) fn is_busy(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BUSY)
}

pub(crate) fn absent<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
