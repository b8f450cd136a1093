//! Checks whether a record may become the next version of its item.

use provider::{Error, ErrorKind, Result};
use rusqlite::Connection;

use crate::bundle::{Record, Values};
use crate::database::{Fault, Inside, namespace_key};
use crate::envelope::SealedKey;
use crate::keys::{KeyId, RootPublic};
use crate::name::Name;
use crate::pin::Pin;
use crate::rows::Newest;
use crate::store::version_by_clock;

/// How far in the future the number of an imported version may be, in milliseconds. Clocks of writers differ. But a
/// version with the largest possible number would leave no numbers for later versions.
const MAX_AHEAD: u64 = 24 * 60 * 60 * 1000;

pub(crate) fn check_sealing(connection: &Connection, pin: &Pin, record: &Record) -> Inside<()> {
    let refuse = |reason: &str, remedy: &str| {
        let text = format!("record of {} {reason}", record.item);
        Err(Fault::Told(Error::new(ErrorKind::Invalid, text).remedy(remedy)))
    };
    if record.store != pin.store {
        return refuse("was sealed for another store", "put it again with this store's bundle");
    }
    let Some(key) =
        SealedKey::decode(&record.sealed.sealed_key).filter(|key| key.version == record.version())
    else {
        return refuse("is damaged", "put it again");
    };
    if !sealed_to_present_key(connection, &pin.root, &record.item.namespace, key.id)? {
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

pub(crate) fn check_version(record: &Record, newest: Option<&Newest>) -> Result<()> {
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

pub(crate) fn check_accounts(record: &Record, newest: Option<&Newest>) -> Result<()> {
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
