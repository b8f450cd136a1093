use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Makes the mount whose root is `mount` read-only. Other mounts of the same file system stay as they are.
///
/// # Errors
///
/// `EBUSY` while a file is open for writing through this mount; `ENOSYS` before Linux 5.12.
pub fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_RDONLY, 0)
}

/// Makes the mount whose root is `mount` writable.
///
/// # Errors
///
/// `EPERM` if the mount's owner locked it read-only; `ENOSYS` before Linux 5.12.
pub fn make_writable(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, 0, libc::MOUNT_ATTR_RDONLY)
}

/// Shows, through the mount whose root is `mount`, the owners of files as `users` maps them: what is owned by an id in
/// that user namespace on the file system appears as the id outside that it stands for, and what is made by that one is
/// owned by the id inside. Other mounts of the same file system stay as they are.
///
/// # Errors
///
/// `EINVAL` if the mount was ever attached, or the file system cannot do it (tmpfs: before Linux 6.3); `EPERM` if it was
/// done before, or without `CAP_SYS_ADMIN`.
pub fn show_owners_as(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let userns_fd = u64::try_from(users.as_raw_fd()).unwrap_or(u64::MAX);
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd };
    apply(mount, &attributes)
}

/// Gives a mount namespace of its own to the calling thread and to the threads and processes that it starts from now
/// on.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn leave_mount_namespace() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS takes no pointer and leaves the table of descriptors shared,
    // so no descriptor that another thread holds changes its meaning.
    succeeded(i64::from(unsafe { libc::unshare(libc::CLONE_NEWNS) }))
}

/// What a mount shows, as [`mount_by_number`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedFileSystem {
    /// The type of the file system, as in `/proc/filesystems`.
    pub kind: OsString,
    /// The device or name that was mounted.
    pub source: OsString,
}

/// Looks up the mount with this unique number (`STATX_MNT_ID_UNIQUE`). `None` if the calling thread's mount namespace
/// has no such mount. Costs one system call, no matter how many mounts exist.
///
/// # Errors
///
/// `ENOSYS` before Linux 6.8; `EOPNOTSUPP` before Linux 6.13, which does not report the source.
pub fn mount_by_number(unique: u64) -> io::Result<Option<MountedFileSystem>> {
    let request = MountRequest { size: REQUEST_SIZE, spare: 0, number: unique, wanted: FS_TYPE | SB_SOURCE };
    let mut answer = MountAnswer::default();
    // SAFETY: `request` and `answer` have the layout in Linux's uapi/linux/mount.h and outlive the call. It reads no
    // more than the size in `request`, and writes no more than the size that is passed.
    let returned = unsafe {
        libc::syscall(SYS_STATMOUNT, &raw const request, &raw mut answer, mem::size_of::<MountAnswer>(), 0)
    };
    match succeeded(returned) {
        Ok(()) if answer.told & request.wanted == request.wanted => Ok(Some(MountedFileSystem {
            kind: answer.text(answer.kind)?,
            source: answer.text(answer.source)?,
        })),
        Ok(()) => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of statmount(2) on every architecture that Linux 6.8 supports, except Alpha.
pub const SYS_STATMOUNT: libc::c_long = 457;
/// `STATMOUNT_FS_TYPE`.
const FS_TYPE: u64 = 0x20;
/// `STATMOUNT_SB_SOURCE`, since Linux 6.13.
const SB_SOURCE: u64 = 0x200;
/// `MNT_ID_REQ_SIZE_VER0`.
const REQUEST_SIZE: u32 = 24;
/// Room for the texts of an answer. A type and a source that were set by `fsconfig` are shorter than 256 bytes each.
const TEXTS: usize = 4096;

/// `struct mnt_id_req`, as Linux 6.8 has it.
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    number: u64,
    wanted: u64,
}

/// `struct statmount` of 512 bytes, and room for the texts behind it. The struct holds the offsets of the texts.
#[repr(C)]
struct MountAnswer {
    size: u32,
    options: u32,
    told: u64,
    skipped: [u32; 5],
    kind: u32,
    skipped_too: [u32; 21],
    source: u32,
    rest: [u64; 48],
    texts: [u8; TEXTS],
}

impl Default for MountAnswer {
    fn default() -> Self {
        Self {
            size: 0,
            options: 0,
            told: 0,
            skipped: [0; 5],
            kind: 0,
            skipped_too: [0; 21],
            source: 0,
            rest: [0; 48],
            texts: [0; TEXTS],
        }
    }
}

impl MountAnswer {
    fn text(&self, place: u32) -> io::Result<OsString> {
        let text = usize::try_from(place).ok().and_then(|place| self.texts.get(place..));
        let text = text.and_then(|text| CStr::from_bytes_until_nul(text).ok());
        text.map(|text| OsStr::from_bytes(text.to_bytes()).to_owned())
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn set_attributes(mount: BorrowedFd<'_>, set: u64, clear: u64) -> io::Result<()> {
    apply(mount, &libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 })
}

fn apply(mount: BorrowedFd<'_>, attributes: &libc::mount_attr) -> io::Result<()> {
    // SAFETY: the path is a NUL-terminated constant; `attributes` outlives the call and the size passed is its own.
    succeeded(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(attributes),
            mem::size_of::<libc::mount_attr>(),
        )
    })
}

fn succeeded(returned: i64) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
