//! Reports what happens to volumes as Events on their pods.
//!
//! Needs `create` and `patch` on `events` of `events.k8s.io`. No pod waits for an Event: an Event that cannot be sent
//! in time is dropped and counted. If a publish fails, kubelet writes the Event, with the text of our error.

mod allowance;
mod folding;
mod notice;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use engine::volume::report::{Happening, What};
use kube::Client;
use kube::runtime::events::{Event, Reporter};
use metrics::{Metrics, Telling};
use provider::{Moment as _, Share, TenantShares};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use allowance::Allowance;
use folding::Folding;

pub use notice::{Notice, Reason};

use crate::backoff::Backoff;
use crate::connection::ANSWER;

/// The sender's name in `kubectl describe`.
const COMPONENT: &str = "secretfs";
/// Most Events that wait to be sent. Namespaces share these places.
const WAITING: usize = 512;
/// Most Events of other modules that wait until they are accepted.
const INBOX: usize = 64;
/// Shortest time between two Events.
const PACE: Duration = Duration::from_millis(50);
/// An Event that waited longer than this is dropped.
const WORTH: Duration = Duration::from_secs(300);
/// How long the task sleeps if nothing waits.
const IDLE: Duration = Duration::from_secs(3600);

/// Passes Events about pods to [`Events`]. Clones pass to the same one.
#[derive(Debug, Clone)]
pub struct Teller(mpsc::Sender<Notice>, Metrics);

impl Teller {
    /// Passes on a notice, or drops and counts it if there is no room. Never waits.
    pub fn tell(&self, notice: Notice) {
        if self.0.try_send(notice).is_err() {
            self.1.event(Telling::Dropped);
        }
    }
}

/// Sends Events while it runs.
pub struct Events {
    folding: Folding,
    happenings: broadcast::Receiver<Happening>,
    inbox: mpsc::Receiver<Notice>,
    waiting: VecDeque<Waiting>,
    room: Arc<TenantShares>,
    allowance: Allowance,
    backoff: Backoff,
    /// When the next Event may be sent.
    next: Instant,
    metrics: Metrics,
}

/// An Event that waits to be sent: since when it waits, the Event, and the place that it takes of its namespace's
/// share.
type Waiting = (Instant, Notice, Share);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Events {
    /// The task that sends Events from `node` about what happens to volumes, and a [`Teller`] for Events of other
    /// modules.
    pub fn new(
        client: Client,
        node: &str,
        happenings: broadcast::Receiver<Happening>,
        metrics: Metrics,
    ) -> (Self, Teller) {
        let reporter = Reporter { controller: COMPONENT.to_owned(), instance: Some(node.to_owned()) };
        let (sender, inbox) = mpsc::channel(INBOX);
        let events = Self {
            folding: Folding::new(client, reporter),
            happenings,
            inbox,
            waiting: VecDeque::new(),
            room: TenantShares::new(WAITING),
            allowance: Allowance::default(),
            backoff: Backoff::default(),
            next: Instant::now(),
            metrics: metrics.clone(),
        };
        (events, Teller(sender, metrics))
    }

    /// Sends Events until `stop`. Events that wait then are lost.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let due = if self.waiting.is_empty() { Instant::now().later(IDLE) } else { self.next };
            tokio::select! {
                () = stop.cancelled() => return,
                happening = self.happenings.recv() => match happening {
                    Ok(happening) => self.heard(&happening),
                    Err(RecvError::Lagged(missed)) => self.missed(missed),
                    Err(RecvError::Closed) => return,
                },
                Some(notice) = self.inbox.recv() => self.accept(notice),
                () = sleep_until(due) => tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.send_next() => {}
                },
            }
        }
    }

    fn heard(&mut self, happening: &Happening) {
        if let (What::Unpublished, Some(pod)) = (&happening.what, &happening.pod) {
            self.allowance.forget(&pod.uid);
        }
        if let Some(notice) = Notice::of(happening) {
            self.accept(notice);
        }
    }

    fn accept(&mut self, notice: Notice) {
        let now = Instant::now();
        let room = self.room.take([&Arc::from(&*notice.namespace)]);
        match room.filter(|_| self.allowance.take(&notice.pod.uid, now)) {
            Some(room) => self.waiting.push_back((now, notice, room)),
            None => self.metrics.event(Telling::Dropped),
        }
    }

    fn missed(&self, happenings: u64) {
        for _ in 0..happenings {
            self.metrics.event(Telling::Dropped);
        }
    }

    /// Sends the oldest Event, or drops it if it waited too long. If sending fails, it stays the oldest one, unless the
    /// refusal is final.
    async fn send_next(&mut self) {
        let Some((since, notice, _)) = self.waiting.front() else { return };
        if since.elapsed() > WORTH {
            self.waiting.pop_front();
            return self.metrics.event(Telling::Dropped);
        }
        let event: Event = notice.event();
        let reference = notice.regarding();
        let recorder = self.folding.recorder(notice);
        match timeout(ANSWER, recorder.publish(&event, &reference)).await {
            Ok(Ok(())) => self.sent(),
            Ok(Err(error)) => {
                self.failed(&crate::refusal::told(&error, "create and patch events"));
                if is_final(&error) {
                    // The Event that this one should be merged with may be deleted.
                    if let Some((_, notice, _)) = self.waiting.pop_front() {
                        self.folding.forget(&notice);
                    }
                }
            }
            Err(_) => self.failed("it does not answer"),
        }
    }

    fn sent(&mut self) {
        self.waiting.pop_front();
        self.metrics.event(Telling::Told);
        self.backoff.succeeded();
        self.next = Instant::now().later(PACE);
    }

    /// Counts each failure. Logs the first one after a success.
    fn failed(&mut self, reason: &str) {
        self.metrics.event(Telling::Failed);
        if !self.backoff.is_failing() {
            tracing::warn!(reason, "the API server does not accept an Event");
        }
        self.next = Instant::now().later(self.backoff.failed());
    }
}

/// Whether the API server would refuse the same Event again: its namespace is being deleted, or the Event is not valid.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}

#[cfg(test)]
mod tests;
