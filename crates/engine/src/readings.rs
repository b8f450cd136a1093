//! The answers of stores, shared by the volumes that may know them.
//!
//! An entry is one combination of store, identity and request. It lives while a volume holds it, so a value is wiped
//! with the last volume that uses it. The caller decides how old a reading may be: nothing expires here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use provider::{Error, ErrorKind, Found, Reading, Request, Result};
use tokio::time::Instant;

pub use self::turns::{Begun, Turns, begin};

mod turns;

/// What one entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The store, as [`provider::Source::store`] names it.
    pub store: Arc<str>,
    /// The identity that reads, as [`provider::Session::identity`] names it.
    pub identity: Arc<str>,
    /// The request to the store.
    pub request: Request,
}

/// A reading, and when it was made.
#[derive(Debug)]
pub struct Held {
    /// The store's answer.
    pub reading: Reading,
    /// When the answer had arrived.
    pub at: Instant,
    /// The share of the refresh interval after which it is due again, from 0.7 to 1: never more than 1, because a class
    /// says how old a reading may become. All volumes that share the reading use this number, so they refresh together.
    pub spread: f64,
}

impl Held {
    /// A reading made now.
    pub fn now(reading: Reading) -> Arc<Self> {
        Arc::new(Self { reading, at: Instant::now(), spread: spread() })
    }
}

/// A random share of an interval, from 0.7 to 1, so that not everybody comes back at the same time.
pub fn spread() -> f64 {
    0.7 + 0.3 * fastrand::f64()
}

/// What an entry returned to a caller.
#[derive(Debug)]
pub enum Answer {
    /// A reading that other volumes may hold as well.
    Shared(Arc<Held>),
    /// A reading for this caller alone: the caller made the call, and the answer has a lease.
    Own(Arc<Held>),
    /// Answers to this request have leases, so the caller must make a call of its own.
    Leased,
}

/// The shared reading of one store, identity and request.
#[derive(Debug)]
pub struct Entry {
    _counted: Counted,
    good: Mutex<Good>,
    /// The one caller that asks the store holds this lock. It leaves here what waiting callers must know.
    turn: tokio::sync::Mutex<Turn>,
}

#[derive(Debug, Default)]
struct Good {
    held: Option<Arc<Held>>,
    /// Whether the store refused the request after this reading.
    refused: bool,
}

#[derive(Debug, Default)]
struct Turn {
    failed: Option<(Instant, Error)>,
    leased: bool,
}

impl Entry {
    fn counted(counted: Counted) -> Self {
        Self { _counted: counted, good: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Returns the reading that is held, if `enough` accepts it and the store did not refuse it later. Otherwise
    /// returns what `fetch` returns.
    ///
    /// Callers that come while a fetch is running share its outcome, good or bad.
    ///
    /// # Errors
    ///
    /// The error of `fetch`. The old reading stays held.
    pub async fn read(
        &self,
        enough: impl Fn(&Held) -> bool,
        fetch: impl Future<Output = Result<Found>>,
    ) -> Result<Answer> {
        if let Some(held) = self.granted().filter(|held| enough(held)) {
            return Ok(Answer::Shared(held));
        }
        let asked = Instant::now();
        let mut turn = self.turn.lock().await;
        if turn.leased {
            return Ok(Answer::Leased);
        }
        if let Some(held) = self.granted().filter(|held| enough(held) || held.at > asked) {
            return Ok(Answer::Shared(held));
        }
        if let Some((_, error)) = turn.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(error.clone());
        }
        self.settle(&mut turn, None, fetch.await)
    }

    /// Keeps the store's answer to the caller whose turn it is. `held` is the reading whose version that caller told
    /// the store.
    fn settle(&self, turn: &mut Turn, held: Option<&Held>, found: Result<Found>) -> Result<Answer> {
        match found.and_then(|found| found.reading(held.map(|held| &held.reading))) {
            Ok(reading) => Ok(self.accept(Held::now(reading), turn)),
            Err(error) => {
                self.lock().refused |= is_refusal(error.kind());
                turn.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn accept(&self, held: Arc<Held>, turn: &mut Turn) -> Answer {
        turn.failed = None;
        if held.reading.validity.as_ref().is_some_and(|validity| validity.lease.is_some()) {
            turn.leased = true;
            return Answer::Own(held);
        }
        *self.lock() = Good { held: Some(Arc::clone(&held)), refused: false };
        Answer::Shared(held)
    }

    /// The last good reading, of any age.
    pub fn last_good(&self) -> Option<Arc<Held>> {
        self.lock().held.clone()
    }

    /// The last good reading, of any age, if the store did not refuse it later.
    pub fn granted(&self) -> Option<Arc<Held>> {
        let good = self.lock();
        good.held.clone().filter(|_| !good.refused)
    }

    /// Drops the reading, because the store revoked it.
    pub fn forget(&self) {
        self.lock().held = None;
    }

    fn lock(&self) -> MutexGuard<'_, Good> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer of this kind means that the store no longer gives what it gave before.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Denied | ErrorKind::Unauthenticated | ErrorKind::Revoked | ErrorKind::NotFound)
}

/// Every entry that a volume of this process holds.
#[derive(Debug, Default)]
pub struct Readings(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    stores: HashMap<Arc<str>, OfStore>,
    sweep_at: usize,
}

/// What is known of one store.
#[derive(Debug, Default)]
struct OfStore {
    entries: HashMap<Key, Weak<Entry>>,
    sweep_at: usize,
    /// How many entries volumes hold. `entries` may also have some that nobody holds.
    held: Arc<AtomicUsize>,
    /// Requests whose answers have leases.
    leased: HashSet<Request>,
}

/// Counts an entry for as long as it lives.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

/// Most requests of one store that are remembered as leased. For others, a volume learns it from one more call.
const MOST_LEASED: usize = 1000;
/// Entries that nobody holds are removed when there are this many, and then each time the number has doubled. So the
/// search for them costs no more than adding the entries did.
const LEAST_SWEPT: usize = 256;

fn next_sweep(left: usize) -> usize {
    left.saturating_mul(2).max(LEAST_SWEPT)
}

impl Readings {
    /// The entry of `key`. Makes one if no volume holds it.
    pub fn entry(&self, key: &Key) -> Arc<Entry> {
        self.lock().store(&key.store).entry(key)
    }

    /// How many entries of `store` volumes hold.
    pub fn count(&self, store: &str) -> usize {
        self.lock().stores.get(store).map_or(0, OfStore::held)
    }

    /// Remembers that answers to `request` have leases, so that the next volume makes a login of its own at once.
    pub fn remember_leased(&self, store: &Arc<str>, request: &Request) {
        let mut known = self.lock();
        let leased = &mut known.store(store).leased;
        if leased.len() < MOST_LEASED {
            leased.insert(request.clone());
        }
    }

    /// Whether answers to `request` are known to have leases.
    pub fn is_leased(&self, store: &Arc<str>, request: &Request) -> bool {
        self.lock().stores.get(store).is_some_and(|store| store.leased.contains(request))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn store(&mut self, name: &Arc<str>) -> &mut OfStore {
        if self.stores.len() >= self.sweep_at && !self.stores.contains_key(name) {
            self.stores.retain(|_, store| store.held() > 0);
            self.sweep_at = next_sweep(self.stores.len());
        }
        self.stores.entry(Arc::clone(name)).or_default()
    }
}

impl OfStore {
    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn entry(&mut self, key: &Key) -> Arc<Entry> {
        if let Some(entry) = self.entries.get(key).and_then(Weak::upgrade) {
            return entry;
        }
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, entry| entry.strong_count() > 0);
            self.sweep_at = next_sweep(self.entries.len());
        }
        let entry = Arc::new(Entry::counted(Counted::by(&self.held)));
        self.entries.insert(key.clone(), Arc::downgrade(&entry));
        entry
    }
}

impl Counted {
    fn by(held: &Arc<AtomicUsize>) -> Self {
        held.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(held))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use provider::{ErrorKind, LeaseId, Ownership, Span, Validity};

    use super::*;

    fn key(identity: &str) -> Key {
        let request = Request { text: "GET a".into(), ownership: Ownership::Shared };
        Key { store: "s".into(), identity: identity.into(), request }
    }

    fn reading(validity: Option<Validity>) -> Reading {
        Reading { body: b"v".to_vec().into(), version: None, validity }
    }

    async fn slow(calls: &AtomicUsize, outcome: Result<Reading>) -> Result<Found> {
        calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        outcome.map(Found::New)
    }

    #[tokio::test(start_paused = true)]
    async fn thirty_callers_at_once_are_one_call() {
        let (readings, calls) = (Readings::default(), AtomicUsize::new(0));
        let entry = readings.entry(&key("a"));

        let asks = (0..30).map(|_| entry.read(|_| false, slow(&calls, Ok(reading(None)))));
        let answers = futures::future::join_all(asks).await;

        assert!(answers.iter().all(|answer| matches!(answer, Ok(Answer::Shared(_)))));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_waited_share_the_failure_and_later_ones_ask_again() {
        let (readings, calls) = (Readings::default(), AtomicUsize::new(0));
        let entry = readings.entry(&key("a"));
        let away = || Err(Error::new(ErrorKind::Unavailable, "away"));

        let asks = (0..5).map(|_| entry.read(|_| false, slow(&calls, away())));
        assert!(futures::future::join_all(asks).await.iter().all(Result::is_err));
        assert_eq!(calls.load(Ordering::SeqCst), 1);

        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(entry.read(|_| false, slow(&calls, Ok(reading(None)))).await.is_ok());
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_the_store_refused_since_is_shared_no_more_and_one_that_it_could_not_repeat_is() {
        let (readings, calls) = (Readings::default(), AtomicUsize::new(0));
        let entry = readings.entry(&key("a"));
        let failing = |kind| slow(&calls, Err(Error::new(kind, "no")));
        assert!(entry.read(|_| false, slow(&calls, Ok(reading(None)))).await.is_ok());

        assert!(entry.read(|_| false, failing(ErrorKind::Unavailable)).await.is_err());
        assert!(entry.read(|_| true, failing(ErrorKind::Denied)).await.is_ok(), "it was not asked");
        assert!(entry.read(|_| false, failing(ErrorKind::Denied)).await.is_err());
        assert!(entry.read(|_| true, failing(ErrorKind::Unavailable)).await.is_err());
        assert!(entry.last_good().is_some(), "who shows it goes on to");

        assert!(entry.read(|_| true, slow(&calls, Ok(reading(None)))).await.is_ok());
        assert!(entry.read(|_| true, failing(ErrorKind::Denied)).await.is_ok(), "it was given again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leased_answer_is_given_to_one_caller_only() {
        let (readings, calls) = (Readings::default(), AtomicUsize::new(0));
        let entry = readings.entry(&key("a"));
        let lease =
            Validity { duration: Span::from_secs(60), renewable: true, lease: Some(LeaseId("l".to_owned())) };

        let asks = (0..3).map(|_| entry.read(|_| false, slow(&calls, Ok(reading(Some(lease.clone()))))));
        let answers = futures::future::join_all(asks).await;

        assert_eq!(answers.iter().filter(|a| matches!(a, Ok(Answer::Own(_)))).count(), 1);
        assert_eq!(answers.iter().filter(|a| matches!(a, Ok(Answer::Leased))).count(), 2);
    }

    #[test]
    fn different_identities_share_nothing_and_an_entry_goes_with_its_last_holder() {
        let readings = Readings::default();
        let a = readings.entry(&key("a"));
        let b = readings.entry(&key("b"));
        assert!(!Arc::ptr_eq(&a, &b));
        assert_eq!(readings.count("s"), 2);

        drop((a, b));
        assert_eq!(readings.count("s"), 0);
    }

    #[test]
    fn what_nobody_holds_any_more_is_counted_no_more_and_goes() {
        let readings = Readings::default();
        let held = readings.entry(&key("held"));
        (0..10_000).for_each(|n| drop(readings.entry(&key(&n.to_string()))));

        assert_eq!(readings.count("s"), 1);
        assert!(readings.lock().stores["s"].entries.len() <= 2 * LEAST_SWEPT);
        assert!(Arc::ptr_eq(&held, &readings.entry(&key("held"))));
    }

    #[test]
    fn what_is_remembered_of_leases_has_a_bound_however_many_stores_and_requests_there_are() {
        let readings = Readings::default();
        let request = |n: usize| Request { text: format!("GET {n}").into(), ownership: Ownership::Shared };
        let served = readings.entry(&key("a"));
        readings.remember_leased(&"s".into(), &request(0));

        (0..10_000).for_each(|n| readings.remember_leased(&"hostile".into(), &request(n)));
        (0..10_000).for_each(|n| readings.remember_leased(&format!("hostile-{n}").into(), &request(0)));

        let remembered: usize = readings.lock().stores.values().map(|store| store.leased.len()).sum();
        assert!(remembered <= MOST_LEASED + 2 * LEAST_SWEPT, "{remembered}");
        assert!(readings.is_leased(&"s".into(), &request(0)), "a volume reads from this store");
        drop(served);
    }
}
