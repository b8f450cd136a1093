//! Where something is done: a name in a directory that is held open.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use mounter_protocol::lent_name;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Mode of a target directory that we make: what kubelet gives its parent.
const TARGET_MODE: Mode = Mode::from_raw_mode(0o750);
/// For a directory that is only a place.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Where a mounter acts. Elsewhere it refuses.
pub trait Ground: fmt::Debug + Send + Sync {
    /// The place of a target, and how much of what is there may go.
    ///
    /// # Errors
    ///
    /// It is none where this mounter acts, or its directory cannot be opened.
    fn target(&self, path: &Path) -> io::Result<Place>;

    /// The place of a socket.
    ///
    /// # Errors
    ///
    /// As [`target`](Self::target).
    fn socket(&self, path: &Path) -> io::Result<Place>;

    /// The place of the socket of an external provider.
    ///
    /// # Errors
    ///
    /// As [`target`](Self::target).
    fn provider(&self, path: &Path) -> io::Result<Place>;
}

/// What may be done at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Anything: kubelet made it for our driver, so mounts and files in it are a driver's.
    Volume,
    /// The caller chose the path for itself: mounts go, and files on the disk are somebody's.
    Mounts,
    /// Kubelet has not said whose it is: only what is known to be ours by itself may go.
    Ours,
}

/// A name in a directory that is held open, so that nobody who swaps the directories above it
/// for symbolic links can move it elsewhere.
#[derive(Debug)]
pub struct Place {
    /// The directory above.
    pub parent: OwnedFd,
    /// The name in it.
    pub name: OsString,
    /// What may be done here.
    pub reach: Reach,
}

impl Place {
    /// The place of `path`, which is below `root`, with what is demanded `also` of the way to it.
    ///
    /// # Errors
    ///
    /// It is not below it, a link stands on the way, or the directory is missing.
    pub fn below(root: &Path, path: &Path, also: ResolveFlags, reach: Reach) -> io::Result<Self> {
        let below =
            path.strip_prefix(root).map_err(|_| refused(format!("it is not below {}", root.display())))?;
        let plain = below.components().all(|component| matches!(component, Component::Normal(_)));
        let (Some(parent), Some(name), true) = (below.parent(), below.file_name(), plain) else {
            return Err(refused("it is no plain path"));
        };
        // The root itself is the administrator's: it may be a link to where there is room.
        let root = rustix::fs::open(root, DIRECTORY, Mode::empty())?;
        // An empty path is no directory.
        let parent = if parent == Path::new("") { Path::new(".") } else { parent };
        Ok(Self { parent: open_beneath(&root, parent, also)?, name: name.to_owned(), reach })
    }

    /// The directory that is here.
    ///
    /// # Errors
    ///
    /// There is none, or it is a link.
    pub fn open(&self) -> io::Result<OwnedFd> {
        open_beneath(&self.parent, Path::new(&self.name), ResolveFlags::empty())
    }

    /// The place in the same directory where one is lent.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub fn beside(&self) -> io::Result<Self> {
        Ok(Self { parent: self.parent.try_clone()?, name: lent_name(&self.name), reach: self.reach })
    }

    /// Makes the directory; `false` if it was there.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn make_directory(&self) -> io::Result<bool> {
        match rustix::fs::mkdirat(&self.parent, &self.name, TARGET_MODE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the directory if it is there; `false` if it is not empty.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn remove_directory(&self) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What is here, itself if it is a link.
    ///
    /// # Errors
    ///
    /// Nothing is.
    pub fn stat(&self) -> rustix::io::Result<Stat> {
        rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// A path for calls that take nothing else. It goes through the open directory and is good while `self` is.
    pub fn path(&self) -> PathBuf {
        path_of(&self.parent).join(&self.name)
    }
}

/// A path to the open `file`.
pub(crate) fn path_of(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn open_beneath(directory: &OwnedFd, path: &Path, also: ResolveFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH | also;
    rustix::fs::openat2(directory, path, DIRECTORY, Mode::empty(), resolve).map_err(|error| match error {
        Errno::LOOP => refused("a symbolic link stands on the way; give the path that it leads to"),
        Errno::XDEV => refused("another mount stands on the way"),
        other => other.into(),
    })
}

pub(crate) fn refused(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason.into())
}

/// Makes a thing that is missing into nothing.
///
/// # Errors
///
/// Any other failure of `found`.
pub fn absent<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
