//! Every store this process speaks to: what each said, how each is doing, how many calls there may be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use provider::{Error, ErrorKind, Result};
use tokio::time::{Instant, timeout};

use crate::metrics::{self, Metrics};
use crate::readings::Readings;
use crate::volume::admission::{Admission, Bounds, Turn};
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
    health: Mutex<BTreeMap<Arc<str>, Arc<Mutex<StoreHealth>>>>,
    calls: Arc<Admission>,
    metrics: Metrics,
}

impl Stores {
    /// No stores yet; calls are counted in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        let calls = Admission::new(CALLS);
        Self { readings: Readings::default(), health: Mutex::default(), calls, metrics }
    }

    /// How many breakers are closed and open.
    pub fn breakers(&self) -> (usize, usize) {
        let all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |health: &&Arc<Mutex<StoreHealth>>| {
            health.lock().unwrap_or_else(PoisonError::into_inner).breaker() == Breaker::Open
        };
        let open = all.values().filter(is_open).count();
        (all.len() - open, open)
    }

    /// Runs `look` on what is known of `store`.
    pub fn health<T>(&self, store: &Arc<str>, look: impl FnOnce(&mut StoreHealth) -> T) -> T {
        let health = {
            let mut all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(Arc::clone(store)).or_default())
        };
        let mut health = health.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut health)
    }

    fn record(&self, store: &Store, error: Option<&Error>, started: Instant) {
        self.health(&store.name, |health| health.record(error, Instant::now()));
        self.metrics.store_call(store.label, error.map(Error::kind), started.elapsed());
    }

    /// A login at `store`. Most are made already and cost no call, so that the breaker does not stand before
    /// them; one that fails counts.
    ///
    /// # Errors
    ///
    /// What the login says; `Unavailable` where it does not come in time.
    pub(super) async fn log_in<T>(&self, store: &Store, login: impl Future<Output = Result<T>>) -> Result<T> {
        let _turn = self.turn(store).await?;
        let started = Instant::now();
        let outcome = answer_in_time(login).await;
        if let Err(error) = &outcome {
            self.record(store, Some(error), started);
        }
        outcome
    }

    /// One call to `store`, if it may be asked now.
    ///
    /// # Errors
    ///
    /// What the call says; `Unavailable` where none may be made now or no answer comes in time.
    pub(super) async fn call<T>(
        &self,
        store: &Store,
        attempt: Attempt,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        // Who would be refused does not wait in line for it.
        self.health(&store.name, |health| health.look(Instant::now()))?;
        let _turn = self.turn(store).await?;
        self.admit(store, attempt)?;
        let started = Instant::now();
        let outcome = answer_in_time(call).await;
        self.record(store, outcome.as_ref().err(), started);
        outcome
    }

    fn admit(&self, store: &Store, attempt: Attempt) -> Result<()> {
        let admitted = self.health(&store.name, |health| health.admit(attempt, Instant::now()));
        if attempt == Attempt::Retry {
            match &admitted {
                Ok(()) => self.metrics.retry(store.label),
                Err(_) => self.metrics.budget_exhausted(store.label),
            }
        }
        admitted
    }

    /// A turn for a call that waits for the store.
    async fn turn(&self, store: &Store) -> Result<Turn> {
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

/// Which store a volume reads, for whom, for the breaker and for the metrics.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) name: Arc<str>,
    /// Of the workload.
    pub(super) namespace: Arc<str>,
    pub(super) label: metrics::Provider,
}

async fn answer_in_time<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(ErrorKind::Unavailable, format!("no answer within {} s", CALL.as_secs())));
    timeout(CALL, call).await.unwrap_or_else(late)
}
