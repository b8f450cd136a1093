//! Opens, reads and changes a store. Each access first compares the database with what is known of the store.

use std::path::Path;

use provider::{Error, ErrorKind, Result};
use rusqlite::Transaction;

use crate::checkpoint::{Checkpoint, older};
use crate::database::{Database, Inside, Role, identity};
use crate::deletion::purge;
use crate::ledger::{Said, namespaces, sign, verified};
use crate::mark::Marks;
use crate::memory::Memory;
use crate::name::Name;
use crate::pin::{Anchor, Pin, Trust};
use crate::root_file::RootKeySource;
use crate::schema;
use crate::store::Store;

impl Store {
    /// Opens the store in `directory`, if it is the store that `anchor` knows. A store in the form of an older secretfs
    /// is upgraded if the root key can be opened.
    ///
    /// # Errors
    ///
    /// There is no store, it is damaged, or this user may not open it. `Denied`: it is another store, or this host does
    /// not know which store it should be.
    pub fn open(directory: &Path, anchor: &Anchor) -> Result<Self> {
        let mut store = Self::connect(directory, anchor)?;
        if store.database.is_of_the_past() {
            if !store.trust.holds_root() {
                return Err(of_the_past(directory));
            }
            migrate(&mut store.database, &Memory::new(anchor.root().clone()))?;
        }
        Ok(store)
    }

    /// Opens a store in any form and state.
    pub(crate) fn connect(directory: &Path, anchor: &Anchor) -> Result<Self> {
        let database = Database::open(directory, Role::Command)?;
        let mut store = Self { database, trust: Trust::establish(anchor)? };
        let said = store.read(|_, said| Ok(*said))?;
        store.trust.pin(&said);
        Ok(store)
    }

    /// Runs `work` on the database, after a check that it is the right one.
    pub(crate) fn read<T>(&mut self, work: impl FnOnce(&Transaction<'_>, &Pin) -> Inside<T>) -> Result<T> {
        let trust = &self.trust;
        self.database.read(|transaction| work(transaction, &trust.identity(transaction)?))
    }

    /// Runs `work` as the only writer of the database, after the same check.
    pub(crate) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &Pin, &Trust) -> Inside<T>,
    ) -> Result<T> {
        let trust = &self.trust;
        self.database.write(|transaction| work(transaction, &trust.identity(transaction)?, trust))
    }

    /// Changes something in `namespace`. If the root key can be opened, the present state is first checked to be no
    /// older than the known state, and the same transaction signs a new checkpoint.
    pub(crate) fn change<T>(
        &mut self,
        namespace: &Name,
        work: impl FnOnce(&Transaction<'_>, &Pin, &Trust) -> Inside<T>,
    ) -> Result<T> {
        self.change_from(namespace, |transaction, pin, trust, _| {
            Ok((work(transaction, pin, trust)?, Said::default()))
        })
    }

    /// The same for a change that needs the earlier checkpoint (`None` without the root key) or writes something into
    /// the next.
    pub(crate) fn change_from<T>(
        &mut self,
        namespace: &Name,
        work: impl FnOnce(&Transaction<'_>, &Pin, &Trust, Option<&Checkpoint>) -> Inside<(T, Said)>,
    ) -> Result<T> {
        let (result, signed, purged) = self.write(|transaction, pin, trust| {
            let purged = purge(transaction)?;
            let mut signed = Marks::none(pin.store);
            let Some(root) = trust.unlock(&pin.root) else {
                let (result, _) = work(transaction, pin, trust, None)?;
                return Ok((result, signed, purged));
            };
            let marks = Marks::load(trust.root(), pin.store)?;
            let before = verified(transaction, pin, namespace, &marks.of(namespace))?;
            let (result, said) = work(transaction, pin, trust, Some(&before))?;
            signed.raise(namespace, sign(transaction, pin, &root, namespace, &before, &said)?);
            Ok((result, signed, purged))
        })?;
        // Before the wait for readers: if the process is killed during the wait, the mark must already know what is
        // signed.
        self.remember(&signed);
        if purged > 0 {
            self.database.forget_old_pages();
        }
        Ok(result)
    }

    /// Saves how new the store is now.
    pub(crate) fn remember(&self, signed: &Marks) {
        if !signed.namespaces.is_empty() {
            warn_of(self.trust.root(), signed.save(self.trust.root()));
        }
    }
}

/// Logs that the mark could not be written.
pub(crate) fn warn_of(root: &RootKeySource, saved: std::io::Result<()>) {
    if let Err(error) = saved {
        tracing::warn!(
            file = %root.mark_file().display(), %error,
            "cannot write down how new the store is: an older state of it would not be noticed by this host's next process"
        );
    }
}

/// Upgrades a store of the earlier form to the present form, and signs a checkpoint for each namespace, all in one
/// transaction.
///
/// # Errors
///
/// The root key cannot be opened here. `Denied`: `memory` knows that the store had the present form before.
pub(crate) fn migrate(database: &mut Database, memory: &Memory) -> Result<()> {
    let root = memory.root();
    refuse_again(database, memory)?;
    let signed = database.write(|transaction| {
        let pin = identity(transaction)?;
        let mut signed = Marks::none(pin.store);
        if schema::form(transaction)? == schema::VERSION {
            return Ok(signed);
        }
        let key = root.unlock_as(&pin.root)?;
        if memory.knows(pin.store)? {
            return Err(again().into());
        }
        schema::upgrade(transaction)?;
        for name in namespaces(transaction, &signed)? {
            let sequence = sign(transaction, &pin, &key, &name, &Checkpoint::default(), &Said::default())?;
            signed.raise(&name, sequence);
        }
        Ok(signed)
    })?;
    if let Err(error) = signed.save(root) {
        tracing::debug!(%error, "what is known of the store is kept in memory only");
    }
    Ok(())
}

/// Refuses a store that had the present form before. The check needs no turn to write, so nobody who holds the turn can
/// delay it.
fn refuse_again(database: &mut Database, memory: &Memory) -> Result<()> {
    let store = database.read(|transaction| identity(transaction))?.store;
    // The order matters: another process may upgrade the store right now, and note it in the mark afterwards.
    let is_known = memory.knows(store)?;
    let form = database.read(|transaction| Ok(schema::form(transaction)?))?;
    if is_known && form != schema::VERSION { Err(again()) } else { Ok(()) }
}

fn again() -> Error {
    older("it has the form of an older secretfs again")
}

fn of_the_past(directory: &Path) -> Error {
    let text = format!("store {} has the form of an older secretfs", directory.display());
    Error::new(ErrorKind::Unavailable, text).remedy(
        "run `secretfs store list` once where its root key is, or start there what mounts: that brings it to the present form",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rusqlite::Connection;

    use super::*;
    use crate::bundle::Values;
    use crate::database::FILE;
    use crate::deletion::Ciphertext;
    use crate::heard::hearing;
    use crate::keys::StoreId;
    use crate::name::Item;

    fn sequence(root: &RootKeySource, store: StoreId, namespace: &Name) -> u64 {
        Marks::load(root, store).unwrap().of(namespace).sequence
    }

    #[test]
    fn what_was_signed_is_remembered_before_readers_are_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let root = RootKeySource::beside(directory.path());
        let mut store = Store::init(directory.path(), &root).unwrap();
        let item = Item { namespace: "shop".parse().unwrap(), name: "api".parse().unwrap() };
        let values = Values::new([("value".parse().unwrap(), "one".to_owned().into())].into()).unwrap();
        store.put(&item, None, &values).unwrap();
        store.delete(&item, None, Ciphertext::Kept(Duration::ZERO)).unwrap();
        let id = store.read(|_, pin| Ok(pin.store)).unwrap();
        let before = sequence(&root, id, &item.namespace);
        // An open reader keeps the next destroyed ciphertext in the log.
        let reader = Connection::open(directory.path().join(FILE)).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM items;").unwrap();
        let (heard, told) = std::sync::mpsc::channel();
        let namespace = item.namespace.clone();
        let hear = move |event: &str| {
            if event.contains("another process is reading") {
                heard.send(sequence(&root, id, &namespace)).unwrap();
            }
        };

        hearing(hear, || store.put(&item, None, &values).unwrap());

        assert!(told.recv().unwrap() > before);
    }
}
