//! Real mounts, in a mount namespace of the test's thread: whatever becomes of the test, they go with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuse_session::{Agreed, Device, Served, Sessions, Settings, attach, mount, private_clone};
use fuse_tree::{Edition, Volume};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use tempfile::TempDir;

use super::watchdog::{self, Watched};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const KEY: u64 = 7;

/// Gives this thread, and those that it starts, mounts of its own.
pub(crate) fn leave_mounts() {
    sys::leave_mount_namespace().unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
}

/// A mount that is not served by anybody yet.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) clone: OwnedFd,
    pub(crate) agreed: Agreed,
    _watched: Watched,
}

impl Place {
    pub(crate) fn new() -> (Self, Device) {
        Self::watched(watchdog::LIMIT)
    }

    /// The same for a test that takes no longer than this.
    pub(crate) fn watched(limit: Duration) -> (Self, Device) {
        let (directory, device) = (TempDir::new().unwrap(), Device::open().unwrap());
        let root = mount(&device, "fuse-test").unwrap();
        let watched = watchdog::watch(root.as_fd(), limit);
        let agreed = device.agree(PATIENCE).unwrap();
        let clone = private_clone(root.as_fd()).unwrap();
        attach(root.as_fd(), directory.path()).unwrap();
        (Self { directory, clone, agreed, _watched: watched }, device)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}

/// One volume, mounted and served.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) place: Place,
    pub(crate) sessions: Sessions,
    pub(crate) served: Arc<Served>,
}

impl Mounted {
    pub(crate) fn new(volume: Arc<Volume>) -> Self {
        Self::with(volume, Settings::default())
    }

    pub(crate) fn with(volume: Arc<Volume>, settings: Settings) -> Self {
        leave_mounts();
        let (place, device) = Place::new();
        let sessions = Sessions::start(settings).unwrap();
        let served = sessions.serve(KEY, device, place.agreed, volume).unwrap();
        Self { place, sessions, served }
    }

    pub(crate) fn volume(&self) -> &Arc<Volume> {
        self.served.volume()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.place.at(name)
    }

    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.at(name))
    }

    /// Shows another edition, as watchers see it.
    pub(crate) fn rotate(&self, edition: Edition) {
        let number = edition.number;
        self.volume().add(edition).unwrap();
        fuse_session::rotate(self.volume(), self.clone_root(), number, PATIENCE).unwrap();
    }

    /// Takes an old edition away, as watchers see it.
    pub(crate) fn remove(&self, number: u64) {
        let steps = self.volume().steps_to_remove(number).unwrap();
        fuse_session::take_steps(self.volume(), self.clone_root(), steps, PATIENCE).unwrap();
    }

    fn clone_root(&self) -> OwnedFd {
        self.place.clone.try_clone().unwrap()
    }
}

/// Looks again until it is so.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> fuse_tree::Errno {
    fuse_tree::Errno::from_io_error(&result.unwrap_err()).unwrap()
}
