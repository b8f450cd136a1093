//! How a mode asks for the contents of a file when a process opens it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use provider::{FileMode, ObjectPath, SecretBytes};

use super::Error;
use crate::snapshot::{Fingerprint, Made};

/// Files by path, with their permission bits if the class sets them. No more is known of a file before it is opened.
/// Files that may be missing, as their class says, are listed too.
pub type Listing = BTreeMap<ObjectPath, Option<FileMode>>;

/// The process that opens a file, as far as the kernel tells. Access rules must not guess what is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// `metadata.uid` of the pod that it runs in.
    pub pod: Option<String>,
    /// Name of its container in that pod.
    pub container: Option<String>,
    /// User id, as the host counts them.
    pub uid: Option<u32>,
    /// Id of the thread, as this process sees it.
    pub pid: Option<u32>,
}

/// Where a mode asks for the contents of an opened file.
#[async_trait]
pub trait Door: fmt::Debug + Send + Sync {
    /// The contents of the file at `path`, for `caller`. Waits at most `patience`, and at most a minute. The caller may
    /// drop the future at any time; it leaves nothing behind.
    ///
    /// Many callers may ask at the same time, and each may wait for a store. So do not call this on a thread for which
    /// other callers wait.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Missing`], [`Error::TooLate`] or [`Error::Unread`]; [`Error::TooLarge`] if there is
    /// no room for the contents. The text holds no value.
    async fn open(&self, path: &ObjectPath, caller: &Caller, patience: Duration) -> Result<Loan, Error>;
}

/// The contents of an opened file, until they are taken back: when their time is over, or at once if they are revoked.
///
/// Clones are the same loan. A mode must not keep a copy of the bytes: to read again, it asks again.
#[derive(Debug, Clone)]
pub struct Loan {
    lent: Arc<Mutex<Lent>>,
    len: usize,
    version: Fingerprint,
    made: Arc<[Made]>,
}

#[derive(Default)]
struct Lent {
    contents: Option<SecretBytes>,
    /// Called when the contents are taken back.
    after: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").field(&self.contents).finish()
    }
}

impl Loan {
    /// Lends `contents`, which are of this version and were made of these objects.
    pub fn new(contents: SecretBytes, version: Fingerprint, made: Arc<[Made]>) -> Self {
        let len = contents.len();
        let lent = Lent { contents: Some(contents), after: None };
        Self { lent: Arc::new(Mutex::new(lent)), len, version, made }
    }

    /// The objects that the contents were made of.
    pub fn made(&self) -> &[Made] {
        &self.made
    }

    /// The same, shared.
    pub fn shared_made(&self) -> Arc<[Made]> {
        Arc::clone(&self.made)
    }

    /// How many bytes were lent, also after they were taken back.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes were lent.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the contents were not taken back.
    pub fn is_here(&self) -> bool {
        self.lent().contents.is_some()
    }

    /// Has `after` called once the contents are taken back, or at once if they are. It must wait for nobody. Only the
    /// first `after` of all clones of a loan counts while the contents are lent.
    pub fn when_taken_back(&self, after: impl FnOnce() + Send + 'static) {
        let mut lent = self.lent();
        if lent.contents.is_some() {
            lent.after.get_or_insert_with(|| Box::new(after));
        } else {
            drop(lent);
            after();
        }
    }

    fn lent(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Identifies the version of the contents. A handle whose loan was taken back asks again, and must show the same
    /// version as before.
    pub fn version(&self) -> &Fingerprint {
        &self.version
    }

    /// Returns what `look` makes of the contents; `None` if they were taken back. `look` must only copy what it needs:
    /// [`take_back`](Self::take_back) waits for it.
    pub fn read<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.lent().contents.as_ref().map(|contents| look(contents.expose()))
    }

    /// Takes the contents back from every holder of this loan.
    pub fn take_back(&self) {
        let Lent { contents, after } = std::mem::take(&mut *self.lent());
        drop(contents);
        if let Some(after) = after {
            after();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::FingerprintKey;

    #[test]
    fn what_is_taken_back_is_held_by_no_copy_of_the_loan() {
        let contents = SecretBytes::from("hunter2".to_owned());
        let path = ObjectPath::try_from("a").unwrap();
        let version = FingerprintKey::new(&[1; 32]).fingerprint(&path, contents.expose());
        let loan = Loan::new(contents.clone(), version, Arc::default());
        let copy = loan.clone();
        assert_eq!(copy.read(<[u8]>::len), Some(7));
        assert!(!format!("{loan:?}").contains("hunter2"));
        let (told, is_told) = std::sync::mpsc::channel();
        let later = told.clone();
        loan.when_taken_back(move || told.send("back").unwrap());

        loan.take_back();

        assert!(copy.read(|_| ()).is_none() && !contents.is_held_elsewhere());
        copy.when_taken_back(move || later.send("late").unwrap());
        assert_eq!((copy.len(), copy.is_here()), (7, false));
        assert_eq!(is_told.iter().collect::<Vec<_>>(), ["back", "late"]);
    }
}
