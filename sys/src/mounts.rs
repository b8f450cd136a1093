use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes the mount whose root is `mount` read-only. Other mounts of the same file system stay as they are.
///
/// # Errors
///
/// `EBUSY` while a file is open for writing through this very mount; `ENOSYS` before Linux 5.12.
pub fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_RDONLY, 0)
}

/// Makes the mount whose root is `mount` writable.
///
/// # Errors
///
/// `EPERM` where the mount's owner locked it read-only; `ENOSYS` before Linux 5.12.
pub fn make_writable(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, 0, libc::MOUNT_ATTR_RDONLY)
}

/// Gives the calling thread, and what it starts from now on, a mount namespace of its own.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn leave_mount_namespace() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS takes no pointer and leaves the table of descriptors shared,
    // so no descriptor that another thread holds changes its meaning.
    succeeded(i64::from(unsafe { libc::unshare(libc::CLONE_NEWNS) }))
}

fn set_attributes(mount: BorrowedFd<'_>, set: u64, clear: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a NUL-terminated constant; `attributes` outlives the call and the size passed is its own.
    succeeded(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            mem::size_of::<libc::mount_attr>(),
        )
    })
}

fn succeeded(returned: i64) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
