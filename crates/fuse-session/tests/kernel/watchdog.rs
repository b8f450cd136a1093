//! Ends tests that hang: each wait for a volume of a test has this deadline.
//!
//! Who waits for a volume may wait in the kernel where no signal ends it, and may hold locks there that the whole process
//! needs. So the thread that watches needs no memory to end that, and no path: it holds what it writes to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, openat, statx};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// How long a test may have a volume.
const LIMIT: Duration = Duration::from_secs(120);
/// How long a test has to fail when nothing serves its volumes any more.
const GRACE: Duration = Duration::from_secs(30);
const MOUNTS_MAX: usize = 2048;

static WATCHED: Mutex<[Option<Entry>; MOUNTS_MAX]> = Mutex::new([const { None }; MOUNTS_MAX]);
static START: Once = Once::new();
/// The kernel's file system of the connections, mounted nowhere.
static CONNECTIONS: LazyLock<OwnedFd> = LazyLock::new(|| {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_create(context.as_fd()).unwrap();
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
});

/// A mount that is watched as long as this lives.
#[derive(Debug)]
pub(crate) struct Watched(usize);

struct Entry {
    /// Who writes to it aborts this connection, and never a later one of the same number.
    abort: OwnedFd,
    until: Instant,
    is_aborted: bool,
    test: Thread,
}

/// Watches a mount for the test of this thread, [`LIMIT`] and `more`.
pub(crate) fn watch(mount: BorrowedFd<'_>, more: Duration) -> Watched {
    START
        .call_once(|| drop(thread::Builder::new().name("watchdog".to_owned()).spawn(look_for_ever).unwrap()));
    // Nobody may serve it yet, so nobody must be asked.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let minor = statx(mount, "", flags, StatxFlags::empty()).unwrap().stx_dev_minor;
    let (flags, path) = (OFlags::WRONLY | OFlags::CLOEXEC, format!("{minor}/abort"));
    let abort = openat(&*CONNECTIONS, path, flags, Mode::empty()).unwrap();
    let (until, test) = (Instant::now() + LIMIT + more, thread::current());
    let mut watched = watched();
    let free = watched.iter().position(Option::is_none).unwrap();
    watched[free] = Some(Entry { abort, until, is_aborted: false, test });
    Watched(free)
}

fn watched() -> MutexGuard<'static, [Option<Entry>; MOUNTS_MAX]> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look_for_ever() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let (mut watched, now) = (watched(), Instant::now());
        let late = |entry: &&mut Entry| entry.until < now && !entry.is_aborted;
        watched.iter_mut().flatten().filter(late).for_each(Entry::abort);
        if let Some(entry) = watched.iter().flatten().find(|entry| entry.until + GRACE < now) {
            eprintln!("watchdog: {} hangs although its volumes are aborted", entry.name());
            std::process::abort();
        }
    }
}

impl Entry {
    fn abort(&mut self) {
        self.is_aborted = rustix::io::write(&self.abort, b"1").is_ok();
        eprintln!("watchdog: {} has not ended in time, so its volume is aborted", self.name());
    }

    fn name(&self) -> &str {
        self.test.name().unwrap_or("a test")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let entry = watched()[self.0].take();
        let is_aborted = entry.is_some_and(|entry| entry.is_aborted);
        assert!(
            !is_aborted || thread::panicking(),
            "the test has not ended in time, so its volume was aborted"
        );
    }
}
