//! The owner of a target: at most one process at a time. A lock shows which one, and ends with the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::Pid;

/// The longest pid in the lock file, in bytes. A longer text is ignored.
const MAX_PID: u64 = 16;

/// The right to mount at a target, to serve the mount and to remove it, until this is dropped.
#[derive(Debug)]
pub struct Owner {
    /// The kernel ends the lock when the process ends. The file stays, because a removed file could be locked by a
    /// second process at the same time.
    lock: File,
}

/// Why this process does not own a target.
#[derive(Debug, thiserror::Error)]
pub enum NotOwned {
    /// Another process owns the target.
    #[error("already mounted and served by another secretfs{}", told(.0))]
    Taken(Option<Pid>),
    /// The lock file cannot be made or locked.
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn told(pid: &Option<Pid>) -> String {
    pid.map(|pid| format!(", process {pid}")).unwrap_or_default()
}

impl Owner {
    /// Becomes the owner of the target whose state is in `directory`. Makes the directory if it is missing.
    ///
    /// # Errors
    ///
    /// Another process is the owner, or the file system refuses.
    pub fn become_of(directory: &Path) -> Result<Self, NotOwned> {
        let mut owner = Self::hold(directory)?;
        write!(owner.lock, "{}", std::process::id())?;
        Ok(owner)
    }

    /// The same, to remove the mount. This process does not write its pid, so other processes do not name it to users.
    ///
    /// # Errors
    ///
    /// As [`become_of`](Self::become_of).
    pub fn hold(directory: &Path) -> Result<Self, NotOwned> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(directory.join("owner"))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(NotOwned::Taken(read(&mut lock))),
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        lock.set_len(0)?;
        lock.rewind()?;
        Ok(Self { lock })
    }
}

/// The pid in the lock file. An owner that has just taken the lock may not have written it yet.
fn read(lock: &mut File) -> Option<Pid> {
    let mut text = String::new();
    lock.take(MAX_PID).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_a_mount_away_is_named_to_nobody_as_its_server() {
        let at = tempfile::tempdir().unwrap();
        drop(Owner::become_of(at.path()).unwrap());
        let _taking_away = Owner::hold(at.path()).unwrap();

        assert!(matches!(Owner::hold(at.path()), Err(NotOwned::Taken(None))));
    }

    #[test]
    fn a_target_has_one_owner_and_the_second_is_told_who() {
        let at = tempfile::tempdir().unwrap();
        let state = at.path().join("mounts/target");
        let first = Owner::become_of(&state).unwrap();

        let second = Owner::become_of(&state).unwrap_err().to_string();
        drop(first);
        let third = Owner::become_of(&state);

        assert!(second.ends_with(&format!("process {}", std::process::id())), "{second}");
        assert!(third.is_ok());
    }
}
