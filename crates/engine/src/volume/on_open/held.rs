//! The contents of opened files that are in memory, and the readings that are under way. Plain state: the caller passes
//! the time to every method.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use provider::{Identity, ObjectPath};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::failure::Failure;
use crate::mode::Loan;
use crate::volume::room::Room;

/// A reading, shared by all callers that wait for it. It goes on while at least one of them waits.
pub(super) type Reading = Shared<BoxFuture<'static, Result<Loan, Failure>>>;

/// Identifies one reading of a file, and what it returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The contents of one file. Dropping this takes them back from every process that has the file open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) loan: Loan,
    pub(super) ticket: Ticket,
    /// The identity that it was read for.
    pub(super) identity: Identity,
    /// When the contents must be taken back.
    pub(super) until: Instant,
    pub(super) _room: Room,
    /// Dropping this ends the reading's expiry task, which drops the readings and the login.
    pub(super) _kept: DropGuard,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.loan.take_back();
    }
}

struct UnderWay {
    ticket: Ticket,
    reading: WeakShared<BoxFuture<'static, Result<Loan, Failure>>>,
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnderWay").field(&self.ticket).finish()
    }
}

/// The opened files of one volume.
#[derive(Debug, Default)]
pub(super) struct Holding {
    held: BTreeMap<ObjectPath, Held>,
    under_way: BTreeMap<ObjectPath, UnderWay>,
    tickets: u64,
    /// When something was last taken back. Nothing that was read earlier may be given out again.
    taken_back: Option<Instant>,
}

impl Holding {
    /// The contents of the file at `path`, if they were read for `identity` and their time is not over.
    pub(super) fn get(&mut self, path: &ObjectPath, identity: &Identity, now: Instant) -> Option<Loan> {
        let held = self.held.get(path)?;
        if held.identity == *identity && now < held.until {
            return Some(held.loan.clone());
        }
        self.held.remove(path);
        None
    }

    /// The reading of the file at `path` that is under way. If there is none, `begin` starts one with a new ticket.
    pub(super) fn reading(
        &mut self,
        path: &ObjectPath,
        begin: impl FnOnce(Ticket) -> BoxFuture<'static, Result<Loan, Failure>>,
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

    /// Notes that the reading with this ticket ended. `false` if its result must not be given out, because the file was
    /// taken back in the meantime.
    pub(super) fn ended(&mut self, path: &ObjectPath, ticket: Ticket) -> bool {
        let is_known = self.under_way.get(path).is_some_and(|under_way| under_way.ticket == ticket);
        if is_known {
            self.under_way.remove(path);
        }
        is_known
    }

    /// Keeps what a reading returned.
    pub(super) fn hold(&mut self, path: &ObjectPath, held: Held) {
        self.held.insert(path.clone(), held);
    }

    /// Takes back the contents that would expire first. `false` if nothing is held.
    pub(super) fn evict(&mut self) -> bool {
        let first = self.held.iter().min_by_key(|(_, held)| held.until).map(|(path, _)| path.clone());
        first.is_some_and(|path| self.held.remove(&path).is_some())
    }

    /// Takes back what the reading with this ticket returned, because its time is over.
    pub(super) fn expire(&mut self, path: &ObjectPath, ticket: Ticket) {
        if self.held.get(path).is_some_and(|held| held.ticket == ticket) {
            self.held.remove(path);
        }
    }

    /// Takes back the contents of the file at `path`, because the store has something new. A reading that is under way
    /// began before that, so its result is not used either. Returns whether there were contents.
    pub(super) fn take_back(&mut self, path: &ObjectPath, now: Instant) -> bool {
        self.under_way.remove(path);
        self.taken_back = Some(now);
        self.held.remove(path).is_some()
    }

    /// The files that have contents, or are being read.
    pub(super) fn paths(&self) -> BTreeSet<ObjectPath> {
        self.held.keys().chain(self.under_way.keys()).cloned().collect()
    }

    /// Takes back everything. Returns the paths of the files that had contents.
    pub(super) fn take_back_all(&mut self, now: Instant) -> Vec<ObjectPath> {
        self.under_way.clear();
        self.taken_back = Some(now);
        std::mem::take(&mut self.held).into_keys().collect()
    }

    /// Takes back what was read for another identity than `identity`.
    pub(super) fn retain(&mut self, identity: &Identity) {
        self.held.retain(|_, held| held.identity == *identity);
    }

    /// When something was last taken back.
    pub(super) fn taken_back(&self) -> Option<Instant> {
        self.taken_back
    }
}
