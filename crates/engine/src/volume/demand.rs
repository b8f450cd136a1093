//! What a round of reading is to bring: which shared readings are fresh enough for it.

use std::time::Duration;

use provider::{Moment as _, Span};
use tokio::time::Instant;

use crate::readings::Held;
use crate::volume::store_health::Attempt;

/// What a round of reading is to bring.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// How old a shared reading may be.
    pub refresh: Duration,
    /// Shared readings made before it are too old whatever their age.
    pub not_before: Option<Instant>,
    /// Whether the round before failed.
    pub attempt: Attempt,
}

/// Readings that come due within this share of the refresh interval are taken along, so that
/// the objects of a volume stay together. It is the width of [`Held::spread`].
const TAKEN_ALONG: f64 = 0.3;

impl Demand {
    /// Whether `held` will do.
    pub(super) fn is_met_by(&self, held: &Held) -> bool {
        let due = due(held, self.refresh).earlier(Span::from(self.refresh).times(TAKEN_ALONG));
        Instant::now() < due && self.not_before.is_none_or(|at| held.at >= at)
    }
}

/// Soonest that a shared reading is made again because it ends by itself, whatever its store says.
const SOONEST_END: Span = Span::from_secs(1);

/// When a shared reading is to be made again: in its turn, or when it ends by itself.
pub(super) fn due(held: &Held, refresh: Duration) -> Instant {
    let in_turn = held.at.later(Span::from(refresh).times(held.spread));
    let validity = held.reading.validity.as_ref();
    validity.map_or(in_turn, |validity| in_turn.min(held.at.later(validity.duration.max(SOONEST_END))))
}
