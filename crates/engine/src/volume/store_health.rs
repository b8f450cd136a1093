//! Whether a store may be asked now, and whether its answers are believed: the breaker, `Retry-After`, the retry
//! budget, and the brake on withdrawals.
//!
//! The process has one [`StoreHealth`] for each store; all volumes that read from the store share it. Plain state: the
//! caller passes the time to every method, and no method waits.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use provider::{Error, ErrorKind, Moment as _};
use tokio::time::Instant;

/// The breaker opens after this many failures in a row.
const CONSECUTIVE: u32 = 5;
/// The breaker also opens if half of this many last calls failed.
const WINDOW: usize = 20;
/// How often an open breaker lets one call try.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Most retries that the budget saves up.
const MOST_RETRIES: f64 = 10.0;
/// What one ordinary call adds to the retry budget: a tenth of a retry. A second adds a whole one.
const EARNED: f64 = 0.1;
/// The brake counts readings that turned within this time.
const BRAKE_WINDOW: Duration = Duration::from_secs(600);
/// The brake stays off while fewer readings have turned.
const BRAKE_OBJECTS: usize = 10;
/// The brake goes on when more than one in this many readings has turned.
const BRAKE_SHARE: usize = 5;
/// Most readings, and most identities, that are remembered of one store.
const MOST_REMEMBERED: usize = 10_000;
/// Shortest time between two new logins of one identity after refusals.
const RELOGIN_EVERY: Duration = Duration::from_secs(30);

/// Why a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It is due.
    First,
    /// The call before it failed.
    Retry,
}

/// State of the breaker, for the metric and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breaker {
    /// Calls go through.
    Closed,
    /// Calls fail at once, except one probe every ten seconds.
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
    /// Readings that turned, and when: the store gave them before, and then refused or revoked them.
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
    /// Checks whether a call may be made now. It does not look at the retry budget and changes nothing.
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

    /// Lets a call through, or says why not and for how long. The error never repeats what the store said to other
    /// callers.
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
        // Once a store works again, every volume that failed may ask it at once. The budget only protects a store that
        // fails.
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

    /// Records how a call ended. A refusal counts as success here, because the store answered.
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

    /// Whether `identity`, which the store just refused, may log in once more.
    pub fn may_log_in_again(&mut self, identity: &str, now: Instant) -> bool {
        self.logins.retain(|_, at| now.saturating_duration_since(*at) < RELOGIN_EVERY);
        if self.logins.contains_key(identity) || self.logins.len() >= MOST_REMEMBERED {
            return false;
        }
        self.logins.insert(identity.to_owned(), now);
        true
    }

    /// Records that polling found `reading` refused or revoked. Returns whether the brake is on. It goes on when so
    /// many of the store's `total` readings turn together that the store is suspect, and not the secrets.
    ///
    /// A store that was restored from an empty backup, or that lost its policies, answers 404 or 403 for everything.
    /// Such answers look like revocations; a driver that believed them would remove the secrets of a whole cluster. An
    /// example: a node holds 100 readings of a store. If twenty of them turn within ten minutes, secretfs believes the
    /// store and withdraws their files. With the twenty-first, more than one in five has turned: the brake goes on,
    /// files stay, and the metric and `secretfs status` tell why. A person who really revokes that many secrets orders
    /// a refresh, which the brake does not hold back. The brake goes off when enough of the readings are served again.
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

    /// Records that the store serves `reading` again. The brake goes off when no longer enough readings are turned.
    pub fn returned(&mut self, reading: &str, total: usize) {
        if self.turned.remove(reading).is_some() && !many(self.turned.len(), total) {
            self.braked = false;
        }
    }

    /// Whether the brake is on: it holds back withdrawals that polling found.
    pub fn braked(&self) -> bool {
        self.braked
    }
}

/// The error for a call that is not made. Any volume may get it, so it tells nothing of other volumes' calls.
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
