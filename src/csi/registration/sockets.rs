use std::fmt;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mounter::{BOOT_SHOWN, Mounter};

/// Removes the sockets of `driver` in `directory`, those of this boot and of earlier ones.
pub(super) fn remove_own(directory: &Path, driver: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if is_own(&entry, driver) && entry.file_type()?.is_socket() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The sockets of `driver` in `directory`, those of this boot and of earlier ones.
pub(super) fn own(directory: &Path, driver: &str) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.iter().filter(|entry| is_own(entry, driver)).map(DirEntry::path).collect())
}

fn is_own(entry: &DirEntry, driver: &str) -> bool {
    let name = entry.file_name();
    let middle = name.to_str().and_then(|name| name.strip_prefix(driver)?.strip_suffix("-reg.sock"));
    match middle {
        // The name that kubelet's own registrar would use.
        Some("") => true,
        Some(boot) => boot.strip_prefix('-').is_some_and(is_boot),
        None => false,
    }
}

fn is_boot(text: &str) -> bool {
    text.len() == BOOT_SHOWN && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A socket file that was bound. Another file with the same name is not it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
    mounter: Arc<dyn Mounter>,
}

impl PartialEq for SocketFile {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, self.inode) == (&other.path, other.inode)
    }
}

impl SocketFile {
    /// The socket file that is at `path` now.
    pub(super) fn at(path: &Path, mounter: &Arc<dyn Mounter>) -> Result<Self, mounter::Error> {
        let inode = mounter.socket_at(path)?;
        let inode =
            inode.ok_or(io::ErrorKind::NotFound.into()).map_err(mounter::Error::of("look at", path))?;
        Ok(Self { path: path.to_owned(), inode, mounter: Arc::clone(mounter) })
    }

    /// A mounter that cannot be asked says nothing about the file.
    pub(super) fn is_there(&self) -> bool {
        match self.mounter.socket_at(&self.path) {
            Ok(found) => found == Some(self.inode),
            Err(error) => error.is_mounter_away(),
        }
    }

    /// Removes the file, if it is still the same.
    pub(super) fn remove(&self) {
        if self.is_there()
            && let Err(error) = self.mounter.remove_socket(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the registration socket");
        }
    }
}

impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, inode) = self.inode;
        write!(f, "{device}:{inode}")
    }
}
