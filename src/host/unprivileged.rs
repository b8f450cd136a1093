//! Volumes of a process without privileges: `fusermount3` mounts them, and this process serves them over FUSE.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::mode::{Appearance, Error, Front, Live, Ready};
use fuse_fuser::Session;
use fuse_tree::{Notice, Volume};
use mounter::{HostMounter, MountId, Mounter, UnprivilegedMounter, file_system_of};
use rustix::fs::{Mode, OFlags};

/// How long the kernel may take to hear of changes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether this process runs as root, of the system or of a user namespace of its own.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The verbs for what this process, or one before it of the same user, mounted.
pub fn mounter() -> Box<dyn Mounter> {
    if is_root() { Box::new(HostMounter::default()) } else { Box::new(UnprivilegedMounter::default()) }
}

/// How a kernel reaches the volumes of a process without privileges.
#[derive(Debug)]
pub struct Unprivileged(Arc<UnprivilegedMounter>);

impl Unprivileged {
    /// Volumes that `mounter` mounts.
    pub fn by(mounter: Arc<UnprivilegedMounter>) -> Self {
        Self(mounter)
    }
}

impl Front for Unprivileged {
    /// Nothing is mounted before it is shown: `fusermount3` mounts at a path and nowhere else.
    fn prepare(&self, target: &Path, volume: &Arc<Volume>, _: &Appearance) -> Result<Box<dyn Ready>, Error> {
        let (mounter, volume) = (Arc::clone(&self.0), Arc::clone(volume));
        Ok(Box::new(Unseen { mounter, volume, target: target.to_owned() }))
    }

    fn clear(&self, target: &Path) -> Result<(), Error> {
        let at = MountId::at(target).map_err(mounter::Error::of("look at", target))?;
        Ok(at.map_or(Ok(()), |mount| self.0.unmount(target, &mount))?)
    }
}

/// A volume that is to be mounted.
#[derive(Debug)]
struct Unseen {
    mounter: Arc<UnprivilegedMounter>,
    volume: Arc<Volume>,
    target: PathBuf,
}

impl Ready for Unseen {
    fn mount_id(&self) -> Option<MountId> {
        None
    }

    fn show(self: Box<Self>) -> Result<Arc<dyn Live>, Error> {
        let Self { mounter, volume, target } = *self;
        let device = mounter.mount_fuse(&target)?;
        let mount = mounter.mounted_fuse(&target)?;
        let served = seen(volume, device, mount.clone(), target.clone());
        match served {
            Ok(seen) => Ok(Arc::new(seen)),
            Err(error) => {
                // Nobody serves it. The error says what failed first.
                let _ = mounter.unmount(&target, &mount);
                Err(mounter::Error::of("serve the files of", &target)(error).into())
            }
        }
    }
}

fn seen(volume: Arc<Volume>, device: OwnedFd, mount: MountId, target: PathBuf) -> io::Result<Seen> {
    let session = fuse_fuser::serve(volume, device)?;
    let seen = Seen { session, mount, device: 0, target };
    let device = file_system_of(&seen.open()?)?;
    Ok(Seen { device, ..seen })
}

/// A volume at its target. It is served until it is unmounted or this process ends.
#[derive(Debug)]
struct Seen {
    session: Session,
    mount: MountId,
    /// Tells our file system from one that somebody mounts over it.
    device: u64,
    target: PathBuf,
}

impl Seen {
    fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.target, flags, Mode::empty())?;
        if MountId::of(&root)? == self.mount { Ok(root) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl Live for Seen {
    fn mount_id(&self) -> Option<MountId> {
        Some(self.mount.clone())
    }

    fn root(&self) -> Result<OwnedFd, Error> {
        let failed = || mounter::Error::of("enter the volume at", &self.target);
        let root = self.open().map_err(failed())?;
        if file_system_of(&root).map_err(failed())? == self.device {
            Ok(root)
        } else {
            Err(failed()(io::ErrorKind::NotFound.into()).into())
        }
    }

    fn tell(&self, notices: Vec<Notice>) -> io::Result<()> {
        self.session.tell(notices)?.wait(PATIENCE)
    }

    /// No volume outlives the process that serves it.
    fn drop_pages(&self, path: &str, _of_earlier: bool) -> io::Result<()> {
        self.session.drop_pages(path)
    }

    fn withdraw(&self, paths: &[&str]) -> io::Result<()> {
        self.session.withdraw(paths.iter().copied())?.wait(PATIENCE)
    }
}
