//! Whether a store may be asked now: its breaker, its `Retry-After`, its retry budget, and the brake.
//!
//! One [`StoreHealth`] for each store of the process, whoever reads from it. Plain
//! state: every method takes the time, none waits.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use provider::{Error, ErrorKind, Moment as _};
use tokio::time::Instant;

/// Failures in a row that open the breaker.
const CONSECUTIVE: u32 = 5;
/// Calls over which the share of failures is judged; half of them failing opens the breaker.
const WINDOW: usize = 20;
/// How often an open breaker lets one call try.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Retries saved up at most.
const MOST_RETRIES: f64 = 10.0;
/// What one ordinary call adds to the retry budget: a tenth of a retry.
const EARNED: f64 = 0.1;
/// Turned objects within this time count for the brake.
const BRAKE_WINDOW: Duration = Duration::from_secs(600);
/// Fewest turned objects for the brake.
const BRAKE_OBJECTS: usize = 10;
/// The brake closes when more than one in this many objects has turned.
const BRAKE_SHARE: usize = 5;
/// Readings, and identities, that are remembered of one store.
const MOST_REMEMBERED: usize = 10_000;
/// Shortest time between two fresh logins of one identity after refusals.
const RELOGIN_EVERY: Duration = Duration::from_secs(30);

/// Why a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It was due.
    First,
    /// The one before it failed.
    Retry,
}

/// State of the breaker, for the metric and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breaker {
    /// Calls go through.
    Closed,
    /// Calls fail at once, but for a probe now and then.
    Open,
}

/// What is known of one store.
#[derive(Debug)]
pub struct StoreHealth {
    recent: VecDeque<bool>,
    consecutive: u32,
    open: Option<Opened>,
    wait_until: Option<Instant>,
    retries: f64,
    earned_at: Option<Instant>,
    /// Readings that polling found refused or revoked, and when each turned.
    turned: HashMap<String, Instant>,
    braked: bool,
    logins: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Opened {
    next_probe: Instant,
}

impl Default for StoreHealth {
    fn default() -> Self {
        Self {
            recent: VecDeque::with_capacity(WINDOW),
            consecutive: 0,
            open: None,
            wait_until: None,
            retries: MOST_RETRIES,
            earned_at: None,
            turned: HashMap::new(),
            braked: false,
            logins: HashMap::new(),
        }
    }
}

impl StoreHealth {
    /// Whether a call would be let through now, retries aside.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit).
    pub fn look(&self, now: Instant) -> provider::Result<()> {
        if let Some(until) = self.wait_until.filter(|until| *until > now) {
            return Err(refusal(
                "the store asked to be left alone for a while",
                until.saturating_duration_since(now),
            ));
        }
        match self.open.as_ref().filter(|opened| opened.next_probe > now) {
            Some(opened) => Err(refusal(
                "the store is away: calls to it failed repeatedly, and it is left alone for a while",
                opened.next_probe.saturating_duration_since(now),
            )),
            None => Ok(()),
        }
    }

    /// Lets a call through, or says why not and for how long: never what other callers were told.
    ///
    /// # Errors
    ///
    /// `Unavailable`, with the time to wait.
    pub fn admit(&mut self, attempt: Attempt, now: Instant) -> provider::Result<()> {
        self.look(now)?;
        if let Some(opened) = &mut self.open {
            opened.next_probe = now.later(PROBE_EVERY);
            return Ok(());
        }
        self.spend(attempt, now)
    }

    fn spend(&mut self, attempt: Attempt, now: Instant) -> provider::Result<()> {
        let since =
            self.earned_at.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.retries = (self.retries + since.as_secs_f64()).min(MOST_RETRIES);
        // A store that answers again may be asked by all who failed; the budget is for one that does not.
        let attempt = if self.consecutive == 0 { Attempt::First } else { attempt };
        match attempt {
            Attempt::First => self.retries = (self.retries + EARNED).min(MOST_RETRIES),
            Attempt::Retry if self.retries >= 1.0 => self.retries -= 1.0,
            Attempt::Retry => {
                return Err(refusal(
                    "the store fails, and is not asked again so soon",
                    Duration::from_secs(1),
                ));
            }
        }
        Ok(())
    }

    /// Takes note of how a call ended. Refusals are answers: the store is there.
    pub fn record(&mut self, error: Option<&Error>, now: Instant) {
        let outage = error.filter(|error| error.kind() == ErrorKind::Unavailable);
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(outage.is_some());
        match outage {
            None => self.recovered(),
            Some(error) => self.failed(error, now),
        }
    }

    fn recovered(&mut self) {
        if self.open.take().is_some() {
            self.recent.clear();
        }
        self.consecutive = 0;
        self.wait_until = None;
    }

    fn failed(&mut self, error: &Error, now: Instant) {
        self.consecutive += 1;
        if let Some(wait) = error.wait() {
            self.wait_until = Some(now.later(wait));
        }
        let failures = self.recent.iter().filter(|failed| **failed).count();
        let half = self.recent.len() == WINDOW && failures * 2 >= WINDOW;
        if self.open.is_none() && (self.consecutive >= CONSECUTIVE || half) {
            self.open = Some(Opened { next_probe: now.later(PROBE_EVERY) });
        }
    }

    /// Whether calls go through.
    pub fn breaker(&self) -> Breaker {
        if self.open.is_some() { Breaker::Open } else { Breaker::Closed }
    }

    /// Whether `identity`, which was just refused, may log in once more to see if that helps.
    pub fn may_log_in_again(&mut self, identity: &str, now: Instant) -> bool {
        self.logins.retain(|_, at| now.saturating_duration_since(*at) < RELOGIN_EVERY);
        if self.logins.contains_key(identity) || self.logins.len() >= MOST_REMEMBERED {
            return false;
        }
        self.logins.insert(identity.to_owned(), now);
        true
    }

    /// Polling found `reading` refused or taken back. Tells whether the brake is on: so many
    /// of the store's `total` readings turned together that the store, not the secrets, is suspect.
    ///
    /// A store that is restored from an empty backup, or whose policies were lost, answers 404 or 403 for everything, and
    /// its answers look like revocations. Who believed them would take the secrets of a whole cluster away. An example:
    /// a node shows 100 readings of a store. Nine of them turn within ten minutes: these are revocations, and files
    /// go. From the twenty-first on more than one in five has turned: the brake is on, files stay, and the metric
    /// and `secretfs status` tell why. Who really revokes that much orders a refresh, which the brake does not hold. The
    /// brake goes off when enough of the readings are served again.
    pub fn turned(&mut self, reading: &str, total: usize, now: Instant) -> bool {
        if self.turned.len() >= MOST_REMEMBERED {
            self.turned.retain(|_, at| now.saturating_duration_since(*at) < BRAKE_WINDOW);
        }
        if self.turned.len() < MOST_REMEMBERED {
            self.turned.entry(reading.to_owned()).or_insert(now);
        }
        let recent =
            self.turned.values().filter(|at| now.saturating_duration_since(**at) < BRAKE_WINDOW).count();
        if many(recent, total) {
            self.braked = true;
        }
        self.braked
    }

    /// `reading` is served again, or nobody asks for it any more. The brake goes off with the last reason for it.
    pub fn returned(&mut self, reading: &str, total: usize) {
        if self.turned.remove(reading).is_some() && !many(self.turned.len(), total) {
            self.braked = false;
        }
    }

    /// Whether withdrawals found by polling are held back.
    pub fn braked(&self) -> bool {
        self.braked
    }
}

/// Said to whoever asks, so it tells nothing of those who asked before.
fn refusal(why: &str, wait: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, why).retry_after(Some(wait.into())).unasked()
}

fn many(turned: usize, total: usize) -> bool {
    turned >= BRAKE_OBJECTS && turned * BRAKE_SHARE > total
}

#[cfg(test)]
mod tests {
    use provider::Span;

    use super::*;

    fn away() -> Error {
        Error::new(ErrorKind::Unavailable, "connection refused")
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_open_the_breaker_and_one_success_closes_it() {
        let (mut health, now) = (StoreHealth::default(), Instant::now());
        for _ in 0..5 {
            health.admit(Attempt::First, now).unwrap();
            health.record(Some(&away()), now);
        }

        let refused = health.admit(Attempt::First, now).unwrap_err();
        assert!(refused.to_string().contains("is away"), "{refused}");
        assert!(!refused.to_string().contains("connection refused"), "what another caller met: {refused}");
        assert_eq!(refused.wait(), Some(PROBE_EVERY));

        let later = now + PROBE_EVERY;
        health.admit(Attempt::First, later).unwrap();
        assert!(health.admit(Attempt::First, later).is_err(), "one probe at a time");
        health.record(None, later);
        assert_eq!(health.breaker(), Breaker::Closed);
        health.admit(Attempt::First, later).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_twenty_calls_failing_opens_the_breaker() {
        let (mut health, now) = (StoreHealth::default(), Instant::now());
        for call in 0..WINDOW {
            health.record((call % 2 == 1).then(away).as_ref(), now);
        }
        assert_eq!(health.breaker(), Breaker::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_before_retry_after_has_passed() {
        let (mut health, now) = (StoreHealth::default(), Instant::now());
        health.record(Some(&away().retry_after(Some(Span::from_secs(7)))), now);

        assert!(health.admit(Attempt::First, now + Duration::from_secs(6)).is_err());
        assert!(health.admit(Attempt::First, now + Duration::from_secs(7)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_tenth_of_the_calls_and_one_a_second() {
        let (mut health, now) = (StoreHealth::default(), Instant::now());
        health.record(Some(&away()), now);
        let granted = (0..100).filter(|_| health.admit(Attempt::Retry, now).is_ok()).count();
        assert_eq!(granted, 10);

        (0..20).for_each(|_| health.admit(Attempt::First, now).unwrap());
        let granted = (0..100).filter(|_| health.admit(Attempt::Retry, now).is_ok()).count();
        assert!((1..=2).contains(&granted), "{granted}");

        let granted =
            (0..100).filter(|_| health.admit(Attempt::Retry, now + Duration::from_secs(3)).is_ok()).count();
        assert_eq!(granted, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_answers_again_is_asked_by_all_who_waited() {
        let (mut health, now) = (StoreHealth::default(), Instant::now());
        health.record(Some(&away()), now);
        health.record(None, now);
        assert!((0..200).all(|_| health.admit(Attempt::Retry, now).is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer_and_no_outage() {
        let (mut health, now) = (StoreHealth::default(), Instant::now());
        (0..50).for_each(|_| health.record(Some(&Error::new(ErrorKind::Denied, "no")), now));
        assert_eq!(health.breaker(), Breaker::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn the_brake_goes_on_when_a_fifth_turns_together_and_off_when_they_return() {
        let (mut health, now) = (StoreHealth::default(), Instant::now());
        let names: Vec<_> = (0..10).map(|n| format!("r{n}")).collect();
        assert!(names.iter().take(9).all(|name| !health.turned(name, 40, now)));
        assert!(health.turned(&names[9], 40, now));

        health.returned(&names[0], 40);
        assert!(!health.braked());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_spread_over_hours_do_not_brake() {
        let (mut health, now) = (StoreHealth::default(), Instant::now());
        let spread = (0..30).any(|n| health.turned(&format!("r{n}"), 40, now + Duration::from_secs(120 * n)));
        assert!(!spread);
    }
}
