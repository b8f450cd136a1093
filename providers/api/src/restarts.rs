//! Restarts of tasks that end unexpectedly: how long to wait, and how many restarts there were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Doubling;

/// The pause before the first restart. It doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// Not spread: each task ends on its own, so tasks do not restart at the same time.
const PAUSES: Doubling = Doubling { first: FIRST, longest: Duration::from_secs(60), spread: [1.0, 1.0] };
/// After a run of this length the pauses begin with the shortest again.
const LASTED: Duration = Duration::from_secs(600);

/// The pauses of one task that is restarted whenever it ends.
#[derive(Debug, Default)]
pub struct Pauses(u32);

impl Pauses {
    /// How long to wait before the next restart of a task that ran for `lasted`: 1 s to 60 s.
    pub fn after(&mut self, lasted: Duration) -> Duration {
        if lasted > LASTED {
            *self = Self::default();
        }
        let pause = PAUSES.pause(self.0, 0.0);
        self.0 = self.0.saturating_add(1);
        pause.get()
    }
}

/// Counts restarts, from many tasks at once.
#[derive(Debug, Default)]
pub struct Restarts(AtomicU64);

impl Restarts {
    /// Counts one restart.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of restarts so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_at_once_is_left_alone_for_longer_each_time_and_for_a_minute_at_most() {
        let mut pauses = Pauses::default();
        let seconds: Vec<_> = (0..9).map(|_| pauses.after(Duration::ZERO).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn what_went_on_for_long_is_begun_anew_soon() {
        let mut pauses = Pauses::default();
        (0..9).for_each(|_| assert!(pauses.after(Duration::ZERO) >= FIRST));
        assert_eq!(pauses.after(Duration::from_secs(3600)), FIRST);
    }
}
