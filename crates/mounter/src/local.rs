//! A mounter in this process, for volumes of kubelet.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use mounter_protocol::Request;
use rustix::fs::ResolveFlags;
use secretfs_mounter::{Answer, Caller, Ground, Place, Reach, Verbs, is_csi_target};

use crate::verbs::Ask;

/// Where a mounter in this process acts. Its caller is trusted to choose there, and outside it refuses.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Below which directory it mounts; anywhere if there is none.
    pub pods: Option<PathBuf>,
    /// Below which directories it makes sockets.
    pub sockets: Vec<PathBuf>,
}

impl Ground for Roots {
    fn target(&self, path: &Path) -> io::Result<Place> {
        let Some(pods) = &self.pods else { return anywhere(path) };
        let reach = if is_csi_target(pods, path) { Reach::Volume } else { Reach::Mounts };
        Place::below(pods, path, ResolveFlags::NO_XDEV, reach)
    }

    fn socket(&self, path: &Path) -> io::Result<Place> {
        let reason = "it is below none of the directories that sockets may be in";
        let root = self.sockets.iter().find(|root| path.starts_with(root));
        let root = root.ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, reason))?;
        Place::below(root, path, ResolveFlags::empty(), Reach::Mounts)
    }

    fn provider(&self, _: &Path) -> io::Result<Place> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this process connects by itself"))
    }
}

/// A place of this host that its caller chose.
pub(crate) fn anywhere(target: &Path) -> io::Result<Place> {
    Place::below(Path::new("/"), target, ResolveFlags::empty(), Reach::Mounts)
}

/// The privileged verbs for volumes of kubelet, done by this process.
#[derive(Debug)]
pub struct LocalMounter(Verbs<Roots>);

impl LocalMounter {
    /// A mounter that acts below `roots` only and keeps secrets out of swap.
    pub fn new(roots: Roots) -> Self {
        Self(Verbs::new(roots))
    }

    /// Makes file systems that may be swapped, where the kernel (before 6.4) cannot keep them out of it.
    #[must_use]
    pub fn allow_swap(self, allowed: bool) -> Self {
        Self(self.0.allow_swap(allowed))
    }
}

impl Ask for LocalMounter {
    fn ask(&self, request: &Request, file: Option<BorrowedFd<'_>>) -> io::Result<Answer> {
        self.0.act(request, file, &Caller::default())
    }
}
