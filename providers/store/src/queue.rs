//! Turns at writing: whoever comes first is first.
//!
//! SQLite has each writer ask again and again, and who is unlucky never gets a turn among many. So they
//! queue at a lock outside of it, which the kernel hands on in the order of coming. It is about fairness
//! alone: who holds it without need, or goes past it, delays others and breaks nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use provider::{Error, ErrorKind, Result};
use rustix::fs::FlockOperation;

const FILE: &str = "queue.lock";
/// How long a writer waits before it says so.
const QUIET: Duration = Duration::from_secs(1);
/// How long it waits in all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// While it lives, no other writer that queues has its turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// `None` where there is no place to queue.
    _lock: Option<File>,
}

/// Makes the place to queue in `directory`, for its group too.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(directory.join(FILE))?;
    file.set_permissions(std::fs::Permissions::from_mode(0o640))
}

impl Turn {
    /// Waits for a turn at the store in `directory`; says after a second that it waits.
    ///
    /// # Errors
    ///
    /// `Unavailable`: it took longer than a minute and a half.
    pub(crate) fn wait(directory: &Path) -> Result<Self> {
        // Who may not read it, or make it in a store of an older secretfs, goes past.
        let Some(file) = open(directory) else { return Ok(Self { _lock: None }) };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _lock: Some(file) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Self::queue(directory, file),
            Err(_) => Ok(Self { _lock: None }),
        }
    }

    /// Asking again and again would be unfair here too, and a lock that is waited for cannot be given up:
    /// so a thread waits, which ends with the turn of who holds the lock.
    fn queue(directory: &Path, file: File) -> Result<Self> {
        let (had, turn) = mpsc::sync_channel(1);
        let began = Instant::now();
        std::thread::Builder::new()
            .name("store-queue".to_owned())
            .spawn(move || {
                // Where nobody waits any more, the lock goes with the file.
                had.send(rustix::fs::flock(&file, FlockOperation::LockExclusive).map(|()| file)).is_ok()
            })
            .map_err(|error| unqueued(directory, &error.to_string()))?;
        let mut told = false;
        loop {
            match turn.recv_timeout(QUIET) {
                Ok(Ok(file)) => return Ok(Self { _lock: Some(file) }),
                Ok(Err(error)) => return Err(unqueued(directory, &error.to_string())),
                Err(RecvTimeoutError::Timeout) if began.elapsed() < PATIENCE => tell(directory, &mut told),
                Err(_) => return Err(too_long(directory)),
            }
        }
    }
}

fn open(directory: &Path) -> Option<File> {
    let path: PathBuf = directory.join(FILE);
    File::open(&path).or_else(|_| make(directory).and_then(|()| File::open(&path))).ok()
}

fn tell(directory: &Path, told: &mut bool) {
    if !std::mem::replace(told, true) {
        tracing::warn!(store = %directory.display(), "waiting for others that write to the store");
    }
}

fn unqueued(directory: &Path, reason: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("cannot wait for a turn at store {}: {reason}", directory.display()),
    )
}

fn too_long(directory: &Path) -> Error {
    let text = format!(
        "others wrote to store {} for longer than {} s, or one of them hangs",
        directory.display(),
        PATIENCE.as_secs()
    );
    Error::new(ErrorKind::Unavailable, text)
        .remedy(format!("see who holds {} (`lsof`), and try again", directory.join(FILE).display()))
}
