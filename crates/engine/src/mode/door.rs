//! How a mode asks what a file holds when somebody opens it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use provider::{FileMode, ObjectPath, SecretBytes};

use super::Error;
use crate::snapshot::Fingerprint;

/// Files by path, with their permission bits where the class gives them: all that is known of a file before it is
/// opened. One that its class says may be missing is listed too.
pub type Listing = BTreeMap<ObjectPath, Option<FileMode>>;

/// Who opens a file, as far as the kernel tells. What is not known is no rule's to guess.
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

/// Where a mode asks what an opened file holds.
#[async_trait]
pub trait Door: fmt::Debug + Send + Sync {
    /// What the file at `path` holds, for `caller`, who waits no longer than `patience`, nor than a minute. Who stops
    /// waiting leaves nothing.
    ///
    /// Callers are many at once, and a store may be asked: this is no call for a thread that others wait for.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Missing`], [`Error::TooLate`] or [`Error::Unread`]; [`Error::TooLarge`] where there
    /// is no room for what the file holds. The text holds no value.
    async fn open(&self, path: &ObjectPath, caller: &Caller, patience: Duration) -> Result<Loan, Error>;
}

/// What an opened file holds, until it is taken back: when its time is over, or at once when it is revoked.
///
/// Copies are the same loan. No copy of the bytes is the mode's to keep: who reads again asks again.
#[derive(Debug, Clone)]
pub struct Loan {
    contents: Arc<Mutex<Option<SecretBytes>>>,
    version: Fingerprint,
}

impl Loan {
    /// Lends `contents`, which are of that version.
    pub fn new(contents: SecretBytes, version: Fingerprint) -> Self {
        Self { contents: Arc::new(Mutex::new(Some(contents))), version }
    }

    /// Tells the version from others of the same file: a handle that finds its loan taken back, and asks again, shows
    /// one version only.
    pub fn version(&self) -> &Fingerprint {
        &self.version
    }

    /// What `look` makes of the contents; `None` once they were taken back. Who takes them back waits for `look`,
    /// which is to copy what it needs and return.
    pub fn read<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.as_ref().map(|contents| look(contents.expose()))
    }

    /// Takes the contents back from everybody who has this loan.
    pub fn take_back(&self) {
        drop(self.contents.lock().unwrap_or_else(PoisonError::into_inner).take());
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
        let loan = Loan::new(contents.clone(), version);
        let copy = loan.clone();
        assert_eq!(copy.read(<[u8]>::len), Some(7));
        assert!(!format!("{loan:?}").contains("hunter2"));

        loan.take_back();

        assert!(copy.read(|_| ()).is_none() && !contents.is_held_elsewhere());
    }
}
