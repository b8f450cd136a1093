//! Reads the rows of an item from the database: ciphertext, and the rows on which the answer depends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use provider::{Error, ErrorKind};
use rusqlite::{Connection, OptionalExtension as _};

use crate::checkpoint::{Known, Shown, Signed};
use crate::database::{Inside, NamespaceRow, identity, namespace_key};
use crate::ledger::digests;
use crate::name::Name;
use crate::pin::Pin;
use crate::read::Wanted;
use crate::rows::decode_accounts;

/// The most versions of an item that one answer looks at.
const MOST_VERSIONS: usize = 10_000;
/// The longest time that one answer spends on versions.
const LONGEST: Duration = Duration::from_secs(5);

/// Everything that is needed to check and decrypt an answer, except the root key.
pub(crate) struct Fetched {
    /// The identity that the database states. It is compared with the root key before anything is decrypted.
    pub(crate) pin: Pin,
    pub(crate) namespace: Option<NamespaceRow>,
    /// The checkpoint of the namespace, if it differs from the known one.
    pub(crate) checkpoint: Latest,
    pub(crate) shown: Shown,
    pub(crate) chosen: Option<Chosen>,
}

/// The checkpoint of a namespace, relative to the known one.
pub(crate) enum Latest {
    None,
    /// It has the number of the known checkpoint.
    Known,
    Another(Signed),
}

/// Reads the rows for `wanted`. If `known` is the number of its checkpoint, the checkpoint itself is not read.
pub(crate) fn fetch(connection: &Connection, wanted: &Wanted, known: Option<u64>) -> Inside<Fetched> {
    let namespace = &wanted.item.namespace;
    let fetched = Fetched {
        pin: identity(connection)?,
        namespace: namespace_key(connection, namespace)?,
        checkpoint: latest(connection, namespace, known)?,
        shown: Shown::default(),
        chosen: None,
    };
    let Some((item, newest)) = item(connection, wanted)? else { return Ok(fetched) };
    let chosen = chosen(connection, item, wanted)?;
    let from = chosen.as_ref().map(|(version, ..)| *version).or(wanted.version).unwrap_or_default();
    let versions = versions(connection, item, from, newest, wanted.version)?;
    // If the class names a version, the versions after it do not matter, except that the newest decides who may read.
    let from = if wanted.version.is_some() { newest.max(from) } else { from };
    Ok(Fetched { shown: Shown { newest, from, versions }, chosen, ..fetched })
}

fn latest(connection: &Connection, namespace: &Name, known: Option<u64>) -> Inside<Latest> {
    match Signed::sequence(connection, namespace)? {
        None => Ok(Latest::None),
        same if same == known => Ok(Latest::Known),
        Some(_) => Ok(Signed::read(connection, namespace)?.map_or(Latest::None, Latest::Another)),
    }
}

fn item(connection: &Connection, wanted: &Wanted) -> Inside<Option<(i64, u64)>> {
    let text = "SELECT id, last_version FROM items WHERE namespace = ?1 AND name = ?2";
    let name = (wanted.item.namespace.as_str(), wanted.item.name.as_str());
    Ok(connection.prepare_cached(text)?.query_row(name, |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// A version, its sealed data key and a sealed value of it.
type Chosen = (u64, Option<Vec<u8>>, Option<Vec<u8>>);

/// The version that was asked for, or the newest with the key. It may be deleted: a deletion must not make an older
/// value appear again.
fn chosen(connection: &Connection, item: i64, wanted: &Wanted) -> Inside<Option<Chosen>> {
    let row = connection
        .prepare_cached(
            "SELECT version, sealed_key, sealed FROM contents JOIN versions USING (item, version)
             WHERE item = ?1 AND key = ?2 AND (?3 IS NULL OR version = ?3)
             ORDER BY version DESC LIMIT 1",
        )?
        .query_row((item, wanted.key.as_str(), wanted.version), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(row)
}

/// The versions from `from` on. If the class names a version, only that one and the `newest`.
fn versions(
    connection: &Connection,
    item: i64,
    from: u64,
    newest: u64,
    named: Option<u64>,
) -> Inside<BTreeMap<u64, Known>> {
    let mut statement = connection.prepare_cached(
        "SELECT version, accounts, deleted IS NOT NULL FROM versions
         WHERE item = ?1 AND version >= ?2 AND (?4 IS NULL OR version IN (?3, ?4)) ORDER BY version DESC",
    )?;
    let from = named.map_or(from, |named| named.min(newest));
    let mut rows = statement.query((item, from, newest, named))?;
    let (began, mut versions) = (Instant::now(), BTreeMap::new());
    while let Some(row) = rows.next()? {
        if versions.len() == MOST_VERSIONS || began.elapsed() > LONGEST {
            return Err(too_many(item).into());
        }
        let (version, gone) = (row.get(0)?, row.get(2)?);
        let accounts = decode_accounts(&row.get::<_, String>(1)?)?;
        let (keys, contents) = digests(connection, item, version, gone)?;
        versions.insert(version, Known { accounts, keys, contents, gone, back: None });
    }
    Ok(versions)
}

fn too_many(item: i64) -> Error {
    let text =
        format!("item number {item} has too many or too long versions without the key that is asked for");
    Error::new(ErrorKind::Unavailable, text).remedy("name a version in the class, or put the key again")
}
