//! Whose turn it is: fair between namespaces, and between the places that each of them goes to.
//!
//! A turn is held while a store is waited for, or while a volume is mounted. Nobody can take all turns: who has
//! some gets one more only while more than that are free. So it is for a namespace among all namespaces, for a
//! namespace among those at one place, and for a place among those of one namespace. Whoever hangs at a store that
//! never answers leaves room for every other namespace, and for his own other stores. What is kept for namespaces is
//! shared out the same way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

#[derive(Debug, Default)]
struct State {
    held: Shares,
    waiting: BTreeMap<Lane, VecDeque<oneshot::Sender<Turn>>>,
    /// When each namespace had its last turn, by the count of turns.
    last: HashMap<Arc<str>, u64>,
    turns: u64,
}

/// How much of something each namespace and place has.
#[derive(Debug, Default)]
pub struct Shares {
    all: usize,
    namespaces: HashMap<Arc<str>, usize>,
    places: HashMap<Arc<str>, usize>,
    lanes: HashMap<Lane, usize>,
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
        let waiting = match self.ask(lane)? {
            Asked::Granted(turn) => return Ok(turn),
            Asked::Waits(waiting) => waiting,
        };
        waiting.await.map_err(|_| Crowded { waiting: self.bounds.waiting })
    }

    fn ask(self: &Arc<Self>, lane: Lane) -> Result<Asked, Crowded> {
        let mut state = self.lock();
        state.forget_who_left();
        if !state.waiting.contains_key(&lane) && state.held.fits(&lane, 1, &self.bounds) {
            return Ok(Asked::Granted(self.grant(&mut state, lane)));
        }
        if state.waiting_of(&lane.namespace) >= self.bounds.waiting {
            return Err(Crowded { waiting: self.bounds.waiting });
        }
        let (granted, waiting) = oneshot::channel();
        state.waiting.entry(lane).or_default().push_back(granted);
        Ok(Asked::Waits(waiting))
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
        state.forget_who_left();
        while let Some(next) = state.next(&self.bounds) {
            let Some(waiter) = state.waiting.get_mut(&next).and_then(VecDeque::pop_front) else { break };
            let turn = self.grant(&mut state, next);
            granted.push((waiter, turn));
            state.forget_who_left();
        }
        state.forget_who_is_done();
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
    Waits(oneshot::Receiver<Turn>),
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
            (count(&self.held.namespaces, &lane.namespace), last, count(&self.held.lanes, *lane))
        };
        fitting.min_by_key(order).cloned()
    }

    fn waiting_of(&self, namespace: &Arc<str>) -> usize {
        let own = self.waiting.iter().filter(|(lane, _)| lane.namespace == *namespace);
        own.map(|(_, queue)| queue.len()).sum()
    }

    fn forget_who_left(&mut self) {
        self.waiting.retain(|_, queue| {
            queue.retain(|waiter| !waiter.is_closed());
            !queue.is_empty()
        });
    }

    fn forget_who_is_done(&mut self) {
        let Self { held, waiting, last, .. } = self;
        let waits = |namespace: &Arc<str>| waiting.keys().any(|lane| lane.namespace == *namespace);
        last.retain(|namespace, _| held.namespaces.contains_key(namespace) || waits(namespace));
    }
}

impl Shares {
    /// Whether `lane` may have `more` within `bounds`: while as much as it has already stays free for others.
    pub fn fits(&self, lane: &Lane, more: usize, bounds: &Bounds) -> bool {
        let of_namespace = count(&self.namespaces, &lane.namespace);
        let (at_place, of_lane) = (count(&self.places, &lane.place), count(&self.lanes, lane));
        leaves_room(of_namespace, self.all, more, bounds.process)
            && leaves_room(of_lane, of_namespace, more, bounds.namespace)
            && leaves_room(of_lane, at_place, more, bounds.place)
    }

    /// Notes that `lane` has `more`.
    pub fn take(&mut self, lane: &Lane, more: usize) {
        self.all += more;
        *self.namespaces.entry(Arc::clone(&lane.namespace)).or_default() += more;
        *self.places.entry(Arc::clone(&lane.place)).or_default() += more;
        *self.lanes.entry(lane.clone()).or_default() += more;
    }

    /// Notes that `lane` has so much less.
    pub fn give_back(&mut self, lane: &Lane, less: usize) {
        self.all = self.all.saturating_sub(less);
        give_back(&mut self.namespaces, &lane.namespace, less);
        give_back(&mut self.places, &lane.place, less);
        give_back(&mut self.lanes, lane, less);
    }
}

/// Whether who has `own` of the `taken` may have `more` of `bound`: while at least `own` stays free.
fn leaves_room(own: usize, taken: usize, more: usize, bound: usize) -> bool {
    bound.saturating_sub(taken) >= own.saturating_add(more)
}

fn count<K: std::hash::Hash + Eq>(counts: &HashMap<K, usize>, key: &K) -> usize {
    counts.get(key).copied().unwrap_or(0)
}

fn give_back<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K, less: usize) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(less);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::FutureExt as _;

    use super::*;

    const BOUNDS: Bounds = Bounds { process: 64, namespace: 16, place: 16, waiting: 100 };

    type Waiting = Pin<Box<dyn Future<Output = Result<Turn, Crowded>>>>;

    fn ask(admission: &Arc<Admission>, namespace: &'static str, place: &'static str) -> Waiting {
        let admission = Arc::clone(admission);
        Box::pin(async move { admission.enter(namespace, place).await })
    }

    /// As many turns as are given at once, up to `most`.
    fn take(
        admission: &Arc<Admission>,
        namespace: &'static str,
        place: &'static str,
        most: usize,
    ) -> Vec<Turn> {
        let taken = (0..most).map_while(|_| ask(admission, namespace, place).now_or_never());
        taken.map(Result::unwrap).collect()
    }

    fn is_given(waiting: &mut Waiting) -> Option<Turn> {
        waiting.now_or_never().map(Result::unwrap)
    }

    #[test]
    fn who_hangs_everywhere_leaves_room_for_every_other_namespace() {
        let admission = Admission::new(BOUNDS);
        let hostile: [&'static str; 6] = ["a", "b", "c", "d", "e", "f"];

        let hanging: Vec<_> =
            hostile.iter().flat_map(|namespace| take(&admission, namespace, namespace, 100)).collect();
        let beside = take(&admission, "healthy", "store", 100);

        println!("{} hang, {} turns beside them", hanging.len(), beside.len());
        assert!(beside.len() >= 4, "{}", beside.len());
    }

    #[test]
    fn who_hangs_at_a_store_that_others_use_leaves_room_there() {
        let admission = Admission::new(BOUNDS);
        let hanging = take(&admission, "hostile", "store", 100);
        assert_eq!(hanging.len(), 8);
        assert_eq!(take(&admission, "healthy", "store", 100).len(), 4);
    }

    #[test]
    fn a_store_that_hangs_leaves_room_for_the_other_stores_of_its_namespace() {
        let admission = Admission::new(BOUNDS);
        let hanging = take(&admission, "shop", "away", 100);
        assert_eq!(hanging.len(), 8);
        assert!(!take(&admission, "shop", "here", 100).is_empty());
    }

    #[test]
    fn turns_go_round_between_namespaces_however_many_of_one_wait() {
        let admission = Admission::new(Bounds { process: 2, ..BOUNDS });
        let first = take(&admission, "many", "store", 100);
        let second = take(&admission, "few", "store", 100);
        let mut many: Vec<_> = (0..50).map(|_| ask(&admission, "many", "store")).collect();
        let mut other = ask(&admission, "other", "store");
        assert!(many.iter_mut().chain([&mut other]).all(|waiting| is_given(waiting).is_none()));

        drop(first);
        let _others = is_given(&mut other).expect("its turn before the next of who had one");
        drop(second);
        assert!(is_given(&mut many[0]).is_some());
    }

    #[test]
    fn the_first_that_waits_is_the_first_that_goes_on() {
        let admission = Admission::new(Bounds { place: 2, ..BOUNDS });
        let mut turns = take(&admission, "shop", "store", 100);
        let mut waiting: Vec<_> = (0..3).map(|_| ask(&admission, "shop", "store")).collect();
        waiting.iter_mut().for_each(|waiting| assert!(is_given(waiting).is_none()));

        for waiting in &mut waiting {
            turns.pop();
            turns.push(is_given(waiting).expect("the turn of the one before"));
        }
    }

    #[test]
    fn who_stops_waiting_is_passed_over_and_its_turn_is_not_lost() {
        let admission = Admission::new(Bounds { place: 2, ..BOUNDS });
        let turns = take(&admission, "shop", "store", 100);
        let (mut gone, mut late) = (ask(&admission, "shop", "store"), ask(&admission, "shop", "store"));
        let mut stays = ask(&admission, "shop", "store");
        for waiting in [&mut gone, &mut late, &mut stays] {
            assert!(is_given(waiting).is_none());
        }

        drop(gone);
        drop(turns);
        // It was given the turn, and never looked.
        drop(late);

        assert!(is_given(&mut stays).is_some());
        assert_eq!(admission.lock().held.all, 0);
    }

    #[test]
    fn more_than_a_bounded_number_of_one_namespace_do_not_wait() {
        let admission = Admission::new(Bounds { waiting: 3, place: 2, ..BOUNDS });
        let _turns = take(&admission, "hostile", "store", 100);
        let mut waiting: Vec<_> = (0..3).map(|_| ask(&admission, "hostile", "store")).collect();
        waiting.iter_mut().for_each(|waiting| assert!(is_given(waiting).is_none()));

        let refused = ask(&admission, "hostile", "store").now_or_never().unwrap().unwrap_err();
        assert_eq!(refused, Crowded { waiting: 3 });
        assert!(ask(&admission, "healthy", "elsewhere").now_or_never().unwrap().is_ok());
    }

    #[test]
    fn nothing_is_remembered_of_namespaces_and_places_that_are_done() {
        let admission = Admission::new(BOUNDS);
        for name in ["a", "b", "c"] {
            drop(take(&admission, name, name, 100));
        }
        let state = admission.lock();
        assert!(state.last.is_empty() && state.waiting.is_empty());
        assert!(state.held.namespaces.is_empty() && state.held.places.is_empty());
    }
}
