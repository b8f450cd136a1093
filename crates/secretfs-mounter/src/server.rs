//! Answers requests on a socket.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mounter_protocol::{Received, Request, receive, send, set_patience, socket};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Mode, ResolveFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::callers::{Caller, Users};
use crate::{Answer, Driver, Place, Reach, Verbs, sockets};

/// Most callers that are connected at once.
const MAX_CALLERS: usize = 64;
/// How long a reply waits for a caller that does not read it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a caller waits to be let in while there is nothing left to hold one more with.
const FULL: Duration = Duration::from_millis(50);

/// Does the verbs for other processes.
pub(crate) struct Server {
    listener: OwnedFd,
    verbs: Verbs<Driver>,
    /// Who may ask, beside root.
    users: Users,
    /// Held by each caller that is connected.
    seat: Arc<()>,
}

impl Server {
    /// Listens at `path`, in place of any stale socket, for root and for processes of `users`.
    ///
    /// # Errors
    ///
    /// The directory is missing, another process listens there, or something that is no socket is there.
    pub(crate) fn bind(path: &Path, verbs: Verbs<Driver>, users: Users) -> io::Result<Self> {
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let place = Place::below(directory, path, ResolveFlags::empty(), Reach::Mounts)?;
        let listener = socket()?;
        sockets::listen_in_place(&listener, path, &place)?;
        // Where others than root may ask, the kernel's word on who they are decides, not the file's mode.
        if !users.0.is_empty() {
            let all = Mode::from_raw_mode(0o666);
            rustix::fs::chmodat(&place.parent, &place.name, all, AtFlags::empty())?;
        }
        Ok(Self { listener, verbs, users, seat: Arc::default() })
    }

    /// Serves until `stop` can be read from or its other end is closed. Requests that are being done are finished.
    ///
    /// # Errors
    ///
    /// The socket is lost.
    pub(crate) fn run(&self, stop: BorrowedFd<'_>) -> io::Result<()> {
        thread::scope(|scope| {
            let watch = thread::Builder::new().name("waiting".to_owned());
            watch.spawn_scoped(scope, || self.end_waiting(stop))?;
            while wait(&self.listener, stop)? {
                let Some((socket, caller, seat)) = self.accept()? else { continue };
                let serve = move || {
                    let _held = seat;
                    let served = self.answer_all(&socket, &caller, stop);
                    served.unwrap_or_else(|error| tracing::debug!(%error, "lost a caller"));
                };
                let thread = thread::Builder::new().name("caller".to_owned()).spawn_scoped(scope, serve);
                if let Err(error) = thread {
                    tracing::warn!(%error, "no thread for another caller");
                }
            }
            Ok(())
        })
    }

    /// Looks every second, until `stop`, whether programs wait for files that nobody serves.
    fn end_waiting(&self, stop: BorrowedFd<'_>) {
        let look = Timespec { tv_sec: 1, tv_nsec: 0 };
        while let Ok(0) | Err(Errno::INTR) =
            rustix::event::poll(&mut [PollFd::from_borrowed_fd(stop, PollFlags::IN)], Some(&look))
        {
            self.verbs.end_waiting();
        }
    }

    /// The next caller, if it is one to be served.
    fn accept(&self) -> io::Result<Option<(OwnedFd, Caller, Arc<()>)>> {
        match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(socket) => match self.admit(socket.as_fd()) {
                Ok((caller, seat)) => return Ok(Some((socket, caller, seat))),
                Err(reason) => tracing::warn!("refused a caller: {reason}"),
            },
            // It has gone away again.
            Err(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN) => {}
            // It waits in the socket's queue until somebody else has gone.
            Err(full @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                tracing::warn!(error = %full, "no room for another caller; it waits");
                thread::sleep(FULL);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(None)
    }

    /// Who is at the other end of `socket`, and a seat, if it may have one.
    fn admit(&self, socket: BorrowedFd<'_>) -> Result<(Caller, Arc<()>), String> {
        let peer =
            sys::peer(socket).map_err(|error| format!("the kernel does not tell who it is: {error}"))?;
        let caller = self.users.admit(peer)?;
        // One is the server's own.
        if Arc::strong_count(&self.seat) > MAX_CALLERS {
            return Err(format!("{MAX_CALLERS} are connected already"));
        }
        Ok((caller, Arc::clone(&self.seat)))
    }

    fn answer_all(&self, socket: &OwnedFd, caller: &Caller, stop: BorrowedFd<'_>) -> io::Result<()> {
        set_patience(socket, PATIENCE)?;
        while wait(socket, stop)? {
            let Some(received) = receive(socket)? else { break };
            let (reply, file) = self.answer(&received, caller).unwrap_or_else(|error| (error.into(), None));
            send(socket, &reply.encode(), file.as_ref().map(|file| file.as_fd()))?;
        }
        Ok(())
    }

    fn answer(&self, received: &Received, caller: &Caller) -> io::Result<Answer> {
        let request = Request::decode(&received.packet)?;
        let root = received.file.as_ref().map(|file| file.as_fd());
        self.verbs.act(&request, root, caller).inspect_err(|error| {
            let (action, on) = request.words();
            tracing::warn!("refused: cannot {action} {}: {error}", on.display());
        })
    }
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
