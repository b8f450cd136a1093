//! Which mount is which. A path is whoever's mount came last; a mount has a number of its own.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use mounter_protocol::BOOT_ID;
use mountinfo::{is_mount_root, mount_number, unique_number};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;
use secretfs_mounter::absent;
use serde::{Deserialize, Serialize};

use crate::table;

/// Where a file system of ours says by which mount it was made. Only root can write, read or list the name.
const MARK: &str = "trusted.secretfs.mount";
/// Longest mark, in bytes.
const MAX_MARK: usize = 256;
/// How a target is opened to be looked at. The file system that is mounted there is not asked.
const LOOKED_AT: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// One mount of this boot, whatever path leads to it, and however many others show the same file system.
///
/// Before Linux 6.8 the kernel gives a mount's number to another one later: then it is compared together with
/// the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountId {
    boot: String,
    /// As the mount table has it.
    number: u64,
    unique: Option<u64>,
}

impl MountId {
    /// The mount that the open `file` lies on. The path may lead elsewhere meanwhile.
    ///
    /// # Errors
    ///
    /// `ENOSYS` before Linux 5.8, or the kernel does not tell which boot this is.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let number = mount_number(&file)?.ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { boot: boot()?, number, unique: unique_number(&file)? })
    }

    /// What is mounted at `target` and seen there; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// The path cannot be asked.
    pub fn at(target: &Path) -> io::Result<Option<Self>> {
        root_at(target)?.map(Self::of).transpose()
    }

    /// Its number in the mount table, which another mount may have had or get.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether the number alone tells it from all others.
    pub(crate) fn is_unique(&self) -> bool {
        self.unique.is_some()
    }

    /// Has the file system below `root`, of a mount that was just made, say by which mount that was.
    pub(crate) fn mark(&self, root: impl AsFd) -> io::Result<()> {
        // The root itself is only a place: it takes no attributes.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(root, ".", flags, Mode::empty())?;
        let text = serde_json::to_vec(self)?;
        Ok(rustix::fs::fsetxattr(directory, MARK, &text, XattrFlags::CREATE)?)
    }

    /// The mount by which the file system below `root` says it was made. A mount that shows it a second time
    /// is another one.
    fn marked(root: impl AsFd) -> Option<Self> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_fd().as_raw_fd()));
        let mut text = vec![0; MAX_MARK];
        let len = rustix::fs::getxattr(&path, MARK, &mut text[..]).ok()?;
        serde_json::from_slice(text.get(..len)?).ok()
    }

    /// The mount that the open `root` lies on, if that very mount was made by a secretfs on a host.
    pub(crate) fn of_ours(root: impl AsFd) -> io::Result<Option<Self>> {
        let itself = Self::of(&root)?;
        Ok(Self::marked(&root).filter(|marked| *marked == itself))
    }
}

/// The number of the file system that the open `file` lies on (`st_dev`). The kernel tells it without asking who serves the
/// file system: that may be a process which hangs, or this one.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn file_system_of(file: impl AsFd) -> io::Result<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let told = rustix::fs::statx(file, "", flags, StatxFlags::empty())?;
    Ok(rustix::fs::makedev(told.stx_dev_major, told.stx_dev_minor))
}

/// The mount that is seen at `target`, if it was made by a secretfs on a host.
pub(crate) fn ours_at(target: &Path) -> io::Result<Option<MountId>> {
    root_at(target)?.map_or(Ok(None), MountId::of_ours)
}

/// The mount that is seen at `target`, if it has our source and is not marked, as earlier versions made theirs.
pub(crate) fn earlier_at(target: &Path) -> io::Result<Option<MountId>> {
    let Some(root) = root_at(target)? else { return Ok(None) };
    let mount = MountId::of(&root)?;
    let is_ours =
        MountId::marked(&root).is_none() && table::ours()?.iter().any(|found| found.id == mount.number());
    Ok(is_ours.then_some(mount))
}

/// Which file is at `path`, itself if it is a link: device and inode.
pub(crate) fn file_at(path: &Path) -> io::Result<Option<(u64, u64)>> {
    Ok(absent(fs::symlink_metadata(path))?.map(|found| (found.dev(), found.ino())))
}

/// Which boot this is. A process sees one only.
fn boot() -> io::Result<String> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot.clone());
    }
    let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
    Ok(BOOT.get_or_init(|| boot).clone())
}

/// The root of what is mounted at `target`; `None` where nothing is, or nothing is there.
pub(crate) fn root_at(target: &Path) -> io::Result<Option<OwnedFd>> {
    root_of(rustix::fs::open(target, LOOKED_AT, Mode::empty()))
}

/// As [`root_at`], from what the kernel has in memory: no disk and no other process is waited for.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if the kernel would have to wait; before Linux 5.12 it does not know
/// `RESOLVE_CACHED`, and says that the request is invalid.
pub(crate) fn root_at_once(target: &Path) -> io::Result<Option<OwnedFd>> {
    root_of(rustix::fs::openat2(CWD, target, LOOKED_AT, Mode::empty(), ResolveFlags::CACHED))
}

fn root_of(opened: Result<OwnedFd, Errno>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(root) => Ok(is_mount_root(&root)?.then_some(root)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
