//! Tells the kernel what has changed, apart from the thread that answers it.

use std::ffi::OsStr;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use fuse_tree::Notice;
use fuser::Notifier;

use crate::words::number;

/// How many batches may wait to be told.
const QUEUED: usize = 16;

/// Says when the kernel has heard all that it was to be told.
#[derive(Debug)]
pub struct Delivery(Receiver<io::Result<()>>);

impl Delivery {
    /// Waits so long for it.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `ConnectionAborted` where the volume has ended; those of writing.
    pub fn wait(&self, patience: Duration) -> io::Result<()> {
        match self.0.recv_timeout(patience) {
            Ok(told) => told,
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

type Batch = (Vec<Notice>, Sender<io::Result<()>>);

/// The way to the thread that tells. That holds the kernel's end open, so it ends when [`end`](Self::end) is called or
/// this is gone.
#[derive(Debug)]
pub(crate) struct Telling(Mutex<Option<SyncSender<Batch>>>);

impl Telling {
    pub(crate) fn start(notifier: Notifier) -> io::Result<Self> {
        let (queue, batches) = sync_channel::<Batch>(QUEUED);
        let tell = move || {
            for (notices, done) in batches {
                // Whoever does not wait any more needs no word.
                let _ = done.send(notices.iter().try_for_each(|notice| told(&notifier, notice)));
            }
        };
        // It ends with the last sender, or with what it is stuck in: a kernel that waits for an answer of this process.
        drop(thread::Builder::new().name("fuse-notify".to_owned()).spawn(tell)?);
        Ok(Self(Mutex::new(Some(queue))))
    }

    fn queue(&self) -> MutexGuard<'_, Option<SyncSender<Batch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells nothing any more.
    pub(crate) fn end(&self) {
        drop(self.queue().take());
    }

    /// Has the kernel told these, in this order.
    pub(crate) fn tell(&self, notices: Vec<Notice>) -> io::Result<Delivery> {
        let (done, delivery) = channel();
        let queue = self.queue().clone().ok_or(io::ErrorKind::ConnectionAborted)?;
        queue.try_send((notices, done)).map_err(|error| match error {
            TrySendError::Full(_) => io::ErrorKind::QuotaExceeded,
            TrySendError::Disconnected(_) => io::ErrorKind::ConnectionAborted,
        })?;
        Ok(Delivery(delivery))
    }
}

fn told(notifier: &Notifier, notice: &Notice) -> io::Result<()> {
    let told = match notice {
        Notice::Deleted { parent, child, name } => {
            notifier.delete(number(*parent), number(*child), OsStr::new(name))
        }
        Notice::Entry { parent, name } => notifier.inval_entry(number(*parent), OsStr::new(name)),
        Notice::Node(node) => notifier.inval_inode(number(*node), 0, 0),
    };
    match told {
        Err(error) if is_of_no_matter(&error) => Ok(()),
        told => told,
    }
}

/// Whether the kernel knew nothing of it. A directory whose name is gone may still have names that somebody uses: it goes
/// with them.
fn is_of_no_matter(error: &io::Error) -> bool {
    use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | DirectoryNotEmpty | NotADirectory)
}
