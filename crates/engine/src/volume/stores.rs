//! The stores that this process calls: their readings, the health of each, and the turns for calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::Metrics;
use provider::{Error, ErrorKind, Found, Query, Result, Session};
use tokio::time::{Instant, timeout};

use crate::readings::Readings;
use crate::volume::admission::{Admission, Bounds, Turn};
use crate::volume::known::{Health, KnownStores, look};
use crate::volume::store_health::{Attempt, Breaker, StoreHealth};

/// Bounds of calls and logins that run at the same time. A turn costs one connection. [`Admission`] makes sure that
/// calls that hang do not take all turns.
const CALLS: Bounds = Bounds { process: 1024, namespace: 64, place: 64, waiting: 4096 };
/// Longest wait for a turn.
const TURN: Duration = Duration::from_secs(35);
/// Longest time that a call or a login may take, even if the provider would wait longer.
const CALL: Duration = Duration::from_secs(35);

/// The stores of this process and what is known of them.
#[derive(Debug)]
pub struct Stores {
    /// The readings that volumes share.
    pub readings: Readings,
    known: Mutex<KnownStores>,
    calls: Arc<Admission>,
    metrics: Metrics,
}

impl Stores {
    /// Knows no stores yet. Calls are counted in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        let calls = Admission::new(CALLS);
        Self { readings: Readings::default(), known: Mutex::default(), calls, metrics }
    }

    /// The store `name`, for a volume of `namespace` that reads it through `provider`.
    pub(super) fn store(&self, name: &str, namespace: &str, provider: &str) -> Store {
        let label = self.metrics.provider(provider);
        let (name, namespace) = (Arc::from(name), Arc::from(namespace));
        let health = self.known.lock().unwrap_or_else(PoisonError::into_inner).of(&name, &namespace);
        Store { name, namespace, label, health }
    }

    /// The stores whose breaker is open, and the number of the others.
    pub fn breakers(&self) -> Breakers {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut breakers = Breakers::default();
        for (store, namespace, health) in known.all() {
            match look(health, |health| health.breaker()) {
                Breaker::Closed => breakers.closed += 1,
                Breaker::Open => breakers.open.push((store.to_string(), namespace.map(ToString::to_string))),
            }
        }
        // Callers show only the first few. So stores that several namespaces read come first: one namespace alone
        // cannot make many of these.
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

    /// Runs a login at `store`. The breaker does not stop logins, because most of them are shared already and cost no
    /// call. A login that fails counts for the breaker if the store was asked.
    ///
    /// # Errors
    ///
    /// The error of the login; `Unavailable` if it takes too long.
    pub(super) async fn log_in<T>(&self, store: &Store, login: impl Future<Output = Result<T>>) -> Result<T> {
        let _turn = self.turn(store).await?;
        let started = Instant::now();
        let outcome = answer_in_time(login).await;
        // A login that never asked the store tells nothing about the store.
        if let Some(error) = outcome.as_ref().err().filter(|error| !error.is_unasked()) {
            self.record(store, Some(error), started);
        }
        outcome
    }

    /// Makes one call to `store`. Returns an answer for each of `queries`. All are `Unavailable` if the store may not
    /// be asked now or does not answer in time.
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
        // Checked first, so that a call that would be refused does not wait for a turn.
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

    /// Waits for the turn that a call to the store needs.
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

/// The breakers of all stores.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Breakers {
    /// How many stores have a closed breaker: calls to them go through.
    pub closed: usize,
    /// The names of the stores whose breaker is open, each with the namespace that reads from it if there is only one.
    pub open: Vec<(String, Option<String>)>,
}

/// The store that a volume reads, the volume's namespace, and what is known of the store.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) name: Arc<str>,
    /// The namespace of the workload.
    namespace: Arc<str>,
    label: metrics::Provider,
    health: Health,
}

impl Store {
    /// Runs `change` on what is known of the store. It may change it.
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

/// Checks that `found` has an answer to each of `queries`.
fn whole(found: Vec<Result<Found>>, queries: &[Query]) -> Result<Vec<Result<Found>>> {
    if found.len() == queries.len() {
        return Ok(found);
    }
    let told = format!("the store answered {} of {} requests", found.len(), queries.len());
    Err(Error::new(ErrorKind::Unavailable, told))
}

/// The error that counts for the breaker. `None` if at least one query was answered well: objects may be missing or
/// refused although the store is healthy.
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
