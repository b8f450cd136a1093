//! A mounter in another process.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mounter_protocol::{Received, Reply, Request, receive, send, set_patience, socket};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use secretfs_mounter::Answer;

use crate::verbs::{Ask, strange};

/// How long a call takes at most, the wait for a mounter that is being restarted included.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long to wait before asking again whether the mounter is back.
const PAUSE: Duration = Duration::from_millis(20);
/// Most connections that are kept while nobody uses them.
const MAX_IDLE: usize = 8;

/// The mounter could not be asked, or its answer did not come.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Away(String);

/// The privileged verbs, done by a `secretfs-mounter`.
#[derive(Debug)]
pub struct RemoteMounter {
    socket: PathBuf,
    /// Connections of calls that are over, for calls to come.
    idle: Mutex<Vec<OwnedFd>>,
}

impl RemoteMounter {
    /// Speaks to the mounter that listens at `socket`, from the first call on and again after each of its restarts.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, idle: Mutex::default() }
    }

    /// Sends on a connection that has been idle, or on a new one.
    fn send(&self, packet: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
        while let Some(connection) = self.take_idle() {
            // Where it fails the mounter has gone since, and has not seen the request.
            if send(&connection, packet, file).is_ok() {
                return Ok(connection);
            }
        }
        let connection = self.connect()?;
        send(&connection, packet, file).map_err(|_| self.lost())?;
        Ok(connection)
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let start = Instant::now();
        let address = SocketAddrUnix::new(&self.socket)?;
        loop {
            let socket = socket()?;
            set_patience(&socket, DEADLINE)?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => return Ok(socket),
                Err(Errno::NOENT | Errno::CONNREFUSED) if start.elapsed() < DEADLINE => thread::sleep(PAUSE),
                Err(error) => return Err(self.unreachable(error)),
            }
        }
    }

    fn take_idle(&self) -> Option<OwnedFd> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, connection: OwnedFd) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    fn unreachable(&self, error: Errno) -> io::Error {
        let said = io::Error::from(error);
        let reason =
            format!("the mounter does not answer at {}: {said}; {}", self.socket.display(), remedy(error));
        io::Error::new(said.kind(), Away(reason))
    }

    fn silent(&self) -> io::Error {
        let reason = format!("the mounter at {} has not answered in {DEADLINE:?}", self.socket.display());
        io::Error::new(io::ErrorKind::TimedOut, Away(reason))
    }

    fn lost(&self) -> io::Error {
        let reason = format!(
            "the mounter at {} ended the call before it answered; it was stopped, or serves this user \
             only with --allow-uid",
            self.socket.display()
        );
        io::Error::new(io::ErrorKind::ConnectionReset, Away(reason))
    }
}

/// What to do about a mounter that cannot be connected to.
fn remedy(error: Errno) -> String {
    if error == Errno::ACCESS {
        let user = rustix::process::geteuid().as_raw();
        return format!(
            "it serves root only: restart secretfs-mounter, of this version and with --allow-uid={user}, or run this as root"
        );
    }
    "is `secretfs-mounter` running?".to_owned()
}

impl Ask for RemoteMounter {
    fn is_of_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    fn ask(&self, request: &Request, file: Option<BorrowedFd<'_>>) -> io::Result<Answer> {
        let connection = self.send(&request.encode(), file)?;
        let received = match receive(&connection) {
            Ok(Some(received)) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(self.silent()),
            Ok(None) | Err(_) => return Err(self.lost()),
        };
        self.put_back(connection);
        let Received { packet, file } = received;
        Ok((Reply::decode(&packet).map_err(|malformed| strange(&malformed.to_string()))?, file))
    }
}
