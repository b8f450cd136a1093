//! Accepts an older state of a store, after a restore from a backup.

use std::path::Path;

use provider::{Error, ErrorKind, Result};
use rusqlite::Transaction;
use serde::Serialize;

use crate::change::{migrate, warn_of};
use crate::checkpoint::Checkpoint;
use crate::database::{Fault, Inside};
use crate::keys::RootKey;
use crate::ledger::{Said, namespaces, sign, signed, verified};
use crate::mark::Marks;
use crate::memory::Memory;
use crate::name::Name;
use crate::pin::{Anchor, Pin};
use crate::schema;
use crate::store::Store;

/// The older states that were found or accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The namespaces with an older state than one seen before, each with the first sign of it.
    pub older: Vec<Older>,
}

/// A namespace whose state is older than one seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Older {
    /// The namespace.
    pub namespace: Name,
    /// What shows that its state is older.
    pub reason: String,
}

impl Store {
    /// Accepts the present state of the store in `directory` as its newest, for every host that reads it.
    ///
    /// # Errors
    ///
    /// The root key cannot be opened here.
    pub fn accept_older(directory: &Path, anchor: &Anchor) -> Result<Restored> {
        let mut store = Self::connect(directory, anchor)?;
        let (restored, marks) = store.write(|transaction, pin, trust| {
            let key = trust.root().unlock_as(&pin.root)?;
            if schema::form(transaction)? != schema::VERSION {
                schema::upgrade(transaction)?;
            }
            // A damaged mark is one of the things that this command repairs.
            let known = Marks::load(trust.root(), pin.store).unwrap_or_else(|_| Marks::none(pin.store));
            accept(transaction, pin, &key, &known)
        })?;
        warn_of(anchor.root(), marks.save_alone(anchor.root()));
        Ok(restored)
    }

    /// Finds what [`accept_older`](Self::accept_older) would accept.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or the root key cannot be opened here.
    pub fn find_older(directory: &Path, anchor: &Anchor) -> Result<Restored> {
        let mut store = Self::connect(directory, anchor)?;
        if !store.trust.holds_root() {
            return Err(Error::new(
                ErrorKind::Denied,
                "only who has the root key may say which state is the newest",
            )
            .remedy("run it where the root key is (--root-key FILE)"));
        }
        if store.database.is_of_the_past() {
            migrate(&mut store.database, &Memory::new(anchor.root().clone()))?;
        }
        let trust = &store.trust;
        let older = store.database.read(|transaction| {
            let pin = trust.identity(transaction)?;
            let known = Marks::load(trust.root(), pin.store)?;
            let names = namespaces(transaction, &known)?;
            let older = names.into_iter().map(|name| older(transaction, &pin, name, &known));
            older.filter_map(Inside::transpose).collect::<Inside<Vec<_>>>()
        })?;
        Ok(Restored { older })
    }
}

fn accept(
    transaction: &Transaction<'_>,
    pin: &Pin,
    key: &RootKey,
    known: &Marks,
) -> Inside<(Restored, Marks)> {
    let (mut found, mut marks) = (Vec::new(), Marks::none(pin.store));
    for name in namespaces(transaction, known)? {
        found.extend(older(transaction, pin, name.clone(), known)?);
        let before = before(transaction, pin, &name, known)?;
        let said = Said { restored: true, ..Said::default() };
        marks.raise(&name, sign(transaction, pin, key, &name, &before, &said)?);
    }
    Ok((Restored { older: found }, marks))
}

/// Checks whether the state of `namespace` is older than the known state, and how that shows.
fn older(transaction: &Transaction<'_>, pin: &Pin, namespace: Name, known: &Marks) -> Inside<Option<Older>> {
    match verified(transaction, pin, &namespace, &known.of(&namespace)) {
        Ok(_) => Ok(None),
        Err(Fault::Told(error)) if error.kind() == ErrorKind::Denied => {
            Ok(Some(Older { namespace, reason: error.message().to_owned() }))
        }
        Err(fault) => Err(fault),
    }
}

/// A checkpoint that only has the number from which to count on. What was known of items no longer counts.
fn before(transaction: &Transaction<'_>, pin: &Pin, namespace: &Name, known: &Marks) -> Inside<Checkpoint> {
    let signed = match signed(transaction, pin, namespace) {
        Err(Fault::Told(_)) => None,
        signed => signed?,
    };
    let sequence = signed.map_or(0, |signed| signed.sequence).max(known.of(namespace).sequence);
    Ok(Checkpoint { sequence, ..Checkpoint::default() })
}
