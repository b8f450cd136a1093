use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::packet::{self, Received};
use crate::protocol::{Reply, Request};
use crate::{Error, Mounter, Tmpfs};

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

    /// Sends `request` and gives what comes back beside a reply that says it was done.
    fn ask(&self, request: &Request, file: Option<BorrowedFd<'_>>) -> io::Result<Option<OwnedFd>> {
        self.call(request, file).and_then(|(reply, file)| done(reply, file))
    }

    fn call(&self, request: &Request, file: Option<BorrowedFd<'_>>) -> io::Result<(Reply, Option<OwnedFd>)> {
        let connection = self.send(&request.encode(), file)?;
        let received = match packet::receive(&connection) {
            Ok(Some(received)) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(self.silent()),
            Ok(None) | Err(_) => return Err(self.lost()),
        };
        self.put_back(connection);
        let Received { packet, file } = received;
        Ok((Reply::decode(&packet).map_err(|malformed| strange(&malformed.to_string()))?, file))
    }

    /// Sends on a connection that has been idle, or on a new one.
    fn send(&self, packet: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
        while let Some(connection) = self.take_idle() {
            // Where it fails the mounter has gone since, and has not seen the request.
            if packet::send(&connection, packet, file).is_ok() {
                return Ok(connection);
            }
        }
        let connection = self.connect()?;
        packet::send(&connection, packet, file).map_err(|_| self.lost())?;
        Ok(connection)
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let start = Instant::now();
        let address = SocketAddrUnix::new(&self.socket)?;
        loop {
            let socket = packet::socket()?;
            packet::set_patience(&socket, DEADLINE)?;
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
        let reason = format!(
            "the mounter does not answer at {}: {said}; is `secretfs-mounter` running?",
            self.socket.display()
        );
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

impl Mounter for RemoteMounter {
    fn create(&self, tmpfs: &Tmpfs) -> Result<OwnedFd, Error> {
        let made = self.ask(&Request::Create(tmpfs.clone()), None).and_then(opened);
        made.map_err(Error::of("make", Path::new("a tmpfs")))
    }

    fn attach(&self, root: BorrowedFd<'_>, target: &Path) -> Result<(), Error> {
        self.ask(&Request::Attach(target.to_owned()), Some(root))
            .map(drop)
            .map_err(Error::of("mount", target))
    }

    fn enter(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        self.ask(&Request::Enter(target.to_owned()), None).map_err(Error::of("enter the mount at", target))
    }

    fn take_over(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        let taken = match self.call(&Request::TakeOver(target.to_owned()), None) {
            // An earlier mounter enters whatever tmpfs is there.
            Ok((reply, _)) if reply.is_not_understood() => return self.enter(target),
            Ok((reply, file)) => done(reply, file),
            Err(error) => Err(error),
        };
        taken.map_err(Error::of("take over the mount at", target))
    }

    fn resize(&self, root: BorrowedFd<'_>, size: u64, inodes: u64) -> Result<(), Error> {
        let resized = self.ask(&Request::Resize { size, inodes }, Some(root));
        resized.map(drop).map_err(Error::of("resize", Path::new("a tmpfs")))
    }

    fn detach(&self, target: &Path) -> Result<(), Error> {
        self.ask(&Request::Detach(target.to_owned()), None).map(drop).map_err(Error::of("unmount", target))
    }

    fn lend(&self, tmpfs: &Tmpfs, target: &Path) -> Result<OwnedFd, Error> {
        let lent = self.ask(&Request::Lend(tmpfs.clone(), target.to_owned()), None).and_then(opened);
        lent.map_err(Error::of("lend a directory beside", target))
    }

    fn take_back(&self, target: &Path) -> Result<(), Error> {
        self.ask(&Request::TakeBack(target.to_owned()), None)
            .map(drop)
            .map_err(Error::of("take back the directory beside", target))
    }

    fn listen(&self, path: &Path) -> Result<UnixListener, Error> {
        let listening = self.ask(&Request::Listen(path.to_owned()), None).and_then(opened);
        listening.map(UnixListener::from).map_err(Error::of("listen at", path))
    }

    fn keep(&self, name: &str, blob: &[u8]) -> Result<(), Error> {
        let failed = || Error::of("keep", Path::new(name));
        crate::blobs::check(name, blob).map_err(failed())?;
        let keep = Request::Keep { name: name.to_owned(), blob: blob.to_vec() };
        self.ask(&keep, None).map(drop).map_err(failed())
    }

    fn kept(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
        loop {
            let after = kept.last().map(|(name, _)| name.clone()).unwrap_or_default();
            let more = self.call(&Request::Kept { after }, None).and_then(|(reply, _)| match reply {
                Reply::Kept(more) => Ok(more),
                Reply::Failed(failure) => Err(failure.into()),
                Reply::Done => Err(strange("an answer to another question")),
            });
            match more.map_err(Error::of("read what is kept by", &self.socket))? {
                more if more.is_empty() => return Ok(kept),
                more => kept.extend(more),
            }
        }
    }

    fn forget(&self, name: &str) -> Result<(), Error> {
        self.ask(&Request::Forget(name.to_owned()), None)
            .map(drop)
            .map_err(Error::of("forget", Path::new(name)))
    }
}

/// What came beside a reply that says it was done.
fn done(reply: Reply, file: Option<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match reply {
        Reply::Done => Ok(file),
        Reply::Failed(failure) => Err(failure.into()),
        Reply::Kept(_) => Err(strange("an answer to another question")),
    }
}

fn opened(file: Option<OwnedFd>) -> io::Result<OwnedFd> {
    file.ok_or_else(|| strange("no open file beside its answer"))
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the mounter gave {what}"))
}
