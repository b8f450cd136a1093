//! The mounter as a process of its own: answers requests on a socket.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::place::Roots;
use crate::protocol::{Failure, Reply, Request};
use crate::{Error, LocalMounter, Mounter, packet, sockets};

/// Most callers that are connected at once.
const MAX_CALLERS: usize = 64;
/// How long a reply waits for a caller that does not read it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a caller waits to be let in while there is nothing left to hold one more with.
const FULL: Duration = Duration::from_millis(50);

/// Answers the requests of other processes.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    mounter: LocalMounter,
    /// Who may ask, beside root.
    uids: BTreeSet<u32>,
    connected: AtomicUsize,
}

/// A caller, counted while it is connected.
struct Caller<'a> {
    socket: OwnedFd,
    connected: &'a AtomicUsize,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a request leads to: the reply, and the open file beside it.
type Answer = (Reply, Option<OwnedFd>);

impl Server {
    /// Listens at `path`, in place of any stale socket, for root and for processes that run as one of `uids`.
    ///
    /// # Errors
    ///
    /// The directory is missing, another process listens there, or something that is no socket is there.
    pub fn bind(path: &Path, mounter: LocalMounter, uids: BTreeSet<u32>) -> Result<Self, Error> {
        let listener = listen(path, &uids).map_err(Error::of("listen at", path))?;
        Ok(Self { listener, mounter, uids, connected: AtomicUsize::new(0) })
    }

    /// Serves until `stop` can be read from or its other end is closed. Requests that are being done are finished.
    ///
    /// # Errors
    ///
    /// The socket is lost.
    pub fn run(&self, stop: BorrowedFd<'_>) -> io::Result<()> {
        thread::scope(|scope| {
            while wait(&self.listener, stop)? {
                if let Some(caller) = self.accept()? {
                    let serve = move || self.serve(&caller, stop);
                    if let Err(error) =
                        thread::Builder::new().name("caller".to_owned()).spawn_scoped(scope, serve)
                    {
                        tracing::warn!(%error, "no thread for another caller");
                    }
                }
            }
            Ok(())
        })
    }

    /// The next caller, if it is one to be served.
    fn accept(&self) -> io::Result<Option<Caller<'_>>> {
        let caller = match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            // It has gone away again.
            Err(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN) => return Ok(None),
            // It waits in the socket's queue until somebody else has gone.
            Err(full @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                tracing::warn!(error = %full, "no room for another caller; it waits");
                thread::sleep(FULL);
                return Ok(None);
            }
            caller => caller?,
        };
        let uid = match sys::peer_uid(caller.as_fd()) {
            Ok(uid) => uid,
            Err(error) => {
                tracing::warn!(%error, "refused a caller: the kernel does not tell who it is");
                return Ok(None);
            }
        };
        if uid != 0 && !self.uids.contains(&uid) {
            tracing::warn!(uid, "refused a caller: it is not an allowed user");
            return Ok(None);
        }
        if self.connected.load(Ordering::Relaxed) >= MAX_CALLERS {
            tracing::warn!(uid, "refused a caller: {MAX_CALLERS} are connected already");
            return Ok(None);
        }
        self.connected.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Caller { socket: caller, connected: &self.connected }))
    }

    fn serve(&self, caller: &Caller<'_>, stop: BorrowedFd<'_>) {
        if let Err(error) = self.answer_all(&caller.socket, stop) {
            tracing::debug!(%error, "lost a caller");
        }
    }

    fn answer_all(&self, caller: &OwnedFd, stop: BorrowedFd<'_>) -> io::Result<()> {
        packet::set_patience(caller, PATIENCE)?;
        while wait(caller, stop)? {
            let Some(received) = packet::receive(caller)? else { break };
            let (reply, file) = match Request::decode(&received.packet) {
                Ok(request) => self.answer(&request, received.file.as_ref().map(AsFd::as_fd)),
                Err(malformed) => {
                    (Reply::Failed(Failure::Said(io::ErrorKind::InvalidInput, malformed.to_string())), None)
                }
            };
            packet::send(caller, &reply.encode(), file.as_ref().map(AsFd::as_fd))?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, root: Option<BorrowedFd<'_>>) -> Answer {
        self.act(request, root).unwrap_or_else(|error| {
            tracing::warn!(%error, "refused");
            (Reply::Failed(Failure::from(error.source)), None)
        })
    }

    fn act(&self, request: &Request, root: Option<BorrowedFd<'_>>) -> Result<Answer, Error> {
        let done = |file| (Reply::Done, file);
        match request {
            Request::Create(tmpfs) => self.mounter.create(tmpfs).map(Some).map(done),
            Request::Attach(target) => self.mounter.attach(given(root, target)?, target).map(|()| done(None)),
            Request::Enter(target) => self.mounter.enter(target).map(done),
            Request::TakeOver(target) => self.mounter.take_over(target).map(done),
            Request::Resize { size, inodes } => {
                let root = given(root, Path::new("a tmpfs"))?;
                self.mounter.resize(root, *size, *inodes).map(|()| done(None))
            }
            Request::Detach(target) => self.mounter.detach(target).map(|()| done(None)),
            Request::Lend(tmpfs, target) => self.mounter.lend(tmpfs, target).map(Some).map(done),
            Request::TakeBack(target) => self.mounter.take_back(target).map(|()| done(None)),
            Request::Listen(path) => self.mounter.listen(path).map(|socket| done(Some(socket.into()))),
            Request::Keep { name, blob } => self.mounter.keep(name, blob).map(|()| done(None)),
            Request::Kept { after } => {
                Ok((self.mounter.kept_after(after, |rest| Reply::first_of(rest)), None))
            }
            Request::Forget(name) => self.mounter.forget(name).map(|()| done(None)),
        }
    }
}

fn listen(path: &Path, uids: &BTreeSet<u32>) -> io::Result<OwnedFd> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let place = Roots { sockets: vec![directory.to_owned()], ..Roots::default() }.for_socket(path)?;
    let socket = packet::socket()?;
    sockets::listen_in_place(&socket, path, &place)?;
    // Where others than root may ask, the kernel's word on who they are decides, not the file's mode.
    if !uids.is_empty() {
        let all = Mode::from_raw_mode(0o666);
        rustix::fs::chmodat(place.parent(), place.name(), all, AtFlags::empty())?;
    }
    Ok(socket)
}

fn given<'fd>(root: Option<BorrowedFd<'fd>>, target: &Path) -> Result<BorrowedFd<'fd>, Error> {
    root.ok_or_else(|| {
        let missing = io::Error::new(io::ErrorKind::InvalidInput, "no root came with the request");
        Error::of("mount", target)(missing)
    })
}

/// Waits until `socket` has something to read; `false` when it is time to stop.
fn wait(socket: &OwnedFd, stop: BorrowedFd<'_>) -> io::Result<bool> {
    let mut both = [PollFd::new(socket, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut both, None) {
            Ok(_) => return Ok(both.iter().skip(1).all(|stop| stop.revents().is_empty())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
