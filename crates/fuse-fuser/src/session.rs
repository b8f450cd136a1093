use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread;

use fuse_tree::{Notice, Volume};
use fuser::{Config, SessionACL};
use rustix::fs::OFlags;

use crate::answers::Answers;
use crate::asking::{PATIENCE, Waiting};
use crate::filled::Filled;
use crate::telling::{Delivery, Telling};

/// A volume that is served. It is served until it is mounted nowhere any more, also after this is dropped.
#[derive(Debug)]
pub struct Session {
    volume: Arc<Volume>,
    filled: Arc<Filled>,
    telling: Arc<OnceLock<Telling>>,
}

/// Serves `volume` at `device`, the kernel's end of a mount that is made already. Waits for the kernel's first request,
/// which comes at once.
///
/// Reads of the device wait from now on, also for others that have it open: one whose reads return at once would be read
/// again and again, and that takes a whole processor.
///
/// # Errors
///
/// It is unmounted already, the kernel's protocol is older than 7.6, or there are no threads.
pub fn serve(volume: Arc<Volume>, device: OwnedFd) -> io::Result<Session> {
    let flags = rustix::fs::fcntl_getfl(&device)?;
    rustix::fs::fcntl_setfl(&device, flags.difference(OFlags::NONBLOCK))?;
    let (filled, telling) = (Arc::<Filled>::default(), Arc::<OnceLock<Telling>>::default());
    let session = Session { volume, filled, telling };
    let answers = Answers {
        volume: Arc::clone(&session.volume),
        filled: Arc::clone(&session.filled),
        telling: Arc::clone(&session.telling),
        waiting: Waiting::new(PATIENCE),
    };
    // Whom the kernel lets in is agreed with it at the mount.
    let loops = fuser::Session::from_fd(answers, device, SessionACL::All, Config::default())?;
    let started = Telling::start(loops.notifier())?;
    session.telling.get_or_init(|| started);
    let ended = Arc::clone(&session.telling);
    let serve = move || {
        if let Err(error) = loops.run() {
            tracing::warn!(%error, "a volume is served no more; whoever uses it gets errors");
        }
        // The last that holds the kernel's end: whoever waits for an answer shall not wait for ever.
        ended.get().into_iter().for_each(Telling::end);
    };
    // The thread ends with the mount.
    drop(thread::Builder::new().name("fuse-serve".to_owned()).spawn(serve)?);
    Ok(session)
}

impl Session {
    /// Has the kernel told of changes, in this order.
    ///
    /// # Errors
    ///
    /// Too much is to be told already (`QuotaExceeded`), or the volume has ended (`ConnectionAborted`).
    pub fn tell(&self, notices: Vec<Notice>) -> io::Result<Delivery> {
        self.telling.get().ok_or(io::ErrorKind::ConnectionAborted)?.tell(notices)
    }

    /// Has the kernel drop the pages that it keeps of the file at `path` for mappings, soon. Waits for nobody.
    ///
    /// # Errors
    ///
    /// As of [`tell`](Self::tell). The pages stay until a handle of the file goes.
    pub fn drop_pages(&self, path: &str) -> io::Result<()> {
        let nodes = self.volume.nodes_of(path);
        let notices = self.filled.emptied(&nodes);
        if notices.is_empty() {
            return Ok(());
        }
        self.tell(notices).map(drop).inspect_err(|_| nodes.iter().for_each(|node| self.filled.note(*node)))
    }

    /// Takes the files at `paths` back, from everybody but mappings, and has the kernel told: then from those too.
    ///
    /// # Errors
    ///
    /// As of [`tell`](Self::tell).
    pub fn withdraw<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> io::Result<Delivery> {
        let notices = self.volume.withdraw(paths).into_iter().chain(self.filled.all());
        self.tell(notices.collect())
    }
}
