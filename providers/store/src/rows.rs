//! Items and versions in the database.

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use crate::database::{Inside, namespace_key};
use crate::envelope::{SealedKey, SealedVersion};
use crate::keys::NamespaceKey;
use crate::name::{Item, Name, ServiceAccounts};
use crate::store::{Summary, Version};

/// The version before a new version.
pub(crate) struct Newest {
    pub(crate) version: u64,
    pub(crate) accounts: ServiceAccounts,
}

pub(crate) fn namespace_keys(connection: &Connection) -> Inside<Vec<NamespaceKey>> {
    let mut statement = connection.prepare("SELECT name FROM namespaces ORDER BY name")?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let key = |name: String| -> Inside<Option<NamespaceKey>> {
        Ok(namespace_key(connection, &Name::try_from(name)?)?.map(|row| row.key))
    };
    names.into_iter().filter_map(|name| key(name).transpose()).collect()
}

pub(crate) fn item_id(connection: &Connection, item: &Item) -> Inside<Option<i64>> {
    Ok(connection
        .query_row(
            "SELECT id FROM items WHERE namespace = ?1 AND name = ?2",
            (item.namespace.as_str(), item.name.as_str()),
            |row| row.get(0),
        )
        .optional()?)
}

pub(crate) fn newest(connection: &Connection, item: &Item) -> Inside<Option<Newest>> {
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

pub(crate) fn insert(transaction: &Transaction<'_>, item: &Item, sealed: &SealedVersion) -> Inside<()> {
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

pub(crate) fn summaries(connection: &Connection, namespace: Option<&Name>) -> Inside<Vec<Summary>> {
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

pub(crate) fn versions(connection: &Connection, item: i64) -> Inside<Vec<Version>> {
    let mut statement = connection.prepare(
        "SELECT version, created, deleted, accounts, sealed_key, due FROM versions
         LEFT JOIN purges USING (item, version) WHERE item = ?1 ORDER BY version DESC",
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
            restorable_until: row.get::<_, Option<i64>>(5)?.map(moment),
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

pub(crate) fn live_versions(connection: &Connection, item: i64, version: Option<u64>) -> Inside<Vec<u64>> {
    let mut statement = connection.prepare(
        "SELECT version FROM versions
         WHERE item = ?1 AND deleted IS NULL AND (?2 IS NULL OR version = ?2) ORDER BY version",
    )?;
    Ok(statement.query_map((item, version), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Deletes a version. Its ciphertext is kept until `due`.
pub(crate) fn withdraw(
    transaction: &Transaction<'_>,
    item: i64,
    version: u64,
    at: i64,
    due: i64,
) -> Inside<()> {
    transaction
        .execute("UPDATE versions SET deleted = ?3 WHERE item = ?1 AND version = ?2", (item, version, at))?;
    transaction.execute("INSERT OR REPLACE INTO purges VALUES (?1, ?2, ?3)", (item, version, due))?;
    Ok(())
}

/// Deletes a version and destroys its ciphertext.
pub(crate) fn bury(transaction: &Transaction<'_>, item: i64, version: u64, at: i64) -> Inside<()> {
    transaction.execute(
        "UPDATE versions SET deleted = ?3, sealed_key = NULL WHERE item = ?1 AND version = ?2",
        (item, version, at),
    )?;
    transaction
        .execute("UPDATE contents SET sealed = NULL WHERE item = ?1 AND version = ?2", (item, version))?;
    transaction.execute("DELETE FROM purges WHERE item = ?1 AND version = ?2", (item, version))?;
    Ok(())
}

/// The present time, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn moment(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}

fn encode_accounts(accounts: &ServiceAccounts) -> Result<String> {
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
