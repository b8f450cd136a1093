//! How long to leave an API server alone that did not answer.

use std::time::Duration;

use provider::Span;

/// First pause; doubled with each further failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest pause: a server that is back is noticed within it.
const LONGEST: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// One more failure: the pause before the next try, spread out so that not every node comes back at once.
    pub(super) fn failed(&mut self) -> Duration {
        let most = FIRST.saturating_mul(1 << self.0.min(6)).min(LONGEST);
        self.0 = self.0.saturating_add(1);
        Span::from(most).times(0.5 + 0.5 * fastrand::f64()).get()
    }

    /// It answered.
    pub(super) fn succeeded(&mut self) {
        self.0 = 0;
    }

    /// Whether the last try failed.
    pub(super) fn is_failing(self) -> bool {
        self.0 > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_begin_anew_after_an_answer() {
        let mut backoff = Backoff::default();
        let first = backoff.failed();
        let later = (0..100).map(|_| backoff.failed()).last().unwrap();
        backoff.succeeded();

        assert!(first <= FIRST && later >= LONGEST / 2 && later <= LONGEST, "{first:?} {later:?}");
        assert!(!backoff.is_failing() && backoff.failed() <= FIRST);
    }
}
