//! How long to wait before the next request to an API server that did not answer.

use std::time::Duration;

use provider::Doubling;

/// Pause after the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// Longest pause, so that a server that works again is noticed within this time.
const LONGEST: Duration = Duration::from_secs(30);
/// The pauses have a random share, so that not all nodes come back at once.
const PAUSES: Doubling = Doubling { first: FIRST, longest: LONGEST, spread: [0.5, 1.0] };

/// Counts failures in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// Counts one more failure, and returns the pause before the next try.
    pub(super) fn failed(&mut self) -> Duration {
        let pause = PAUSES.pause(self.0, fastrand::f64());
        self.0 = self.0.saturating_add(1);
        pause.get()
    }

    /// Records that the API server answered, so the next pause is short again.
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
