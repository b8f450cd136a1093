//! Every store this process speaks to: what each said, how each is doing, how many calls there may be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::Metrics;
use provider::{Error, ErrorKind, Found, Query, Result, Session};
use tokio::time::{Instant, timeout};

use crate::readings::Readings;
use crate::volume::admission::{Admission, Bounds, Turn};
use crate::volume::known::{Health, KnownStores, look};
use crate::volume::store_health::{Attempt, Breaker, StoreHealth};

/// Calls and logins under way at one time. What a turn of the process costs is a connection; who shares them out
/// sees to it that those who hang leave some.
const CALLS: Bounds = Bounds { process: 1024, namespace: 64, place: 64, waiting: 4096 };
/// Longest wait for a turn.
const TURN: Duration = Duration::from_secs(35);
/// Longest a store call may take, whatever its provider thinks.
const CALL: Duration = Duration::from_secs(35);

/// The stores of this process and what is known of them.
#[derive(Debug)]
pub struct Stores {
    /// What stores said.
    pub readings: Readings,
    known: Mutex<KnownStores>,
    calls: Arc<Admission>,
    metrics: Metrics,
}

impl Stores {
    /// No stores yet; calls are counted in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        let calls = Admission::new(CALLS);
        Self { readings: Readings::default(), known: Mutex::default(), calls, metrics }
    }

    /// The store that a volume of `namespace` calls `name`, and reaches by `provider`.
    pub(super) fn store(&self, name: &str, namespace: &str, provider: &str) -> Store {
        let label = self.metrics.provider(provider);
        let (name, namespace) = (Arc::from(name), Arc::from(namespace));
        let health = self.known.lock().unwrap_or_else(PoisonError::into_inner).of(&name, &namespace);
        Store { name, namespace, label, health }
    }

    /// The stores that are left alone now, and how many others are known.
    pub fn breakers(&self) -> Breakers {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut breakers = Breakers::default();
        for (store, namespace, health) in known.all() {
            match look(health, |health| health.breaker()) {
                Breaker::Closed => breakers.closed += 1,
                Breaker::Open => breakers.open.push((store.to_string(), namespace.map(ToString::to_string))),
            }
        }
        // Few are named: those that several namespaces read first, for nobody makes many of them alone.
        breakers.open.sort_by(|(a, of_a), (b, of_b)| (of_a.is_some(), a).cmp(&(of_b.is_some(), b)));
        breakers
    }

    fn record(&self, store: &Store, error: Option<&Error>, started: Instant) {
        let (before, after) = store.health(|health| {
            let before = health.breaker();
            health.record(error, Instant::now());
            (before, health.breaker())
        });
        tell(store, before, after);
        self.metrics.store_call(store.label, error.map(Error::kind), started.elapsed());
    }

    /// A login at `store`. Most are made already and cost no call, so that the breaker does not stand before
    /// them; one that fails counts, if the store was asked.
    ///
    /// # Errors
    ///
    /// What the login says; `Unavailable` where it does not come in time.
    pub(super) async fn log_in<T>(&self, store: &Store, login: impl Future<Output = Result<T>>) -> Result<T> {
        let _turn = self.turn(store).await?;
        let started = Instant::now();
        let outcome = answer_in_time(login).await;
        // Who could not even ask says nothing of the store.
        if let Some(error) = outcome.as_ref().err().filter(|error| !error.is_unasked()) {
            self.record(store, Some(error), started);
        }
        outcome
    }

    /// One call to `store`, if it may be asked now, and what it says to each of `queries`: `Unavailable` to all where
    /// no call may be made now or no answer comes in time.
    pub(super) async fn call(
        &self,
        store: &Store,
        attempt: Attempt,
        session: &dyn Session,
        queries: &[Query],
    ) -> Vec<Result<Found>> {
        let found = self.try_call(store, attempt, session, queries).await;
        found.unwrap_or_else(|error| queries.iter().map(|_| Err(error.clone())).collect())
    }

    async fn try_call(
        &self,
        store: &Store,
        attempt: Attempt,
        session: &dyn Session,
        queries: &[Query],
    ) -> Result<Vec<Result<Found>>> {
        // Who would be refused does not wait in line for it.
        store.health(|health| health.look(Instant::now()))?;
        let _turn = self.turn(store).await?;
        self.admit(store, attempt)?;
        let started = Instant::now();
        let found = answer_in_time(async { whole(session.read_many(queries).await, queries) }).await;
        self.record(store, found.as_ref().map_or_else(Some, |found| failure(found)), started);
        found
    }

    fn admit(&self, store: &Store, attempt: Attempt) -> Result<()> {
        let admitted = store.health(|health| health.admit(attempt, Instant::now()));
        if attempt == Attempt::Retry {
            match &admitted {
                Ok(()) => self.metrics.retry(store.label),
                Err(_) => self.metrics.budget_exhausted(store.label),
            }
        }
        admitted
    }

    /// A turn for a call that waits for the store.
    pub(super) async fn turn(&self, store: &Store) -> Result<Turn> {
        let Store { namespace, name, .. } = store;
        let unavailable = |message: String| Error::new(ErrorKind::Unavailable, message);
        match timeout(TURN, self.calls.enter(namespace, name)).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(crowded)) => Err(unavailable(format!(
                "{} calls of namespace {namespace} wait for their stores already",
                crowded.waiting
            ))),
            Err(_) => Err(unavailable(format!(
                "the calls of namespace {namespace} to this store have not been answered for {} s, and no more are made \
                 meanwhile",
                TURN.as_secs()
            ))),
        }
    }
}

/// How the breakers of all stores are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Breakers {
    /// Stores that are called.
    pub closed: usize,
    /// Stores that are left alone for a while, by name, with the namespace that alone reads from each, if one does.
    pub open: Vec<(String, Option<String>)>,
}

/// Which store a volume reads, for whom, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) name: Arc<str>,
    /// Of the workload.
    namespace: Arc<str>,
    label: metrics::Provider,
    health: Health,
}

impl Store {
    /// Looks at, or changes, what is known of it.
    pub(super) fn health<T>(&self, change: impl FnOnce(&mut StoreHealth) -> T) -> T {
        look(&self.health, change)
    }
}

fn tell(store: &Store, before: Breaker, after: Breaker) {
    let Store { name, namespace, .. } = store;
    match (before, after) {
        (Breaker::Closed, Breaker::Open) => {
            tracing::warn!(
                store = &**name,
                namespace = &**namespace,
                "the store fails and is left alone for a while"
            );
        }
        (Breaker::Open, Breaker::Closed) => {
            tracing::info!(store = &**name, namespace = &**namespace, "the store answers again");
        }
        _ => {}
    }
}

/// `found`, if it has an answer to each of `queries`.
fn whole(found: Vec<Result<Found>>, queries: &[Query]) -> Result<Vec<Result<Found>>> {
    if found.len() == queries.len() {
        return Ok(found);
    }
    let told = format!("the store answered {} of {} requests", found.len(), queries.len());
    Err(Error::new(ErrorKind::Unavailable, told))
}

/// What went wrong with a call: nothing, if it brought anything. Some of its objects may be missing or refused while
/// its store is as well as can be.
fn failure(found: &[Result<Found>]) -> Option<&Error> {
    if found.iter().any(Result::is_ok) { None } else { found.iter().find_map(|found| found.as_ref().err()) }
}

async fn answer_in_time<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(ErrorKind::Unavailable, format!("no answer within {} s", CALL.as_secs())));
    timeout(CALL, call).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_login_that_could_not_ask_counts_for_no_breaker() {
        let stores = Stores::new(Metrics::default());
        let store = stores.store("s", "shop", "aws");
        let fails = async |error: Error| {
            for _ in 0..20 {
                let login = async { Err::<(), _>(error.clone()) };
                stores.log_in(&store, login).await.unwrap_err();
            }
            stores.breakers().open.len()
        };
        let away = Error::new(ErrorKind::Unavailable, "away");

        assert_eq!(fails(away.clone().unasked()).await, 0);
        assert_eq!(fails(away).await, 1);
    }
}
