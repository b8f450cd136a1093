use std::fmt;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use mounter::BOOT_SHOWN;

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
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    /// The socket file that is at `path` now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(path)? })
    }

    pub(super) fn is_there(&self) -> bool {
        inode(&self.path).is_ok_and(|found| found == self.inode)
    }

    /// Removes the file, if it is still the same.
    pub(super) fn remove(&self) {
        if self.is_there()
            && let Err(error) = fs::remove_file(&self.path)
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

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
