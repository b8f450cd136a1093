//! The connections of this kernel's FUSE file systems, which its file system `fusectl` shows.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::Mount;

/// Most bytes that the kernel says of one connection at a time: a number.
const NUMBER_MAX: usize = 32;

/// The connections of all FUSE file systems, whoever serves them.
#[derive(Debug)]
pub struct Connections(OwnedFd);

impl Connections {
    /// Shows them to this process alone, mounted nowhere. Where the system shows them (`/sys/fs/fuse/connections`), a
    /// container may have nothing.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_SYS_ADMIN`; `ENODEV` where the kernel has no FUSE.
    pub fn open() -> io::Result<Self> {
        let context = rustix::mount::fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        Ok(Self(rustix::mount::fsmount(context.as_fd(), flags, attributes)?))
    }

    /// The connection of the file system that `mount` shows. It is held: it stays this one, also when the file system has
    /// gone and another has its device number. A mount that is still there afterwards is of this connection.
    ///
    /// # Errors
    ///
    /// It is no FUSE file system, or has no connection any more.
    pub fn of(&self, mount: &Mount) -> io::Result<Connection> {
        // File systems without a disk have the major number 0, and the connection is called by the minor one.
        let minor = mount.device.strip_prefix("0:").ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Connection(open(&self.0, Path::new(minor), flags)?))
    }
}

/// The connection of one FUSE file system to who serves it.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// Whether all its requests are answered, or it is gone.
    pub fn is_idle(&self) -> bool {
        self.waiting().is_none_or(|count| count == 0)
    }

    /// How many requests of it are not answered.
    fn waiting(&self) -> Option<u64> {
        let file = open(&self.0, Path::new("waiting"), OFlags::RDONLY | OFlags::CLOEXEC).ok()?;
        let mut told = [0; NUMBER_MAX];
        let count = rustix::io::read(&file, &mut told).ok()?;
        std::str::from_utf8(told.get(..count)?).ok()?.trim().parse().ok()
    }

    /// Ends it. All its requests fail, now and from now on (`ENOTCONN`).
    ///
    /// # Errors
    ///
    /// It is there no more.
    pub fn abort(&self) -> io::Result<()> {
        let file = open(&self.0, Path::new("abort"), OFlags::WRONLY | OFlags::CLOEXEC)?;
        Ok(rustix::io::write(&file, b"1").map(drop)?)
    }
}

fn open(directory: &OwnedFd, name: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(directory, name, flags, Mode::empty(), within)?)
}
