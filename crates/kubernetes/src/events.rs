//! What happens to volumes, told as Events on their pods.
//!
//! Needs `create` and `patch` on `events` of `events.k8s.io`. No pod waits for an Event: one that cannot be sent in time
//! is dropped and counted. For a refused publish, kubelet writes the Event itself, with our words.

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

/// Who tells, as `kubectl describe` shows it.
const COMPONENT: &str = "secretfs";
/// Events that wait to be sent. Namespaces share them out.
const WAITING: usize = 512;
/// Events of other parts that wait to be looked at.
const INBOX: usize = 64;
/// Shortest time between two.
const PACE: Duration = Duration::from_millis(50);
/// How long one is worth telling.
const WORTH: Duration = Duration::from_secs(300);
/// When there is nothing to wait for.
const IDLE: Duration = Duration::from_secs(3600);

/// Hands over Events that are about pods; clones hand over to the same.
#[derive(Debug, Clone)]
pub struct Teller(mpsc::Sender<Notice>, Metrics);

impl Teller {
    /// Tells of something, if there is room. Waits for nothing.
    pub fn tell(&self, notice: Notice) {
        if self.0.try_send(notice).is_err() {
            self.1.event(Telling::Dropped);
        }
    }
}

/// Sends Events for as long as it runs.
pub struct Events {
    folding: Folding,
    happenings: broadcast::Receiver<Happening>,
    inbox: mpsc::Receiver<Notice>,
    waiting: VecDeque<Waiting>,
    room: Arc<TenantShares>,
    allowance: Allowance,
    backoff: Backoff,
    /// When the next may be sent.
    next: Instant,
    metrics: Metrics,
}

/// An Event that waits to be sent, since when, and the room that it takes of its namespace's.
type Waiting = (Instant, Notice, Share);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Events {
    /// Events of what happens to volumes from now on, sent by `node`; the other half is for what else is worth telling.
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

    /// Sends them until `stop`. What waits then is lost.
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

    /// Sends the oldest that is still worth telling. One that fails stays the oldest.
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
                    // What was to be counted as a repetition may be gone.
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

    /// Told once, until one is taken again; counted each time.
    fn failed(&mut self, reason: &str) {
        self.metrics.event(Telling::Failed);
        if !self.backoff.is_failing() {
            tracing::warn!(reason, "the API server does not accept an Event");
        }
        self.next = Instant::now().later(self.backoff.failed());
    }
}

/// Whether the same Event would be refused again: its namespace is going, or it is not to the server's liking.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
}

#[cfg(test)]
mod tests;
