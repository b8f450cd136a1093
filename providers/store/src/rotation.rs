//! Rotates keys: the data keys are sealed again to new keys, and the ciphertext of values stays.

use provider::{Error, ErrorKind, Result};
use rusqlite::Transaction;
use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::database::{Inside, namespace_key};
use crate::envelope::{Binding, SealedKey};
use crate::keys::{KeyId, PrivateKey, Recipient, RootKey, StoreId};
use crate::ledger::{Said, namespaces, sign, verified};
use crate::mark::Marks;
use crate::name::{Item, Name};
use crate::pin::{Pin, write_beside};
use crate::root_file::RootKeySource;
use crate::rows::{decode_accounts, namespace_keys};
use crate::store::{Store, save_namespace_key};

/// The result of a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// The namespaces that have new keys, or whose keys are now sealed to the new root key.
    pub namespaces: Vec<Name>,
    /// How many data keys were sealed again. Each version has one.
    pub versions: usize,
    /// Versions that could not be decrypted. They were lost before the rotation too.
    pub damaged: Vec<String>,
    /// The id of the new root key, if it was rotated.
    pub root_key: Option<String>,
}

/// The keys from which and to which data keys are sealed again.
struct Resealing<'a> {
    store: &'a StoreId,
    old: Vec<(KeyId, &'a PrivateKey)>,
    new: Recipient,
    rotated: &'a mut Rotated,
}

impl Store {
    /// Gives `namespace`, or every namespace, a new key pair, seals its data keys to it, and destroys the old pair.
    /// Bundles that were exported before seal to the old key, so export them again.
    ///
    /// # Errors
    ///
    /// `NotFound`: there is no such namespace. The root key is not this store's. In both cases nothing is changed.
    pub fn rotate_namespaces(&mut self, namespace: Option<&Name>) -> Result<Rotated> {
        let (rotated, signed) = self.write(|transaction, pin, trust| {
            let root = trust.root().unlock_as(&pin.root)?;
            let mut rotated = Rotated::none();
            let marks = Marks::load(trust.root(), pin.store)?;
            let mut signed = Marks::none(pin.store);
            for name in wanted(transaction, namespace)? {
                let before = verified(transaction, pin, &name, &marks.of(&name))?;
                rotate_namespace(transaction, &pin.store, &root, &name, &mut rotated)?;
                let sequence = sign(transaction, pin, &root, &name, &before, &Said::default())?;
                signed.raise(&name, sequence);
                rotated.namespaces.push(name);
            }
            Ok((rotated, signed))
        })?;
        self.remember(&signed);
        self.database.forget_old_pages();
        Ok(rotated)
    }

    /// Replaces the root key. The old key is destroyed last. So a process that is killed at any moment leaves either
    /// the old key with data sealed to it, or the new key with data sealed to that.
    ///
    /// # Errors
    ///
    /// The root key is not this store's or cannot be replaced, or another rotation runs.
    pub fn rotate_root(&mut self) -> Result<Rotated> {
        let source = &self.trust.root().clone();
        let lock = source.lock()?;
        let (rotated, pin, signed) = self.write(|transaction, pin, _| {
            source.finish(&lock, &pin.root)?;
            let (old, new) = (source.unlock_as(&pin.root)?, RootKey::generate()?);
            source.prepare(&lock, &new)?;
            let next = Pin { root: *new.public(), ..*pin };
            // During the rotation, writers on other hosts may find either key in the database, so both are pinned.
            write_beside(source, &[*pin, next])?;
            let before = all_verified(transaction, pin, source)?;
            let mut rotated = Rotated::none();
            reseal_namespaces(transaction, &pin.store, &old, &new, &mut rotated)?;
            reseal_unowned(transaction, &pin.store, &old, &new, &mut rotated)?;
            transaction.execute(
                "UPDATE store SET root_seal = ?1, root_verify = ?2",
                (&new.public().seal.0, &new.public().verify),
            )?;
            let mut signed = Marks::none(pin.store);
            for (name, before) in before {
                signed.raise(&name, sign(transaction, &next, &new, &name, &before, &Said::default())?);
            }
            Ok((Rotated { root_key: Some(new.public().id().to_string()), ..rotated }, next, signed))
        })?;
        self.remember(&signed);
        source.replace(&lock)?;
        write_beside(source, &[pin])?;
        self.database.forget_old_pages();
        Ok(rotated)
    }
}

impl Rotated {
    fn none() -> Self {
        Self { namespaces: Vec::new(), versions: 0, damaged: Vec::new(), root_key: None }
    }
}

/// The checkpoint of each namespace, after a check that the database contains everything in it.
fn all_verified(
    transaction: &Transaction<'_>,
    pin: &Pin,
    source: &RootKeySource,
) -> Inside<Vec<(Name, Checkpoint)>> {
    let marks = Marks::load(source, pin.store)?;
    let verify = |name: Name| {
        let before = verified(transaction, pin, &name, &marks.of(&name))?;
        Ok((name, before))
    };
    namespaces(transaction, &marks)?.into_iter().map(verify).collect()
}

fn wanted(transaction: &Transaction<'_>, only: Option<&Name>) -> Inside<Vec<Name>> {
    let mut statement =
        transaction.prepare("SELECT name FROM namespaces UNION SELECT namespace FROM items ORDER BY 1")?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut names = names.into_iter().map(Name::try_from).collect::<Result<Vec<_>>>()?;
    let Some(only) = only else { return Ok(names) };
    names.retain(|name| name == only);
    if names.is_empty() {
        let text = format!("namespace {only} has no items and no key");
        return Err(Error::new(ErrorKind::NotFound, text).remedy("see `secretfs store list`").into());
    }
    Ok(names)
}

fn rotate_namespace(
    transaction: &Transaction<'_>,
    store: &StoreId,
    root: &RootKey,
    namespace: &Name,
    rotated: &mut Rotated,
) -> Inside<()> {
    let present = match namespace_key(transaction, namespace)? {
        Some(row) => {
            row.key.open_private(store, &row.sealed_private, root).map(|key| (row.key.public.id(), key))
        }
        None => None,
    };
    let (public, private) = PrivateKey::generate()?;
    let mut resealing = Resealing {
        store,
        old: vec![(root.public().id(), root.private())],
        new: public.recipient(),
        rotated,
    };
    resealing.old.extend(present.as_ref().map(|(id, key)| (*id, key)));
    resealing.all_of(transaction, namespace)?;
    save_namespace_key(transaction, store, namespace, public, &private, root)
}

fn reseal_namespaces(
    transaction: &Transaction<'_>,
    store: &StoreId,
    old: &RootKey,
    new: &RootKey,
    rotated: &mut Rotated,
) -> Inside<()> {
    for key in namespace_keys(transaction)? {
        let row = namespace_key(transaction, &key.namespace)?;
        let private = row.and_then(|row| row.key.open_private(store, &row.sealed_private, old));
        let Some(private) = private else {
            rotated.damaged.push(format!("the key of namespace {}", key.namespace));
            continue;
        };
        save_namespace_key(transaction, store, &key.namespace, key.public, &private, new)?;
        rotated.namespaces.push(key.namespace);
    }
    Ok(())
}

/// Seals the items of namespaces without a key of their own to the new root key.
fn reseal_unowned(
    transaction: &Transaction<'_>,
    store: &StoreId,
    old: &RootKey,
    new: &RootKey,
    rotated: &mut Rotated,
) -> Inside<()> {
    let mut resealing = Resealing {
        store,
        old: vec![(old.public().id(), old.private())],
        new: new.public().recipient(),
        rotated,
    };
    for namespace in wanted(transaction, None)? {
        resealing.those_of_old_keys(transaction, &namespace)?;
    }
    Ok(())
}

struct Sealed {
    id: i64,
    item: Item,
    version: u64,
    accounts: String,
    key: Vec<u8>,
}

impl Resealing<'_> {
    /// Seals every version of `namespace` again. Versions that cannot be decrypted are reported.
    fn all_of(&mut self, transaction: &Transaction<'_>, namespace: &Name) -> Inside<()> {
        for sealed in sealed_versions(transaction, namespace)? {
            if !self.reseal(transaction, &sealed)? {
                self.rotated.damaged.push(format!("version {} of {}", sealed.version, sealed.item));
            }
        }
        Ok(())
    }

    /// Seals the versions of `namespace` again that are sealed to one of the old keys.
    fn those_of_old_keys(&mut self, transaction: &Transaction<'_>, namespace: &Name) -> Inside<()> {
        for sealed in sealed_versions(transaction, namespace)? {
            let id = SealedKey::decode(&sealed.key).map(|key| key.id);
            if self.old.iter().any(|(old, _)| Some(*old) == id) && !self.reseal(transaction, &sealed)? {
                self.rotated.damaged.push(format!("version {} of {}", sealed.version, sealed.item));
            }
        }
        Ok(())
    }

    fn reseal(&mut self, transaction: &Transaction<'_>, sealed: &Sealed) -> Inside<bool> {
        let accounts = decode_accounts(&sealed.accounts)?;
        let binding =
            Binding { store: self.store, item: &sealed.item, version: sealed.version, accounts: &accounts };
        let Some(key) = SealedKey::decode(&sealed.key) else { return Ok(false) };
        let private = self.old.iter().find(|(id, _)| *id == key.id).map(|(_, private)| *private);
        let Some(data_key) = private.and_then(|private| key.open(binding, private)) else { return Ok(false) };
        transaction.execute(
            "UPDATE versions SET sealed_key = ?3 WHERE item = ?1 AND version = ?2",
            (sealed.id, sealed.version, data_key.seal(binding, &self.new)?),
        )?;
        self.rotated.versions += 1;
        Ok(true)
    }
}

fn sealed_versions(transaction: &Transaction<'_>, namespace: &Name) -> Inside<Vec<Sealed>> {
    let mut statement = transaction.prepare(
        "SELECT id, name, version, accounts, sealed_key FROM items JOIN versions ON item = id
         WHERE namespace = ?1 AND sealed_key IS NOT NULL",
    )?;
    let mut rows = statement.query([namespace.as_str()])?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        let item = Item { namespace: namespace.clone(), name: row.get::<_, String>(1)?.parse()? };
        let (id, version) = (row.get(0)?, row.get(2)?);
        versions.push(Sealed { id, item, version, accounts: row.get(3)?, key: row.get(4)? });
    }
    Ok(versions)
}
