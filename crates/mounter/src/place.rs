use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::kubelet;

/// Mode of a target directory that we make: what kubelet gives its parent.
const TARGET_MODE: u32 = 0o750;

/// Where a mounter acts. Outside of these it refuses.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Below which directory it mounts; anywhere if there is none.
    pub pods: Option<PathBuf>,
    /// Below which directories it makes sockets.
    pub sockets: Vec<PathBuf>,
    /// Whose targets and sockets it acts on, where its callers are not trusted to choose: anybody's if there is none.
    pub driver: Option<Driver>,
}

/// The one CSI driver that a mounter serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// As the CSIDriver object is called, and as kubelet writes it beside each target.
    pub name: String,
    /// The only sockets that are made.
    pub sockets: Vec<PathBuf>,
}

/// What may be done at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Anything: the caller chose the path for itself, or kubelet made it for our driver.
    All,
    /// Kubelet has not said whose it is: only what is known to be ours by itself may go.
    Ours,
}

/// A name in a directory that is held open, so that nobody who swaps the directories above it
/// for symbolic links can move it elsewhere.
#[derive(Debug)]
pub(crate) struct Place {
    parent: OwnedFd,
    name: OsString,
    is_csi_target: bool,
    reach: Reach,
}

impl Roots {
    /// A place to mount at, where all may be done.
    pub(crate) fn for_mount(&self, target: &Path) -> io::Result<Place> {
        let place = self.for_removal(target)?;
        if place.reach == Reach::All { Ok(place) } else { Err(kubelet::unnamed()) }
    }

    /// A place to take something away from, as far as its [`Reach`] goes.
    pub(crate) fn for_removal(&self, target: &Path) -> io::Result<Place> {
        let place = match &self.pods {
            Some(pods) => Place::below(pods, target, ResolveFlags::NO_XDEV)?,
            None => Place::below(Path::new("/"), target, ResolveFlags::empty())?,
        };
        match &self.driver {
            Some(driver) => place.within_reach_of(driver),
            None => Ok(place),
        }
    }

    pub(crate) fn for_socket(&self, path: &Path) -> io::Result<Place> {
        if let Some(driver) = &self.driver {
            return driver.socket(path);
        }
        let root = self.sockets.iter().find(|root| path.starts_with(root));
        let root =
            root.ok_or_else(|| refused("it is below none of the directories that sockets may be in"))?;
        Place::below(root, path, ResolveFlags::empty())
    }
}

impl Driver {
    fn socket(&self, path: &Path) -> io::Result<Place> {
        match path.parent() {
            Some(directory) if self.sockets.iter().any(|own| own == path) => {
                Place::below(directory, path, ResolveFlags::empty())
            }
            _ => Err(refused(&format!(
                "it is none of the sockets of this driver, {} (--driver-name, --csi-endpoint, --registration-dir)",
                self.name
            ))),
        }
    }
}

impl Place {
    fn within_reach_of(self, driver: &Driver) -> io::Result<Self> {
        if !self.is_csi_target {
            return Err(refused(
                "it is no target of a CSI volume, POD/volumes/kubernetes.io~csi/VOLUME/mount",
            ));
        }
        let reach = if kubelet::made_for(&driver.name, &self.parent)? { Reach::All } else { Reach::Ours };
        Ok(Self { reach, ..self })
    }

    fn below(root: &Path, path: &Path, also: ResolveFlags) -> io::Result<Self> {
        let below =
            path.strip_prefix(root).map_err(|_| refused(&format!("it is not below {}", root.display())))?;
        let plain = below.components().all(|component| matches!(component, Component::Normal(_)));
        let (Some(parent), Some(name), true) = (below.parent(), below.file_name(), plain) else {
            return Err(refused("it is no plain path"));
        };
        // The root itself is the administrator's: it may be a link to where there is room.
        let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let parent = if parent == Path::new("") { Path::new(".") } else { parent };
        let parent = open_beneath(&root, parent.as_os_str(), also)?;
        let is_csi_target = is_csi_target(below);
        Ok(Self { parent, name: name.to_owned(), is_csi_target, reach: Reach::All })
    }

    /// The directory that is here.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        open_beneath(&self.parent, &self.name, ResolveFlags::empty())
    }

    /// The place in the same directory where one is lent.
    pub(crate) fn beside(&self) -> io::Result<Self> {
        let name = crate::lent::name_for(&self.name);
        Ok(Self { parent: self.parent.try_clone()?, name, is_csi_target: false, reach: self.reach })
    }

    /// Makes the directory; `false` if it was there.
    pub(crate) fn make_directory(&self) -> io::Result<bool> {
        match rustix::fs::mkdirat(&self.parent, &self.name, Mode::from_raw_mode(TARGET_MODE)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the directory if it is there; `false` if it is not empty.
    pub(crate) fn remove_directory(&self) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether kubelet made the path for a CSI driver: then what is here is a driver's, and nobody's data.
    pub(crate) fn is_csi_target(&self) -> bool {
        self.is_csi_target
    }

    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// The directory above, for people.
    pub(crate) fn above(&self) -> PathBuf {
        std::fs::read_link(Path::new("/proc/self/fd").join(self.parent.as_raw_fd().to_string()))
            .unwrap_or_default()
    }

    pub(crate) fn parent(&self) -> &OwnedFd {
        &self.parent
    }

    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// A path for calls that take nothing else. It goes through the open directory and is good while `self` is.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.parent.as_raw_fd().to_string()).join(&self.name)
    }
}

/// `<pod uid>/volumes/kubernetes.io~csi/<volume>/mount`.
fn is_csi_target(below: &Path) -> bool {
    let names: Vec<_> = below.iter().collect();
    matches!(names.as_slice(), [_, volumes, csi, _, mount]
        if *volumes == "volumes" && *csi == "kubernetes.io~csi" && *mount == "mount")
}

fn open_beneath(directory: &OwnedFd, path: &OsStr, also: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH | also;
    rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve).map_err(|error| match error {
        Errno::LOOP => refused("a symbolic link stands on the way; give the path that it leads to"),
        Errno::XDEV => refused("another mount stands on the way"),
        other => other.into(),
    })
}

fn refused(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason.to_owned())
}

/// Whether something is mounted with its root at the open `directory`.
pub(crate) fn is_mount_root(directory: &OwnedFd) -> io::Result<bool> {
    use rustix::fs::{StatxAttributes, StatxFlags};
    let stat = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
