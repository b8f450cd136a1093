//! The causes of one namespace that wait until workloads are rolled out for them. Plain state: every method takes the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use class::ClassName;
use engine::volume::VolumeId;
use provider::{Moment as _, Pod};
use tokio::time::Instant;

use super::mark::{Digest, KEPT};
use crate::backoff::Backoff;

/// Most volumes of one namespace that wait. Each namespace has its own room, and the administrator names the namespaces.
const MOST: usize = 256;
/// How many rollouts a namespace may have at once because of this node.
const BURST: u32 = 10;
/// How long it takes until it may have one more.
const REFILL: Duration = Duration::from_secs(30);

/// Why a workload is to be rolled out: a volume of its pod shows new versions.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) volume: VolumeId,
    pub(super) class: ClassName,
    pub(super) pod: Pod,
    /// The provider of the class.
    pub(super) provider: String,
    /// The new versions of objects, by name.
    pub(super) versions: BTreeMap<String, String>,
    pub(super) digests: BTreeSet<Digest>,
}

impl Cause {
    /// Adds what came later. If it waits for so long that an annotation could not name all of it, what came later counts.
    fn add(&mut self, later: Self) {
        self.versions.extend(later.versions);
        if self.digests.len().saturating_add(later.digests.len()) > KEPT {
            self.digests.clear();
        }
        self.digests.extend(later.digests);
    }
}

/// How many more rollouts a namespace may have, and since when that holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    /// Takes one rollout.
    ///
    /// # Errors
    ///
    /// None is left, for so long.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        while self.left < BURST && now.saturating_duration_since(self.since) >= REFILL {
            self.left = self.left.saturating_add(1);
            self.since = self.since.later(REFILL);
        }
        if self.left == BURST {
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(REFILL.saturating_sub(now.saturating_duration_since(self.since))),
        }
    }
}

/// What waits in one namespace.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: BTreeMap<VolumeId, Cause>,
    due: Option<Instant>,
    backoff: Backoff,
    pub(super) allowance: Allowance,
}

impl Queue {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: BTreeMap::new(),
            due: None,
            backoff: Backoff::default(),
            allowance: Allowance::new(now),
        }
    }

    /// Notes a cause, to be seen to at `at` or earlier. Gives it back if there is no room.
    #[must_use]
    pub(super) fn note(&mut self, cause: Cause, at: Instant) -> Option<Cause> {
        let is_full = self.waiting.len() >= MOST;
        match self.waiting.get_mut(&cause.volume) {
            Some(known) => known.add(cause),
            None if is_full => return Some(cause),
            None => drop(self.waiting.insert(cause.volume.clone(), cause)),
        }
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        None
    }

    /// Notes that the API server did not answer, and returns when to try again: later each time.
    pub(super) fn failed(&mut self, now: Instant) -> Instant {
        now.later(self.backoff.failed())
    }

    pub(super) fn answered(&mut self) {
        self.backoff.succeeded();
    }

    /// Forgets a volume that is gone: a pod that ends needs no rollout.
    pub(super) fn forget(&mut self, volume: &VolumeId) {
        self.waiting.remove(volume);
        if self.waiting.is_empty() {
            self.due = None;
        }
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes everything that waits.
    pub(super) fn take(&mut self) -> Vec<Cause> {
        self.due = None;
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(volume: usize, version: &str) -> Cause {
        Cause {
            volume: VolumeId(format!("csi-{volume}")),
            class: ClassName { namespace: "shop".to_owned(), name: "db".to_owned() },
            pod: Pod { name: "web".to_owned(), uid: "uid".to_owned() },
            provider: "vault".to_owned(),
            versions: BTreeMap::from([("user".to_owned(), version.to_owned())]),
            digests: BTreeSet::new(),
        }
    }

    #[tokio::test]
    async fn a_volume_has_one_place_and_its_newest_versions_and_a_namespace_has_a_bound() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        assert!(
            queue.note(cause(0, "1"), now).is_none()
                && queue.note(cause(0, "2"), now.later(REFILL)).is_none()
        );
        assert_eq!(queue.due(), Some(now));
        let fitted = (1..1000).filter(|volume| queue.note(cause(*volume, "1"), now).is_none()).count();

        assert_eq!(fitted, MOST - 1);
        let taken = queue.take();
        assert_eq!((taken.len(), taken[0].versions["user"].as_str()), (MOST, "2"));
        assert_eq!(queue.due(), None);
    }

    #[tokio::test]
    async fn what_could_not_be_said_waits_longer_each_time_and_a_volume_that_is_gone_does_not() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        let pauses: Vec<_> = (0..20).map(|_| queue.failed(now) - now).collect();
        assert!(queue.note(cause(0, "1"), now).is_none());
        assert!(
            pauses[0] <= Duration::from_millis(500) && pauses[19] >= Duration::from_secs(15),
            "{pauses:?}"
        );

        queue.forget(&VolumeId("csi-0".to_owned()));
        assert_eq!((queue.due(), queue.take().len()), (None, 0));
    }

    #[tokio::test]
    async fn a_namespace_has_ten_rollouts_and_then_one_each_half_minute() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        let at_once = (0..100).take_while(|_| allowance.take(now).is_ok()).count();
        assert_eq!(at_once, 10);
        assert_eq!(allowance.take(now.later(Duration::from_secs(20))), Err(Duration::from_secs(10)));
        assert_eq!(allowance.take(now.later(REFILL)), Ok(()));
        assert!(allowance.take(now.later(REFILL)).is_err());
        let rested = now.later(Duration::from_secs(3600));
        assert_eq!((0..100).take_while(|_| allowance.take(rested).is_ok()).count(), 10);
    }
}
