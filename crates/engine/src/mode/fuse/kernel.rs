//! Our own session layer in front of `/dev/fuse`: all volumes of a process from few threads.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fuse_session::{Device, Sessions, Settings};
use fuse_tree::{Notice, Volume};
use mounter::{MountId, Mounter};

use super::front::{Front, Live, Ready};
use crate::mode::{Appearance, Error};

/// How long the kernel may take to answer what it does at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// The session layer of this process. Its threads start with the first volume.
#[derive(Debug)]
pub(super) struct Kernel {
    mounter: Arc<dyn Mounter>,
    sessions: Mutex<Option<Arc<Sessions>>>,
    last_key: AtomicU64,
}

impl Kernel {
    pub(super) fn new(mounter: Arc<dyn Mounter>) -> Self {
        Self { mounter, sessions: Mutex::default(), last_key: AtomicU64::new(0) }
    }

    fn sessions(&self) -> io::Result<Arc<Sessions>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = &*sessions {
            return Ok(Arc::clone(sessions));
        }
        let started = Arc::new(Sessions::start(Settings::default())?);
        *sessions = Some(Arc::clone(&started));
        Ok(started)
    }

    fn serve(
        &self,
        target: &Path,
        volume: &Arc<Volume>,
        appearance: &Appearance,
    ) -> Result<Unseen, mounter::Error> {
        let failed = || mounter::Error::of("serve the files of", target);
        let sessions = self.sessions().map_err(failed())?;
        let device = Device::from_fd(self.mounter.open_fuse()?).map_err(failed())?;
        let root = self.mounter.create_fuse(device.as_fd(), appearance.selinux_context.as_deref())?;
        let agreed = device.agree(PATIENCE).map_err(failed())?;
        let mount = MountId::of(&root).ok();
        let key = self.last_key.fetch_add(1, Ordering::Relaxed);
        sessions.serve(key, device, agreed, Arc::clone(volume)).map_err(failed())?;
        let session = Session { sessions, key, target: target.to_owned(), mount };
        Ok(Unseen { mounter: Arc::clone(&self.mounter), root, session: Some(session) })
    }
}

impl Front for Kernel {
    fn prepare(
        &self,
        target: &Path,
        volume: &Arc<Volume>,
        appearance: &Appearance,
    ) -> Result<Box<dyn Ready>, Error> {
        Ok(Box::new(self.serve(target, volume, appearance)?))
    }

    fn clear(&self, target: &Path) -> Result<(), Error> {
        let at = MountId::at(target).map_err(mounter::Error::of("look at", target))?;
        Ok(at.map_or(Ok(()), |mount| self.mounter.unmount(target, &mount))?)
    }
}

/// One volume of the layer.
#[derive(Debug)]
struct Session {
    sessions: Arc<Sessions>,
    key: u64,
    target: PathBuf,
    mount: Option<MountId>,
}

/// A mount without a place.
#[derive(Debug)]
struct Unseen {
    mounter: Arc<dyn Mounter>,
    root: OwnedFd,
    /// Taken when it is shown.
    session: Option<Session>,
}

impl Ready for Unseen {
    fn mount_id(&self) -> Option<MountId> {
        self.session.as_ref().and_then(|session| session.mount.clone())
    }

    fn show(mut self: Box<Self>) -> Result<Arc<dyn Live>, Error> {
        let target = self.session.as_ref().map(|session| session.target.clone()).unwrap_or_default();
        self.mounter.attach(self.root.as_fd(), &target)?;
        let device = device_of(&self.root).map_err(mounter::Error::of("look at", &target))?;
        let session = self.session.take().ok_or_else(|| Error::Failed("it is shown already".into()))?;
        Ok(Arc::new(Seen { mounter: Arc::clone(&self.mounter), device, session }))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.sessions.stop(session.key);
        }
    }
}

/// A mount at its target. Once it is unmounted and nobody has a file of it, the layer forgets it by itself.
#[derive(Debug)]
struct Seen {
    mounter: Arc<dyn Mounter>,
    /// Tells our file system from one that somebody mounts over it.
    device: u64,
    session: Session,
}

impl Live for Seen {
    fn mount_id(&self) -> Option<MountId> {
        self.session.mount.clone()
    }

    fn root(&self) -> Result<OwnedFd, Error> {
        let target = &self.session.target;
        let gone = || mounter::Error::of("enter the volume at", target)(io::ErrorKind::NotFound.into());
        let root = self.mounter.enter_fuse(target)?.ok_or_else(gone)?;
        let device = device_of(&root).map_err(mounter::Error::of("enter the volume at", target))?;
        if device == self.device { Ok(root) } else { Err(gone().into()) }
    }

    fn tell(&self, notices: Vec<Notice>) -> io::Result<()> {
        self.session.sessions.tell(self.session.key, notices)?.wait(PATIENCE)
    }

    fn withdraw(&self, paths: &[&str]) -> io::Result<()> {
        let told = self.session.sessions.withdraw(self.session.key, paths.iter().copied())?;
        told.wait(PATIENCE)
    }
}

/// The number of the file system, which the kernel tells without asking who serves it.
fn device_of(root: &OwnedFd) -> io::Result<u64> {
    use rustix::fs::{AtFlags, StatxFlags};
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let told = rustix::fs::statx(root, "", flags, StatxFlags::empty())?;
    Ok(rustix::fs::makedev(told.stx_dev_major, told.stx_dev_minor))
}
