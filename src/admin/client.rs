//! The client of the admin socket, for `status`, `why` and `refresh`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::line::{read_line, write_line};
use super::{Refreshed, Reply, Request, Revoked, VolumeStatus, WaitingStatus, Which};

/// How long a process may take to report its state, for which it asks no store.
pub const TELLING: Duration = Duration::from_secs(2);
/// How long a process may take to ask its stores. A little longer than the process's own deadline.
const ASKING: Duration = Duration::from_secs(130);
/// How long a process may take to follow orders, for which it asks no store.
const FOLLOWING: Duration = Duration::from_secs(10);

/// Why a process did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be found, opened, written or read.
    #[error("admin socket {}: {source}", path.display())]
    Io {
        /// The admin socket.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// A process listens there and does not answer: it was stopped, or its machine is very busy.
    #[error("admin socket {}: no answer within {} s", path.display(), waited.as_secs())]
    Silent {
        /// The admin socket.
        path: PathBuf,
        /// Its process id, from the kernel; `None` if it is in another pid namespace.
        process: Option<i32>,
        /// How long this process waited for it.
        waited: Duration,
    },
    /// The process refused the request.
    #[error("admin socket {}: {reason}", path.display())]
    Refused {
        /// The admin socket.
        path: PathBuf,
        /// Its reason, in its own words.
        reason: String,
    },
}

impl Error {
    /// Whether no process is behind the socket any more.
    pub fn is_nobody(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), NotFound | ConnectionRefused))
    }
}

/// The sockets at `path`: the path itself, or all sockets in it if it is a directory. In alphabetical order.
///
/// # Errors
///
/// The directory cannot be read. A missing directory is no error and has no sockets.
pub fn sockets(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(vec![path.to_owned()]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sock"));
    paths.sort_unstable();
    Ok(paths)
}

/// Every volume of the process behind `socket`, which has [`TELLING`] to answer.
///
/// # Errors
///
/// No process answers there, or it refuses.
pub async fn status(socket: &Path) -> Result<Vec<VolumeStatus>, Error> {
    let volume = |reply| if let Reply::Volume(volume) = reply { Some(*volume) } else { None };
    Ok(ask(socket, &Request::Status, TELLING).await?.into_iter().filter_map(volume).collect())
}

/// Every volume that the process behind `socket` was asked for and did not mount; it has [`TELLING`] to answer.
///
/// # Errors
///
/// No process answers there, or it refuses, as a process of an earlier version does.
pub async fn waiting(socket: &Path) -> Result<Vec<WaitingStatus>, Error> {
    let waiting = |reply| if let Reply::Waiting(volume) = reply { Some(volume) } else { None };
    Ok(ask(socket, &Request::Waiting, TELLING).await?.into_iter().filter_map(waiting).collect())
}

/// Makes the process behind `socket` refresh `which` of its volumes. Empty if it has none of them. It may take long, as
/// long as it still answers other callers.
///
/// # Errors
///
/// No process answers there, it refuses, or it stops answering while we wait.
pub async fn refresh(socket: &Path, which: Which) -> Result<Vec<Refreshed>, Error> {
    let refreshed = |reply| if let Reply::Refreshed(volume) = reply { Some(volume) } else { None };
    let request = Request::Refresh(which);
    let replies = tokio::select! {
        replies = ask(socket, &request, ASKING) => replies?,
        silent = silence(socket) => return Err(silent),
    };
    Ok(replies.into_iter().filter_map(refreshed).collect())
}

/// Makes the process behind `socket` follow what is revoked on this host now. Returns the volumes that lost files.
///
/// # Errors
///
/// No process answers there, or it refuses, as a process of an earlier version does.
pub async fn revoked(socket: &Path) -> Result<Vec<Revoked>, Error> {
    let revoked = |reply| if let Reply::Revoked(volume) = reply { Some(volume) } else { None };
    let replies = ask(socket, &Request::Revocations, FOLLOWING).await?;
    Ok(replies.into_iter().filter_map(revoked).collect())
}

/// Keeps asking the process behind `socket` for something that takes it no time. Returns when the process does not
/// answer within [`TELLING`].
async fn silence(socket: &Path) -> Error {
    loop {
        sleep(TELLING).await;
        if let Err(silent @ Error::Silent { .. }) = ask(socket, &Request::Waiting, TELLING).await {
            return silent;
        }
    }
}

/// Process id of the listener at `socket`, from the kernel; `None` in another pid namespace.
///
/// # Errors
///
/// No process listens at the socket.
pub async fn process(socket: &Path) -> Result<Option<i32>, Error> {
    let stream = UnixStream::connect(socket).await;
    stream.map(|stream| pid_of(&stream)).map_err(|source| Error::Io { path: socket.to_owned(), source })
}

fn pid_of(stream: &UnixStream) -> Option<i32> {
    stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0)
}

async fn ask(socket: &Path, request: &Request, patience: Duration) -> Result<Vec<Reply>, Error> {
    let io = |source| Error::Io { path: socket.to_owned(), source };
    let silent = |process| Error::Silent { path: socket.to_owned(), process, waited: patience };
    let connected = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        // The queue of the socket is full, because the process accepts no connections.
        io::ErrorKind::WouldBlock => silent(None),
        _ => io(source),
    });
    let stream = connected?;
    let process = pid_of(&stream);
    let replies = timeout(patience, exchange(stream, request)).await.map_err(|_| silent(process))?;
    let mut replies = replies.map_err(io)?;
    match replies.pop() {
        Some(Reply::End) => Ok(replies),
        Some(Reply::Error(reason)) => Err(Error::Refused { path: socket.to_owned(), reason }),
        _ => Err(io(io::ErrorKind::UnexpectedEof.into())),
    }
}

async fn exchange(stream: UnixStream, request: &Request) -> io::Result<Vec<Reply>> {
    let (reader, mut writer) = stream.into_split();
    write_line(&mut writer, request).await?;
    let mut reader = BufReader::new(reader);
    let mut replies = Vec::new();
    while let Some(reply) = read_line(&mut reader).await? {
        replies.push(reply);
    }
    Ok(replies)
}
