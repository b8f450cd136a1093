//! Our own session layer in front of `/dev/fuse`: all volumes of a process from few threads.

mod left;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callers::Processes;
use fuse_session::{Device, Sessions, Settings, TakeStep, Tell};
use fuse_tree::{DATA, NEXT_DATA, Notice, Step, Volume};
use mounter::{MountId, Mounter, file_system_of};

use self::left::{About, Estate};
use super::front::{Front, Left, Live, Ready};
use super::keeping::Keeping;
use crate::mode::{Appearance, Error};

/// How long the kernel may take to answer what it does at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// The session layer of this process. Its threads start with the first volume.
#[derive(Debug)]
pub(super) struct Kernel {
    mounter: Arc<dyn Mounter>,
    /// Who keeps what the next process needs; nobody on a plain host.
    keeping: Option<Arc<Keeping>>,
    sessions: Mutex<Option<Arc<Sessions>>>,
    estate: Estate,
}

impl Kernel {
    /// Volumes that end with this process.
    pub(super) fn new(mounter: Arc<dyn Mounter>) -> Self {
        Self { mounter, keeping: None, sessions: Mutex::default(), estate: Estate::default() }
    }

    /// Volumes that the next process serves further: `mounter` keeps what it needs.
    pub(super) fn handing_over(mounter: Arc<dyn Mounter>) -> Self {
        let keeping = Some(Arc::new(Keeping::new(Arc::clone(&mounter))));
        Self { keeping, ..Self::new(mounter) }
    }

    fn sessions(&self) -> Result<Arc<Sessions>, mounter::Error> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = &*sessions {
            return Ok(Arc::clone(sessions));
        }
        let failed = mounter::Error::of("serve", Path::new("FUSE volumes"));
        let started = Arc::new(Sessions::start(Settings::default()).map_err(failed)?);
        if let Some(keeping) = &self.keeping {
            keeping.keep(&left::new_journal(), b"", started.journal(), &Arc::from(""))?;
        }
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
        let sessions = self.sessions()?;
        let device = Device::from_fd(self.mounter.open_fuse()?).map_err(failed())?;
        let root = self.mounter.create_fuse(device.as_fd(), appearance.selinux_context.as_deref())?;
        let agreed = device.agree(PATIENCE).map_err(failed())?;
        let (mount, key) = (MountId::of(&root).ok(), fastrand::u64(..u64::MAX));
        let file_system = file_system_of(&root).map_err(failed())?;
        let kept = self.keeping.as_ref().map(|keeping| Kept::new(keeping, target, &appearance.tenant));
        let device = device_of_kept(device, kept.as_ref()).map_err(failed())?;
        if let Some(kept) = &kept {
            let about = About::new(target, key, agreed, file_system, &kept.tenant);
            kept.keeping.keep(&kept.device(), &about.to_bytes(), device.as_fd(), &kept.tenant)?;
        }
        sessions.serve(key, device, agreed, Arc::clone(volume)).map_err(failed())?;
        let session = Session { sessions, key, target: target.to_owned(), mount, file_system, kept };
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
        if self.keeping.is_some() {
            // Kubelet owns the path, so whatever is there goes with the mount. Other modes look after other mounts.
            let is_ours = self.is_ours(target)?;
            self.forget(target);
            if is_ours {
                self.mounter.detach(target)?;
            }
            return Ok(());
        }
        let at = self.mounter.mounted_at(target)?;
        Ok(at.map_or(Ok(()), |mount| self.mounter.unmount(target, &mount))?)
    }

    fn is_mounted(&self, target: &Path) -> Result<bool, Error> {
        Ok(self.mounter.look(target)?.is_some())
    }

    fn processes(&self) -> Result<Arc<Processes>, Error> {
        // Each time, since the next mounter may be in another process namespace.
        Ok(Arc::new(Processes::new(self.mounter.processes()?)))
    }

    fn hands_over(&self) -> bool {
        self.keeping.is_some()
    }

    fn left(&self, target: &Path) -> Result<Left, Error> {
        self.left_at(target)
    }

    fn settle(&self) {
        if let Some(keeping) = &self.keeping {
            self.estate.close();
            keeping.settle();
        }
    }

    fn forget(&self, target: &Path) {
        if let Some(keeping) = &self.keeping {
            keeping.forget(&left::beginning(target));
        }
    }

    fn stuck(&self) -> usize {
        // While the first volume is made, nothing is told.
        let sessions = self.sessions.try_lock().ok().and_then(|sessions| sessions.clone());
        sessions.map_or(0, |sessions| sessions.health().stuck.len())
    }
}

/// One volume of the layer.
#[derive(Debug)]
struct Session {
    sessions: Arc<Sessions>,
    key: u64,
    target: PathBuf,
    mount: Option<MountId>,
    /// Tells our file system from one that somebody mounts over it.
    file_system: u64,
    kept: Option<Kept>,
}

impl Session {
    fn keep(&self, number: u64, about: &[u8], values: BorrowedFd<'_>) -> Result<(), Error> {
        match &self.kept {
            Some(kept) => Ok(kept.keeping.keep(&kept.edition(number), about, values, &kept.tenant)?),
            None => Ok(()),
        }
    }
}

/// Where the files of one volume are kept.
#[derive(Debug, Clone)]
struct Kept {
    keeping: Arc<Keeping>,
    /// What their names begin with.
    beginning: String,
    /// Whose share they take.
    tenant: Arc<str>,
}

impl Kept {
    fn new(keeping: &Arc<Keeping>, target: &Path, tenant: &str) -> Self {
        Self { keeping: Arc::clone(keeping), beginning: left::beginning(target), tenant: tenant.into() }
    }

    fn of(self, tenant: &str) -> Self {
        Self { tenant: tenant.into(), ..self }
    }

    fn device(&self) -> String {
        format!("{}{}", self.beginning, left::DEVICE)
    }

    fn edition(&self, number: u64) -> String {
        format!("{}{}{number:020}", self.beginning, left::EDITION)
    }
}

/// Has the mounter tell the kernel of changes, by the same device: this process may be killed at any time.
fn device_of_kept(device: Device, kept: Option<&Kept>) -> io::Result<Device> {
    let Some(kept) = kept else { return Ok(device) };
    let (keeping, name) = (Arc::clone(&kept.keeping), kept.device());
    let itself = device.as_fd().try_clone_to_owned()?;
    Ok(device.told_by(Arc::new(ByMounter { keeping, name, itself })))
}

#[derive(Debug)]
struct ByMounter {
    keeping: Arc<Keeping>,
    name: String,
    /// For as long as the mounter is away.
    itself: OwnedFd,
}

impl Tell for ByMounter {
    fn tell(&self, notification: &[u8]) -> io::Result<()> {
        match self.keeping.notify(&self.name, notification) {
            Some(told) => told.map_err(|error| error.source),
            None => Ok(rustix::io::write(&self.itself, notification).map(drop)?),
        }
    }
}

/// Steps that the mounter takes.
struct Steps {
    mounter: Arc<dyn Mounter>,
    root: OwnedFd,
}

impl TakeStep for Steps {
    fn take(&self, step: &Step) -> io::Result<()> {
        let (mounter, root) = (&self.mounter, self.root.as_fd());
        let taken = match step {
            Step::Unlink { path } => mounter.remove(root, path, false),
            Step::RemoveDirectory { name } => mounter.remove(root, name, true),
            Step::Link { name, target } => mounter.link(root, name, target),
            Step::Rename => mounter.rename(root, NEXT_DATA, DATA),
        };
        taken.map_err(|error| error.source)
    }
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

    fn keep(&self, number: u64, about: &[u8], values: BorrowedFd<'_>) -> Result<(), Error> {
        self.session.as_ref().map_or(Ok(()), |session| session.keep(number, about, values))
    }

    fn show(mut self: Box<Self>) -> Result<Arc<dyn Live>, Error> {
        let target = self.session.as_ref().map(|session| session.target.clone()).unwrap_or_default();
        self.mounter.attach(self.root.as_fd(), &target)?;
        let session = self.session.take().ok_or_else(|| Error::Failed("it is shown already".into()))?;
        Ok(Arc::new(Seen { mounter: Arc::clone(&self.mounter), session }))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.sessions.stop(session.key);
            if let Some(kept) = &session.kept {
                kept.keeping.forget(&kept.beginning);
            }
        }
    }
}

/// A mount at its target. Once it is unmounted and nobody has a file of it, the layer forgets it by itself.
#[derive(Debug)]
struct Seen {
    mounter: Arc<dyn Mounter>,
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
        let found = file_system_of(&root).map_err(mounter::Error::of("enter the volume at", target))?;
        if found == self.session.file_system { Ok(root) } else { Err(gone().into()) }
    }

    fn keep(&self, number: u64, about: &[u8], values: BorrowedFd<'_>) -> Result<(), Error> {
        self.session.keep(number, about, values)
    }

    fn changed_by(&self, root: &OwnedFd) -> io::Result<Option<Arc<dyn TakeStep>>> {
        if self.session.kept.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Steps { mounter: Arc::clone(&self.mounter), root: root.try_clone()? })))
    }

    /// A clone of the mount, as of [`root`](Live::root), would take the kernel milliseconds to close. A mounter that cannot be
    /// asked says nothing about the mount.
    fn is_there(&self) -> bool {
        let is_its_own =
            |found: OwnedFd| file_system_of(found).is_ok_and(|at| at == self.session.file_system);
        match self.mounter.look(&self.session.target) {
            Ok(found) => found.is_some_and(is_its_own),
            Err(error) => error.is_mounter_away(),
        }
    }

    fn forget(&self, number: u64) {
        if let Some(kept) = &self.session.kept {
            kept.keeping.forget(&kept.edition(number));
        }
    }

    fn tell(&self, notices: Vec<Notice>) -> io::Result<()> {
        self.session.sessions.tell(self.session.key, notices)?.wait(PATIENCE)
    }

    fn drop_pages(&self, path: &str, of_earlier: bool) -> io::Result<()> {
        self.session.sessions.drop_pages(self.session.key, path, of_earlier)
    }

    fn withdraw(&self, paths: &[&str]) -> io::Result<()> {
        let told = self.session.sessions.withdraw(self.session.key, paths.iter().copied())?;
        told.wait(PATIENCE)
    }
}
