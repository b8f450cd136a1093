//! Everything that is possible without the root key: all except reading and rotating.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result};
use rusqlite::Transaction;
use serde::Serialize;

use crate::bundle::{Bundle, Record, Values};
use crate::database::{Database, Inside, namespace_key};
use crate::envelope::{Binding, SealedVersion};
use crate::import::{check_accounts, check_sealing, check_version};
use crate::keys::{NamespaceKey, PrivateKey, PublicKey, Recipient, RootKey, StoreId};
use crate::ledger::{check_key, signed};
use crate::name::{Item, Name, ServiceAccounts};
use crate::pin::{Anchor, Pin, Trust, write_beside};
use crate::root_file::RootKeySource;
use crate::rows::{insert, item_id, namespace_keys, newest, summaries, versions};

/// A store, as everybody sees it who may write to its database.
#[derive(Debug)]
pub struct Store {
    pub(crate) database: Database,
    pub(crate) trust: Trust,
}

/// The result of a put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Put {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// Its number. It is larger than the numbers of all earlier versions.
    pub version: u64,
    /// The keys for which it has values.
    pub keys: Vec<Name>,
    /// Who may read it.
    pub service_accounts: ServiceAccounts,
}

/// An item in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// Its newest version.
    pub version: u64,
    /// When the newest version was put.
    pub created: Timestamp,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// The description of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The same as in the listing.
    #[serde(flatten)]
    pub summary: Summary,
    /// Who may read it.
    pub service_accounts: ServiceAccounts,
    /// Each key, with the version that a reader gets who names no version.
    pub keys: BTreeMap<Name, u64>,
    /// The number of versions, deleted ones included.
    pub versions: usize,
}

/// One version of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The number of the version.
    pub version: u64,
    /// When it was put.
    pub created: Timestamp,
    /// When it was deleted, if it was.
    pub deleted: Option<Timestamp>,
    /// The keys for which it has values.
    pub keys: Vec<Name>,
    /// Who may read it.
    pub service_accounts: ServiceAccounts,
    /// Until when it can be restored, if it is deleted and its ciphertext is kept.
    pub restorable_until: Option<Timestamp>,
    /// The key to which its data key is sealed; `None` if the ciphertext is destroyed.
    pub sealed_to: Option<String>,
}

/// The result of a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// The versions that nobody can read any more.
    pub versions: Vec<u64>,
    /// Until when they can be restored; `None` if their ciphertext is destroyed.
    pub restorable_until: Option<Timestamp>,
}

/// What an import does with the service accounts in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordAccounts {
    /// They must be the same as those of the item.
    MustMatch,
    /// They replace those of the item.
    Replace,
}

/// A number for a version that is made on another host: milliseconds since 1970. So numbers grow even between writers
/// that do not know of each other.
pub fn version_by_clock() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(1)
}

impl Store {
    /// Creates a store in `directory`, and its root key.
    ///
    /// # Errors
    ///
    /// The store or the root key exists already, or cannot be created.
    pub fn init(directory: &Path, root: &RootKeySource) -> Result<Self> {
        let identity = || {
            let pin = Pin { store: StoreId::random()?, root: *root.create()?.public() };
            write_beside(root, &[pin])?;
            Ok(pin)
        };
        let database = Database::create(directory, identity)?;
        Ok(Self { database, trust: Trust::establish(&Anchor::new(root.clone()))? })
    }

    /// Adds a version to `item`. A new item gets its first version.
    ///
    /// `accounts` may read it. By default these are the accounts of the version before, and every account for a first
    /// version. If the namespace has no key and the root key can be unlocked here, the namespace gets a key. If the
    /// root key cannot be unlocked, the items of such a namespace are sealed to the root key.
    ///
    /// # Errors
    ///
    /// The database cannot be written. `Denied`: somebody tampered with the namespace's key or the root key in it.
    pub fn put(&mut self, item: &Item, accounts: Option<ServiceAccounts>, values: &Values) -> Result<Put> {
        self.change(&item.namespace, |transaction, pin, trust| {
            let recipient = recipient(transaction, pin, &item.namespace, trust)?;
            let newest = newest(transaction, item)?;
            let version = newest.as_ref().map_or(1, |newest| newest.version + 1);
            let accounts = accounts.or(newest.map(|newest| newest.accounts)).unwrap_or(ServiceAccounts::Any);
            let binding = Binding { store: &pin.store, item, version, accounts: &accounts };
            let sealed = SealedVersion::seal(binding, &recipient, values.as_map())?;
            insert(transaction, item, &sealed)?;
            Ok(put(item, &sealed))
        })
    }

    /// Adds the version in `record`.
    ///
    /// # Errors
    ///
    /// `Invalid`: the record is for another store or for a key that was rotated away, it is older than the newest
    /// version, or it would change who may read the item.
    pub fn import(&mut self, record: &Record, accounts: RecordAccounts) -> Result<Put> {
        self.change(&record.item.namespace, |transaction, pin, _| {
            check_sealing(transaction, pin, record)?;
            let newest = newest(transaction, &record.item)?;
            check_version(record, newest.as_ref())?;
            if accounts == RecordAccounts::MustMatch {
                check_accounts(record, newest.as_ref())?;
            }
            insert(transaction, &record.item, &record.sealed)?;
            Ok(put(&record.item, &record.sealed))
        })
    }

    /// The public half of the store, for hosts that only put.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn bundle(&mut self) -> Result<Bundle> {
        self.read(|transaction, pin| {
            let keys = namespace_keys(transaction)?;
            for key in &keys {
                key.recipient(&pin.store, &pin.root)?;
                current(transaction, pin, &key.namespace, Some(key))?;
            }
            Ok(Bundle::new(pin.store, pin.root, keys))
        })
    }

    /// The items, of one namespace or of all, in order.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn list(&mut self, namespace: Option<&Name>) -> Result<Vec<Summary>> {
        self.read(|transaction, _| summaries(transaction, namespace))
    }

    /// Everything about `item` except its values.
    ///
    /// # Errors
    ///
    /// `NotFound`: there is no such item.
    pub fn describe(&mut self, item: &Item) -> Result<Description> {
        let history = self.history(item)?;
        let Some(newest) = history.first() else { return Err(unknown(item)) };
        let mut keys = BTreeMap::new();
        for version in &history {
            for key in &version.keys {
                keys.entry(key.clone()).or_insert((version.version, version.deleted.is_some()));
            }
        }
        let live = keys.into_iter().filter(|(_, (_, deleted))| !deleted);
        Ok(Description {
            summary: Summary {
                item: item.clone(),
                version: newest.version,
                created: newest.created,
                deleted: newest.deleted.is_some(),
            },
            service_accounts: newest.service_accounts.clone(),
            keys: live.map(|(key, (version, _))| (key, version)).collect(),
            versions: history.len(),
        })
    }

    /// The versions of `item`, newest first, deleted ones included.
    ///
    /// # Errors
    ///
    /// `NotFound`: there is no such item.
    pub fn history(&mut self, item: &Item) -> Result<Vec<Version>> {
        self.read(|transaction, _| {
            let Some(id) = item_id(transaction, item)? else { return Err(unknown(item).into()) };
            versions(transaction, id)
        })
    }
}

/// The key to which values for `namespace` are sealed. If the namespace has none and the root key is here, it gets a
/// new key pair.
fn recipient(transaction: &Transaction<'_>, pin: &Pin, namespace: &Name, trust: &Trust) -> Inside<Recipient> {
    let row = namespace_key(transaction, namespace)?;
    let signed = row.as_ref().map(|row| row.key.recipient(&pin.store, &pin.root)).transpose()?;
    current(transaction, pin, namespace, row.as_ref().map(|row| &row.key))?;
    if let Some(recipient) = signed {
        return Ok(recipient);
    }
    let Some(root) = trust.unlock(&pin.root) else {
        return Ok(pin.root.recipient());
    };
    let (key, private) = PrivateKey::generate()?;
    save_namespace_key(transaction, &pin.store, namespace, key, &private, &root)?;
    Ok(key.recipient())
}

/// Refuses a key of `namespace` that a checkpoint says was replaced: whoever has seen its private half could read the
/// new value.
fn current(
    transaction: &Transaction<'_>,
    pin: &Pin,
    namespace: &Name,
    key: Option<&NamespaceKey>,
) -> Inside<()> {
    let Some(checkpoint) = signed(transaction, pin, namespace)? else { return Ok(()) };
    Ok(check_key(namespace, &checkpoint, key.map(|key| key.public.id()))?)
}

/// Stores `key` as the key of `namespace`, with its private half sealed to `root`.
pub(crate) fn save_namespace_key(
    transaction: &Transaction<'_>,
    store: &StoreId,
    namespace: &Name,
    key: PublicKey,
    private: &PrivateKey,
    root: &RootKey,
) -> Inside<()> {
    let certified = root.certify(store, namespace, key)?;
    let sealed = certified.seal_private(store, private, root.public())?;
    transaction.execute(
        "INSERT OR REPLACE INTO namespaces VALUES (?1, ?2, ?3, ?4)",
        (namespace.as_str(), &key.0, sealed, &certified.signature),
    )?;
    Ok(())
}

fn put(item: &Item, sealed: &SealedVersion) -> Put {
    Put {
        item: item.clone(),
        version: sealed.version,
        keys: sealed.contents.keys().cloned().collect(),
        service_accounts: sealed.accounts.clone(),
    }
}

pub(crate) fn unknown(item: &Item) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no {item}")).remedy("see `secretfs store list`")
}
