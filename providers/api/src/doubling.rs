//! How long to pause after failures.

use std::time::Duration;

use crate::Span;

/// Pauses that double with each failure. They are spread at random, so that clients do not all return at the same time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Doubling {
    /// The first pause.
    pub first: Duration,
    /// The longest pause, before it is spread.
    pub longest: Duration,
    /// The smallest and the largest factor by which a pause is multiplied, such as 0.5 and 1.0.
    pub spread: [f64; 2],
}

impl Doubling {
    /// The first pause, doubled `doubled` times and spread. `chance`, from 0 to 1, chooses the place in the spread. The
    /// caller draws a new one for each pause, because this crate has no random numbers.
    pub fn pause(&self, doubled: u32, chance: f64) -> Span {
        let [least, most] = self.spread;
        let whole = self.first.saturating_mul(2u32.saturating_pow(doubled)).min(self.longest);
        Span::from(whole).times(least + (most - least) * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Doubling =
        Doubling { first: Duration::from_millis(250), longest: Duration::from_secs(30), spread: [0.5, 1.0] };

    #[test]
    fn a_pause_doubles_up_to_the_longest_however_often() {
        let seconds = [0, 1, 2, 7, 31, 32, u32::MAX].map(|n| PAUSES.pause(n, 1.0).get().as_secs_f64());
        assert_eq!(seconds, [0.25, 0.5, 1.0, 30.0, 30.0, 30.0, 30.0]);
    }

    #[test]
    fn a_pause_is_within_its_spread() {
        let seconds = [0.0, 0.5, 1.0].map(|chance| PAUSES.pause(2, chance).get().as_secs_f64());
        assert_eq!(seconds, [0.5, 0.75, 1.0]);
    }
}
