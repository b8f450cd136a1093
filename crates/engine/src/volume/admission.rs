//! Hands out turns: fairly between namespaces, and fairly between the places where each namespace needs them.
//!
//! A caller holds a turn while it waits for a store, or while it mounts a volume. No namespace can take all turns: one
//! that holds some gets another only while more than that number are free. An example with 64 turns: a namespace whose
//! calls all hang gets 32 of them, the next namespace that hangs gets 16, and a third one still finds free turns.
//!
//! The same rule applies three times: to each namespace in the process, to each namespace at one place, and to each
//! place within one namespace. So calls that hang at a store leave room for every other namespace, and for the other
//! stores of their own namespace. Memory that namespaces share ([`Shares`]) is divided in the same way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provider::{Counts, leaves_room};
use tokio::sync::oneshot;

/// How many turns there are, or how many units (such as bytes) of a shared resource.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For the whole process.
    pub process: usize,
    /// For all places of one namespace.
    pub namespace: usize,
    /// For one place: a store, a volume, or the kernel that mounts.
    pub place: usize,
    /// How many callers of one namespace may wait for a turn.
    pub waiting: usize,
}

/// Hands out turns to the callers that share it.
#[derive(Debug)]
pub struct Admission {
    bounds: Bounds,
    state: Mutex<State>,
}

/// Permission to go on. Dropping it gives the turn back.
#[derive(Debug)]
pub struct Turn {
    admission: Arc<Admission>,
    lane: Lane,
}

/// The error of a caller whose namespace already has the most waiting callers that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded {
    /// How many callers of one namespace may wait.
    pub waiting: usize,
}

/// One namespace at one place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    namespace: Arc<str>,
    place: Arc<str>,
}

impl Lane {
    /// The lane of `namespace` at `place`.
    pub fn new(namespace: &str, place: &str) -> Self {
        Self { namespace: namespace.into(), place: place.into() }
    }

    /// The namespace of this lane.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// The callers that wait in one lane, in the order of their arrival.
type Queue = BTreeMap<Ticket, oneshot::Sender<Turn>>;

/// Identifies one waiting caller. Later callers have higher numbers.
type Ticket = u64;

/// Contains only callers that still wait. A caller that stops waiting removes itself, so nobody has to search for it.
#[derive(Debug, Default)]
struct State {
    held: Shares,
    waiting: BTreeMap<Lane, Queue>,
    /// How many callers of each namespace wait.
    waiters: Counts<Arc<str>>,
    tickets: Ticket,
    /// The number of each namespace's last turn, as counted by `turns`.
    last: HashMap<Arc<str>, u64>,
    turns: u64,
}

/// How many turns, or units of a resource, each namespace and each place has.
#[derive(Debug, Default)]
pub struct Shares {
    all: usize,
    namespaces: Counts<Arc<str>>,
    places: Counts<Arc<str>>,
    lanes: Counts<Lane>,
}

/// The waiting callers, each with the turn that it gets.
type Granted = Vec<(oneshot::Sender<Turn>, Turn)>;

impl Admission {
    /// An admission whose turns are all free.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::default() })
    }

    /// Waits for a turn of `namespace` at `place`. A caller may drop the future at any time and loses only its place in
    /// the queue.
    ///
    /// # Errors
    ///
    /// Too many callers of the namespace wait already.
    pub async fn enter(self: &Arc<Self>, namespace: &str, place: &str) -> Result<Turn, Crowded> {
        self.enter_lane(Lane::new(namespace, place)).await
    }

    /// Does the same as [`enter`](Self::enter), for a lane.
    ///
    /// # Errors
    ///
    /// As [`enter`](Self::enter).
    pub async fn enter_lane(self: &Arc<Self>, lane: Lane) -> Result<Turn, Crowded> {
        let mut waiter = match self.ask(lane)? {
            Asked::Granted(turn) => return Ok(turn),
            Asked::Waits(waiter) => waiter,
        };
        (&mut waiter.turn).await.map_err(|_| Crowded { waiting: self.bounds.waiting })
    }

    fn ask(self: &Arc<Self>, lane: Lane) -> Result<Asked, Crowded> {
        let mut state = self.lock();
        if !state.waiting.contains_key(&lane) && state.held.fits(&lane, 1, &self.bounds) {
            return Ok(Asked::Granted(self.grant(&mut state, lane)));
        }
        if state.waiters.of(&lane.namespace) >= self.bounds.waiting {
            return Err(Crowded { waiting: self.bounds.waiting });
        }
        let (granted, turn) = oneshot::channel();
        let ticket = state.join(&lane, granted);
        Ok(Asked::Waits(Waiter { admission: Arc::clone(self), lane, ticket, turn }))
    }

    fn grant(self: &Arc<Self>, state: &mut State, lane: Lane) -> Turn {
        state.turns += 1;
        state.last.insert(Arc::clone(&lane.namespace), state.turns);
        state.held.take(&lane, 1);
        Turn { admission: Arc::clone(self), lane }
    }

    /// Takes a turn back, and gives the turns that are free now to waiting callers.
    fn release(self: &Arc<Self>, lane: &Lane) {
        let mut granted = Granted::new();
        let mut state = self.lock();
        state.held.give_back(lane, 1);
        while let Some(next) = state.next(&self.bounds) {
            let Some(waiter) = state.take_first(&next) else { break };
            let turn = self.grant(&mut state, next);
            granted.push((waiter, turn));
        }
        state.forget_if_done(&lane.namespace);
        drop(state);
        // If a caller left just now, its turn is dropped here and so comes back.
        granted.into_iter().for_each(|(waiter, turn)| drop(waiter.send(turn)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Asked {
    Granted(Turn),
    Waits(Waiter),
}

/// A waiting caller. Dropping it ends the wait.
struct Waiter {
    admission: Arc<Admission>,
    lane: Lane,
    ticket: Ticket,
    /// Receives the turn. A turn that arrived and was never taken is dropped with it, and so comes back.
    turn: oneshot::Receiver<Turn>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.admission.lock().leave(&self.lane, self.ticket);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admission.release(&self.lane);
    }
}

impl State {
    /// The lane that gets the next turn. Among the lanes that have room, it is one of the namespace that holds the
    /// fewest turns; among equal namespaces, of the one whose last turn was longest ago.
    fn next(&self, bounds: &Bounds) -> Option<Lane> {
        let fitting = self.waiting.keys().filter(|lane| self.held.fits(lane, 1, bounds));
        let order = |lane: &&Lane| {
            let last = self.last.get(&lane.namespace).copied().unwrap_or(0);
            (self.held.namespaces.of(&lane.namespace), last, self.held.lanes.of(lane))
        };
        fitting.min_by_key(order).cloned()
    }

    fn join(&mut self, lane: &Lane, waiter: oneshot::Sender<Turn>) -> Ticket {
        self.tickets += 1;
        self.waiting.entry(lane.clone()).or_default().insert(self.tickets, waiter);
        self.waiters.add(Arc::clone(&lane.namespace), 1);
        self.tickets
    }

    /// Removes the caller that has waited longest in `lane`.
    fn take_first(&mut self, lane: &Lane) -> Option<oneshot::Sender<Turn>> {
        let ticket = *self.waiting.get(lane)?.first_key_value()?.0;
        self.take(lane, ticket)
    }

    /// Removes the caller with `ticket` from `lane`, if it still waits.
    fn take(&mut self, lane: &Lane, ticket: Ticket) -> Option<oneshot::Sender<Turn>> {
        let queue = self.waiting.get_mut(lane)?;
        let waiter = queue.remove(&ticket)?;
        if queue.is_empty() {
            self.waiting.remove(lane);
        }
        self.waiters.give_back(&lane.namespace, 1);
        Some(waiter)
    }

    /// The caller with `ticket` stops waiting. It held no turn, so no other caller gets one because of this.
    fn leave(&mut self, lane: &Lane, ticket: Ticket) {
        if self.take(lane, ticket).is_some() {
            self.forget_if_done(&lane.namespace);
        }
    }

    /// Forgets when `namespace` had its last turn, once it neither holds a turn nor waits for one.
    fn forget_if_done(&mut self, namespace: &Arc<str>) {
        if self.held.namespaces.of(namespace) == 0 && self.waiters.of(namespace) == 0 {
            self.last.remove(namespace);
        }
    }
}

impl Shares {
    /// Whether `lane` may have `more` within `bounds`: as much as it would have then must still be free.
    pub fn fits(&self, lane: &Lane, more: usize, bounds: &Bounds) -> bool {
        let of_namespace = self.namespaces.of(&lane.namespace);
        let (at_place, of_lane) = (self.places.of(&lane.place), self.lanes.of(lane));
        leaves_room(of_namespace, self.all, more, bounds.process)
            && leaves_room(of_lane, of_namespace, more, bounds.namespace)
            && leaves_room(of_lane, at_place, more, bounds.place)
    }

    /// Records that `lane` has `more` now.
    pub fn take(&mut self, lane: &Lane, more: usize) {
        self.all += more;
        self.namespaces.add(Arc::clone(&lane.namespace), more);
        self.places.add(Arc::clone(&lane.place), more);
        self.lanes.add(lane.clone(), more);
    }

    /// Records that `lane` has `less` fewer.
    pub fn give_back(&mut self, lane: &Lane, less: usize) {
        self.all = self.all.saturating_sub(less);
        self.namespaces.give_back(&lane.namespace, less);
        self.places.give_back(&lane.place, less);
        self.lanes.give_back(lane, less);
    }
}

#[cfg(test)]
mod tests;
