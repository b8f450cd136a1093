//! The first reading of a class for a workload.

use std::time::Duration;

use manifest::Start;
use provider::{Doubling, ErrorKind, Moment as _, Workload};
use tokio::time::{Instant, sleep, timeout_at};

use crate::volume::Error;
use crate::volume::content::Content;
use crate::volume::demand::Demand;
use crate::volume::freshness::Notice;
use crate::volume::report::Cached;
use crate::volume::store_health::Attempt;

/// Tries of a first publish while the store is away.
const TRIES: u32 = 3;
/// Pauses between them.
const PAUSES: Doubling =
    Doubling { first: Duration::from_millis(200), longest: Duration::from_millis(400), spread: [0.5, 1.5] };

/// What is worth waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// That a store that is left alone for a while may be asked again: a pod that starts has nothing better to do.
    ForTheStore,
    /// Its answer alone: who opens a file is told at once that the store is left alone.
    ForAnAnswer,
}

/// A pod's token comes from kubelet, which sends those that the CSIDriver object asks for.
pub(super) fn require_token(workload: &Workload, audience: Option<&str>) -> Result<(), Error> {
    // Who brings a credential may need no token.
    let brings_none = workload.pod.is_some() && workload.credentials.is_empty();
    let missing = |audience: &&str| brings_none && !workload.tokens.contains_key(*audience);
    audience.filter(missing).map_or(Ok(()), |audience| Err(Error::NoToken(audience.to_owned())))
}

/// Reads until everything is there, the store refuses, or the time is over. What was read for others of the same
/// identity is good enough if it is not older than `shared_age`. Tells whether it took what is older than that.
pub(super) async fn read_first(
    content: &mut Content,
    workload: &Workload,
    shared_age: Duration,
    deadline: Instant,
    waits: Waits,
) -> Result<Option<Cached>, Error> {
    let started = Instant::now();
    let provider = content.class().provider.clone();
    let outcome = timeout_at(deadline, read_with_retries(content, workload, shared_age, waits)).await;
    let lacking = content.complete().err().filter(|lacking| {
        content.class().settings.start == Start::Cached && lacking.kind() == ErrorKind::Unavailable
    });
    let cached = lacking.map(|lacking| {
        content.read_cached();
        let age = content.confirmed_at().map_or(Duration::ZERO, |at| at.elapsed());
        Cached { age, reason: lacking.to_string() }
    });
    match (content.complete(), outcome) {
        (Ok(()), _) => Ok(cached),
        (Err(source), Ok(())) => Err(Error::Provider { provider, source }),
        (Err(source), Err(_)) => {
            Err(Error::Deadline { provider, waited: started.elapsed(), waiting_for: source.to_string() })
        }
    }
}

async fn read_with_retries(content: &mut Content, workload: &Workload, shared_age: Duration, waits: Waits) {
    let mut attempt = Attempt::First;
    for tried in 1..=TRIES {
        let not_before = Some(Instant::now().earlier(shared_age));
        let demand = Demand { refresh: content.refresh(), not_before, attempt };
        let Some(error) = content.read(workload, demand, Notice::Polled).await else { return };
        let is_left_alone = waits == Waits::ForAnAnswer && error.wait().is_some();
        if error.kind() != ErrorKind::Unavailable || tried == TRIES || is_left_alone {
            return;
        }
        let pause = PAUSES.pause(tried - 1, fastrand::f64()).get();
        sleep(error.wait().map_or(pause, |wait| pause.max(wait))).await;
        // What the store said to this pod is worth more than that it is not asked again.
        if tried + 1 == TRIES && !content.reader.may_ask() {
            return;
        }
        attempt = Attempt::Retry;
    }
}
