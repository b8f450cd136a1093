//! Compares the state of a namespace in the database with what is known of it, and signs it again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use provider::Result;
use rusqlite::{Connection, Transaction};

use crate::checkpoint::{Checkpoint, Digest, Known, Shown, Signed, Versions, compare, older, refuse_absence};
use crate::database::{Inside, NamespaceRow, namespace_key};
use crate::keys::{KeyId, RootKey};
use crate::mark::{Mark, Marks};
use crate::name::{Item, ItemName, Name};
use crate::pin::Pin;
use crate::rows::decode_accounts;

/// What a change writes into the next checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Deleted versions that a holder of the root key restored.
    pub(crate) back: Option<(ItemName, Vec<u64>)>,
    /// Whether an older state was accepted.
    pub(crate) restored: bool,
}

/// The present items of a namespace. Ciphertext is digested only if the earlier checkpoint has no digest of it.
struct Present {
    key: Option<KeyId>,
    items: BTreeMap<ItemName, Shown>,
}

/// The checkpoint of `namespace`, after a check that the database contains everything that the checkpoint and `mark`
/// know.
///
/// # Errors
///
/// `Denied`: the state is older than one that was signed or seen.
pub(crate) fn verified(
    transaction: &Transaction<'_>,
    pin: &Pin,
    namespace: &Name,
    mark: &Mark,
) -> Inside<Checkpoint> {
    let signed = signed(transaction, pin, namespace)?;
    let mut mark = mark.clone();
    mark.advance(namespace, signed.as_ref(), None)?;
    let checkpoint = signed.unwrap_or_default();
    let present = present(transaction, namespace, &checkpoint)?;
    check_key(namespace, &checkpoint, present.key)?;
    present.check(namespace, &checkpoint.items)?;
    present.check(namespace, &mark.seen)?;
    Ok(checkpoint)
}

/// The checkpoint of `namespace` that the root key signed.
pub(crate) fn signed(connection: &Connection, pin: &Pin, namespace: &Name) -> Inside<Option<Checkpoint>> {
    let signed = Signed::read(connection, namespace)?;
    Ok(signed.map(|signed| signed.open(pin, namespace)).transpose()?)
}

/// Refuses a namespace key that differs from the signed one: it was rotated away, or removed.
pub(crate) fn check_key(namespace: &Name, checkpoint: &Checkpoint, key: Option<KeyId>) -> Result<()> {
    if checkpoint.key.is_none() || checkpoint.key == key {
        return Ok(());
    }
    Err(older(&format!("the key of namespace {namespace} is not the one that it had last")))
}

/// Signs what `namespace` holds now, as the checkpoint after `before`. Returns its number.
pub(crate) fn sign(
    transaction: &Transaction<'_>,
    pin: &Pin,
    root: &RootKey,
    namespace: &Name,
    before: &Checkpoint,
    said: &Said,
) -> Inside<u64> {
    let present = present(transaction, namespace, before)?;
    let sequence = next(before.sequence);
    let mut checkpoint = Checkpoint {
        sequence,
        restored: if said.restored { sequence } else { before.restored },
        key: present.key,
        items: present.items.into_iter().map(|(name, shown)| (name, shown.versions)).collect(),
    };
    if let Some((item, versions)) = &said.back {
        for version in versions {
            let known = checkpoint.items.get_mut(item).and_then(|item| item.get_mut(version));
            known.into_iter().for_each(|known| known.back = Some(sequence));
        }
    }
    checkpoint.save(transaction, pin, namespace, root)?;
    Ok(sequence)
}

/// The number of the next checkpoint. It follows the clock, so it also grows between hosts that do not see each other's
/// checkpoints. If the clock went back, it is one more than before.
fn next(before: u64) -> u64 {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    now.max(before.saturating_add(1))
}

/// Every namespace that has a row in some table, or a mark.
pub(crate) fn namespaces(connection: &Connection, marks: &Marks) -> Inside<Vec<Name>> {
    let mut statement = connection.prepare(
        "SELECT name FROM namespaces UNION SELECT namespace FROM items UNION SELECT namespace FROM checkpoints",
    )?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut all = names.into_iter().map(Name::try_from).collect::<Result<BTreeSet<_>>>()?;
    all.extend(marks.namespaces.keys().cloned());
    Ok(all.into_iter().collect())
}

impl Present {
    fn check(&self, namespace: &Name, known: &BTreeMap<ItemName, Versions>) -> Result<()> {
        for (name, known) in known {
            let item = Item { namespace: namespace.clone(), name: name.clone() };
            match self.items.get(name) {
                Some(shown) => compare(&item, known, shown)?,
                None => refuse_absence(&item, known)?,
            }
        }
        Ok(())
    }
}

fn present(transaction: &Transaction<'_>, namespace: &Name, before: &Checkpoint) -> Inside<Present> {
    let mut items = BTreeMap::new();
    let mut statement =
        transaction.prepare("SELECT id, name, last_version FROM items WHERE namespace = ?1")?;
    let mut rows = statement.query([namespace.as_str()])?;
    while let Some(row) = rows.next()? {
        let name: ItemName = row.get::<_, String>(1)?.parse()?;
        let versions = versions(transaction, row.get(0)?, before.of(&name))?;
        items.insert(name, Shown { newest: row.get(2)?, from: 0, versions });
    }
    let key = namespace_key(transaction, namespace)?.map(|row: NamespaceRow| row.key.public.id());
    Ok(Present { key, items })
}

fn versions(transaction: &Transaction<'_>, item: i64, before: Option<&Versions>) -> Inside<Versions> {
    let mut statement = transaction
        .prepare_cached("SELECT version, accounts, deleted IS NOT NULL FROM versions WHERE item = ?1")?;
    let mut rows = statement.query([item])?;
    let mut versions = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (version, accounts, gone) =
            (row.get(0)?, decode_accounts(&row.get::<_, String>(1)?)?, row.get(2)?);
        let before = before.and_then(|before| before.get(&version));
        // The signed digests are kept, because readers compare the rows with them.
        let (keys, contents) = match before {
            Some(Known { keys, contents: Some(known), .. }) => (*keys, Some(*known)),
            Some(before) => (before.keys, digests(transaction, item, version, false)?.1),
            None => digests(transaction, item, version, false)?,
        };
        let back = before.and_then(|before| before.back);
        versions.insert(version, Known { accounts, keys, contents, gone, back });
    }
    Ok(versions)
}

/// The digest of a version's key names, and the digest of names and ciphertext. The second is `None` if the ciphertext
/// was destroyed or was not asked for.
pub(crate) fn digests(
    connection: &Connection,
    item: i64,
    version: u64,
    names_only: bool,
) -> Inside<(Digest, Option<Digest>)> {
    let mut statement = connection.prepare_cached(
        "SELECT key, iif(?3, NULL, sealed) FROM contents WHERE item = ?1 AND version = ?2 ORDER BY key",
    )?;
    let rows = statement.query_map((item, version, names_only), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let contents: Vec<(String, Option<Vec<u8>>)> = rows.collect::<rusqlite::Result<_>>()?;
    let keys = Digest::of(contents.iter().map(|(key, _)| (key.as_str(), None)));
    let is_there = contents.iter().any(|(_, sealed)| sealed.is_some());
    let whole = || Digest::of(contents.iter().map(|(key, sealed)| (key.as_str(), sealed.as_deref())));
    Ok((keys, is_there.then(whole)))
}
