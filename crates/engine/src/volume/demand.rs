//! How fresh the readings of one round must be.

use std::time::Duration;

use provider::{Moment as _, Span};
use tokio::time::Instant;

use crate::readings::Held;
use crate::volume::store_health::Attempt;

/// How fresh the readings of one round must be.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// The refresh interval: how old a shared reading may be.
    pub refresh: Duration,
    /// Shared readings that were made before this time are too old, whatever their age.
    pub not_before: Option<Instant>,
    /// Whether the previous round failed.
    pub attempt: Attempt,
}

/// A round also renews readings that become due within this share of the refresh interval, so that the objects of a
/// volume stay in step. The number is the width of [`Held::spread`].
const TAKEN_ALONG: f64 = 0.3;

impl Demand {
    /// Whether `held` is fresh enough.
    pub(super) fn is_met_by(&self, held: &Held) -> bool {
        let due = due(held, self.refresh).earlier(Span::from(self.refresh).times(TAKEN_ALONG));
        Instant::now() < due && self.not_before.is_none_or(|at| held.at >= at)
    }
}

/// A shared reading with a limited life is made again after this time at the earliest, even if its store gives it less.
const SOONEST_END: Span = Span::from_secs(1);

/// When a shared reading must be made again: when the refresh interval is over, or earlier when the reading ends.
pub(super) fn due(held: &Held, refresh: Duration) -> Instant {
    let in_turn = held.at.later(Span::from(refresh).times(held.spread));
    let validity = held.reading.validity.as_ref();
    validity.map_or(in_turn, |validity| in_turn.min(held.at.later(validity.duration.max(SOONEST_END))))
}
