//! What stores said, shared by every volume that may know it.
//!
//! An entry is one (store, identity, request). It lives as long as a volume
//! holds it, so a value is wiped with the last volume that uses it. The caller
//! decides how old a reading may be: nothing here expires.

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
    /// Who reads, as [`provider::Session::identity`] names them.
    pub identity: Arc<str>,
    /// What is asked of the store.
    pub request: Request,
}

/// A reading and when it was made.
#[derive(Debug)]
pub struct Held {
    /// What the store said.
    pub reading: Reading,
    /// When it had answered.
    pub at: Instant,
    /// Where in the refresh interval it is due again: 0.7 to 1 of it, for a class says how old a reading may grow.
    /// One number for all volumes that share the reading, so that they refresh together.
    pub spread: f64,
}

impl Held {
    /// A reading made now.
    pub fn now(reading: Reading) -> Arc<Self> {
        Arc::new(Self { reading, at: Instant::now(), spread: spread() })
    }
}

/// Which share of its interval something waits, so that not everybody comes back at once: never more than all of it.
pub fn spread() -> f64 {
    0.7 + 0.3 * fastrand::f64()
}

/// What asking an entry gave.
#[derive(Debug)]
pub enum Answer {
    /// A reading that others may hold as well.
    Shared(Arc<Held>),
    /// The caller's own: it was the one who asked, and the answer hangs on a lease.
    Own(Arc<Held>),
    /// Answers to this request hang on leases: ask for yourself.
    Leased,
}

/// One (store, identity, request).
#[derive(Debug)]
pub struct Entry {
    _counted: Counted,
    good: Mutex<Good>,
    /// Held by the one caller that asks the store; what it learnt for those who wait.
    turn: tokio::sync::Mutex<Turn>,
}

#[derive(Debug, Default)]
struct Good {
    held: Option<Arc<Held>>,
    /// Whether the store refused it since.
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

    /// The reading that is held, if `enough` accepts it and the store has not refused it since; otherwise what
    /// `fetch` gives.
    ///
    /// Callers that come while a fetch is under way share its outcome, good or bad.
    ///
    /// # Errors
    ///
    /// What `fetch` says. The reading that was held stays held.
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

    /// Takes in what the store said to the caller whose turn it is; `held` is what that caller told the store it holds.
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

    /// The last good reading, however old.
    pub fn last_good(&self) -> Option<Arc<Held>> {
        self.lock().held.clone()
    }

    /// The last good reading, unless the store refused it since.
    pub fn granted(&self) -> Option<Arc<Held>> {
        let good = self.lock();
        good.held.clone().filter(|_| !good.refused)
    }

    /// Lets go of the reading, because the store revoked it.
    pub fn forget(&self) {
        self.lock().held = None;
    }

    fn lock(&self) -> MutexGuard<'_, Good> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a store's answer says that what it gave before is not to be had any more.
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
    /// How many of the entries volumes hold.
    held: Arc<AtomicUsize>,
    /// Requests whose answers hang on leases.
    leased: HashSet<Request>,
}

/// Counts an entry for as long as it lives.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

/// Requests of one store remembered as leased: beyond it a volume finds out by asking once more.
const MOST_LEASED: usize = 1000;
/// What is held by nobody goes when there is this much, and each time that what was left has doubled: then the
/// search for it costs no more than what was added since, however many entries somebody makes.
const LEAST_SWEPT: usize = 256;

fn next_sweep(left: usize) -> usize {
    left.saturating_mul(2).max(LEAST_SWEPT)
}

impl Readings {
    /// The entry of `key`, made if no volume holds one.
    pub fn entry(&self, key: &Key) -> Arc<Entry> {
        self.lock().store(&key.store).entry(key)
    }

    /// How many entries of `store` volumes hold.
    pub fn count(&self, store: &str) -> usize {
        self.lock().stores.get(store).map_or(0, OfStore::held)
    }

    /// Remembers that answers to `request` hang on leases, so that the next volume logs in for itself at once.
    pub fn remember_leased(&self, store: &Arc<str>, request: &Request) {
        let mut known = self.lock();
        let leased = &mut known.store(store).leased;
        if leased.len() < MOST_LEASED {
            leased.insert(request.clone());
        }
    }

    /// Whether answers to `request` are known to hang on leases.
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
