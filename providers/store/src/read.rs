//! Reads a value for a workload, with the root key. A value leaves the store only here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use provider::{Error, ErrorKind, Result, SecretBytes};

use crate::envelope::{Binding, SealedKey, damaged};
use crate::fetch::{Fetched, fetch};
use crate::keys::RootKey;
use crate::memory::Memory;
use crate::name::{Account, Item, Name, ServiceAccounts};
use crate::pool::Pool;
use crate::root_file::RootKeySource;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) item: Item,
    pub(crate) key: Name,
    /// The version to read; the newest if there is none.
    pub(crate) version: Option<u64>,
}

/// A value and its version.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) value: SecretBytes,
    pub(crate) version: u64,
}

/// How often a read starts again if another process changes the store meanwhile.
const TRIES: usize = 3;
/// Refusals that the store itself decided: the item is deleted, or this account may not read it.
const WITHDRAWN: [ErrorKind; 2] = [ErrorKind::Revoked, ErrorKind::Denied];

/// Reads values over connections that stay open.
#[derive(Debug)]
pub(crate) struct Reader {
    root: RootKeySource,
    pool: Pool,
    memory: Arc<Memory>,
}

/// Why a read failed.
enum Unread {
    /// Another process may have changed the store between two steps of the read: the root key could not be unlocked, or
    /// the state was older than one that was seen.
    Overtaken(Error),
    Other(Error),
}

impl Unread {
    fn into_inner(self) -> Error {
        match self {
            Self::Overtaken(error) | Self::Other(error) => error,
        }
    }
}

impl Reader {
    pub(crate) fn new(directory: PathBuf, root: RootKeySource) -> Self {
        let memory = Arc::new(Memory::new(root.clone()));
        Self { root, pool: Pool::new(directory, Arc::clone(&memory)), memory }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.pool.directory()
    }

    /// Reads `wanted` for a pod of `account`. Blocks.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Revoked` or `Denied` if the store says so; also `Denied` if the store was rolled back;
    /// `Unavailable` if it cannot be read at all.
    pub(crate) fn read(&self, wanted: &Wanted, account: Option<&Account>) -> Result<Found> {
        for _ in 1..TRIES {
            match self.read_once(wanted, account) {
                Err(Unread::Overtaken(_)) => {}
                read => return read.map_err(Unread::into_inner),
            }
        }
        self.read_once(wanted, account).map_err(Unread::into_inner)
    }

    fn read_once(&self, wanted: &Wanted, account: Option<&Account>) -> std::result::Result<Found, Unread> {
        let known = self.memory.sequence(&wanted.item.namespace);
        let fetched =
            self.pool.read(|transaction| fetch(transaction, wanted, known)).map_err(Unread::Other)?;
        let root = self.root.unlock_as(&fetched.pin.root).map_err(Unread::Overtaken)?;
        let checkpoint = self.memory.check(wanted, &fetched).map_err(Unread::Overtaken)?;
        let answer = fetched.answer(wanted, account, &root);
        // A deletion or a removed right does not disappear by itself, so it is remembered. Ciphertext that cannot be
        // decrypted is not remembered: somebody may have written garbage, and a repair of it is not a roll-back.
        if answer.as_ref().err().is_none_or(|error| WITHDRAWN.contains(&error.kind())) {
            self.memory.observe(wanted, &fetched, checkpoint.as_deref());
        }
        answer.map_err(Unread::Other)
    }
}

impl Fetched {
    /// The value, if it exists and `account` may read it.
    fn answer(&self, wanted: &Wanted, account: Option<&Account>, root: &RootKey) -> Result<Found> {
        let newest = self.shown.versions.get(&self.shown.newest);
        let Some(newest) = newest else { return Err(not_found(wanted, "is not in the store")) };
        admit(&newest.accounts, wanted, account)?;
        let Some((version, sealed_key, sealed)) = &self.chosen else { return Err(self.missing_part(wanted)) };
        // A version that was sealed for other accounts stays theirs, whatever later versions of the item say.
        let Some(row) = self.shown.versions.get(version) else { return Err(self.missing_part(wanted)) };
        admit(&row.accounts, wanted, account)?;
        match (row.gone, sealed_key, sealed) {
            (false, Some(sealed_key), Some(sealed)) => {
                self.open(wanted, *version, &row.accounts, sealed_key, sealed, root)
            }
            _ => Err(Error::new(
                ErrorKind::Revoked,
                format!("version {version} of {} was deleted", wanted.item),
            )),
        }
    }

    fn open(
        &self,
        wanted: &Wanted,
        version: u64,
        accounts: &ServiceAccounts,
        sealed_key: &[u8],
        sealed: &[u8],
        root: &RootKey,
    ) -> Result<Found> {
        let binding = Binding { store: &self.pin.store, item: &wanted.item, version, accounts };
        let about = || damaged(&format!("version {version} of {}", wanted.item));
        let sealed_key = SealedKey::decode(sealed_key).ok_or_else(about)?;
        let data_key = if sealed_key.id == root.public().id() {
            sealed_key.open(binding, root.private())
        } else {
            let row = self.namespace.as_ref().filter(|row| row.key.public.id() == sealed_key.id);
            let private =
                row.and_then(|row| row.key.open_private(&self.pin.store, &row.sealed_private, root));
            private.and_then(|private| sealed_key.open(binding, &private))
        };
        let value = data_key.ok_or_else(about)?.decrypt(binding, &wanted.key, sealed)?;
        Ok(Found { value, version })
    }

    fn missing_part(&self, wanted: &Wanted) -> Error {
        let Some(version) = wanted.version else {
            return not_found(wanted, &format!("has no key {}", wanted.key));
        };
        if self.shown.versions.contains_key(&version) {
            not_found(wanted, &format!("has no key {} in version {version}", wanted.key))
        } else {
            not_found(wanted, &format!("has no version {version}"))
        }
    }
}

fn admit(accounts: &ServiceAccounts, wanted: &Wanted, account: Option<&Account>) -> Result<()> {
    if accounts.admit(account) {
        return Ok(());
    }
    let Some(Account { name, uid }) = account else {
        return Err(not_for(wanted, "a reader without a service account", "NAME"));
    };
    if !accounts.name(name) {
        return Err(not_for(wanted, &format!("service account {name}"), name.as_str()));
    }
    Err(match uid {
        Some(uid) => {
            not_for(wanted, &format!("this service account {name}, with uid {uid}"), &format!("{name}={uid}"))
        }
        None => {
            Error::new(ErrorKind::Denied, format!("{} is for one uid of service account {name}", wanted.item))
                .remedy("have kubelet tell it: the CSIDriver object needs tokenRequests with an audience")
        }
    })
}

fn not_for(wanted: &Wanted, whom: &str, account: &str) -> Error {
    let remedy = format!("if it should be, put it again with --service-account {account} among the others");
    Error::new(ErrorKind::Denied, format!("{} is not for {whom}", wanted.item)).remedy(remedy)
}

fn not_found(wanted: &Wanted, what: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{} {what}", wanted.item))
        .remedy("see `secretfs store list` and `secretfs store history`, or put it")
}
