//! What is held of opened files, and which readings are under way; plain state, every method takes the time.

use std::collections::BTreeMap;
use std::fmt;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use provider::{Identity, ObjectPath};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::failure::Failure;
use super::reading::Given;
use crate::volume::room::Room;

/// A reading, shared by all who wait for it: it goes on while one of them waits, and ends with the last that leaves.
pub(super) type Reading = Shared<BoxFuture<'static, Result<Given, Failure>>>;

/// Tells a reading, and what it brought, from others of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What one file holds, taken back from everybody when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) given: Given,
    pub(super) ticket: Ticket,
    /// For whom it was read.
    pub(super) identity: Identity,
    /// When its time is over.
    pub(super) until: Instant,
    pub(super) _room: Room,
    /// Has what else the reading left let go.
    pub(super) _kept: DropGuard,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.given.loan.take_back();
    }
}

struct UnderWay {
    ticket: Ticket,
    reading: WeakShared<BoxFuture<'static, Result<Given, Failure>>>,
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnderWay").field(&self.ticket).finish()
    }
}

/// What one volume holds of opened files.
#[derive(Debug, Default)]
pub(super) struct Holding {
    held: BTreeMap<ObjectPath, Held>,
    under_way: BTreeMap<ObjectPath, UnderWay>,
    tickets: u64,
    /// When something was last taken back: what was read before is not to be given again.
    taken_back: Option<Instant>,
}

impl Holding {
    /// What is held of the file at `path`, if it was read for `identity` and its time is not over.
    pub(super) fn get(&mut self, path: &ObjectPath, identity: &Identity, now: Instant) -> Option<Given> {
        let held = self.held.get(path)?;
        if held.identity == *identity && now < held.until {
            return Some(held.given.clone());
        }
        self.held.remove(path);
        None
    }

    /// The reading of the file at `path` that is under way, or the one that `begin` makes for a new ticket.
    pub(super) fn reading(
        &mut self,
        path: &ObjectPath,
        begin: impl FnOnce(Ticket) -> BoxFuture<'static, Result<Given, Failure>>,
    ) -> Reading {
        if let Some(reading) = self.under_way.get(path).and_then(|under_way| under_way.reading.upgrade()) {
            return reading;
        }
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = Ticket(self.tickets);
        let reading = begin(ticket).shared();
        if let Some(weak) = reading.downgrade() {
            self.under_way.insert(path.clone(), UnderWay { ticket, reading: weak });
        }
        reading
    }

    /// Notes that the reading of that ticket came to its end. `false` if nobody is to have what it brought: it was
    /// taken back meanwhile.
    pub(super) fn ended(&mut self, path: &ObjectPath, ticket: Ticket) -> bool {
        let is_known = self.under_way.get(path).is_some_and(|under_way| under_way.ticket == ticket);
        if is_known {
            self.under_way.remove(path);
        }
        is_known
    }

    /// Holds what a reading brought.
    pub(super) fn hold(&mut self, path: &ObjectPath, held: Held) {
        self.held.insert(path.clone(), held);
    }

    /// Takes back what was to go first. `false` if nothing is held.
    pub(super) fn evict(&mut self) -> bool {
        let first = self.held.iter().min_by_key(|(_, held)| held.until).map(|(path, _)| path.clone());
        first.is_some_and(|path| self.held.remove(&path).is_some())
    }

    /// Takes back what that reading brought, because its time is over.
    pub(super) fn expire(&mut self, path: &ObjectPath, ticket: Ticket) {
        if self.held.get(path).is_some_and(|held| held.ticket == ticket) {
            self.held.remove(path);
        }
    }

    /// Takes back what the file at `path` holds, because something new is there. A reading of it that is under way
    /// began before.
    pub(super) fn take_back(&mut self, path: &ObjectPath, now: Instant) {
        self.held.remove(path);
        self.under_way.remove(path);
        self.taken_back = Some(now);
    }

    /// Takes back everything, and tells of which files something was held.
    pub(super) fn take_back_all(&mut self, now: Instant) -> Vec<ObjectPath> {
        self.under_way.clear();
        self.taken_back = Some(now);
        std::mem::take(&mut self.held).into_keys().collect()
    }

    /// Takes back what was read for anybody but `identity`.
    pub(super) fn retain(&mut self, identity: &Identity) {
        self.held.retain(|_, held| held.identity == *identity);
    }

    /// When something was last taken back.
    pub(super) fn taken_back(&self) -> Option<Instant> {
        self.taken_back
    }
}
