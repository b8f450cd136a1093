//! A mounter that makes no system call.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mounter::{Mounter, Tmpfs};

use super::mode::FakeMode;

/// A mounter that unmounts [`FakeMode`]'s mounts and keeps blobs.
#[derive(Debug, Default)]
pub(in crate::volume) struct FakeMounter {
    pub(in crate::volume) mode: FakeMode,
    /// The other mode of a node that has two.
    pub(in crate::volume) other: Option<FakeMode>,
    pub(in crate::volume) blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(in crate::volume) detached: AtomicUsize,
}

impl FakeMounter {
    pub(in crate::volume) fn modes(&self) -> impl Iterator<Item = &FakeMode> {
        std::iter::once(&self.mode).chain(&self.other)
    }
}

pub(super) fn not_faked() -> mounter::Error {
    mounter::Error { action: "fake", target: PathBuf::new(), source: std::io::ErrorKind::Unsupported.into() }
}

impl Mounter for FakeMounter {
    fn create(&self, _: &Tmpfs) -> Result<OwnedFd, mounter::Error> {
        Err(not_faked())
    }

    fn attach(&self, _: BorrowedFd<'_>, _: &Path) -> Result<(), mounter::Error> {
        Err(not_faked())
    }

    fn open_fuse(&self) -> Result<OwnedFd, mounter::Error> {
        Err(not_faked())
    }

    fn create_fuse(&self, _: BorrowedFd<'_>, _: Option<&str>) -> Result<OwnedFd, mounter::Error> {
        Err(not_faked())
    }

    fn enter_fuse(&self, _: &Path) -> Result<Option<OwnedFd>, mounter::Error> {
        Err(not_faked())
    }

    fn enter(&self, _: &Path) -> Result<Option<OwnedFd>, mounter::Error> {
        Err(not_faked())
    }

    fn take_over(&self, _: &Path) -> Result<Option<OwnedFd>, mounter::Error> {
        Err(not_faked())
    }

    fn resize(&self, _: BorrowedFd<'_>, _: u64, _: u64) -> Result<(), mounter::Error> {
        Err(not_faked())
    }

    fn detach(&self, target: &Path) -> Result<(), mounter::Error> {
        self.detached.fetch_add(1, Ordering::SeqCst);
        for mode in self.modes() {
            mode.0.lock().unwrap().remove(target);
        }
        Ok(())
    }

    fn lend(&self, _: &Tmpfs, _: &Path) -> Result<OwnedFd, mounter::Error> {
        Err(not_faked())
    }

    fn take_back(&self, _: &Path) -> Result<(), mounter::Error> {
        Ok(())
    }

    fn listen(&self, _: &Path) -> Result<UnixListener, mounter::Error> {
        Err(not_faked())
    }

    fn keep(&self, name: &str, blob: &[u8]) -> Result<(), mounter::Error> {
        self.blobs.lock().unwrap().insert(name.to_owned(), blob.to_vec());
        Ok(())
    }

    fn kept(&self) -> Result<Vec<(String, Vec<u8>)>, mounter::Error> {
        Ok(self.blobs.lock().unwrap().clone().into_iter().collect())
    }

    fn forget(&self, name: &str) -> Result<(), mounter::Error> {
        self.blobs.lock().unwrap().remove(name);
        Ok(())
    }
}
