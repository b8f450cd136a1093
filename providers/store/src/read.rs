//! The one way a value leaves the store: for a workload, with the root key.

use std::path::{Path, PathBuf};

use provider::{Error, ErrorKind, Result, SecretBytes};
use rusqlite::{Connection, OptionalExtension as _};

use crate::database::{Inside, NamespaceRow, identity, namespace_key};
use crate::envelope::{Binding, SealedKey, damaged};
use crate::keys::RootKey;
use crate::name::{Item, Name, ServiceAccounts};
use crate::pin::Pin;
use crate::pool::Pool;
use crate::root_file::RootKeySource;
use crate::rows::decode_accounts;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) item: Item,
    pub(crate) key: Name,
    /// The version to stay at; the newest where there is none.
    pub(crate) version: Option<u64>,
}

/// A value and the version it is of.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) value: SecretBytes,
    pub(crate) version: u64,
}

/// Reads values over connections that stay open.
#[derive(Debug)]
pub(crate) struct Reader {
    root: RootKeySource,
    pool: Pool,
}

/// Ciphertext and everything needed to open it but the root key.
struct Fetched {
    /// What the database says of itself; compared with the root key before anything is opened.
    pin: Pin,
    namespace: Option<NamespaceRow>,
    version: u64,
    accounts: ServiceAccounts,
    sealed_key: Vec<u8>,
    sealed: Vec<u8>,
}

/// Why a read failed.
enum Unread {
    /// The root key could not be unlocked.
    Locked(Error),
    Other(Error),
}

impl Unread {
    fn into_inner(self) -> Error {
        match self {
            Self::Locked(error) | Self::Other(error) => error,
        }
    }
}

impl Reader {
    pub(crate) fn new(directory: PathBuf, root: RootKeySource) -> Self {
        Self { root, pool: Pool::new(directory) }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.pool.directory()
    }

    /// What `wanted` is, for a pod of `account`. Blocks.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Revoked`, `Denied` as the store says; `Unavailable` if it cannot be read at all.
    pub(crate) fn read(&self, wanted: &Wanted, account: Option<&Name>) -> Result<Found> {
        match self.read_once(wanted, account) {
            // A rotation of the root key between the two halves of a read looks like a wrong or missing one.
            Err(Unread::Locked(_)) => self.read_once(wanted, account).map_err(Unread::into_inner),
            read => read.map_err(Unread::into_inner),
        }
    }

    fn read_once(&self, wanted: &Wanted, account: Option<&Name>) -> std::result::Result<Found, Unread> {
        let fetched =
            self.pool.read(|transaction| fetch(transaction, wanted, account)).map_err(Unread::Other)?;
        let root = self.root.unlock_as(&fetched.pin.root).map_err(Unread::Locked)?;
        fetched.open(wanted, &root).map_err(Unread::Other)
    }
}

impl Fetched {
    fn open(&self, wanted: &Wanted, root: &RootKey) -> Result<Found> {
        let binding = Binding {
            store: &self.pin.store,
            item: &wanted.item,
            version: self.version,
            accounts: &self.accounts,
        };
        let about = || damaged(&format!("version {} of {}", self.version, wanted.item));
        let sealed_key = SealedKey::decode(&self.sealed_key).ok_or_else(about)?;
        let data_key = if sealed_key.id == root.public().id() {
            sealed_key.open(binding, root.private())
        } else {
            let row = self.namespace.as_ref().filter(|row| row.key.public.id() == sealed_key.id);
            let private =
                row.and_then(|row| row.key.open_private(&self.pin.store, &row.sealed_private, root));
            private.and_then(|private| sealed_key.open(binding, &private))
        };
        let value = data_key.ok_or_else(about)?.decrypt(binding, &wanted.key, &self.sealed)?;
        Ok(Found { value, version: self.version })
    }
}

struct VersionRow {
    version: u64,
    accounts: String,
    sealed_key: Option<Vec<u8>>,
    sealed: Option<Vec<u8>>,
}

fn fetch(connection: &Connection, wanted: &Wanted, account: Option<&Name>) -> Inside<Fetched> {
    let pin = identity(connection)?;
    let Some((item, accounts)) = policy(connection, &wanted.item)? else {
        return Err(not_found(wanted, "is not in the store").into());
    };
    admit(&accounts, wanted, account)?;
    let Some(row) = version_row(connection, item, wanted)? else {
        return Err(missing_part(connection, item, wanted)?.into());
    };
    // What was sealed for others stays theirs, whatever the item's later versions say.
    let accounts = decode_accounts(&row.accounts)?;
    admit(&accounts, wanted, account)?;
    let (Some(sealed_key), Some(sealed)) = (row.sealed_key, row.sealed) else {
        let text = format!("version {} of {} was deleted", row.version, wanted.item);
        return Err(Error::new(ErrorKind::Revoked, text).into());
    };
    let namespace = namespace_key(connection, &wanted.item.namespace)?;
    Ok(Fetched { pin, namespace, version: row.version, accounts, sealed_key, sealed })
}

/// The item's number, and who may read it now.
fn policy(connection: &Connection, item: &Item) -> Inside<Option<(i64, ServiceAccounts)>> {
    let row: Option<(i64, String)> = connection
        .query_row(
            "SELECT id, accounts FROM items JOIN versions ON item = id AND version = last_version
             WHERE namespace = ?1 AND name = ?2",
            (item.namespace.as_str(), item.name.as_str()),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    row.map(|(id, accounts)| Ok((id, decode_accounts(&accounts)?))).transpose()
}

fn admit(accounts: &ServiceAccounts, wanted: &Wanted, account: Option<&Name>) -> Result<()> {
    if accounts.admit(account) {
        return Ok(());
    }
    let (whom, name) = match account {
        Some(account) => (format!("service account {account}"), account.as_str()),
        None => ("a reader without a service account".to_owned(), "NAME"),
    };
    let remedy = format!("if it should be, put it again with --service-account {name} among the others");
    Err(Error::new(ErrorKind::Denied, format!("{} is not for {whom}", wanted.item)).remedy(remedy))
}

/// The version asked for, or the newest that has the key: deleted or not, since an older value
/// must not come back because the newer was deleted.
fn version_row(connection: &Connection, item: i64, wanted: &Wanted) -> Inside<Option<VersionRow>> {
    let row = connection
        .query_row(
            "SELECT version, accounts, sealed_key, sealed FROM contents JOIN versions USING (item, version)
             WHERE item = ?1 AND key = ?2 AND (?3 IS NULL OR version = ?3)
             ORDER BY version DESC LIMIT 1",
            (item, wanted.key.as_str(), wanted.version),
            |row| {
                Ok(VersionRow {
                    version: row.get(0)?,
                    accounts: row.get(1)?,
                    sealed_key: row.get(2)?,
                    sealed: row.get(3)?,
                })
            },
        )
        .optional()?;
    Ok(row)
}

fn missing_part(connection: &Connection, item: i64, wanted: &Wanted) -> Inside<Error> {
    let Some(version) = wanted.version else {
        return Ok(not_found(wanted, &format!("has no key {}", wanted.key)));
    };
    let known: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM versions WHERE item = ?1 AND version = ?2)",
        (item, version),
        |row| row.get(0),
    )?;
    Ok(if known {
        not_found(wanted, &format!("has no key {} in version {version}", wanted.key))
    } else {
        not_found(wanted, &format!("has no version {version}"))
    })
}

fn not_found(wanted: &Wanted, what: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{} {what}", wanted.item))
        .remedy("see `secretfs store list` and `secretfs store history`, or put it")
}
