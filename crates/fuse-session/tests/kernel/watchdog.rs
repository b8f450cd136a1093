//! Ends tests that hang: each wait for a volume of a test has this deadline.
//!
//! A thread of the tests cannot do that. Who waits for a volume may hold a lock of the kernel that all threads need, and
//! the others hold locks of the allocator meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, openat, statx};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::program::Program;

/// How long most tests may have a volume.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

static LAST: AtomicU64 = AtomicU64::new(0);
static WATCHDOG: LazyLock<Mutex<Program>> = LazyLock::new(|| Mutex::new(Program::start("watchdog", [""; 0])));
/// The kernel's file system of the connections, mounted nowhere.
static CONNECTIONS: LazyLock<OwnedFd> = LazyLock::new(|| {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_create(context.as_fd()).unwrap();
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
});

/// A mount that is watched as long as this lives.
#[derive(Debug)]
pub(crate) struct Watched(u64);

/// Watches a mount for the test of this thread.
pub(crate) fn watch(mount: BorrowedFd<'_>, limit: Duration) -> Watched {
    let (key, test) = (LAST.fetch_add(1, Ordering::Relaxed), thread::current());
    let text = format!("watch {key} {} {}", limit.as_millis(), test.name().unwrap_or("a test"));
    let abort = abort(mount);
    WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner).send(&text, Some(abort.as_fd()));
    Watched(key)
}

/// Who writes to it aborts the connection of this mount, and never a later one of the same number.
fn abort(mount: BorrowedFd<'_>) -> OwnedFd {
    // Nobody may serve it yet, so nobody must be asked.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let minor = statx(mount, "", flags, StatxFlags::empty()).unwrap().stx_dev_minor;
    let (flags, path) = (OFlags::WRONLY | OFlags::CLOEXEC, format!("{minor}/abort"));
    openat(&*CONNECTIONS, path, flags, Mode::empty()).unwrap()
}

impl Drop for Watched {
    fn drop(&mut self) {
        let answer = {
            let watchdog = WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner);
            watchdog.send(&format!("end {}", self.0), None);
            watchdog.receive().0
        };
        assert!(
            answer == "in time" || thread::panicking(),
            "the test has not ended in time, so its volume was aborted"
        );
    }
}
