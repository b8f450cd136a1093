//! File systems: made, shown, entered, resized, unmounted.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mounter_protocol::Tmpfs;
use program::failpoint;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use rustix::mount::{fsconfig_set_flag, fsconfig_set_string};

use crate::ours;
use crate::place::Place;

/// How long an unmount waits for who still uses the mount, before it takes the mount out of the tree regardless.
const BUSY: Duration = Duration::from_secs(2);
/// How long it waits between two looks.
const PAUSE: Duration = Duration::from_millis(5);
/// `f_type` of a tmpfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Makes a tmpfs that calls itself `source` and is mounted nowhere; its root is the user `owner`'s.
///
/// # Errors
///
/// The kernel refuses, or cannot keep it out of swap while swap is on and that was not allowed.
pub fn make(tmpfs: &Tmpfs, source: &str, owner: u32, swap_allowed: bool) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !keep_out_of_swap(context.as_fd())? && !swap_allowed && swap_is_on()? {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel (before 6.4) cannot keep a tmpfs out of swap, and swap is on; \
             turn swap off, or allow it with --allow-swap",
        ));
    }
    set_limits(context.as_fd(), tmpfs.size, tmpfs.inodes)?;
    fsconfig_set_string(context.as_fd(), "mode", format!("{:o}", tmpfs.mode))?;
    fsconfig_set_string(context.as_fd(), "uid", owner.to_string())?;
    fsconfig_set_string(context.as_fd(), "gid", tmpfs.gid.to_string())?;
    detached(context.as_fd(), source, tmpfs.selinux_context.as_deref())
}

/// Opens the kernel's end of FUSE. Reads of it return at once.
///
/// # Errors
///
/// The kernel has no FUSE, or the device is missing.
pub(crate) fn open_fuse() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    // The filter of system calls lets nothing else open for writing.
    Ok(rustix::fs::openat2(CWD, "/dev/fuse", flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

/// Makes a FUSE file system that calls itself `source`, is mounted nowhere, and is served by who has `device`. All users
/// may enter it, and the kernel judges the modes of its files.
///
/// # Errors
///
/// The kernel refuses: `device` is no FUSE device, or has a file system already.
pub(crate) fn make_fuse(device: BorrowedFd<'_>, source: &str, label: Option<&str>) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key, value: &str| fsconfig_set_string(context.as_fd(), key, value);
    // The kernel takes the device as text only.
    set("fd", &device.as_raw_fd().to_string())?;
    let fixed = [("rootmode", "40000"), ("user_id", "0"), ("group_id", "0"), ("subtype", "secretfs")];
    fixed.iter().try_for_each(|(key, value)| set(key, value))?;
    let flags = ["allow_other", "default_permissions"];
    flags.iter().try_for_each(|flag| fsconfig_set_flag(context.as_fd(), *flag))?;
    detached(context.as_fd(), source, label)
}

/// The directory above `path`, which lies below `root` and leads through no link out of it, and the last name of `path`.
pub(crate) fn below<'a>(root: BorrowedFd<'_>, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            rustix::fs::openat2(root, parent, flags, Mode::empty(), within)?
        }
        _ => root.try_clone_to_owned()?,
    };
    Ok((parent, name))
}

/// The file system that `context` describes, from `source` and under the SELinux `label`, mounted nowhere.
fn detached(context: BorrowedFd<'_>, source: &str, label: Option<&str>) -> io::Result<OwnedFd> {
    fsconfig_set_string(context, "source", source)?;
    if let Some(label) = label {
        fsconfig_set_string(context, "context", label).map_err(|error| unlabelled(label, error))?;
    }
    rustix::mount::fsconfig_create(context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Makes a tmpfs to lend: root's alone, whatever else `tmpfs` says.
///
/// # Errors
///
/// As [`make`].
pub fn make_lent(tmpfs: &Tmpfs, swap_allowed: bool) -> io::Result<OwnedFd> {
    // On a host others may enter what is above.
    make(&Tmpfs { mode: 0o700, gid: 0, ..tmpfs.clone() }, ours::LENT, 0, swap_allowed)
}

fn unlabelled(label: &str, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    let reason = format!("the kernel does not take the SELinux label {label} ({error}); is SELinux on?");
    io::Error::new(error.kind(), reason)
}

/// Lets the tmpfs below `root` hold `size` bytes and `inodes` inodes.
pub(crate) fn resize(root: BorrowedFd<'_>, size: u64, inodes: u64) -> rustix::io::Result<()> {
    let attempt = |noswap| {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let context = rustix::mount::fspick(root, "", flags)?;
        if noswap {
            keep_out_of_swap(context.as_fd())?;
        }
        set_limits(context.as_fd(), size, inodes)?;
        rustix::mount::fsconfig_reconfigure(context.as_fd())
    };
    // What is not said again counts as taken back, and that is refused; what was never said may not be said now.
    match attempt(true) {
        Err(Errno::INVAL) => attempt(false),
        done => done,
    }
}

fn set_limits(context: BorrowedFd<'_>, size: u64, inodes: u64) -> rustix::io::Result<()> {
    fsconfig_set_string(context, "size", size.to_string())?;
    fsconfig_set_string(context, "nr_inodes", inodes.to_string())
}

/// `false` where the kernel does not know how.
fn keep_out_of_swap(context: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    match fsconfig_set_flag(context, "noswap") {
        Err(Errno::INVAL) => Ok(false),
        done => done.map(|()| true),
    }
}

fn swap_is_on() -> io::Result<bool> {
    // The first line is a heading.
    Ok(std::fs::read_to_string("/proc/swaps")?.lines().nth(1).is_some())
}

/// Shows the file system below `root` at `place`, whose directory is there, read-only. Where that fails, a directory
/// that was `made` for it is removed again.
///
/// # Errors
///
/// Something is mounted there, or the kernel refuses.
pub fn show(root: BorrowedFd<'_>, place: &Place, made: bool) -> io::Result<()> {
    /// Held from the look at a target to the mount on it, so that two calls never stack their mounts.
    static SHOWING: Mutex<()> = Mutex::new(());
    failpoint::hit("attach.directory");
    let show = || {
        let directory = place.open()?;
        let _showing = SHOWING.lock().unwrap_or_else(PoisonError::into_inner);
        if mountinfo::is_mount_root(&directory)? {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "something is mounted there already"));
        }
        // A process that this one forks holds our descriptors until it executes something else.
        when_free(BUSY, || sys::make_read_only(root))?;
        move_onto(&directory, root)
    };
    let shown = show().inspect_err(|_| remove_if(made, place));
    failpoint::hit("attach.moved");
    shown
}

/// Shows what is lent at `beside`, whose directory is there; it is removed where that fails.
///
/// # Errors
///
/// The kernel refuses.
pub fn show_lent(root: &OwnedFd, beside: &Place) -> io::Result<()> {
    failpoint::hit("lend.directory");
    let shown = beside.open().and_then(|directory| move_onto(&directory, root));
    shown.inspect_err(|_| remove_if(true, beside))?;
    failpoint::hit("lend.mounted");
    Ok(())
}

fn remove_if(made: bool, place: &Place) {
    if made {
        let _ = place.remove_directory();
    }
}

fn move_onto(directory: &OwnedFd, root: impl AsFd) -> io::Result<()> {
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(root, "", directory, "", both)?)
}

/// The root of the tmpfs that is mounted at the open `directory`, writable through what is returned; `None` if none is.
pub(crate) fn writable_tmpfs(directory: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    if rustix::fs::fstatfs(directory)?.f_type as i64 == TMPFS_MAGIC {
        writable_clone(directory)
    } else {
        Ok(None)
    }
}

/// The root of what is mounted at the open `directory`, writable through what is returned; `None` if nothing is.
pub(crate) fn writable_clone(directory: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    if !mountinfo::is_mount_root(directory)? {
        return Ok(None);
    }
    let clone = clone_of(directory.as_fd())?;
    sys::make_writable(clone.as_fd())?;
    Ok(Some(clone))
}

/// A second mount of what has its root at the open `directory`.
pub(crate) fn clone_of(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(rustix::mount::open_tree(directory, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?)
}

/// Unmounts what is on top at `place`; `false` if nothing was mounted.
pub(crate) fn unmount_one(place: &Place) -> io::Result<bool> {
    let path = place.path();
    let unmount = |flags| Ok(rustix::mount::unmount(&path, UnmountFlags::NOFOLLOW | flags)?);
    // In a user namespace nobody may use force.
    let is_left = |error: &io::Error| is_busy(error) || error.kind() == io::ErrorKind::PermissionDenied;
    // By force: a FUSE volume ends here, and so does what waits for it, also where nobody is left who could answer.
    let unmounted = when_free(BUSY, || unmount(UnmountFlags::FORCE))
        .or_else(|error: io::Error| if is_left(&error) { unmount(UnmountFlags::DETACH) } else { Err(error) });
    match unmounted {
        // Not a mount; or nothing at all.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::NOENT)) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Does `attempt` again while the kernel answers that something is busy, as long as `patience`.
///
/// # Errors
///
/// Those of the last attempt.
pub fn when_free(patience: Duration, attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && start.elapsed() < patience => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

/// Whether the kernel says that somebody uses it.
pub fn is_busy(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BUSY)
}
