//! The watch that keeps the classes current.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Error as ApiError};
use metrics::Metrics;
use program::readiness::Latch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{ApiClasses, ByName, object};
use crate::backoff::Backoff;

/// How long the API server may be silent during a list.
const LISTING: Duration = Duration::from_secs(20);
/// How long a watch that was started again must run without an error until it counts as working.
const HOLDS: Duration = Duration::from_secs(10);
/// How long one watch lasts, in seconds. The next one goes on where it ended. So a network that silently drops
/// everything is noticed by then.
const WATCH_SECONDS: u32 = 120;
/// Longer than any watch lasts.
const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// The API server's status for a resource version that it no longer knows.
const GONE: u16 = 410;

/// Keeps [`ApiClasses`] current while it runs.
#[derive(Debug)]
pub struct Watch {
    classes: Arc<ApiClasses>,
    api: Api<DynamicObject>,
    backoff: Backoff,
    /// The classes of an incomplete list.
    listing: Option<ByName>,
    filled: Latch,
    metrics: Metrics,
}

/// The next thing from a watch.
enum Next {
    Event(Box<Event<DynamicObject>>),
    Failed(watcher::Error),
    /// Nothing came within the time that we wait.
    Silence,
    End,
}

impl Watch {
    /// Fills `classes` through `client`. Sets `filled` once the first list is complete, and reports to `metrics`.
    pub fn new(classes: Arc<ApiClasses>, client: Client, filled: Latch, metrics: Metrics) -> Self {
        let api = Api::all_with(client, &object::resource());
        Self { classes, api, backoff: Backoff::default(), listing: None, filled, metrics }
    }

    /// Follows the cluster's classes until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.list_and_watch() => {}
            }
        }
    }

    /// Lists and then watches, until a new list is necessary.
    async fn list_and_watch(&mut self) {
        self.listing = Some(ByName::new());
        let config = watcher::Config::default().any_semantic().timeout(WATCH_SECONDS);
        let mut events = pin!(watcher(self.api.clone(), config));
        loop {
            match self.next(&mut events).await {
                Next::Event(event) => self.take(*event),
                Next::Failed(error) => {
                    self.failed(&told(&error)).await;
                    if is_gone(&error) {
                        return;
                    }
                }
                Next::Silence if self.listing.is_some() => {
                    return self.failed("it does not answer").await;
                }
                Next::Silence => self.recovered(),
                Next::End => return,
            }
        }
    }

    async fn next(
        &self,
        events: &mut (impl Stream<Item = watcher::Result<Event<DynamicObject>>> + Unpin),
    ) -> Next {
        let patience = match (&self.listing, self.backoff.is_failing()) {
            (Some(_), _) => LISTING,
            (None, true) => HOLDS,
            (None, false) => FOREVER,
        };
        match timeout(patience, events.next()).await {
            Ok(Some(Ok(event))) => Next::Event(Box::new(event)),
            Ok(Some(Err(error))) => Next::Failed(error),
            Ok(None) => Next::End,
            Err(_) => Next::Silence,
        }
    }

    fn take(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.listing = Some(ByName::new()),
            Event::InitApply(object) => self.listing.get_or_insert_default().extend([object::read(&object)]),
            Event::InitDone => {
                self.classes.fill(self.listing.take().unwrap_or_default());
                self.filled.set(true);
            }
            Event::Apply(object) => {
                let (name, known) = object::read(&object);
                self.classes.put(name, known);
            }
            Event::Delete(object) => self.classes.remove(&object::name_of(&object)),
        }
        let (whole, broken) = self.classes.count();
        self.metrics.set_classes(whole, broken);
        self.recovered();
    }

    /// Counts each failure. Logs the first one after a success.
    async fn failed(&mut self, reason: &str) {
        self.metrics.class_watch_failed();
        self.metrics.set_class_watch(false);
        if !self.backoff.is_failing() {
            tracing::warn!(
                reason,
                "the API server cannot be asked for SecretProviderClasses; those known stay in use"
            );
        }
        self.classes.doubt(format!("the API server cannot be asked: {reason}"));
        sleep(self.backoff.failed()).await;
    }

    /// Records that the watch works: an event came, or there was no error for a while. Does nothing while a list is
    /// incomplete.
    fn recovered(&mut self) {
        if self.listing.is_some() {
            return;
        }
        self.metrics.set_class_watch(true);
        if self.backoff.is_failing() {
            tracing::info!("SecretProviderClasses are watched again");
        }
        self.backoff.succeeded();
        self.classes.trust();
    }
}

/// Whether a new list is necessary, because the API server no longer knows the version where the watch ended.
fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(ApiError::Api(status))
        | watcher::Error::WatchStartFailed(ApiError::Api(status))
        | watcher::Error::WatchFailed(ApiError::Api(status)) => status.code == GONE,
        watcher::Error::WatchError(status) => status.code == GONE,
        _ => false,
    }
}

fn told(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => {
            crate::refusal::told(error, "list and watch secretproviderclasses")
        }
        other => other.to_string(),
    }
}
