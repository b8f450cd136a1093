//! The privileged verbs: what needs root, and nothing else.
//!
//! Four implementations: in this process, for kubelet or for people on a plain host; over a socket to the program
//! `secretfs-mounter`, which does nothing else; and for a process without privileges, for which `fusermount3` mounts. Calls block; none waits for a store, a pod or the caller.

mod host;
mod identity;
mod local;
mod remote;
mod table;
mod unprivileged;
mod verbs;

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use secretfs_mounter::absent;

pub use mounter_protocol::{
    BOOT_ID, BOOT_SHOWN, DRIVER, PODS, SOCKET, Tmpfs, beside, endpoint, registration_socket,
};

pub use host::HostMounter;
pub use identity::{MountId, file_system_of};
pub use local::{LocalMounter, Roots};
pub use remote::RemoteMounter;
pub use table::{MountTable, mounted, mounted_below};
pub use unprivileged::UnprivilegedMounter;

/// A privileged operation failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", target.display())]
pub struct Error {
    /// What was being done, as a verb: `mount`, `unmount`, `write`.
    pub action: &'static str,
    /// Where.
    pub target: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// Makes what the kernel said into an error of this operation.
    pub fn of(action: &'static str, target: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, target: target.to_owned(), source }
    }

    /// Whether it is the mounter that could not be asked: nothing is known to have been done.
    pub fn is_mounter_away(&self) -> bool {
        self.source.get_ref().is_some_and(|inner| inner.is::<remote::Away>())
    }

    /// Whether a set of files is larger than its volume may be.
    pub fn is_too_large(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::StorageFull)
    }
}

/// The privileged verbs.
pub trait Mounter: fmt::Debug + Send + Sync {
    /// Makes a tmpfs that is mounted nowhere; files are made through the directory returned.
    /// Never swapped, no set-id, no devices, no execution.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or cannot keep it out of swap while swap is on and that was not allowed.
    fn create(&self, tmpfs: &Tmpfs) -> Result<OwnedFd, Error>;

    /// Shows the file system below `root` at `target`, read-only. Makes `target` if it is missing.
    /// `root`, which [`create`](Self::create) made, is spent: it is read-only from now on.
    ///
    /// # Errors
    ///
    /// Something is mounted at `target` already, or the kernel refuses.
    /// Nothing is mounted and a `target` made by this call is gone again.
    fn attach(&self, root: BorrowedFd<'_>, target: &Path) -> Result<(), Error>;

    /// Whether files that this process makes in volumes are root's, and their groups may be changed. `false` if it is not
    /// root: then files get owner and group from the mount and from the directories that they are made in.
    fn makes_files_of_root(&self) -> bool {
        true
    }

    /// The same root as `root`, which [`create`](Self::create) made, through which this process writes if it is not root;
    /// `None` if it is. What is made there is root's.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the mounter is of an earlier version, which serves root only.
    fn writable(&self, root: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Error> {
        let _ = root;
        Ok(None)
    }

    /// The root of what is mounted at `target`, as a place only; `None` if nothing is, or nothing is there.
    ///
    /// # Errors
    ///
    /// The path cannot be asked.
    fn look(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        identity::root_at(target).map_err(Error::of("look at", target))
    }

    /// What is mounted at `target` and seen there; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// As [`look`](Self::look).
    fn mounted_at(&self, target: &Path) -> Result<Option<MountId>, Error> {
        self.look(target)?.map(MountId::of).transpose().map_err(Error::of("look at", target))
    }

    /// A connection to the external provider that listens at `path`, which only root may connect to. It does not block.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or it is not root's.
    fn connect(&self, path: &Path) -> Result<UnixStream, Error> {
        Err(Error::of("connect to", path)(io::ErrorKind::Unsupported.into()))
    }

    /// Opens the kernel's end of FUSE, for one file system.
    ///
    /// # Errors
    ///
    /// There is no `/dev/fuse`, or this mounter makes no such file systems.
    fn open_fuse(&self) -> Result<OwnedFd, Error>;

    /// Makes a FUSE file system that is mounted nowhere and that whoever has `device` serves: all users may enter, and
    /// the kernel judges modes. No set-id, no devices, no execution. `label` is the SELinux label of all files.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or this mounter makes no such file systems.
    fn create_fuse(&self, device: BorrowedFd<'_>, label: Option<&str>) -> Result<OwnedFd, Error>;

    /// The `/proc` in which the threads have the numbers that requests to FUSE volumes of this mounter name.
    ///
    /// # Errors
    ///
    /// The mounter cannot be reached, or is of an earlier version.
    fn processes(&self) -> Result<OwnedFd, Error> {
        Err(Error::of("open", Path::new("/proc"))(io::ErrorKind::Unsupported.into()))
    }

    /// The root of the FUSE file system that secretfs mounted at `target`, writable through the directory returned and
    /// nowhere else; `None` if none is mounted there. Who serves it is not asked.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or this mounter makes no such file systems.
    fn enter_fuse(&self, target: &Path) -> Result<Option<OwnedFd>, Error>;

    /// The root of the tmpfs that secretfs mounted at `target`, writable through the directory returned and nowhere else;
    /// `None` if no tmpfs is mounted there that secretfs made.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    fn enter(&self, target: &Path) -> Result<Option<OwnedFd>, Error>;

    /// The same as [`enter`](Self::enter), of a tmpfs that another driver mounted where kubelet wants a volume of
    /// ours.
    ///
    /// # Errors
    ///
    /// The target is another driver's, or the kernel refuses.
    fn take_over(&self, target: &Path) -> Result<Option<OwnedFd>, Error>;

    /// Lets the tmpfs below `root` hold `size` bytes and `inodes` inodes.
    ///
    /// # Errors
    ///
    /// The limits are as before.
    fn resize(&self, root: BorrowedFd<'_>, size: u64, inodes: u64) -> Result<(), Error>;

    /// Shows a new tmpfs at the path [`beside`] `target`, writable, for a store on this node to put files
    /// into. What lay there is [taken back](Self::take_back) first. Root alone can enter it, whatever
    /// `tmpfs` says of mode and group. Held open, the directory returned keeps it from being taken back at once.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create), or the kernel refuses the mount; nothing lies there.
    fn lend(&self, tmpfs: &Tmpfs, target: &Path) -> Result<OwnedFd, Error>;

    /// Unmounts what lies [`beside`] `target`, and removes the directory with whatever was put into it
    /// by who did not see the mount. Nothing there is fine.
    ///
    /// # Errors
    ///
    /// The kernel refuses; calling again is safe.
    fn take_back(&self, target: &Path) -> Result<(), Error>;

    /// Unmounts whatever is mounted at `target`, however often, and removes the directory, with what another
    /// driver left in it on the node's own disk; takes back what was [lent](Self::lend) beside it. Nothing mounted
    /// and no directory are both fine.
    ///
    /// # Errors
    ///
    /// The kernel refuses; calling again is safe.
    fn detach(&self, target: &Path) -> Result<(), Error>;

    /// Unmounts `mount`, which this program made, if it is mounted at `target`, and removes the directory if this
    /// process made it for that. Nothing else is touched. That it is gone already is fine.
    ///
    /// Where kubelet owns the paths, whole targets are [taken away](Self::detach) instead: a mounter process sees
    /// other mounts than its caller, and others again after each of its restarts.
    ///
    /// # Errors
    ///
    /// Something else is mounted over it or below it, or the kernel refuses; calling again is safe.
    fn unmount(&self, target: &Path, mount: &MountId) -> Result<(), Error> {
        let _ = mount;
        Err(Error::of("unmount", target)(io::ErrorKind::Unsupported.into()))
    }

    /// Listens at `path`, open to root alone, in place of any stale socket. The same socket again,
    /// if it was asked for before and its file is still there.
    ///
    /// # Errors
    ///
    /// The directory is missing or not writable, or something that is no socket is there.
    fn listen(&self, path: &Path) -> Result<UnixListener, Error>;

    /// Which file the socket at `path` is, by device and inode; `None` if none is there.
    ///
    /// # Errors
    ///
    /// The path cannot be asked.
    fn socket_at(&self, path: &Path) -> Result<Option<(u64, u64)>, Error> {
        identity::file_at(path).map_err(Error::of("look at", path))
    }

    /// Removes the socket file at `path`, if there is one.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    fn remove_socket(&self, path: &Path) -> Result<(), Error> {
        absent(std::fs::remove_file(path)).map(drop).map_err(Error::of("remove the socket", path))
    }

    /// Keeps `blob` in memory under `name`, replacing what was kept under it, until [`forget`](Self::forget)
    /// or this mounter's end; it outlives the caller where the mounter is a process of its own.
    /// The caller encrypts: the mounter has no key.
    ///
    /// # Errors
    ///
    /// There is no room.
    fn keep(&self, name: &str, blob: &[u8]) -> Result<(), Error>;

    /// Everything kept, by name.
    ///
    /// # Errors
    ///
    /// The mounter cannot be reached.
    fn kept(&self) -> Result<Vec<(String, Vec<u8>)>, Error>;

    /// Wipes what is kept under `name`, if anything.
    ///
    /// # Errors
    ///
    /// The mounter cannot be reached.
    fn forget(&self, name: &str) -> Result<(), Error>;

    /// Keeps the open `file` under `name`, with some words `about` it, in place of what was kept under it, until
    /// [`forget_file`](Self::forget_file) or this mounter's end. It outlives the caller where the mounter is a process of
    /// its own. Only FUSE devices and memory files are kept; a memory file is read by no mounter. What is called the same
    /// before the first `/` is of one volume.
    ///
    /// # Errors
    ///
    /// There is no room, or this mounter keeps no files.
    fn keep_file(&self, name: &str, _about: &[u8], _file: BorrowedFd<'_>) -> Result<(), Error> {
        Err(Error::of("keep the file", Path::new(name))(io::ErrorKind::Unsupported.into()))
    }

    /// The names of all files that are kept, with the words about them. Whoever serves FUSE volumes asks every few
    /// seconds: where nobody has asked for half a minute, a mounter process answers programs that wait for these volumes
    /// by errors.
    ///
    /// # Errors
    ///
    /// The mounter cannot be reached, or keeps no files.
    fn kept_files(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        Err(Error::of("read", Path::new("what is kept"))(io::ErrorKind::Unsupported.into()))
    }

    /// The file that is kept under `name`.
    ///
    /// # Errors
    ///
    /// There is none; the mounter cannot be reached.
    fn take_file(&self, name: &str) -> Result<OwnedFd, Error> {
        Err(Error::of("give the file", Path::new(name))(io::ErrorKind::Unsupported.into()))
    }

    /// Tells the kernel of a change by the FUSE device that is kept under `name`. That may wait for a request to that volume
    /// which is not answered yet. Who is killed meanwhile is not gone until then, so who answers requests has it done here.
    ///
    /// # Errors
    ///
    /// Those of the kernel; it is no such device; the mounter cannot be reached, or waits for longer than a call may take.
    fn notify_file(&self, name: &str, _told: &[u8]) -> Result<(), Error> {
        Err(Error::of("tell the kernel by", Path::new(name))(io::ErrorKind::Unsupported.into()))
    }

    /// Makes the link `name`, which leads to `leads`, in `root`, which [`enter_fuse`](Self::enter_fuse) gave. It waits for who
    /// serves the volume, as do the next two: so who serves it has them done here, as of
    /// [`notify_file`](Self::notify_file).
    ///
    /// # Errors
    ///
    /// Those of symlink(2); the mounter cannot be reached, or waits for longer than a call may take.
    fn link(&self, _root: BorrowedFd<'_>, name: &str, _leads: &str) -> Result<(), Error> {
        Err(Error::of("make the name", Path::new(name))(io::ErrorKind::Unsupported.into()))
    }

    /// Renames in `root`.
    ///
    /// # Errors
    ///
    /// Those of rename(2); as of [`link`](Self::link).
    fn rename(&self, _root: BorrowedFd<'_>, _from: &str, to: &str) -> Result<(), Error> {
        Err(Error::of("make the name", Path::new(to))(io::ErrorKind::Unsupported.into()))
    }

    /// Removes the name `path` below `root`.
    ///
    /// # Errors
    ///
    /// Those of unlink(2) and rmdir(2); as of [`link`](Self::link).
    fn remove(&self, _root: BorrowedFd<'_>, path: &str, _is_directory: bool) -> Result<(), Error> {
        Err(Error::of("remove the name", Path::new(path))(io::ErrorKind::Unsupported.into()))
    }

    /// Lets go of the file that is kept under `name`, if one is.
    ///
    /// # Errors
    ///
    /// The mounter cannot be reached.
    fn forget_file(&self, name: &str) -> Result<(), Error> {
        Err(Error::of("forget", Path::new(name))(io::ErrorKind::Unsupported.into()))
    }
}

/// The mount that is seen at `target`, if a secretfs on this host made that very mount: not one that shows
/// the same file system again, and none that is only called like ours.
///
/// # Errors
///
/// The path cannot be asked.
pub fn ours_at(target: &Path) -> Result<Option<MountId>, Error> {
    identity::ours_at(target).map_err(Error::of("look at", target))
}

/// The mount that is seen at `target`, if it is called like ours and says nothing of itself, as those of versions
/// before this do: then the volume's record has to say that it is ours.
///
/// # Errors
///
/// The path cannot be asked.
pub fn earlier_at(target: &Path) -> Result<Option<MountId>, Error> {
    identity::earlier_at(target).map_err(Error::of("look at", target))
}

/// Refuses if `mount` is mounted at `target` and cannot be seen there.
///
/// # Errors
///
/// Something else hides it.
pub fn not_hidden(target: &Path, mount: &MountId) -> Result<(), Error> {
    if MountId::at(target).map_err(Error::of("look at", target))?.as_ref() == Some(mount) {
        return Ok(());
    }
    host::not_hidden(target, mount).map_err(Error::of("reach the mount at", target))
}

/// Whether something is mounted with its root at `target`. A target that is missing has nothing mounted.
///
/// # Errors
///
/// The path cannot be asked.
pub fn is_mount_root(target: &Path) -> Result<bool, Error> {
    identity::root_at(target).map(|root| root.is_some()).map_err(Error::of("look at", target))
}

/// As [`is_mount_root`], for a thread that must not wait. `None` if the kernel cannot tell without waiting for a disk:
/// then [`is_mount_root`] can.
pub fn is_mount_root_at_once(target: &Path) -> Option<bool> {
    identity::root_at_once(target).ok().map(|root| root.is_some())
}
