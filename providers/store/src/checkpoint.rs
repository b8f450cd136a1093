//! A signed statement of what a namespace held at one moment.
//!
//! Anyone who may write to the database can put back rows of an earlier day, and these rows are authentic. So each
//! holder of the root key signs the present state: which versions exist, who may read them, and which are deleted.
//! Every later state of the database must contain all of it. Anybody who may put can add newer versions and deletions.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use provider::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde::{Deserialize, Serialize};

use crate::base64text;
use crate::database::Inside;
use crate::envelope::Fields;
use crate::keys::{KeyId, RootKey};
use crate::name::{Item, ItemName, Name, ServiceAccounts};
use crate::pin::Pin;

/// The longest statement, in bytes. It has room for some twenty thousand versions of one namespace, at 150 bytes each.
const MAX_STATEMENT: usize = 3 * 1024 * 1024;

/// SHA-256 of the names of a version's keys, or of these names and the ciphertext of their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest(#[serde(with = "base64text::array")] [u8; 32]);

/// The known facts about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) accounts: ServiceAccounts,
    /// The digest of its key names. The names decide which older values the version hides. They stay when its
    /// ciphertext is destroyed.
    pub(crate) keys: Digest,
    /// The digest of names and ciphertext. `None` if the ciphertext was destroyed before anybody signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<Digest>,
    /// Whether it is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
    /// The number of the checkpoint that restored it after a deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) back: Option<u64>,
}

/// The versions of an item, by number.
pub(crate) type Versions = BTreeMap<u64, Known>;

/// The state of a namespace at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    /// The number of the checkpoint. It is larger than all earlier numbers of the namespace.
    pub(crate) sequence: u64,
    /// The number of the checkpoint that last accepted an older state, with everything that was missing in it.
    #[serde(default)]
    pub(crate) restored: u64,
    /// The namespace's own key, if it has one.
    pub(crate) key: Option<KeyId>,
    pub(crate) items: BTreeMap<ItemName, Versions>,
}

/// A checkpoint in the form that the database stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) sequence: u64,
    statement: Vec<u8>,
    signature: Vec<u8>,
}

impl Digest {
    /// The digest of a version with these keys and their ciphertext, in order. `None` stands for destroyed ciphertext.
    pub(crate) fn of<'a>(contents: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        let fields = contents.fold(Fields::new("secretfs version"), |fields, (key, sealed)| {
            let hash = sealed.map(|sealed| digest::digest(&digest::SHA256, sealed));
            fields.with(key.as_bytes()).with(hash.as_ref().map_or(&[], |hash| hash.as_ref()))
        });
        let mut bytes = [0; 32];
        let hash = digest::digest(&digest::SHA256, fields.bytes());
        bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

impl Checkpoint {
    /// The known versions of `item`.
    pub(crate) fn of(&self, item: &ItemName) -> Option<&Versions> {
        self.items.get(item)
    }

    /// Signs this checkpoint for `namespace` and stores it.
    pub(crate) fn save(
        &self,
        transaction: &Transaction<'_>,
        pin: &Pin,
        namespace: &Name,
        root: &RootKey,
    ) -> Inside<()> {
        let statement = serde_json::to_vec(self).map_err(|_| unsigned(namespace))?;
        if statement.len() > MAX_STATEMENT {
            return Err(too_long(namespace).into());
        }
        let signature = root.sign(&fields(pin, namespace, self.sequence, &statement))?;
        transaction.execute(
            "INSERT OR REPLACE INTO checkpoints VALUES (?1, ?2, ?3, ?4)",
            (namespace.as_str(), self.sequence, statement, signature),
        )?;
        Ok(())
    }
}

impl Signed {
    /// The stored checkpoint of `namespace`.
    pub(crate) fn read(connection: &Connection, namespace: &Name) -> Inside<Option<Self>> {
        let text = "SELECT sequence, statement, signature FROM checkpoints WHERE namespace = ?1";
        Ok(connection
            .prepare_cached(text)?
            .query_row([namespace.as_str()], |row| {
                Ok(Self { sequence: row.get(0)?, statement: row.get(1)?, signature: row.get(2)? })
            })
            .optional()?)
    }

    /// Only the number of the stored checkpoint.
    pub(crate) fn sequence(connection: &Connection, namespace: &Name) -> Inside<Option<u64>> {
        let text = "SELECT sequence FROM checkpoints WHERE namespace = ?1";
        Ok(connection.prepare_cached(text)?.query_row([namespace.as_str()], |row| row.get(0)).optional()?)
    }

    /// The checkpoint, if the root key of `pin` signed it for `namespace`.
    ///
    /// # Errors
    ///
    /// `Denied`: the signature is not from that root key.
    pub(crate) fn open(&self, pin: &Pin, namespace: &Name) -> Result<Checkpoint> {
        let fields = fields(pin, namespace, self.sequence, &self.statement);
        if !pin.root.signed(&fields, &self.signature) {
            return Err(unsigned(namespace));
        }
        let checkpoint: Checkpoint =
            serde_json::from_slice(&self.statement).map_err(|_| unsigned(namespace))?;
        if checkpoint.sequence == self.sequence { Ok(checkpoint) } else { Err(unsigned(namespace)) }
    }
}

fn fields(pin: &Pin, namespace: &Name, sequence: u64, statement: &[u8]) -> Fields {
    Fields::new("secretfs checkpoint")
        .with(&pin.store.0)
        .with(namespace.as_str().as_bytes())
        .with(&sequence.to_be_bytes())
        .with(statement)
}

/// The rows of an item on which an answer depends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// The newest version, as the item's own row states it.
    pub(crate) newest: u64,
    /// The oldest version that matters. Every existing version from here on is in `versions`.
    pub(crate) from: u64,
    pub(crate) versions: Versions,
}

/// Refuses rows that are older than the known state, or that differ from it.
///
/// # Errors
///
/// `Denied`. The message names the version and says what is wrong with it.
pub(crate) fn compare(item: &Item, known: &Versions, shown: &Shown) -> Result<()> {
    let Some((last, _)) = known.last_key_value() else { return Ok(()) };
    if shown.newest < *last {
        return Err(older(&format!("{item} is at version {}, and had version {last} before", shown.newest)));
    }
    for (version, known) in known.range(shown.from..) {
        let about = format!("version {version} of {item}");
        match shown.versions.get(version) {
            None => return Err(older(&format!("{about} has vanished without having been deleted"))),
            Some(row) if known.gone && !row.gone => {
                return Err(older(&format!("{about} was deleted, and is back")));
            }
            Some(row) if !known.admits(row) => return Err(older(&format!("{about} is not what it was"))),
            Some(_) => {}
        }
    }
    Ok(())
}

impl Known {
    /// Whether `row` is the same version. It may have been deleted since.
    pub(crate) fn admits(&self, row: &Self) -> bool {
        let same_contents = match (&self.contents, &row.contents) {
            (Some(known), Some(row)) => known == row,
            // A version whose ciphertext was destroyed has no contents to compare.
            _ => row.gone || self.gone || self.contents.is_none(),
        };
        self.accounts == row.accounts && self.keys == row.keys && (row.gone || same_contents)
    }
}

/// Refuses an item that has no rows at all, although versions of it are known.
pub(crate) fn refuse_absence(item: &Item, known: &Versions) -> Result<()> {
    if known.is_empty() {
        return Ok(());
    }
    Err(older(&format!("{item} has vanished without having been deleted")))
}

/// The error for a store whose state is older than one that was seen before.
pub(crate) fn older(what: &str) -> Error {
    Error::new(ErrorKind::Denied, format!("the store was rolled back: {what}")).remedy(
        "if you restored a backup, say so with `secretfs store restore --accept-older`; otherwise find out who writes to \
         the database, and restore a newer one",
    )
}

fn unsigned(namespace: &Name) -> Error {
    older(&format!("the root key did not sign the checkpoint of namespace {namespace}"))
}

fn too_long(namespace: &Name) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("namespace {namespace} has more versions than a checkpoint of 3 MiB can list"),
    )
    .remedy("put what comes next into another namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_lists_some_twenty_thousand_versions() {
        let digest = Digest([7; 32]);
        let statement = |versions| {
            let known = Known {
                accounts: serde_json::from_str(r#"{"only":["web"]}"#).unwrap(),
                keys: digest,
                contents: Some(digest),
                gone: false,
                back: None,
            };
            let versions = (1..=versions).map(|version| (version, known.clone())).collect();
            let items = BTreeMap::from([("api".parse().unwrap(), versions)]);
            serde_json::to_vec(&Checkpoint { items, ..Checkpoint::default() }).unwrap().len()
        };

        assert!(statement(20_000) < MAX_STATEMENT);
        assert!(statement(22_000) > MAX_STATEMENT);
    }
}
