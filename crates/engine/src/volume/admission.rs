//! Whose turn it is: fair between namespaces, and between the places that each of them goes to.
//!
//! A turn is held while a store is waited for, or while a volume is mounted. Nobody can take all turns: who has
//! some gets one more only while more than that are free. So it is for a namespace among all namespaces, for a
//! namespace among those at one place, and for a place among those of one namespace. Whoever hangs at a store that
//! never answers leaves room for every other namespace, and for his own other stores. What is kept for namespaces is
//! shared out the same way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provider::{Counts, leaves_room};
use tokio::sync::oneshot;

/// How many turns there are, or how much of what is shared.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// In the whole process.
    pub process: usize,
    /// Of one namespace.
    pub namespace: usize,
    /// At one place: a store, or the kernel that mounts.
    pub place: usize,
    /// Callers of one namespace that may wait for a turn.
    pub waiting: usize,
}

/// Gives turns. Shared by all who take them.
#[derive(Debug)]
pub struct Admission {
    bounds: Bounds,
    state: Mutex<State>,
}

/// Leave to go on; given back when it is dropped.
#[derive(Debug)]
pub struct Turn {
    admission: Arc<Admission>,
    lane: Lane,
}

/// A namespace has as many callers waiting as may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded {
    /// How many may wait.
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

    /// Whose it is.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// Who waits in one lane, in the order in which they came.
type Queue = BTreeMap<Ticket, oneshot::Sender<Turn>>;

/// Tells one who waits from others: who came later has a higher one.
type Ticket = u64;

/// Nobody who has left is in it: who leaves takes himself out, so that nobody has to look for him.
#[derive(Debug, Default)]
struct State {
    held: Shares,
    waiting: BTreeMap<Lane, Queue>,
    /// How many of each namespace wait.
    waiters: Counts<Arc<str>>,
    tickets: Ticket,
    /// When each namespace had its last turn, by the count of turns.
    last: HashMap<Arc<str>, u64>,
    turns: u64,
}

/// How much of something each namespace and place has.
#[derive(Debug, Default)]
pub struct Shares {
    all: usize,
    namespaces: Counts<Arc<str>>,
    places: Counts<Arc<str>>,
    lanes: Counts<Lane>,
}

/// Who waited, and what it gets.
type Granted = Vec<(oneshot::Sender<Turn>, Turn)>;

impl Admission {
    /// All turns are free.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::default() })
    }

    /// A turn of `namespace` at `place`, as soon as it has one. Who stops waiting loses nothing but the wait.
    ///
    /// # Errors
    ///
    /// Too many of the namespace wait already.
    pub async fn enter(self: &Arc<Self>, namespace: &str, place: &str) -> Result<Turn, Crowded> {
        self.enter_lane(Lane::new(namespace, place)).await
    }

    /// The same in a lane that is known.
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

    /// Gives a turn back, and what is free now to those who wait.
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
        // The turn of one who left just now comes back here by being dropped.
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

/// One who waits, until this is dropped.
struct Waiter {
    admission: Arc<Admission>,
    lane: Lane,
    ticket: Ticket,
    /// What it waits for. A turn that came and was not taken goes back by being dropped.
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
    /// Whose turn it is: of those that fit, of the namespace that holds the fewest, and among equals of the one
    /// whose last turn is longest ago.
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

    /// Who came first of those who wait in `lane`.
    fn take_first(&mut self, lane: &Lane) -> Option<oneshot::Sender<Turn>> {
        let ticket = *self.waiting.get(lane)?.first_key_value()?.0;
        self.take(lane, ticket)
    }

    /// Takes out who waits in `lane` with `ticket`, if he still does.
    fn take(&mut self, lane: &Lane, ticket: Ticket) -> Option<oneshot::Sender<Turn>> {
        let queue = self.waiting.get_mut(lane)?;
        let waiter = queue.remove(&ticket)?;
        if queue.is_empty() {
            self.waiting.remove(lane);
        }
        self.waiters.give_back(&lane.namespace, 1);
        Some(waiter)
    }

    /// Who waited in `lane` waits no more. Nobody gets a turn by that: he had none.
    fn leave(&mut self, lane: &Lane, ticket: Ticket) {
        if self.take(lane, ticket).is_some() {
            self.forget_if_done(&lane.namespace);
        }
    }

    /// When a namespace had its last turn is of use while it has one or waits.
    fn forget_if_done(&mut self, namespace: &Arc<str>) {
        if self.held.namespaces.of(namespace) == 0 && self.waiters.of(namespace) == 0 {
            self.last.remove(namespace);
        }
    }
}

impl Shares {
    /// Whether `lane` may have `more` within `bounds`: while as much as it has already stays free for others.
    pub fn fits(&self, lane: &Lane, more: usize, bounds: &Bounds) -> bool {
        let of_namespace = self.namespaces.of(&lane.namespace);
        let (at_place, of_lane) = (self.places.of(&lane.place), self.lanes.of(lane));
        leaves_room(of_namespace, self.all, more, bounds.process)
            && leaves_room(of_lane, of_namespace, more, bounds.namespace)
            && leaves_room(of_lane, at_place, more, bounds.place)
    }

    /// Notes that `lane` has `more`.
    pub fn take(&mut self, lane: &Lane, more: usize) {
        self.all += more;
        self.namespaces.add(Arc::clone(&lane.namespace), more);
        self.places.add(Arc::clone(&lane.place), more);
        self.lanes.add(lane.clone(), more);
    }

    /// Notes that `lane` has so much less.
    pub fn give_back(&mut self, lane: &Lane, less: usize) {
        self.all = self.all.saturating_sub(less);
        self.namespaces.give_back(&lane.namespace, less);
        self.places.give_back(&lane.place, less);
        self.lanes.give_back(lane, less);
    }
}

#[cfg(test)]
mod tests;
