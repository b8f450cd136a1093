//! Sockets: made once, open to root alone, and given again to who asks again.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::place::{Place, refused};

/// Longest path of a socket, in bytes (`sun_path` less its end).
const MAX_PATH: usize = 107;
/// Most connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Which socket file: device and inode.
type FileId = (u64, u64);

/// Sockets that were asked for, by path.
#[derive(Debug, Default)]
pub(crate) struct Sockets(BTreeMap<PathBuf, (UnixListener, FileId)>);

impl Sockets {
    pub(crate) fn listen(&mut self, path: &Path, place: &Place) -> io::Result<UnixListener> {
        let found = socket_file(place)?;
        if let (Some(found), Some((socket, known))) = (found, self.0.get(path))
            && found == *known
        {
            return socket.try_clone();
        }
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        listen_in_place(&socket, path, place)?;
        let made = socket_file(place)?;
        let made = made.ok_or_else(|| said(io::ErrorKind::NotFound, "the socket was removed at once"))?;
        let socket = UnixListener::from(socket);
        self.0.insert(path.to_owned(), (socket.try_clone()?, made));
        Ok(socket)
    }
}

/// Listens with `socket` at `place`, whose path is `path`, instead of a socket that nobody listens on any more.
pub(crate) fn listen_in_place(socket: &OwnedFd, path: &Path, place: &Place) -> io::Result<()> {
    if path.as_os_str().as_bytes().len() > MAX_PATH {
        let reason = format!("a socket's path may take {MAX_PATH} bytes; choose a shorter directory");
        return Err(said(io::ErrorKind::InvalidInput, &reason));
    }
    if socket_file(place)?.is_some() {
        remove_stale(place)?;
    }
    // Before the bind, which gives the file the socket's own mode: it is never open to others, not for a moment.
    rustix::fs::fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(socket, &SocketAddrUnix::new(place.path())?)?;
    Ok(rustix::net::listen(socket, BACKLOG)?)
}

/// The socket file at `place` as a place, which may be `removed` as well.
pub(crate) fn file_of_socket(place: &Place, removed: bool) -> io::Result<Option<OwnedFd>> {
    let Some(_) = socket_file(place)? else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&place.parent, &place.name, flags, Mode::empty())?;
    if removed {
        rustix::fs::unlinkat(&place.parent, &place.name, AtFlags::empty())?;
    }
    Ok(Some(file))
}

/// Connects to the socket at `place`, if it is root's. Whoever listens there is not waited for.
pub(crate) fn connect(place: &Place) -> io::Result<OwnedFd> {
    if socket_file(place)?.is_none() || place.stat()?.st_uid != 0 {
        return Err(refused("no socket of root is there"));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(place.path())?)?;
    Ok(socket)
}

/// The socket file at `place`, if there is one.
fn socket_file(place: &Place) -> io::Result<Option<FileId>> {
    match place.stat() {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Socket => {
            Ok(Some((stat.st_dev, stat.st_ino)))
        }
        Ok(_) => {
            Err(said(io::ErrorKind::AlreadyExists, "something that is no socket is there; move it away"))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn remove_stale(place: &Place) -> io::Result<()> {
    match UnixStream::connect(place.path()) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(rustix::fs::unlinkat(&place.parent, &place.name, AtFlags::empty())?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(said(io::ErrorKind::AddrInUse, "another process listens there; stop it first")),
    }
}

fn said(kind: io::ErrorKind, reason: &str) -> io::Error {
    io::Error::new(kind, reason)
}
