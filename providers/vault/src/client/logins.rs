//! Who is logged in: one login for whoever may share it, made once however many ask at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use provider::{Error, ErrorKind, Identity, Result};

use crate::client::session::VaultSession;
use crate::parameters::Auth;

/// Whose a login is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) store: String,
    pub(crate) auth: Auth,
    pub(crate) whose: Whose,
    /// Of the credentials it rests on beside the service account.
    pub(crate) fingerprint: Option<[u8; 16]>,
    /// The one volume it is for.
    pub(crate) volume: Option<String>,
}

/// Whom the store can tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// Service accounts.
    Account(Identity),
    /// Pods; where there is none, volumes.
    Pod { account: Identity, pod: String },
}

/// What kind of login mount it is, learnt from its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It judges service accounts.
    Kubernetes,
    /// It may see more.
    Other,
}

type Mount = (String, String);

/// Every login of the process. It knows logins, and does not keep them: one that nobody holds is gone.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    kinds: Mutex<HashMap<Mount, Kind>>,
    learning: Mutex<HashMap<Mount, Arc<Turn>>>,
}

/// Where a login sits.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    session: Mutex<Weak<VaultSession>>,
    pub(crate) turn: Turn,
}

/// Where a login sits, as the login knows it.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    place: Option<(Key, Weak<Logins>)>,
}

/// One caller at a time, and those who waited share its bad luck, but not its refusal.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    attempts: AtomicU64,
    outage: tokio::sync::Mutex<Option<Error>>,
}

impl Turn {
    /// What `ready` has, or `make` makes. An outage that `make` met while others waited is theirs too.
    ///
    /// # Errors
    ///
    /// As `make`.
    pub(crate) async fn take<T>(
        &self,
        ready: impl Fn() -> Option<T>,
        make: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if let Some(value) = ready() {
            return Ok(value);
        }
        let asked = self.attempts.load(Ordering::Acquire);
        let mut outage = self.outage.lock().await;
        if let Some(value) = ready() {
            return Ok(value);
        }
        let waited = self.attempts.load(Ordering::Acquire) > asked;
        if let Some(error) = outage.as_ref().filter(|_| waited) {
            return Err(error.clone());
        }
        let outcome = make.await;
        *outage = outcome.as_ref().err().filter(|error| error.kind() == ErrorKind::Unavailable).cloned();
        self.attempts.fetch_add(1, Ordering::Release);
        outcome
    }
}

impl Logins {
    /// The slot for `key`.
    pub(crate) fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut slots = locked(&self.slots);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        slots.retain(|_, slot| slot.is_used());
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    /// What is known of a login mount.
    pub(crate) fn kind(&self, store: &str, mount: &str) -> Option<Kind> {
        locked(&self.kinds).get(&(store.to_owned(), mount.to_owned())).copied()
    }

    /// Whose turn it is to find out about a login mount.
    pub(crate) fn learning(&self, store: &str, mount: &str) -> Arc<Turn> {
        Arc::clone(locked(&self.learning).entry((store.to_owned(), mount.to_owned())).or_default())
    }

    /// Notes what a login told of its mount. One that ever saw more than accounts is never shared again.
    pub(crate) fn learn(&self, store: &str, mount: &str, kind: Kind) {
        let mount = (store.to_owned(), mount.to_owned());
        locked(&self.learning).remove(&mount);
        let mut kinds = locked(&self.kinds);
        let known = kinds.entry(mount).or_insert(kind);
        if kind == Kind::Other {
            *known = kind;
        }
    }
}

impl Slot {
    /// The login that sits here, if `volume` may have it.
    pub(crate) fn give(&self, volume: &str) -> Option<Arc<VaultSession>> {
        let session = locked(&self.session).upgrade()?;
        session.give(volume).then_some(session)
    }

    /// Seats a login.
    pub(crate) fn seat(&self, session: &Arc<VaultSession>) {
        *locked(&self.session) = Arc::downgrade(session);
    }

    fn is_used(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || locked(&self.session).strong_count() > 0
    }
}

impl Seat {
    pub(crate) fn new(key: Key, logins: &Arc<Logins>) -> Self {
        Self { place: Some((key, Arc::downgrade(logins))) }
    }

    /// Gives the seat up, if `who` still has it.
    pub(crate) fn leave(&mut self, who: &Weak<VaultSession>) {
        let Some((key, logins)) = self.place.take() else { return };
        let Some(logins) = logins.upgrade() else { return };
        let slot = logins.slot(&key);
        let mut session = locked(&slot.session);
        if session.ptr_eq(who) {
            *session = Weak::new();
        }
    }

    /// Changes to the seat that is `volume`'s alone.
    pub(crate) fn exchange(mut self, who: &Weak<VaultSession>, volume: &str) -> Self {
        let Some((key, logins)) = self.place.clone() else { return self };
        self.leave(who);
        let key = Key { volume: Some(volume.to_owned()), ..key };
        if let Some(logins) = logins.upgrade() {
            *locked(&logins.slot(&key).session) = Weak::clone(who);
        }
        Self { place: Some((key, logins)) }
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
