//! What happens to a file that its store does not confirm: it stays, or it is withdrawn.
//!
//! Plain state for one object of one volume; the caller passes the time to every method. SEMANTICS.md promises these
//! rules under "Outage, denial, revocation".
//!
//! Three rules decide. A store that does not answer never takes a file away, unless the class says `on-stale: remove`
//! and `max-stale` is over. A refusal takes it away only if the class says `on-denied: remove`, because a refusal may
//! come from a moved path, a lost grant or a restore. A revocation takes it away by default. For both, one polled
//! answer is not enough, because one wrong answer must not take a file away: the store must say the same again
//! [`CONFIRM_AFTER`] later. An example: a poll at 12:00:00 finds that `db/pass` was deleted. The file stays. A poll at
//! 12:00:30 finds the same, and the file goes. If the store announced the deletion, the file goes at 12:00:00.

use std::time::Duration;

use manifest::{OnDenied, OnRevoked, OnStale, Settings};
use provider::{Error, ErrorKind, Moment as _, Object};
use tokio::time::Instant;

use crate::volume::report::Outlook;

/// Shortest time between the two polled answers that together withdraw a file.
pub const CONFIRM_AFTER: Duration = Duration::from_secs(30);

/// What a class wants to happen to files that are not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long an unconfirmed file may stay; `None` means for ever.
    pub max_stale: Option<Duration>,
    /// What happens to the file after that time.
    pub on_stale: OnStale,
    /// What happens to a file whose object the store refuses.
    pub on_denied: OnDenied,
    /// What happens to a file whose object the store revoked.
    pub on_revoked: OnRevoked,
    /// What happens to a file that somebody ordered to be taken back.
    pub on_ordered: OnRevoked,
}

impl Policy {
    /// The policy of a class with these settings. `on_revoked` applies if the class does not set it.
    pub fn of(settings: &Settings, on_revoked: OnRevoked) -> Self {
        let max_stale = (!settings.max_stale.is_zero()).then_some(settings.max_stale);
        Self {
            max_stale,
            on_stale: settings.on_stale,
            on_denied: settings.on_denied,
            on_revoked: settings.on_revoked.unwrap_or(on_revoked),
            // The default for classes that do not say is about words of stores, which came without being asked for.
            on_ordered: settings.on_revoked.unwrap_or_default(),
        }
    }
}

/// Why we have an answer of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// We asked because a refresh was due.
    Polled,
    /// We asked because the store announced a change, or because a person ordered a refresh.
    Pushed,
    /// We did not ask: somebody ordered that the object is taken back.
    Ordered,
}

impl Notice {
    /// Whether `error` is final without a second answer. It is if it is an order, or if it is a revocation and the store
    /// announced a change or a person asked. A refusal always needs a second answer: no announcement tells of refusals, and we only meet
    /// it because we read all objects of the volume again.
    pub fn settles(self, error: &Error) -> bool {
        match self {
            Self::Polled => false,
            Self::Pushed => error.kind() == ErrorKind::Revoked,
            Self::Ordered => true,
        }
    }
}

/// The state of an object, for people and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// The store confirmed the object at the last try.
    Fresh,
    /// The store did not answer, or could not be asked without a token. The last good contents are shown.
    Stale,
    /// The store refuses the object, or does not find it and does not say that it was revoked.
    Denied,
    /// The store revoked the object.
    Revoked,
    /// The store does not have the object, and the class allows that.
    Missing,
}

/// Contents that the store returned.
#[derive(Debug, Clone)]
pub struct Good {
    /// The contents.
    pub object: Object,
    /// When the store last confirmed them.
    pub confirmed: Instant,
}

/// What is known of one object of one volume.
#[derive(Debug, Default)]
pub struct Freshness {
    good: Option<Good>,
    trouble: Option<Trouble>,
    withdrawn: bool,
    missing: bool,
    /// When the store last confirmed contents that were withdrawn later.
    last_confirmed: Option<Instant>,
}

/// Why the store does not confirm an object.
#[derive(Debug)]
struct Trouble {
    kind: Turn,
    error: Error,
    /// When this kind of error began. Another kind in between starts it anew.
    since: Instant,
    /// Whether the error is final: the store said the same at least [`CONFIRM_AFTER`] later, or the first answer
    /// settled it.
    confirmed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Away,
    /// The store was not asked: there was no token or credential to send.
    Unasked,
    Refused,
    Revoked,
    /// Somebody ordered that it is taken back. The store was not asked.
    Ordered,
}

impl Freshness {
    /// An object that an earlier process showed, and that the store last confirmed at `confirmed`.
    pub fn carried(object: Object, confirmed: Instant) -> Self {
        Self { good: Some(Good { object, confirmed }), ..Self::default() }
    }

    /// The store returned the object.
    pub fn confirm(&mut self, object: Object, at: Instant) {
        *self = Self { good: Some(Good { object, confirmed: at }), ..Self::default() };
    }

    /// The store does not have the object, and the class allows that. If the object was shown before, this is an error
    /// like any other, and the policy decides what happens to the file.
    pub fn absent(&mut self, error: Error, notice: Notice, policy: &Policy, braked: bool, now: Instant) {
        if self.good.is_none() {
            *self = Self { missing: true, ..Self::default() };
        } else {
            self.fail(error, notice, policy, braked, now);
        }
    }

    /// The store did not return the object. `braked` tells whether the brake holds withdrawals back; it does not hold
    /// back a file that is too old, or an error that the notice settles.
    pub fn fail(&mut self, error: Error, notice: Notice, policy: &Policy, braked: bool, now: Instant) {
        let kind = if notice == Notice::Ordered { Turn::Ordered } else { turn_of(error.kind()) };
        let since =
            self.trouble.as_ref().filter(|trouble| trouble.kind == kind).map_or(now, |trouble| trouble.since);
        let settled = notice.settles(&error);
        let confirmed = settled || now.saturating_duration_since(since) >= CONFIRM_AFTER;
        self.trouble = Some(Trouble { kind, error, since, confirmed });
        let held_back = braked && !settled;
        if self.is_to_go(policy) && !held_back || self.is_too_old(policy, now) {
            self.withdrawn = true;
            self.last_confirmed = self.good.take().map(|good| good.confirmed).or(self.last_confirmed);
        }
    }

    /// No order covers the object any more. Returns whether one did. A file that was withdrawn comes back with the next
    /// answer of the store.
    pub fn release(&mut self) -> bool {
        self.trouble.take_if(|trouble| trouble.kind == Turn::Ordered).is_some()
    }

    fn is_to_go(&self, policy: &Policy) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| wants_it_gone(trouble, policy) && trouble.confirmed)
    }

    /// What will happen to the file if the store keeps giving the same answer.
    pub fn outlook(&self, policy: &Policy) -> Outlook {
        let Some(trouble) = self.trouble.as_ref().filter(|_| !self.withdrawn) else {
            return if self.withdrawn { Outlook::Gone } else { Outlook::Stay };
        };
        if wants_it_gone(trouble, policy) {
            return Outlook::GoWhenConfirmed;
        }
        let ages =
            policy.on_stale == OnStale::Remove && policy.max_stale.is_some() && trouble.kind != Turn::Unasked;
        if ages { Outlook::StayUntilTooOld } else { Outlook::Stay }
    }

    fn is_too_old(&self, policy: &Policy, now: Instant) -> bool {
        if self.trouble.as_ref().is_some_and(|trouble| trouble.kind == Turn::Unasked) {
            return false;
        }
        let age = self.good.as_ref().map(|good| now.saturating_duration_since(good.confirmed));
        policy.on_stale == OnStale::Remove && age.zip(policy.max_stale).is_some_and(|(age, most)| age > most)
    }

    /// When to ask again before the ordinary refresh, because the next answer may withdraw the file: a second answer is
    /// due, or the file becomes too old.
    pub fn reconsider_at(&self, policy: &Policy) -> Option<Instant> {
        let trouble = self.trouble.as_ref()?;
        let good = self.good.as_ref()?;
        let confirm =
            (trouble.kind.is_told() && !trouble.confirmed).then(|| trouble.since.later(CONFIRM_AFTER));
        let ages = policy.on_stale == OnStale::Remove && trouble.kind != Turn::Unasked;
        let stale = policy.max_stale.filter(|_| ages).map(|most| {
            // A moment later, because exactly at that time the file is not yet too old.
            good.confirmed.later(most).later(Duration::from_millis(1))
        });
        [confirm, stale].into_iter().flatten().min()
    }

    /// The contents to show, if there are any.
    pub fn good(&self) -> Option<&Good> {
        self.good.as_ref()
    }

    /// When the store last confirmed the object, even if it was withdrawn later.
    pub fn last_confirmed(&self) -> Option<Instant> {
        self.good.as_ref().map(|good| good.confirmed).or(self.last_confirmed)
    }

    /// Whether the object was shown once and is withdrawn now.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn
    }

    /// Whether the store refuses or revoked the object.
    pub fn has_turned(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.kind.is_told())
    }

    /// Whether the store did not answer at the last try.
    pub fn is_away(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.kind == Turn::Away)
    }

    /// The error of the last try, if it failed.
    pub fn error(&self) -> Option<&Error> {
        self.trouble.as_ref().map(|trouble| &trouble.error)
    }

    /// The state of the object.
    pub fn condition(&self) -> Condition {
        match &self.trouble {
            None if self.missing => Condition::Missing,
            None => Condition::Fresh,
            Some(trouble) => match trouble.kind {
                Turn::Away | Turn::Unasked => Condition::Stale,
                Turn::Refused => Condition::Denied,
                Turn::Revoked | Turn::Ordered => Condition::Revoked,
            },
        }
    }
}

/// Whether the class wants a file withdrawn for this error, once the error is confirmed.
fn wants_it_gone(trouble: &Trouble, policy: &Policy) -> bool {
    match trouble.kind {
        Turn::Away | Turn::Unasked => false,
        Turn::Refused => policy.on_denied == OnDenied::Remove,
        Turn::Revoked => policy.on_revoked == OnRevoked::Remove,
        Turn::Ordered => policy.on_ordered == OnRevoked::Remove,
    }
}

impl Turn {
    /// Whether the store itself gave this answer, or somebody an order.
    fn is_told(self) -> bool {
        matches!(self, Self::Refused | Self::Revoked | Self::Ordered)
    }
}

/// Whether an error of this kind is an answer of the store about the object. It is not if the store did not answer, or
/// was not asked.
pub fn is_a_word_of_the_store(kind: ErrorKind) -> bool {
    turn_of(kind).is_told()
}

/// An answer that makes no sense counts as no answer. A plain *not found* counts as a refusal, because the path may
/// have moved, a grant may be lost, or the store may be an incomplete restore.
fn turn_of(kind: ErrorKind) -> Turn {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Invalid => Turn::Away,
        ErrorKind::NoCredential => Turn::Unasked,
        ErrorKind::Denied | ErrorKind::Unauthenticated | ErrorKind::NotFound => Turn::Refused,
        ErrorKind::Revoked => Turn::Revoked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        max_stale: Some(Duration::from_secs(86_400)),
        on_stale: OnStale::Keep,
        on_denied: OnDenied::Keep,
        on_revoked: OnRevoked::Remove,
        on_ordered: OnRevoked::Remove,
    };

    fn served() -> (Freshness, Instant) {
        let now = Instant::now();
        let object = Object { contents: b"v".to_vec().into(), significant: None, version: None };
        (Freshness::carried(object, now), now)
    }

    fn fail(freshness: &mut Freshness, kind: ErrorKind, policy: &Policy, at: Instant) {
        freshness.fail(Error::new(kind, "no"), Notice::Polled, policy, false, at);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_keeps_the_file_for_ever_by_default() {
        let (mut freshness, now) = served();
        for day in 0..30 {
            fail(&mut freshness, ErrorKind::Unavailable, &POLICY, now + Duration::from_secs(day * 86_400));
        }
        assert!(freshness.good().is_some());
        assert_eq!(freshness.condition(), Condition::Stale);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_become_of_a_file_is_known_before_it_happens() {
        let at = |seconds| Duration::from_secs(seconds);
        let remove = Policy { on_denied: OnDenied::Remove, on_stale: OnStale::Remove, ..POLICY };
        for (kind, policy, outlook) in [
            (ErrorKind::Unavailable, POLICY, Outlook::Stay),
            (ErrorKind::Denied, POLICY, Outlook::Stay),
            (ErrorKind::Revoked, POLICY, Outlook::GoWhenConfirmed),
            (ErrorKind::Revoked, Policy { on_revoked: OnRevoked::Keep, ..POLICY }, Outlook::Stay),
            (ErrorKind::Unavailable, remove, Outlook::StayUntilTooOld),
            (ErrorKind::Denied, remove, Outlook::GoWhenConfirmed),
        ] {
            let (mut freshness, now) = served();
            fail(&mut freshness, kind, &policy, now);
            assert_eq!(freshness.outlook(&policy), outlook, "{kind:?}");
        }

        let (mut freshness, now) = served();
        fail(&mut freshness, ErrorKind::Revoked, &POLICY, now + at(1));
        fail(&mut freshness, ErrorKind::Revoked, &POLICY, now + at(40));
        fail(&mut freshness, ErrorKind::Revoked, &POLICY, now + at(80));
        assert_eq!(freshness.outlook(&POLICY), Outlook::Gone);
        assert_eq!(freshness.last_confirmed(), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn on_stale_remove_takes_the_file_past_max_stale() {
        let (mut freshness, now) = served();
        let policy = Policy { on_stale: OnStale::Remove, ..POLICY };
        fail(&mut freshness, ErrorKind::Unavailable, &policy, now + Duration::from_secs(86_400));
        assert!(freshness.good().is_some());

        let due = freshness.reconsider_at(&policy).unwrap();
        fail(&mut freshness, ErrorKind::Unavailable, &policy, due);
        assert!(freshness.good().is_none() && freshness.is_withdrawn());
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_keeps_the_file_and_a_bare_not_found_is_a_denial() {
        for kind in [ErrorKind::Denied, ErrorKind::Unauthenticated, ErrorKind::NotFound] {
            let (mut freshness, now) = served();
            fail(&mut freshness, kind, &POLICY, now);
            fail(&mut freshness, kind, &POLICY, now + Duration::from_secs(3600));
            assert!(freshness.good().is_some(), "{kind:?}");
            assert_eq!(freshness.condition(), Condition::Denied);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn on_denied_remove_takes_the_file_after_two_answers_thirty_seconds_apart() {
        let (mut freshness, now) = served();
        let policy = Policy { on_denied: OnDenied::Remove, ..POLICY };
        fail(&mut freshness, ErrorKind::Denied, &policy, now);
        fail(&mut freshness, ErrorKind::Denied, &policy, now + Duration::from_secs(29));
        assert!(freshness.good().is_some());

        fail(&mut freshness, ErrorKind::Denied, &policy, now + CONFIRM_AFTER);
        assert!(freshness.is_withdrawn());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_store_was_not_asked_takes_nothing_back_however_long_it_lasts() {
        let (mut freshness, now) = served();
        let policy = Policy {
            max_stale: Some(Duration::from_secs(60)),
            on_stale: OnStale::Remove,
            on_denied: OnDenied::Remove,
            on_revoked: OnRevoked::Remove,
            on_ordered: OnRevoked::Remove,
        };
        for minutes in 0..100 {
            let at = now + Duration::from_secs(60 * minutes);
            for notice in [Notice::Polled, Notice::Pushed] {
                let unasked = Error::new(ErrorKind::NoCredential, "no token");
                freshness.fail(unasked, notice, &policy, false, at);
            }
        }
        assert!(freshness.good().is_some() && !freshness.has_turned());
        assert_eq!(freshness.condition(), Condition::Stale);
        assert_eq!(freshness.reconsider_at(&policy), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_polled_revocation_is_confirmed_and_a_pushed_one_is_not() {
        let (mut freshness, now) = served();
        fail(&mut freshness, ErrorKind::Revoked, &POLICY, now);
        assert!(freshness.good().is_some());
        assert_eq!(freshness.reconsider_at(&POLICY), Some(now + CONFIRM_AFTER));
        fail(&mut freshness, ErrorKind::Revoked, &POLICY, now + CONFIRM_AFTER);
        assert!(freshness.is_withdrawn());

        let (mut freshness, now) = served();
        freshness.fail(Error::new(ErrorKind::Revoked, "gone"), Notice::Pushed, &POLICY, true, now);
        assert!(freshness.is_withdrawn(), "the brake does not hold a pushed revocation");
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_that_an_announcement_of_something_else_met_waits_like_any_other() {
        let (mut freshness, now) = served();
        let policy = Policy { on_denied: OnDenied::Remove, ..POLICY };
        let denied = || Error::new(ErrorKind::Denied, "no");
        freshness.fail(denied(), Notice::Pushed, &policy, false, now);
        assert!(freshness.good().is_some());

        freshness.fail(denied(), Notice::Pushed, &policy, true, now + CONFIRM_AFTER);
        assert!(freshness.good().is_some(), "the brake holds it");
        freshness.fail(denied(), Notice::Pushed, &policy, false, now + CONFIRM_AFTER);
        assert!(freshness.is_withdrawn());
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_may_be_missing_goes_at_once_when_its_revocation_is_announced() {
        let (mut freshness, now) = served();
        freshness.absent(Error::new(ErrorKind::NotFound, "no"), Notice::Pushed, &POLICY, false, now);
        assert!(freshness.good().is_some());

        freshness.absent(Error::new(ErrorKind::Revoked, "gone"), Notice::Pushed, &POLICY, false, now);
        assert!(freshness.is_withdrawn());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_between_two_refusals_starts_the_count_again() {
        let (mut freshness, now) = served();
        let seconds = |s| now + Duration::from_secs(s);
        fail(&mut freshness, ErrorKind::Revoked, &POLICY, seconds(0));
        fail(&mut freshness, ErrorKind::Unavailable, &POLICY, seconds(20));
        fail(&mut freshness, ErrorKind::Revoked, &POLICY, seconds(40));
        assert!(freshness.good().is_some());
        fail(&mut freshness, ErrorKind::Revoked, &POLICY, seconds(70));
        assert!(freshness.is_withdrawn());
    }

    #[tokio::test(start_paused = true)]
    async fn on_revoked_keep_keeps_and_the_brake_keeps() {
        let keep = Policy { on_revoked: OnRevoked::Keep, ..POLICY };
        for (policy, braked) in [(keep, false), (POLICY, true)] {
            let (mut freshness, now) = served();
            for at in [now, now + CONFIRM_AFTER] {
                freshness.fail(Error::new(ErrorKind::Revoked, "gone"), Notice::Polled, &policy, braked, at);
            }
            assert!(freshness.good().is_some());
            assert_eq!(freshness.condition(), Condition::Revoked);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_takes_the_file_at_once_unless_the_class_itself_keeps_it() {
        let ordered = || Error::new(ErrorKind::Revoked, "ordered");
        let by_default = Policy::of(&Settings::default(), OnRevoked::Keep);
        let class = Settings { on_revoked: Some(OnRevoked::Keep), ..Settings::default() };
        for (policy, stays) in [(by_default, false), (Policy::of(&class, OnRevoked::Remove), true)] {
            let (mut freshness, now) = served();
            freshness.fail(ordered(), Notice::Ordered, &policy, true, now);
            assert_eq!(freshness.good().is_some(), stays);
            assert_eq!(freshness.condition(), Condition::Revoked);
            assert!(freshness.release() && !freshness.release());
            assert_eq!(freshness.is_withdrawn(), !stays);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_withdrawn_comes_back_when_the_store_gives_it_again() {
        let (mut freshness, now) = served();
        freshness.fail(Error::new(ErrorKind::Revoked, "gone"), Notice::Pushed, &POLICY, false, now);
        let object = Object { contents: b"w".to_vec().into(), significant: None, version: None };
        freshness.confirm(object, now);
        assert!(!freshness.is_withdrawn());
        assert_eq!(freshness.condition(), Condition::Fresh);
    }
}
