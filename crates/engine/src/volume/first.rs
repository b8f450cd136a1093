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

/// How often a first publish asks a store that does not answer.
const TRIES: u32 = 3;
/// Pauses between these tries.
const PAUSES: Doubling =
    Doubling { first: Duration::from_millis(200), longest: Duration::from_millis(400), spread: [0.5, 1.5] };

/// What a caller is willing to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Waits until the breaker or a `Retry-After` allows the next call: a pod that starts cannot go on without its
    /// files.
    ForTheStore,
    /// Waits only for an answer. A process that opens a file learns at once that the store may not be asked now.
    ForAnAnswer,
}

/// Checks that the pod's token for `audience` is there. kubelet sends the tokens that the CSIDriver object asks for.
pub(super) fn require_token(workload: &Workload, audience: Option<&str>) -> Result<(), Error> {
    // A pod that brings a credential may need no token.
    let brings_none = workload.pod.is_some() && workload.credentials.is_empty();
    let missing = |audience: &&str| brings_none && !workload.tokens.contains_key(*audience);
    audience.filter(missing).map_or(Ok(()), |audience| Err(Error::NoToken(audience.to_owned())))
}

/// Reads until everything is there, the store refuses, or the time is over. Readings that other volumes of the same
/// identity made are good enough if they are not older than `shared_age`. If the store does not answer and the class
/// says `start: cached`, older readings are used, and the result tells so.
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
        // The store's own error helps people more than "the store is not asked again so soon". So the last try is not
        // made if the store may not be asked.
        if tried + 1 == TRIES && !content.reader.may_ask() {
            return;
        }
        attempt = Attempt::Retry;
    }
}
