//! Turns to write, in the order of arrival.
//!
//! SQLite makes each writer try again and again, so with many writers an unlucky one never gets a turn. So writers
//! queue at a file lock outside of SQLite, which the kernel passes on in the order of arrival. The lock only makes
//! turns fair. A process that holds it too long, or ignores it, delays others but breaks nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use provider::{Error, ErrorKind, Result};
use rustix::fs::FlockOperation;

const FILE: &str = "queue.lock";
/// How long a writer waits before it logs that it waits.
const QUIET: Duration = Duration::from_secs(1);
/// How long a writer waits in total.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A turn to write. While it lives, no other queued writer gets a turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// `None` if the store has no lock file.
    _lock: Option<File>,
}

/// Creates the lock file in `directory`, readable for its group too.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(directory.join(FILE))?;
    file.set_permissions(std::fs::Permissions::from_mode(0o640))
}

impl Turn {
    /// Waits for a turn to write to the store in `directory`. After a second it logs that it waits.
    ///
    /// # Errors
    ///
    /// `Unavailable`: the wait took longer than 90 seconds.
    pub(crate) fn wait(directory: &Path) -> Result<Self> {
        // A process that can neither open nor create the file, for example in a store of an older secretfs, skips the
        // queue.
        let Some(file) = open(directory) else { return Ok(Self { _lock: None }) };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _lock: Some(file) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Self::queue(directory, file),
            Err(_) => Ok(Self { _lock: None }),
        }
    }

    /// Trying again and again would be unfair here too, and a blocking wait for a lock cannot be cancelled. So a thread
    /// waits. It ends at the latest when the present holder releases the lock.
    fn queue(directory: &Path, file: File) -> Result<Self> {
        let (had, turn) = mpsc::sync_channel(1);
        let began = Instant::now();
        std::thread::Builder::new()
            .name("store-queue".to_owned())
            .spawn(move || {
                // If the caller has stopped waiting, the file is dropped, and the lock with it.
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
