//! Replaces files so that a file is either completely on the disk or unchanged.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};

use crate::root_file::parent;

/// Writes a file with `bytes` and moves it to `path`, in place of any file there.
///
/// # Errors
///
/// The directory cannot be written. The earlier file is still there, unless the disk failed at the very last step.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let next = path.with_file_name(name);
    let replaced = write(&next, bytes, mode).and_then(|()| rename(&next, path, RenameFlags::empty()));
    // On a full disk an incomplete file would leave no room for the next try.
    replaced.inspect_err(|_| _ = std::fs::remove_file(&next))
}

/// Writes a new file, which belongs to whom its directory belongs to: root may write in the store of another user. Its name
/// may still be lost in a crash; see [`rename`].
///
/// # Errors
///
/// The directory cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A process that was killed before its rename leaves such a file.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have removed bits.
    file.set_permissions(Permissions::from_mode(mode))?;
    give_to_owner(&file, parent(path))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives a file that root made to whom its `directory` belongs to, so that he can go on with it.
///
/// # Errors
///
/// The directory is missing, or the kernel refuses.
pub(crate) fn give_to_owner(file: &File, directory: &Path) -> io::Result<()> {
    let (directory, about) = (std::fs::metadata(directory)?, file.metadata()?);
    // Of a file with a second name nobody knows where that is.
    let is_roots = rustix::process::geteuid().is_root() && about.uid() == 0 && about.nlink() == 1;
    if is_roots && directory.uid() != 0 {
        std::os::unix::fs::fchown(file, Some(directory.uid()), Some(directory.gid()))?;
    }
    Ok(())
}

/// Renames a file durably.
///
/// # Errors
///
/// The directory cannot be written; with `NOREPLACE`, a file `to` exists.
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
