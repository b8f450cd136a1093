use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use provider::{Span, Validity};
use tokio::time::Instant;

use crate::logins::{Key, Logins, Seated, locked};

/// A login that ends sooner than this, or sooner than a tenth of its lifetime, is not given to further callers.
const MARGIN: Duration = Duration::from_secs(5);

/// The place of one login: which volumes use it, under which key it is found, and when it ends.
pub struct Place<S: Seated> {
    term: Mutex<Term>,
    holder: Mutex<Holder>,
    seat: Mutex<Option<Seat<S>>>,
    me: Weak<S>,
}

/// The lifetime of a login.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    since: Instant,
    /// `None` if it does not end.
    lasts: Option<Span>,
    renewable: bool,
}

/// The volumes that got a login.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    Nobody,
    One(String),
    Many,
    /// A volume that made the login its own.
    Owner(String),
}

/// The key under which a login is found.
struct Seat<S: Seated> {
    key: Key<S::Whose>,
    logins: Weak<Logins<S>>,
}

impl Term {
    /// A term that begins now. `lasts` is `None` for a login without an end.
    pub fn from_now(lasts: Option<Span>, renewable: bool) -> Self {
        Self { since: Instant::now(), lasts, renewable }
    }

    /// The time that is left, and the whole lifetime.
    fn left(&self) -> Option<(Duration, Duration)> {
        let lasts = self.lasts?.get();
        Some((lasts.saturating_sub(self.since.elapsed()), lasts))
    }

    fn ends_soon(&self) -> bool {
        self.left().is_some_and(|(left, lasts)| left < MARGIN.min(Span::from(lasts).times(0.1).get()))
    }
}

impl<S: Seated> Place<S> {
    pub(crate) fn new(key: Key<S::Whose>, logins: &Arc<Logins<S>>, term: Term, me: Weak<S>) -> Self {
        let seat = Seat { key, logins: Arc::downgrade(logins) };
        Self { term: Mutex::new(term), holder: Mutex::new(Holder::Nobody), seat: Mutex::new(Some(seat)), me }
    }

    /// Gives this login to `volume`. `false` if the volume may not use it, or if the login ends soon.
    pub(crate) fn give(&self, volume: &str) -> bool {
        if locked(&self.term).ends_soon() {
            return false;
        }
        let mut holder = locked(&self.holder);
        match &*holder {
            Holder::Nobody => *holder = Holder::One(volume.to_owned()),
            Holder::One(other) if other != volume => *holder = Holder::Many,
            Holder::One(_) | Holder::Many => {}
            Holder::Owner(owner) => return owner == volume,
        }
        true
    }

    /// Makes this login `volume`'s own, without a check.
    pub(crate) fn give_for_good(&self, volume: &str) {
        *locked(&self.holder) = Holder::Owner(volume.to_owned());
    }

    /// Makes this login `volume`'s alone: from now on no other volume finds it. `false` if another volume got it
    /// before.
    pub fn claim(&self, volume: &str) -> bool {
        {
            let mut holder = locked(&self.holder);
            match &*holder {
                Holder::Owner(owner) => return owner == volume,
                Holder::One(only) if only == volume => *holder = Holder::Owner(volume.to_owned()),
                Holder::Nobody | Holder::One(_) | Holder::Many => return false,
            }
        }
        let mut seat = locked(&self.seat);
        *seat = seat.take().map(|seat| seat.exchange(&self.me, volume));
        true
    }

    /// Removes the login from its place, so that the next caller logs in again.
    pub fn discard(&self) {
        if let Some(Seat { key, logins }) = locked(&self.seat).take()
            && let Some(logins) = logins.upgrade()
        {
            logins.leave(&key, &self.me);
        }
    }

    /// How long the login lasts from now on; `None` if it does not end.
    pub fn validity(&self) -> Option<Validity> {
        let term = *locked(&self.term);
        let (left, _) = term.left()?;
        Some(Validity { duration: left.into(), renewable: term.renewable, lease: None })
    }

    /// Notes that the store renewed the login.
    pub fn prolong(&self, term: Term) {
        *locked(&self.term) = term;
    }
}

impl<S: Seated> Seat<S> {
    /// Moves the login to a key that only `volume` uses.
    fn exchange(self, who: &Weak<S>, volume: &str) -> Self {
        let key = Key { volume: Some(volume.to_owned()), ..self.key.clone() };
        if let Some(logins) = self.logins.upgrade() {
            logins.leave(&self.key, who);
            logins.take(&key, who);
        }
        Self { key, ..self }
    }
}

impl<S: Seated> fmt::Debug for Place<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}
