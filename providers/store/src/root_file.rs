//! The file of the root key, and how it is replaced without the risk of losing both keys.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, RenameFlags};
use zeroize::Zeroizing;

use crate::durable;
use crate::keys::{RootKey, RootPublic};

const PREFIX: &str = "SFSROOT1 ";
/// The longest file that may be a root key, in bytes.
const MAX_FILE: u64 = 4096;
const ABOUT: &str =
    "# secretfs root key: whoever has it can read the store; if it is lost, so is what the store holds.\n";

/// The place of a root key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootKeySource {
    /// A file that only its owner may read.
    File(PathBuf),
}

impl RootKeySource {
    /// The default file of a store's root key: beside the database.
    pub fn beside(directory: &Path) -> Self {
        Self::File(directory.join("root.key"))
    }

    /// The file with the public half, for hosts that may not open the root key: the root key's name with `.pub`.
    pub fn public_file(&self) -> PathBuf {
        self.beside_it(".pub")
    }

    /// The file with the newest seen state of the store: the root key's name with `.mark`.
    pub fn mark_file(&self) -> PathBuf {
        self.beside_it(".mark")
    }

    /// Reads the root key.
    ///
    /// # Errors
    ///
    /// `Unavailable`: the file does not exist. `Denied`: this process may not read it, or others may.
    pub fn unlock(&self) -> Result<RootKey> {
        let Self::File(path) = self;
        read(path)
    }

    /// The public halves of the root keys that this process can open: none, one, or two after a rotation was killed.
    pub(crate) fn public_halves(&self) -> Vec<RootPublic> {
        let keys = [self.unlock(), self.next().and_then(|next| read(&next))];
        keys.into_iter().flatten().map(|key| *key.public()).collect()
    }

    /// The root key whose public half is `expected`.
    ///
    /// # Errors
    ///
    /// As [`unlock`](Self::unlock); also if it is another key.
    pub(crate) fn unlock_as(&self, expected: &RootPublic) -> Result<RootKey> {
        let key = self.unlock();
        match &key {
            Ok(found) if found.public() == expected => return key,
            Ok(_) => {}
            Err(_) if !self.has_next() => return key,
            Err(_) => {}
        }
        // A rotation was killed between the commit of the database and the rename of the key's file.
        match self.next().and_then(|next| read(&next)) {
            Ok(next) if next.public() == expected => Ok(next),
            _ => key.and_then(|found| Err(self.other(&found, expected))),
        }
    }

    /// Makes a root key if there is none.
    ///
    /// # Errors
    ///
    /// A root key exists. Two stores must not share a root key: a rotation for one store would make the other
    /// unreadable.
    pub(crate) fn create(&self) -> Result<RootKey> {
        let Self::File(path) = self;
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(taken(path));
        }
        let (key, next) = (RootKey::generate()?, self.next()?);
        write(&next, &key)?;
        rename(&next, path, RenameFlags::NOREPLACE)?;
        Ok(key)
    }

    /// Prevents other rotations of this root key until the lock is dropped.
    pub(crate) fn lock(&self) -> Result<RotationLock> {
        let Self::File(path) = self;
        let directory =
            File::open(parent(path)).map_err(|error| unusable(path, "open its directory", &error))?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Error::new(ErrorKind::Unavailable, format!("root key {} is being rotated", path.display()))
                .remedy("wait for the other `secretfs store rotate-key` to end")
        })?;
        Ok(RotationLock { _directory: directory })
    }

    /// Writes `key` beside the present one. [`replace`](Self::replace) will put it in its place.
    pub(crate) fn prepare(&self, _lock: &RotationLock, key: &RootKey) -> Result<()> {
        write(&self.next()?, key)
    }

    /// Puts the prepared key in the place of the present one, which is destroyed.
    pub(crate) fn replace(&self, _lock: &RotationLock) -> Result<()> {
        let Self::File(path) = self;
        let old = OpenOptions::new().write(true).open(path);
        rename(&self.next()?, path, RenameFlags::empty())?;
        if let Ok(old) = old {
            wipe(old).map_err(|error| unusable(path, "overwrite the old key of", &error))?;
        }
        Ok(())
    }

    /// Completes a rotation that was killed, if `expected` is the public half of its new key.
    pub(crate) fn finish(&self, lock: &RotationLock, expected: &RootPublic) -> Result<()> {
        let present = self.unlock().is_ok_and(|key| key.public() == expected);
        let prepared = self.next().and_then(|next| read(&next)).is_ok_and(|key| key.public() == expected);
        if prepared && !present { self.replace(lock) } else { Ok(()) }
    }

    fn has_next(&self) -> bool {
        self.next().is_ok_and(|next| next.exists())
    }

    fn next(&self) -> Result<PathBuf> {
        let Self::File(path) = self;
        path.file_name().ok_or_else(|| not_a_file(path))?;
        Ok(self.beside_it(".next"))
    }

    fn beside_it(&self, ending: &str) -> PathBuf {
        let Self::File(path) = self;
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        name.into()
    }

    fn other(&self, found: &RootKey, expected: &RootPublic) -> Error {
        let Self::File(path) = self;
        Error::new(
            ErrorKind::Denied,
            format!(
                "root key {} is {}, the store was sealed to {}",
                path.display(),
                found.public().id(),
                expected.id()
            ),
        )
        .remedy("give the root key of this store (--root-key FILE); if it was rotated, take the new one")
    }
}

/// While this lives, no other process rotates the same root key.
#[derive(Debug)]
pub(crate) struct RotationLock {
    _directory: File,
}

pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read(path: &Path) -> Result<RootKey> {
    let file = File::open(path).map_err(|error| missing(path, &error))?;
    let mode = file.metadata().map_err(|error| unusable(path, "look at", &error))?.mode();
    if mode & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::Denied,
            format!("root key {} may be read by others (mode {:04o})", path.display(), mode & 0o7777),
        )
        .remedy(format!("chmod 0600 {}", path.display())));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE).read_to_end(&mut text).map_err(|error| unusable(path, "read", &error))?;
    decode(&text).ok_or_else(|| not_a_key(path))
}

fn decode(text: &[u8]) -> Option<RootKey> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(PREFIX.as_bytes()))?;
    let secret = Zeroizing::new(STANDARD.decode(line.trim_ascii()).ok()?);
    RootKey::from_secret(&secret)
}

/// Writes a file. When this returns, the file is completely on the disk.
fn write(path: &Path, key: &RootKey) -> Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(ABOUT);
    text.push_str(PREFIX);
    STANDARD.encode_string(key.secret().as_slice(), &mut text);
    text.push('\n');
    durable::write(path, text.as_bytes(), 0o600).map_err(|error| unusable(path, "write", &error))
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Result<()> {
    durable::rename(from, to, flags).map_err(|error| unusable(to, "put in place", &error))
}

fn wipe(mut file: File) -> io::Result<()> {
    let length = file.metadata()?.len().min(MAX_FILE);
    let zeros = [0; MAX_FILE as usize];
    file.write_all(zeros.get(..usize::try_from(length).unwrap_or(zeros.len())).unwrap_or(&zeros))?;
    file.sync_all()
}

fn missing(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::new(
            ErrorKind::Unavailable,
            format!(
                "root key {} is not there, and without it nothing in the store can be read",
                path.display()
            ),
        )
        .remedy("put it back from where you keep a copy, or give its place (--root-key FILE)"),
        io::ErrorKind::PermissionDenied => {
            Error::new(ErrorKind::Denied, format!("root key {} is not for this user", path.display()))
                .remedy("run as its owner; a host that only puts does not need it")
        }
        _ => unusable(path, "open", error),
    }
}

fn unusable(path: &Path, action: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot {action} root key {}: {error}", path.display()))
}

fn taken(path: &Path) -> Error {
    Error::new(ErrorKind::Invalid, format!("there is a root key {} already", path.display()))
        .remedy("give another file (--root-key FILE); or, if no store is sealed to it, remove it")
}

fn not_a_key(path: &Path) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{} is not a root key, or a damaged one", path.display()))
        .remedy("put it back from where you keep a copy")
}

fn not_a_file(path: &Path) -> Error {
    Error::new(ErrorKind::Invalid, format!("{} is not the name of a file", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn source(directory: &tempfile::TempDir) -> RootKeySource {
        RootKeySource::beside(directory.path())
    }

    #[test]
    fn a_root_key_is_made_once_and_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let source = source(&directory);

        let made = source.create().unwrap();

        assert!(source.create().unwrap_err().to_string().contains("already"));
        assert_eq!(source.unlock().unwrap().public(), made.public());
        let mode = std::fs::metadata(directory.path().join("root.key")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_root_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let source = source(&directory);
        source.create().unwrap();
        let path = directory.path().join("root.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();

        let error = source.unlock().unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("chmod 0600"), "{error}");
    }

    #[test]
    fn a_missing_or_damaged_root_key_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let source = source(&directory);

        assert!(source.unlock().unwrap_err().to_string().contains("is not there"));
        durable::write(&directory.path().join("root.key"), b"SFSROOT1 AAAA\n", 0o600).unwrap();
        assert!(source.unlock().unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn a_rotation_killed_before_the_rename_is_ended_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let source = source(&directory);
        let old = source.create().unwrap();
        let new = RootKey::generate().unwrap();
        let lock = source.lock().unwrap();
        source.prepare(&lock, &new).unwrap();

        assert_eq!(source.unlock_as(new.public()).unwrap().public(), new.public());
        assert_eq!(source.unlock_as(old.public()).unwrap().public(), old.public());
        source.finish(&lock, old.public()).unwrap();
        assert_eq!(source.unlock().unwrap().public(), old.public());
        source.finish(&lock, new.public()).unwrap();
        assert_eq!(source.unlock().unwrap().public(), new.public());
        assert!(source.unlock_as(old.public()).is_err());
    }

    #[test]
    fn two_rotations_at_once_are_one_and_a_refusal() {
        let directory = tempfile::tempdir().unwrap();
        let source = source(&directory);
        let _lock = source.lock().unwrap();

        assert!(source.lock().unwrap_err().to_string().contains("being rotated"));
    }
}
