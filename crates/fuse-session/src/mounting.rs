use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::device::Device;

/// Makes a file system that `device` serves, without a place where it is seen. `source` is what the table of mounts calls
/// it. The kernel asks its first request at once: see [`Device::agree`].
///
/// All users of the host may enter, and the kernel judges modes; nothing in it is a device, runs, or changes its user.
///
/// # Errors
///
/// The kernel refuses.
pub fn mount(device: &Device, source: &str) -> io::Result<OwnedFd> {
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Kernels take the device as text only.
    let fd = device.as_fd().as_raw_fd().to_string();
    let settings = [
        ("source", source),
        ("fd", &fd),
        ("rootmode", "40000"),
        ("user_id", "0"),
        ("group_id", "0"),
        ("subtype", "secretfs"),
    ];
    settings.iter().try_for_each(|(key, value)| fsconfig_set_string(context.as_fd(), *key, *value))?;
    ["allow_other", "default_permissions"]
        .iter()
        .try_for_each(|key| fsconfig_set_flag(context.as_fd(), *key))?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A mount of the same file system, through which alone its owner changes it. It has no place either, and the file
/// system lives as long as it is open.
///
/// # Errors
///
/// The kernel refuses.
pub fn private_clone(mount: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(mount, "", flags)?)
}

/// Shows a mount at a directory.
///
/// # Errors
///
/// The kernel refuses.
pub fn attach(mount: BorrowedFd<'_>, directory: &Path) -> io::Result<()> {
    Ok(move_mount(mount, "", CWD, directory, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}
