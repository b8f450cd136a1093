use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use fuse_tree::{DATA, Invalid, NEXT_DATA, Step, Volume};
use rustix::fs::AtFlags;

/// Shows another edition of a volume through its [private clone](crate::private_clone), so that who watches sees
/// kubelet's events. It is done on a thread of its own, since it waits for those that serve.
///
/// # Errors
///
/// `TimedOut` where nobody served in time; `InvalidInput` where there is no such edition. Whatever was left to do,
/// [`Volume::show`] does it unseen.
pub fn rotate(volume: &Arc<Volume>, clone: OwnedFd, number: u64, patience: Duration) -> io::Result<()> {
    let steps = volume.steps_to_show(number).map_err(no_such)?;
    in_time(volume, clone, steps, patience)
}

/// The same for other steps of the volume, as those of [`Volume::steps_to_remove`].
///
/// # Errors
///
/// As of [`rotate`].
pub fn take_steps(
    volume: &Arc<Volume>,
    clone: OwnedFd,
    steps: Vec<Step>,
    patience: Duration,
) -> io::Result<()> {
    in_time(volume, clone, steps, patience)
}

/// Takes steps in the stead of this process, in a mount of its own of the same file system.
pub trait TakeStep: Send + Sync {
    /// Makes the one system call.
    ///
    /// # Errors
    ///
    /// Those of the call.
    fn take(&self, step: &Step) -> io::Result<()>;
}

/// The same by another process: a step waits for a lock that a reader may hold, and then for those that serve. A process
/// that is killed meanwhile is gone only when somebody else serves.
///
/// # Errors
///
/// As of [`rotate`].
pub fn take_steps_by(
    volume: &Arc<Volume>,
    by: Arc<dyn TakeStep>,
    steps: Vec<Step>,
    patience: Duration,
) -> io::Result<()> {
    let (done, taken) = sync_channel(1);
    volume.arm_all(steps.clone());
    thread::Builder::new().name("fuse-swap".to_owned()).spawn(move || {
        let _ = done.send(steps.iter().try_for_each(|step| by.take(step)));
    })?;
    wait(volume, &taken, patience)
}

fn no_such(invalid: Invalid) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, invalid)
}

fn in_time(volume: &Arc<Volume>, clone: OwnedFd, steps: Vec<Step>, patience: Duration) -> io::Result<()> {
    let (done, taken) = sync_channel(1);
    let armed = volume.clone();
    thread::Builder::new().name("fuse-swap".to_owned()).spawn(move || {
        let tid = rustix::thread::gettid().as_raw_pid();
        armed.arm(u32::try_from(tid).unwrap_or_default(), steps.clone());
        let _ = done.send(steps.iter().try_for_each(|step| take(&clone, step)));
    })?;
    wait(volume, &taken, patience)
}

fn wait(volume: &Volume, taken: &Receiver<io::Result<()>>, patience: Duration) -> io::Result<()> {
    let taken = match taken.recv_timeout(patience) {
        Ok(taken) => taken,
        Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::Other.into()),
    };
    volume.disarm();
    taken
}

fn take(root: &OwnedFd, step: &Step) -> io::Result<()> {
    let root = root.as_fd();
    match step {
        Step::Unlink { path } => rustix::fs::unlinkat(root, path.as_str(), AtFlags::empty())?,
        Step::RemoveDirectory { name } => rustix::fs::unlinkat(root, name.as_str(), AtFlags::REMOVEDIR)?,
        Step::Link { name, target } => rustix::fs::symlinkat(target.as_str(), root, name.as_str())?,
        Step::Rename => rustix::fs::renameat(root, NEXT_DATA, root, DATA)?,
    }
    Ok(())
}
