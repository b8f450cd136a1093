use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens `path` for reading if it is a regular file or a link to one. Whatever else there is, nobody is waited for:
/// opening a named pipe would wait for who writes into it.
///
/// # Errors
///
/// It cannot be opened, or is no regular file.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is no regular file (but a directory, a pipe, a socket or a device); put the manifest itself there",
    ))
}
