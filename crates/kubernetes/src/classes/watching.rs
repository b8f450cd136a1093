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

/// How long the API server may be silent while it lists.
const LISTING: Duration = Duration::from_secs(20);
/// How long a watch that was begun again must hold to be taken for whole.
const HOLDS: Duration = Duration::from_secs(10);
/// How long one watch lasts, in seconds. The next goes on where it ended; a network that swallows
/// everything without a word is noticed by then.
const WATCH_SECONDS: u32 = 120;
/// Longer than a watch may be silent.
const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// What an API server says of a version that it has forgotten.
const GONE: u16 = 410;

/// What keeps [`ApiClasses`] current for as long as it runs.
#[derive(Debug)]
pub struct Watch {
    classes: Arc<ApiClasses>,
    api: Api<DynamicObject>,
    backoff: Backoff,
    /// What is being listed, until the list is complete.
    listing: Option<ByName>,
    filled: Latch,
    metrics: Metrics,
}

/// What comes next from a watch.
enum Next {
    Event(Box<Event<DynamicObject>>),
    Failed(watcher::Error),
    /// Nothing, for as long as we had patience.
    Silence,
    End,
}

impl Watch {
    /// What fills `classes` by asking `client`; it tells `filled` once they are complete, and `metrics` how it is doing.
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

    /// Lists and then watches, until only a new list can help.
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

    /// Told once, until it works again; counted each time.
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

    /// Something came, or nothing went wrong for a while. A list that is not complete shows nothing yet.
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

/// Whether only a new list can help.
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
