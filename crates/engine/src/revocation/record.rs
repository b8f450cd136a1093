//! The file that has the orders which were known last: a process follows them before it hears of others.
//!
//! Whoever can write this file can take every order away. So it is read only if nobody but this user and root can write
//! it or put another file in its place.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Revocation;

/// Largest file in bytes. A larger one would not be read again, so none is written.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// How long a change waits for that of another process.
const LOCKED: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The permission bits with which others can write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The permission bit of directories in which nobody may remove what is another's.
const STICKY: u32 = 0o1000;

/// The file of the orders that were known last.
#[derive(Debug, Clone)]
pub struct Record(PathBuf);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Recorded {
    revocations: Vec<Revocation>,
}

impl Record {
    /// The file at `path`. It need not be there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The orders in it; none if there is no file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or others can write it or its directory. No order may be forgotten because of that, so the
    /// caller must not go on as if there were none.
    pub fn load(&self) -> io::Result<Vec<Revocation>> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        let file = match options.read(true).custom_flags(flags.bits().cast_signed()).open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.named(&error)),
        };
        self.trust(&file).map_err(|error| self.named(&error))?;
        let mut text = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut text).map_err(|error| self.named(&error))?;
        let recorded: Recorded =
            serde_json::from_slice(&text).map_err(|error| self.named(&io::Error::from(error)))?;
        Ok(recorded.revocations)
    }

    /// Writes these orders in place of those before, and returns when they are on the disk.
    ///
    /// # Errors
    ///
    /// The file system refuses. What was recorded before stays.
    pub fn save(&self, revocations: Vec<Revocation>) -> io::Result<()> {
        let directory = self.directory();
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let partial = self.0.with_extension("partial");
        let text = serde_json::to_vec_pretty(&Recorded { revocations })?;
        if u64::try_from(text.len()).is_ok_and(|length| length > MOST_BYTES) {
            return Err(self.named(&io::Error::other(format!(
                "all orders together are larger than {} MiB; delete those that are done with",
                MOST_BYTES >> 20
            ))));
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(partial, &self.0)?;
        File::open(directory)?.sync_all()
    }

    /// Changes the orders by `change`, while no other process changes them.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load) and [`save`](Self::save), or another process changes them for more than ten seconds.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Vec<Revocation>) -> T) -> io::Result<T> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.directory())?;
        let mut options = OpenOptions::new();
        let lock = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.0.with_extension("lock"))?;
        self.lock(&lock, LOCKED)?;
        let mut revocations = self.load()?;
        let changed = change(&mut revocations);
        self.save(revocations)?;
        Ok(changed)
    }

    fn lock(&self, file: &File, patience: Duration) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if begun.elapsed() < patience => thread::sleep(LOOK_AGAIN),
                Err(Errno::WOULDBLOCK) => {
                    let why = format!(
                        "another process has changed it for {} s; see who has its lock file open",
                        patience.as_secs()
                    );
                    return Err(self.named(&io::Error::new(io::ErrorKind::TimedOut, why)));
                }
                done => return Ok(done?),
            }
        }
    }

    fn directory(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new("."))
    }

    /// Looks at the open file, and at the directories on its path.
    fn trust(&self, file: &File) -> io::Result<()> {
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("it is no plain file"));
        }
        let directory = self.directory().canonicalize()?;
        let above: io::Result<Vec<_>> = directory.ancestors().map(std::fs::metadata).collect();
        if is_closed(&about) && above?.iter().all(is_closed) {
            return Ok(());
        }
        let why = "others can write it, or a directory on its path, so it cannot be trusted; see what they wrote, then \
                   close these to others (`chmod go-w`)";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    }

    fn named(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("the record of revocations {}: {error}", self.0.display()))
    }
}

/// Whether only this user and root can write it, or, in a directory like `/tmp`, put something else in its place.
fn is_closed(about: &Metadata) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let is_ours = about.uid() == user || about.uid() == 0;
    let is_sticky = about.is_dir() && about.mode() & STICKY != 0;
    is_ours && (is_sticky || about.mode() & WRITABLE_BY_OTHERS == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::revocation::Given;
    use crate::revocation::tests::{order, target};

    fn record() -> (tempfile::TempDir, Record) {
        let directory = tempfile::tempdir().unwrap();
        let record = Record::at(directory.path().join("revocations.json"));
        (directory, record)
    }

    fn orders() -> Vec<Revocation> {
        vec![order(Given::InNamespace("shop".to_owned()), target(["", "", "db", "pass"]))]
    }

    #[test]
    fn orders_come_back_as_they_were_recorded_and_the_file_is_private() {
        let (_directory, record) = record();
        assert_eq!(record.load().unwrap(), []);

        record.save(orders()).unwrap();

        assert_eq!(record.load().unwrap(), orders());
        assert_eq!(std::fs::metadata(record.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_record_that_cannot_be_trusted_or_read_is_an_error_and_not_an_empty_one() {
        let (directory, record) = record();
        record.save(orders()).unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let why = || record.load().unwrap_err().to_string();

        mode(record.path(), 0o620);
        assert!(why().contains("others can write it"), "{}", why());
        mode(record.path(), 0o600);
        mode(directory.path(), 0o777);
        assert!(why().contains("others can write it"), "{}", why());
        mode(directory.path(), 0o700);
        std::fs::write(record.path(), "{").unwrap();
        assert!(why().contains("revocations.json"), "{}", why());
        std::fs::remove_file(record.path()).unwrap();
        symlink("/dev/null", record.path()).unwrap();
        assert!(record.load().is_err());
    }

    #[test]
    fn orders_too_large_to_be_read_again_are_not_recorded_and_those_before_stay() {
        let (_directory, record) = record();
        record.save(orders()).unwrap();
        let reason = Some("x".repeat(MOST_BYTES as usize));
        let large =
            orders().into_iter().map(|order| Revocation { reason: reason.clone(), ..order }).collect();

        let refused = record.save(large).unwrap_err().to_string();

        assert!(refused.contains("revocations.json") && refused.contains("64 MiB"), "{refused}");
        assert_eq!(record.load().unwrap(), orders());
    }

    #[test]
    fn a_process_that_never_ends_its_change_holds_up_no_other_for_ever() {
        let (directory, record) = record();
        let open = || File::create(directory.path().join("revocations.lock")).unwrap();
        let (theirs, ours) = (open(), open());
        record.lock(&theirs, Duration::ZERO).unwrap();

        let refused = record.lock(&ours, Duration::from_millis(50)).unwrap_err();

        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert!(refused.to_string().contains("revocations.json"), "{refused}");
        drop(theirs);
        record.lock(&ours, Duration::ZERO).unwrap();
    }

    #[test]
    fn changes_of_two_processes_are_both_kept() {
        let (_directory, record) = record();
        let add = |name: String| {
            let record = record.clone();
            let [order] = orders().try_into().unwrap();
            std::thread::spawn(move || {
                record.edit(|orders| orders.push(Revocation { name, ..order })).unwrap()
            })
        };
        let threads: Vec<_> = (0..8).map(|n| add(n.to_string())).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());

        assert_eq!(record.load().unwrap().len(), 8);
    }
}
