//! Files that are whole and on the disk, or as they were before.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};

use crate::root_file::parent;

/// Puts a file of `bytes` in the place of whatever is at `path`.
///
/// # Errors
///
/// The directory cannot be written. What was there is there still, unless the disk failed at the very last.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let next = path.with_file_name(name);
    let replaced = write(&next, bytes, mode).and_then(|()| rename(&next, path, RenameFlags::empty()));
    // On a full disk, half a file would be in the way of the next.
    replaced.inspect_err(|_| _ = std::fs::remove_file(&next))
}

/// Writes a new file, which is not yet sure to keep its name.
///
/// # Errors
///
/// The directory cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Left by who was killed before it had its place.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Not left to the umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Renames a file for good.
///
/// # Errors
///
/// The directory cannot be written; with `NOREPLACE`, there is a file `to`.
pub(crate) fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    rustix::fs::renameat_with(CWD, from, CWD, to, flags)?;
    File::open(parent(to))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_another_whole_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let names = || std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        for (bytes, mode) in [(&b"one"[..], 0o600), (b"two", 0o644)] {
            replace(&path, bytes, mode).unwrap();

            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }

        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        replace(&path, b"three", 0o600).unwrap_err();

        assert_eq!(names().collect::<Vec<_>>(), ["file"]);
    }
}
