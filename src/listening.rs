//! A socket of the file system at which only the user of this process is served.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// A listening socket. Dropping it removes its file, unless another file has replaced it.
#[derive(Debug)]
pub struct Listening {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of its file.
    file: (u64, u64),
}

impl Listening {
    /// Listens at `path`; only the user of this process can connect. An older socket is replaced in one step, so a
    /// caller finds either the old one or this one.
    ///
    /// # Errors
    ///
    /// The directory is missing or not writable, the path is too long, or something other than a socket is there.
    pub fn at(path: &Path) -> io::Result<Self> {
        refuse_other_files(path)?;
        let staged = path.with_extension(format!("{}.new", std::process::id()));
        let listener = listen(&staged).inspect_err(|_| drop(fs::remove_file(&staged)))?;
        let stat = fs::symlink_metadata(&staged)?;
        fs::rename(&staged, path)?;
        Ok(Self { listener, path: path.to_owned(), file: (stat.dev(), stat.ino()) })
    }

    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|stat| (stat.dev(), stat.ino()) == self.file);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(socket = %self.path.display(), %error, "the socket's file stays");
        }
    }
}

fn refuse_other_files(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket is there; move it away",
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    // Set before the bind, which gives the file the mode of the socket. So the file is never open to others.
    rustix::fs::fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_takes_the_place_of_another_and_only_the_last_takes_it_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.sock");
        let first = Listening::at(&path).unwrap();
        let second = Listening::at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        drop(first);
        let _caller = UnixStream::connect(&path).unwrap();
        second.listener.accept().unwrap();

        drop(second);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.sock");
        fs::write(&path, "mine").unwrap();
        assert!(Listening::at(&path).unwrap_err().to_string().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
