use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::place::Place;

/// Longest path of a socket, in bytes (`sun_path` less its end).
const MAX_PATH: usize = 107;
/// Most connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Sockets that were asked for, by path.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    by_path: BTreeMap<PathBuf, Listening>,
}

#[derive(Debug)]
struct Listening {
    socket: UnixListener,
    file: File,
}

/// Which socket file: device and inode.
#[derive(Debug, PartialEq, Eq)]
struct File(u64, u64);

impl Sockets {
    pub(crate) fn listen(&mut self, path: &Path, place: &Place) -> io::Result<UnixListener> {
        let found = socket_file(place)?;
        if let (Some(found), Some(known)) = (&found, self.by_path.get(path))
            && *found == known.file
        {
            return known.socket.try_clone();
        }
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        listen_in_place(&socket, path, place)?;
        let listening = Listening { socket: socket.into(), file: bound_file(place)? };
        let socket = listening.socket.try_clone()?;
        self.by_path.insert(path.to_owned(), listening);
        Ok(socket)
    }
}

/// Listens with `socket` at `place`, whose path is `path`, instead of a socket that nobody listens on any more.
pub(crate) fn listen_in_place(socket: &OwnedFd, path: &Path, place: &Place) -> io::Result<()> {
    if path.as_os_str().as_bytes().len() > MAX_PATH {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a socket's path may take {MAX_PATH} bytes; choose a shorter directory"),
        ));
    }
    if socket_file(place)?.is_some() {
        remove_stale(place)?;
    }
    // Before the bind, which gives the file the socket's own mode: it is never open to others, not for a moment.
    rustix::fs::fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(socket, &SocketAddrUnix::new(place.path())?)?;
    Ok(rustix::net::listen(socket, BACKLOG)?)
}

/// The socket file at `place`, if there is one.
fn socket_file(place: &Place) -> io::Result<Option<File>> {
    let stat = match rustix::fs::statat(place.parent(), place.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        found => found?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket is there; move it away",
        ));
    }
    Ok(Some(File(stat.st_dev, stat.st_ino)))
}

fn bound_file(place: &Place) -> io::Result<File> {
    socket_file(place)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the socket was removed at once"))
}

fn remove_stale(place: &Place) -> io::Result<()> {
    match UnixStream::connect(place.path()) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(rustix::fs::unlinkat(place.parent(), place.name(), AtFlags::empty())?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there; stop it first")),
    }
}
