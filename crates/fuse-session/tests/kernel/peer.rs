//! The crate `fuser`, serving the same volumes by way of crate `fuse-fuser`: what our own layer is compared with.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use fuse_session::Device;
use fuse_tree::Volume;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use super::watchdog::{self, Watched};

/// A mount that `fuser` serves. It is unmounted when this is dropped.
pub(crate) struct Peer {
    place: TempDir,
    session: fuse_fuser::Session,
    _watched: Watched,
}

impl Peer {
    pub(crate) fn new(volume: Arc<Volume>) -> Self {
        let place = TempDir::new().unwrap();
        let device: OwnedFd =
            rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let of_mount = Device::from_fd(device.try_clone().unwrap()).unwrap();
        let root = fuse_session::mount(&of_mount, "fuser-test").unwrap();
        let watched = watchdog::watch(root.as_fd(), watchdog::LIMIT);
        let session = fuse_fuser::serve(volume, device).unwrap();
        fuse_session::attach(root.as_fd(), place.path()).unwrap();
        Self { place, session, _watched: watched }
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn session(&self) -> &fuse_fuser::Session {
        &self.session
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = unmount(self.place.path(), UnmountFlags::DETACH);
    }
}
