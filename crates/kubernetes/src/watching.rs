//! A list and a watch that keep objects of one kind known.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Error as ApiError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

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

/// What is known of the objects.
pub(crate) trait Known: Send {
    /// What is asked of the API server, for error texts: `list and watch …`.
    const WISH: &'static str;

    /// A list begins.
    fn begin(&mut self);

    /// An object of the list.
    fn listed(&mut self, object: &DynamicObject);

    /// The list is complete: there are no other objects.
    fn complete(&mut self);

    /// An object is new or was changed.
    fn put(&mut self, object: &DynamicObject);

    /// An object was deleted.
    fn remove(&mut self, object: &DynamicObject);

    /// The API server cannot be asked. `again` tells whether the try before failed too.
    fn failed(&mut self, reason: &str, again: bool);

    /// The watch works: something came, or there was no error for a while. `again` tells whether it did not work before.
    fn works(&mut self, again: bool);
}

/// Keeps what is known current while it runs.
#[derive(Debug)]
pub(crate) struct Watching<K> {
    api: Api<DynamicObject>,
    /// Which of the objects of `api`; none means all.
    fields: Option<String>,
    known: K,
    backoff: Backoff,
    /// Whether a list is incomplete.
    is_listing: bool,
}

/// The next thing from a watch.
enum Next {
    Event(Box<Event<DynamicObject>>),
    Failed(watcher::Error),
    /// Nothing came within the time that we wait.
    Silence,
    End,
}

impl<K: Known> Watching<K> {
    /// Follows the objects of `api`.
    pub(crate) fn new(api: Api<DynamicObject>, known: K) -> Self {
        Self { api, fields: None, known, backoff: Backoff::default(), is_listing: false }
    }

    /// Follows only those that this field selector chooses.
    pub(crate) fn only(mut self, fields: String) -> Self {
        self.fields = Some(fields);
        self
    }

    /// Follows the objects until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.list_and_watch() => {}
            }
        }
    }

    /// Lists and then watches, until a new list is necessary.
    async fn list_and_watch(&mut self) {
        self.begin();
        let config = watcher::Config::default().any_semantic().timeout(WATCH_SECONDS);
        let config = match &self.fields {
            Some(fields) => config.fields(fields),
            None => config,
        };
        let mut events = pin!(watcher(self.api.clone(), config));
        loop {
            match self.next(&mut events).await {
                Next::Event(event) => self.take(*event),
                Next::Failed(error) => {
                    self.failed(&told::<K>(&error)).await;
                    if is_gone(&error) {
                        return;
                    }
                }
                Next::Silence if self.is_listing => return self.failed("it does not answer").await,
                Next::Silence => self.works(),
                Next::End => return,
            }
        }
    }

    fn begin(&mut self) {
        self.is_listing = true;
        self.known.begin();
    }

    async fn next(
        &self,
        events: &mut (impl Stream<Item = watcher::Result<Event<DynamicObject>>> + Unpin),
    ) -> Next {
        let patience = match (self.is_listing, self.backoff.is_failing()) {
            (true, _) => LISTING,
            (false, true) => HOLDS,
            (false, false) => FOREVER,
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
            Event::Init => self.begin(),
            Event::InitApply(object) => self.known.listed(&object),
            Event::InitDone => {
                self.is_listing = false;
                self.known.complete();
            }
            Event::Apply(object) => self.known.put(&object),
            Event::Delete(object) => self.known.remove(&object),
        }
        self.works();
    }

    async fn failed(&mut self, reason: &str) {
        self.known.failed(reason, self.backoff.is_failing());
        sleep(self.backoff.failed()).await;
    }

    /// Records that the watch works. Does nothing while a list is incomplete.
    fn works(&mut self) {
        if self.is_listing {
            return;
        }
        self.known.works(self.backoff.is_failing());
        self.backoff.succeeded();
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

fn told<K: Known>(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => crate::refusal::told(error, K::WISH),
        other => other.to_string(),
    }
}
