//! The current logins: one for all who may share it, made once even if many ask at the same time.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use provider::{Error, Result};

use crate::place::{Place, Term};
use crate::turn::Turn;

/// A login that is kept in a [`Logins`].
pub trait Seated: Send + Sync + Sized + 'static {
    /// The owner of a login: everything that the store distinguishes, and every credential behind the login. Logins
    /// with equal owners are the same login.
    type Whose: Clone + Eq + Hash + fmt::Debug + Send + Sync;

    /// Its place in the [`Logins`].
    fn place(&self) -> &Place<Self>;
}

/// Names a login: its owner, and the volume if only one may use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key<W> {
    /// The owner.
    pub whose: W,
    /// The only volume that may use it; `None` if it is shared.
    pub volume: Option<String>,
}

/// Every login of one kind of store. It does not keep logins alive: when the last holder drops a login, the login is
/// gone and its secrets are wiped.
pub struct Logins<S: Seated>(Mutex<Slots<S>>);

type Slots<S> = HashMap<Key<<S as Seated>::Whose>, Arc<Slot<S>>>;

/// Holds one login, while it exists.
struct Slot<S> {
    session: Mutex<Weak<S>>,
    turn: Turn,
}

impl<S: Seated> Default for Logins<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Seated> fmt::Debug for Logins<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logins({})", locked(&self.0).len())
    }
}

impl<S> Default for Slot<S> {
    fn default() -> Self {
        Self { session: Mutex::new(Weak::new()), turn: Turn::default() }
    }
}

impl<S: Seated> Logins<S> {
    /// The login of `key`, if `volume` may use it and it does not end soon; otherwise the login that `make` makes.
    /// Callers that ask at the same time wait for one login, whose calls have deadlines. If that login meets an outage,
    /// all who waited get the same error.
    ///
    /// # Errors
    ///
    /// As `make`.
    pub async fn get(
        &self,
        key: &Key<S::Whose>,
        volume: &str,
        make: impl Future<Output = Result<Arc<S>>>,
    ) -> Result<Arc<S>> {
        let slot = self.slot(key);
        slot.turn.take(|| slot.give(volume), make, Error::clone).await
    }

    /// Registers a new login under `key` and gives it to `volume`. If `key` names a volume, the login is that volume's
    /// alone.
    pub fn seat(
        self: &Arc<Self>,
        key: Key<S::Whose>,
        volume: &str,
        term: Term,
        login: impl FnOnce(Place<S>) -> S,
    ) -> Arc<S> {
        let slot = self.slot(&key);
        let is_own = key.volume.is_some();
        let session = Arc::new_cyclic(|me| login(Place::new(key, self, term, Weak::clone(me))));
        if is_own {
            session.place().give_for_good(volume);
        } else {
            session.place().give(volume);
        }
        *locked(&slot.session) = Arc::downgrade(&session);
        session
    }

    fn slot(&self, key: &Key<S::Whose>) -> Arc<Slot<S>> {
        let mut slots = locked(&self.0);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        slots.retain(|_, slot| slot.is_used());
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    /// Removes login `who` from the place of `key`, if it is still there.
    pub(crate) fn leave(&self, key: &Key<S::Whose>, who: &Weak<S>) {
        let slot = self.slot(key);
        let mut session = locked(&slot.session);
        if session.ptr_eq(who) {
            *session = Weak::new();
        }
    }

    /// Puts login `who` into the place of `key`.
    pub(crate) fn take(&self, key: &Key<S::Whose>, who: &Weak<S>) {
        *locked(&self.slot(key).session) = Weak::clone(who);
    }
}

impl<S: Seated> Slot<S> {
    /// The login in this slot, if `volume` may use it.
    fn give(&self, volume: &str) -> Option<Arc<S>> {
        let session = locked(&self.session).upgrade()?;
        session.place().give(volume).then_some(session)
    }

    fn is_used(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || locked(&self.session).strong_count() > 0
    }
}

pub(crate) fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use provider::{ErrorKind, Span};

    use super::*;

    struct Login(Place<Self>);

    impl Seated for Login {
        type Whose = &'static str;

        fn place(&self) -> &Place<Self> {
            &self.0
        }
    }

    /// A store that counts logins.
    #[derive(Default)]
    struct Store {
        logins: Arc<Logins<Login>>,
        made: AtomicUsize,
        lasts: Option<Span>,
    }

    fn shared(whose: &'static str) -> Key<&'static str> {
        Key { whose, volume: None }
    }

    fn own(whose: &'static str, volume: &str) -> Key<&'static str> {
        Key { whose, volume: Some(volume.to_owned()) }
    }

    impl Store {
        async fn log_in(&self, key: Key<&'static str>, volume: &str) -> Result<Arc<Login>> {
            let make = async {
                tokio::task::yield_now().await;
                self.made.fetch_add(1, Ordering::SeqCst);
                let term = Term::from_now(self.lasts, false);
                Ok(self.logins.seat(key.clone(), volume, term, Login))
            };
            self.logins.get(&key, volume, make).await
        }

        fn made(&self) -> usize {
            self.made.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn those_who_ask_at_once_and_later_share_one_login_while_somebody_holds_it() {
        let store = Store::default();

        let (one, two) = tokio::join!(store.log_in(shared("a"), "v1"), store.log_in(shared("a"), "v2"));
        let (one, two, three) = (one.unwrap(), two.unwrap(), store.log_in(shared("a"), "v3").await.unwrap());
        assert!(Arc::ptr_eq(&one, &two) && Arc::ptr_eq(&one, &three) && store.made() == 1);

        let other = store.log_in(shared("b"), "v1").await.unwrap();
        assert!(!Arc::ptr_eq(&one, &other) && store.made() == 2);

        drop((one, two, three));
        store.log_in(shared("a"), "v1").await.unwrap();
        assert_eq!(store.made(), 3);
    }

    #[tokio::test]
    async fn a_login_that_one_volume_claims_is_nobody_elses_from_then_on() {
        let store = Store::default();
        let login = store.log_in(shared("a"), "v1").await.unwrap();

        assert!(!login.place().claim("v2") && login.place().claim("v1") && login.place().claim("v1"));

        let other = store.log_in(shared("a"), "v2").await.unwrap();
        assert!(!Arc::ptr_eq(&login, &other));
        let again = store.log_in(own("a", "v1"), "v1").await.unwrap();
        assert!(Arc::ptr_eq(&login, &again), "it is found where its volume looks for it");
    }

    #[tokio::test]
    async fn a_login_that_several_were_given_cannot_be_claimed() {
        let store = Store::default();
        let login = store.log_in(shared("a"), "v1").await.unwrap();
        store.log_in(shared("a"), "v2").await.unwrap();

        assert!(!login.place().claim("v1") && !login.place().claim("v2"));
    }

    #[tokio::test]
    async fn a_login_that_is_discarded_is_made_again_and_takes_no_newer_one_with_it() {
        let store = Store::default();
        let old = store.log_in(shared("a"), "v1").await.unwrap();
        old.place().discard();
        let new = store.log_in(shared("a"), "v1").await.unwrap();

        old.place().discard();

        assert!(!Arc::ptr_eq(&old, &new));
        assert!(Arc::ptr_eq(&new, &store.log_in(shared("a"), "v1").await.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_ends_soon_is_not_given_out() {
        let store = Store { lasts: Some(Span::from_secs(60)), ..Store::default() };
        let login = store.log_in(shared("a"), "v1").await.unwrap();

        tokio::time::advance(std::time::Duration::from_secs(54)).await;
        assert!(Arc::ptr_eq(&login, &store.log_in(shared("a"), "v1").await.unwrap()));
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        assert!(!Arc::ptr_eq(&login, &store.log_in(shared("a"), "v1").await.unwrap()));
        assert_eq!(login.place().validity().unwrap().duration, Span::from_secs(4));
    }

    #[tokio::test]
    async fn those_who_waited_share_an_outage_and_not_a_refusal() {
        for (kind, tries) in [(ErrorKind::Unavailable, 1), (ErrorKind::Unauthenticated, 2)] {
            let (logins, made) = (Logins::<Login>::default(), AtomicUsize::new(0));
            let make = || async {
                made.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Err(Error::new(kind, "no"))
            };
            let key = shared("a");

            let (one, two) = tokio::join!(logins.get(&key, "v1", make()), logins.get(&key, "v2", make()));

            assert_eq!([one.err(), two.err()].map(|error| error.map(|error| error.kind())), [Some(kind); 2]);
            assert_eq!(made.load(Ordering::SeqCst), tries, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn slots_of_logins_that_are_gone_are_forgotten() {
        let store = Store::default();
        for volume in 0..100 {
            drop(store.log_in(own("a", &volume.to_string()), &volume.to_string()).await);
        }
        assert!(locked(&store.logins.0).len() <= 1);
    }
}
