//! Finds the directory to mount on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};

/// Mode of directories that are made above a target, because other users must find their mounts in them.
const PARENT_MODE: u32 = 0o755;

/// The unique name of the directory `path`: absolute, without links and `..`. Components that do not exist are kept as
/// they are written.
///
/// # Errors
///
/// `path` exists and is not a directory, contains a link that leads nowhere, or cannot be read.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match path.canonicalize() {
        Ok(real) if is_directory(&real) => Ok(real),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            Ok(resolve(parent)?.join(name))
        }
        Err(error) => Err(error),
    }
}

/// Whether a directory is at `path`, without asking who serves its file system: that may be a process which hangs or is
/// gone.
fn is_directory(path: &Path) -> bool {
    let kind = rustix::fs::statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE);
    kind.is_ok_and(|told| FileType::from_raw_mode(told.stx_mode.into()) == FileType::Directory)
}

/// Directories that were made above a target.
#[derive(Debug, Default)]
pub struct MadeDirectories(Vec<PathBuf>);

impl MadeDirectories {
    /// Makes the missing directories above `target`.
    ///
    /// # Errors
    ///
    /// The file system refuses. The directories made so far are removed again.
    pub fn above(target: &Path) -> io::Result<Self> {
        let missing = target.ancestors().skip(1).take_while(|directory| !directory.exists());
        let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        let mut made = Self::default();
        while let Some(directory) = missing.pop() {
            if let Err(error) = made.make(directory) {
                made.remove();
                return Err(error);
            }
        }
        Ok(made)
    }

    fn make(&mut self, directory: PathBuf) -> io::Result<()> {
        match fs::create_dir(&directory) {
            Ok(()) => {}
            // Another process made the directory first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(error),
        }
        self.0.push(directory);
        self.0.last().map_or(Ok(()), |made| open_to_others(made))
    }

    /// Removes the directories that are still empty.
    pub fn remove(mut self) {
        while let Some(directory) = self.0.pop() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Sets the mode again, because the umask of a service removes bits that readers of other users need. Never follows a
/// link: anybody who may write to the directory above could put one there.
fn open_to_others(directory: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::open(directory, flags, Mode::empty())?;
    Ok(rustix::fs::fchmod(made, Mode::from_raw_mode(PARENT_MODE))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn every_name_of_a_directory_is_one_target() {
        let at = tempfile::tempdir().unwrap();
        let root = at.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink(root.join("a"), root.join("link")).unwrap();

        for name in ["a/b", "a/b/", "a/./b", "a/b/../b", "link/b", "link/b/../../a/b"] {
            assert_eq!(resolve(&root.join(name)).unwrap(), root.join("a/b"), "{name}");
        }
        for name in ["link/new/target", "a/new/target/"] {
            assert_eq!(resolve(&root.join(name)).unwrap(), root.join("a/new/target"), "{name}");
        }
    }

    #[test]
    fn what_is_no_directory_and_a_link_to_nowhere_are_refused() {
        let at = tempfile::tempdir().unwrap();
        fs::write(at.path().join("file"), "").unwrap();
        symlink("nowhere", at.path().join("dangling")).unwrap();

        for name in ["file", "file/below", "dangling", "dangling/below", "no/../way"] {
            assert!(resolve(&at.path().join(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn directories_above_a_target_are_made_and_go_again_unless_somebody_uses_them() {
        let at = tempfile::tempdir().unwrap();
        let target = at.path().join("a/b/target");

        let made = MadeDirectories::above(&target).unwrap();
        let mode = fs::metadata(at.path().join("a/b")).unwrap().permissions().mode() & 0o777;
        fs::write(at.path().join("a/theirs"), "").unwrap();
        made.remove();

        assert_eq!(mode, PARENT_MODE);
        assert!(!at.path().join("a/b").exists() && at.path().join("a/theirs").exists());
    }
}
