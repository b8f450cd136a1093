//! What can be done to a store without its root key: everything but reading and rotating.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde::Serialize;

use crate::bundle::{Bundle, Record, Values};
use crate::database::{Database, Fault, Inside, WRITER_PATIENCE, identity, namespace_key};
use crate::envelope::{Binding, SealedKey, SealedVersion};
use crate::keys::{KeyId, NamespaceKey, PrivateKey, PublicKey, Recipient, RootKey, RootPublic, StoreId};
use crate::name::{Item, Name, ServiceAccounts};
use crate::root_file::RootKeySource;

/// How far ahead of now an imported version may be numbered, in milliseconds: writers' clocks differ,
/// but a version at the end of the numbers would end the item.
const MAX_AHEAD: u64 = 24 * 60 * 60 * 1000;

/// A store, as anyone sees it who may write to its database.
#[derive(Debug)]
pub struct Store {
    pub(crate) database: Database,
}

/// A store that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Initialised {
    /// Which root key it is sealed to.
    pub root_key: String,
    /// Whether that key was made too; otherwise the one that was there is used.
    pub root_key_created: bool,
}

/// A version that was just put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Put {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// Its number: larger than those of all versions before.
    pub version: u64,
    /// The keys it has values for.
    pub keys: Vec<Name>,
    /// Who may read it.
    pub service_accounts: ServiceAccounts,
}

/// An item in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// Its newest version.
    pub version: u64,
    /// When that was put.
    pub created: Timestamp,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// An item, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// What the list tells.
    #[serde(flatten)]
    pub summary: Summary,
    /// Who may read it.
    pub service_accounts: ServiceAccounts,
    /// Each key with the version that a reader gets who asks for none.
    pub keys: BTreeMap<Name, u64>,
    /// How many versions there were, deleted ones included.
    pub versions: usize,
}

/// One version of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its number.
    pub version: u64,
    /// When it was put.
    pub created: Timestamp,
    /// When it was deleted, if it was.
    pub deleted: Option<Timestamp>,
    /// The keys it has values for.
    pub keys: Vec<Name>,
    /// Who may read it.
    pub service_accounts: ServiceAccounts,
    /// What its data key is sealed to; gone with a deleted version.
    pub sealed_to: Option<String>,
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// The versions whose ciphertext is gone.
    pub versions: Vec<u64>,
}

/// How an import treats what a record says of service accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordAccounts {
    /// The record must name those that the item has.
    MustMatch,
    /// The record's replace the item's.
    Replace,
}

/// The number of a version that is made away from the store: milliseconds since 1970, so that
/// writers who know nothing of each other still number upwards.
pub fn version_by_clock() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(1)
}

impl Store {
    /// Makes a store in `directory`, and a root key where there is none.
    ///
    /// # Errors
    ///
    /// There is one already, or directory or root key cannot be made or used.
    pub fn init(directory: &Path, root: &RootKeySource) -> Result<(Self, Initialised)> {
        let mut initialised = None;
        let database = Database::create(directory, || {
            let (key, root_key_created) = root.unlock_or_create()?;
            let root_key = key.public().id().to_string();
            initialised = Some(Initialised { root_key, root_key_created });
            Ok((StoreId::random()?, *key.public()))
        })?;
        let made = || Error::new(ErrorKind::Unavailable, "the store was not made");
        Ok((Self { database }, initialised.ok_or_else(made)?))
    }

    /// Opens the store in `directory`.
    ///
    /// # Errors
    ///
    /// There is none, or it is damaged or not for this user.
    pub fn open(directory: &Path) -> Result<Self> {
        Database::open(directory, WRITER_PATIENCE).map(|database| Self { database })
    }

    /// Adds a version to `item`, the first one if it is new.
    ///
    /// `accounts` are who may read it: by default those who could read the version before, any for
    /// the first. A namespace that has no key of its own gets one if `root` can be unlocked here;
    /// otherwise its items are sealed to the root key.
    ///
    /// # Errors
    ///
    /// The database cannot be written, or somebody tampered with the namespace's key.
    pub fn put(
        &mut self,
        item: &Item,
        accounts: Option<ServiceAccounts>,
        values: &Values,
        root: Option<&RootKeySource>,
    ) -> Result<Put> {
        self.database.write(|transaction| {
            let (store, public) = identity(transaction)?;
            let recipient = recipient(transaction, &store, &public, &item.namespace, root)?;
            let newest = newest(transaction, item)?;
            let version = newest.as_ref().map_or(1, |newest| newest.version + 1);
            let accounts = accounts.or(newest.map(|newest| newest.accounts)).unwrap_or(ServiceAccounts::Any);
            let binding = Binding { store: &store, item, version, accounts: &accounts };
            let sealed = SealedVersion::seal(binding, &recipient, values.as_map())?;
            insert(transaction, item, &sealed)?;
            Ok(put(item, &sealed))
        })
    }

    /// Adds the version that `record` holds.
    ///
    /// # Errors
    ///
    /// `Invalid`: it is for another store, for a key that was rotated away, older than what is
    /// there, or it would change who may read the item.
    pub fn import(&mut self, record: &Record, accounts: RecordAccounts) -> Result<Put> {
        self.database.write(|transaction| {
            let (store, public) = identity(transaction)?;
            check_sealing(transaction, &store, &public, record)?;
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
        self.database.read(|transaction| {
            let (store, root) = identity(transaction)?;
            Ok(Bundle::new(store, root, namespace_keys(transaction)?))
        })
    }

    /// The items, of one namespace or of all, in order.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn list(&mut self, namespace: Option<&Name>) -> Result<Vec<Summary>> {
        self.database.read(|transaction| summaries(transaction, namespace))
    }

    /// What there is to know of `item` but its values.
    ///
    /// # Errors
    ///
    /// `NotFound`: there is none.
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
        self.database.read(|transaction| {
            let Some(id) = item_id(transaction, item)? else { return Err(unknown(item).into()) };
            versions(transaction, id)
        })
    }

    /// Destroys the ciphertext of `item`, or of one version of it, and remembers that it did.
    ///
    /// # Errors
    ///
    /// `NotFound`: there never was such a thing. `Revoked`: it was deleted before.
    pub fn delete(&mut self, item: &Item, version: Option<u64>) -> Result<Deleted> {
        let deleted = self.database.write(|transaction| {
            let Some(id) = item_id(transaction, item)? else { return Err(unknown(item).into()) };
            let versions = live_versions(transaction, id, version)?;
            if versions.is_empty() {
                return Err(not_live(transaction, id, item, version)?.into());
            }
            for version in &versions {
                bury(transaction, id, *version)?;
            }
            Ok(Deleted { item: item.clone(), versions })
        })?;
        self.database.forget_old_pages();
        Ok(deleted)
    }
}

/// Whom to seal to for `namespace`; a new key pair where it has none and the root key can vouch for one.
fn recipient(
    transaction: &Transaction<'_>,
    store: &StoreId,
    public: &RootPublic,
    namespace: &Name,
    root: Option<&RootKeySource>,
) -> Inside<Recipient> {
    if let Some(row) = namespace_key(transaction, namespace)? {
        return Ok(row.key.recipient(store, public)?);
    }
    let Some(root) = root.and_then(|source| source.unlock_as(public).ok()) else {
        return Ok(public.recipient());
    };
    let (key, private) = PrivateKey::generate()?;
    save_namespace_key(transaction, store, namespace, key, &private, &root)?;
    Ok(key.recipient())
}

/// Makes `key` the key of `namespace`, its private half sealed to `root`.
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

pub(crate) fn namespace_keys(connection: &Connection) -> Inside<Vec<NamespaceKey>> {
    let mut statement = connection.prepare("SELECT name FROM namespaces ORDER BY name")?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let key = |name: String| -> Inside<Option<NamespaceKey>> {
        Ok(namespace_key(connection, &Name::try_from(name)?)?.map(|row| row.key))
    };
    names.into_iter().filter_map(|name| key(name).transpose()).collect()
}

struct Newest {
    version: u64,
    accounts: ServiceAccounts,
}

fn item_id(connection: &Connection, item: &Item) -> Inside<Option<i64>> {
    Ok(connection
        .query_row(
            "SELECT id FROM items WHERE namespace = ?1 AND name = ?2",
            (item.namespace.as_str(), item.name.as_str()),
            |row| row.get(0),
        )
        .optional()?)
}

fn newest(connection: &Connection, item: &Item) -> Inside<Option<Newest>> {
    let row: Option<(u64, String)> = connection
        .query_row(
            "SELECT last_version, accounts FROM items JOIN versions ON item = id AND version = last_version
             WHERE namespace = ?1 AND name = ?2",
            (item.namespace.as_str(), item.name.as_str()),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    row.map(|(version, accounts)| Ok(Newest { version, accounts: decode_accounts(&accounts)? })).transpose()
}

fn insert(transaction: &Transaction<'_>, item: &Item, sealed: &SealedVersion) -> Inside<()> {
    let id: i64 = transaction.query_row(
        "INSERT INTO items (namespace, name, last_version) VALUES (?1, ?2, ?3)
         ON CONFLICT (namespace, name) DO UPDATE SET last_version = excluded.last_version RETURNING id",
        (item.namespace.as_str(), item.name.as_str(), sealed.version),
        |row| row.get(0),
    )?;
    transaction.execute(
        "INSERT INTO versions (item, version, created, accounts, sealed_key) VALUES (?1, ?2, ?3, ?4, ?5)",
        (id, sealed.version, now(), encode_accounts(&sealed.accounts)?, &sealed.sealed_key),
    )?;
    let mut statement = transaction.prepare("INSERT INTO contents VALUES (?1, ?2, ?3, ?4)")?;
    for (key, ciphertext) in &sealed.contents {
        statement.execute((id, sealed.version, key.as_str(), ciphertext))?;
    }
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

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn moment(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}

pub(crate) fn encode_accounts(accounts: &ServiceAccounts) -> Result<String> {
    serde_json::to_string(accounts).map_err(|error| odd(&error))
}

pub(crate) fn decode_accounts(text: &str) -> Result<ServiceAccounts> {
    serde_json::from_str(text).map_err(|error| odd(&error))
}

fn odd(error: &serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("the store holds a list of service accounts that is none: {error}"),
    )
    .remedy("restore the store from a backup")
}

fn check_sealing(connection: &Connection, store: &StoreId, root: &RootPublic, record: &Record) -> Inside<()> {
    let refuse = |reason: &str, remedy: &str| {
        let text = format!("record of {} {reason}", record.item);
        Err(Fault::Told(Error::new(ErrorKind::Invalid, text).remedy(remedy)))
    };
    if record.store != *store {
        return refuse("was sealed for another store", "put it again with this store's bundle");
    }
    let Some(key) =
        SealedKey::decode(&record.sealed.sealed_key).filter(|key| key.version == record.version())
    else {
        return refuse("is damaged", "put it again");
    };
    if !sealed_to_present_key(connection, root, &record.item.namespace, key.id)? {
        return refuse(
            "was sealed to a key that was rotated away",
            "export the bundle again (`secretfs store export-public`) and put it with that",
        );
    }
    match Values::check(record.sealed.contents.len(), record.sealed.contents.values().map(Vec::len).sum()) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn sealed_to_present_key(
    connection: &Connection,
    root: &RootPublic,
    namespace: &Name,
    id: KeyId,
) -> Inside<bool> {
    let own = namespace_key(connection, namespace)?;
    Ok(id == root.id() || own.is_some_and(|row| row.key.public.id() == id))
}

fn check_version(record: &Record, newest: Option<&Newest>) -> Result<()> {
    let refuse = |reason: String, remedy: &str| {
        Err(Error::new(ErrorKind::Invalid, format!("record of {}: {reason}", record.item)).remedy(remedy))
    };
    match (record.version(), newest.map_or(0, |newest| newest.version)) {
        (version, _) if version > version_by_clock().saturating_add(MAX_AHEAD) => refuse(
            format!("version {version} is more than a day ahead of the clock"),
            "put it again on a host whose clock is right",
        ),
        (version, newest) if version <= newest => refuse(
            format!("version {version} is not newer than version {newest}, which the store has"),
            "put it again if it should follow that",
        ),
        _ => Ok(()),
    }
}

fn check_accounts(record: &Record, newest: Option<&Newest>) -> Result<()> {
    match newest {
        Some(newest) if newest.accounts != record.sealed.accounts => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "record of {} is for service accounts {}, the item for {}",
                record.item, record.sealed.accounts, newest.accounts
            ),
        )
        .remedy("put it again for the same ones, or import with --replace-service-accounts")),
        _ => Ok(()),
    }
}

fn summaries(connection: &Connection, namespace: Option<&Name>) -> Inside<Vec<Summary>> {
    let mut statement = connection.prepare(
        "SELECT namespace, name, last_version, created, deleted FROM items
         JOIN versions ON item = id AND version = last_version
         WHERE ?1 IS NULL OR namespace = ?1 ORDER BY namespace, name",
    )?;
    let mut rows = statement.query([namespace.map(Name::as_str)])?;
    let mut summaries = Vec::new();
    while let Some(row) = rows.next()? {
        let item =
            Item { namespace: row.get::<_, String>(0)?.parse()?, name: row.get::<_, String>(1)?.parse()? };
        let deleted = row.get::<_, Option<i64>>(4)?.is_some();
        summaries.push(Summary { item, version: row.get(2)?, created: moment(row.get(3)?), deleted });
    }
    Ok(summaries)
}

fn versions(connection: &Connection, item: i64) -> Inside<Vec<Version>> {
    let mut statement = connection.prepare(
        "SELECT version, created, deleted, accounts, sealed_key FROM versions
         WHERE item = ?1 ORDER BY version DESC",
    )?;
    let mut rows = statement.query([item])?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        let version = row.get(0)?;
        let sealed_key: Option<Vec<u8>> = row.get(4)?;
        versions.push(Version {
            version,
            created: moment(row.get(1)?),
            deleted: row.get::<_, Option<i64>>(2)?.map(moment),
            keys: keys(connection, item, version)?,
            service_accounts: decode_accounts(&row.get::<_, String>(3)?)?,
            sealed_to: sealed_key.and_then(|key| SealedKey::decode(&key).map(|key| key.id.to_string())),
        });
    }
    Ok(versions)
}

fn keys(connection: &Connection, item: i64, version: u64) -> Inside<Vec<Name>> {
    let mut statement =
        connection.prepare("SELECT key FROM contents WHERE item = ?1 AND version = ?2 ORDER BY key")?;
    let keys: Vec<String> =
        statement.query_map((item, version), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    keys.into_iter().map(|key| Ok(Name::try_from(key)?)).collect()
}

fn live_versions(connection: &Connection, item: i64, version: Option<u64>) -> Inside<Vec<u64>> {
    let mut statement = connection.prepare(
        "SELECT version FROM versions
         WHERE item = ?1 AND deleted IS NULL AND (?2 IS NULL OR version = ?2) ORDER BY version",
    )?;
    Ok(statement.query_map((item, version), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

fn bury(transaction: &Transaction<'_>, item: i64, version: u64) -> Inside<()> {
    transaction.execute(
        "UPDATE versions SET deleted = ?3, sealed_key = NULL WHERE item = ?1 AND version = ?2",
        (item, version, now()),
    )?;
    transaction
        .execute("UPDATE contents SET sealed = NULL WHERE item = ?1 AND version = ?2", (item, version))?;
    Ok(())
}

fn not_live(connection: &Connection, id: i64, item: &Item, version: Option<u64>) -> Inside<Error> {
    let Some(version) = version else {
        return Ok(Error::new(ErrorKind::Revoked, format!("{item} was deleted before")));
    };
    let known: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM versions WHERE item = ?1 AND version = ?2)",
        (id, version),
        |row| row.get(0),
    )?;
    Ok(if known {
        Error::new(ErrorKind::Revoked, format!("version {version} of {item} was deleted before"))
    } else {
        Error::new(ErrorKind::NotFound, format!("{item} has no version {version}"))
            .remedy("see `secretfs store history`")
    })
}

fn unknown(item: &Item) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no {item}")).remedy("see `secretfs store list`")
}
