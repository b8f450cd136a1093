//! Deletes items: readers lose them at once, and the ciphertext is destroyed when its time is over.

use std::time::Duration;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction};
use serde::Serialize;

use crate::checkpoint::{Checkpoint, Known, older};
use crate::database::Inside;
use crate::ledger::{Said, digests};
use crate::name::Item;
use crate::rows::{bury, item_id, live_versions, now, withdraw};
use crate::store::{Deleted, Store, unknown};

/// What happens to the ciphertext of a deleted version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ciphertext {
    /// It can be restored during this time. Later the next command that writes destroys it.
    Kept(Duration),
    /// It is destroyed at once.
    Destroyed,
}

/// The result of an undelete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undeleted {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// The versions that can be read again.
    pub versions: Vec<u64>,
}

impl Store {
    /// Deletes `item`, or one version of it, so that nobody can read it any more. The store remembers the deletion.
    ///
    /// # Errors
    ///
    /// `NotFound`: it never existed. `Revoked`: it was deleted before, and there is nothing left to destroy.
    pub fn delete(&mut self, item: &Item, version: Option<u64>, ciphertext: Ciphertext) -> Result<Deleted> {
        let deleted = self.change(&item.namespace, |transaction, _, _| {
            let Some(id) = item_id(transaction, item)? else { return Err(unknown(item).into()) };
            let versions = deletable(transaction, id, version, ciphertext)?;
            if versions.is_empty() {
                return Err(not_live(transaction, id, item, version)?.into());
            }
            let (at, due) = (now(), due(ciphertext));
            for version in &versions {
                match due {
                    Some(due) => withdraw(transaction, id, *version, at, due)?,
                    None => bury(transaction, id, *version, at)?,
                }
            }
            let restorable_until = due.and_then(|due| Timestamp::from_millisecond(due).ok());
            Ok(Deleted { item: item.clone(), versions, restorable_until })
        })?;
        self.database.forget_old_pages();
        Ok(deleted)
    }

    /// Restores the latest deletion of `item`, or one version of it.
    ///
    /// # Errors
    ///
    /// `NotFound`: nothing of it is deleted, or it is destroyed. `Denied`: the root key cannot be opened here, or
    /// somebody altered the deleted data.
    pub fn undelete(&mut self, item: &Item, version: Option<u64>) -> Result<Undeleted> {
        self.change_from(&item.namespace, |transaction, _, _, before| {
            let before = before.ok_or_else(not_here)?;
            let Some(id) = item_id(transaction, item)? else { return Err(unknown(item).into()) };
            let versions = restorable(transaction, id, version)?;
            if versions.is_empty() {
                return Err(nothing_to_restore(item, version).into());
            }
            for version in &versions {
                restore(transaction, id, item, *version, before)?;
            }
            let said = Said { back: Some((item.name.clone(), versions.clone())), ..Said::default() };
            Ok((Undeleted { item: item.clone(), versions }, said))
        })
    }
}

/// Destroys the ciphertext of deleted versions whose time is over. Returns the number of versions.
pub(crate) fn purge(transaction: &Transaction<'_>) -> Inside<usize> {
    let mut statement = transaction.prepare(
        "SELECT item, version, deleted FROM purges JOIN versions USING (item, version)
         WHERE due <= ?1 AND deleted IS NOT NULL LIMIT 1000",
    )?;
    let rows = statement.query_map([now()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let due: Vec<(i64, u64, i64)> = rows.collect::<rusqlite::Result<_>>()?;
    for (item, version, at) in &due {
        bury(transaction, *item, *version, *at)?;
    }
    Ok(due.len())
}

/// When to destroy the ciphertext, in milliseconds since 1970; `None` for at once.
fn due(ciphertext: Ciphertext) -> Option<i64> {
    let Ciphertext::Kept(keep) = ciphertext else { return None };
    Some(now().saturating_add(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)))
}

fn deletable(
    connection: &Connection,
    id: i64,
    version: Option<u64>,
    ciphertext: Ciphertext,
) -> Inside<Vec<u64>> {
    let mut versions = live_versions(connection, id, version)?;
    if ciphertext == Ciphertext::Destroyed {
        versions.extend(kept(connection, id, version)?.into_iter().map(|(version, _)| version));
        versions.sort_unstable();
    }
    Ok(versions)
}

/// Deleted versions whose ciphertext still exists, each with the time of its deletion.
fn kept(connection: &Connection, id: i64, version: Option<u64>) -> Inside<Vec<(u64, i64)>> {
    let mut statement = connection.prepare(
        "SELECT version, deleted FROM versions
         WHERE item = ?1 AND deleted IS NOT NULL AND sealed_key IS NOT NULL AND (?2 IS NULL OR version = ?2)
         ORDER BY version",
    )?;
    let rows = statement.query_map((id, version), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The given version, or all versions that the latest deletion removed together.
fn restorable(connection: &Connection, id: i64, version: Option<u64>) -> Inside<Vec<u64>> {
    let kept = kept(connection, id, version)?;
    let last = kept.iter().map(|(_, at)| *at).max();
    Ok(kept.into_iter().filter(|(_, at)| Some(*at) == last).map(|(version, _)| version).collect())
}

fn restore(
    transaction: &Transaction<'_>,
    id: i64,
    item: &Item,
    version: u64,
    before: &Checkpoint,
) -> Inside<()> {
    let known = before.of(&item.name).and_then(|item| item.get(&version));
    let (keys, contents) = digests(transaction, id, version, false)?;
    let is_other =
        |known: &Known| known.keys != keys || known.contents.is_some_and(|known| contents != Some(known));
    if known.is_some_and(is_other) {
        return Err(older(&format!("version {version} of {item} is not what was deleted")).into());
    }
    transaction
        .execute("UPDATE versions SET deleted = NULL WHERE item = ?1 AND version = ?2", (id, version))?;
    transaction.execute("DELETE FROM purges WHERE item = ?1 AND version = ?2", (id, version))?;
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

fn not_here() -> Error {
    Error::new(ErrorKind::Denied, "only who has the root key can take a deletion back")
        .remedy("run it where the root key is (--root-key FILE)")
}

fn nothing_to_restore(item: &Item, version: Option<u64>) -> Error {
    let what = version.map_or_else(|| item.to_string(), |version| format!("version {version} of {item}"));
    Error::new(ErrorKind::NotFound, format!("of {what} nothing is deleted that could be brought back"))
        .remedy("see `secretfs store history`; what was purged is destroyed: put it again")
}
