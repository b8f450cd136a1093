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

/// A login mount as one namespace knows it: none waits for another to learn what it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Mount {
    pub(crate) namespace: String,
    pub(crate) store: String,
    pub(crate) path: String,
}

/// Login mounts that are known for one namespace at most; beyond it another is learnt anew.
const MOST_KINDS: usize = 64;
/// Login mounts that are known in all.
const MOST_KINDS_IN_ALL: usize = 1024;

/// Every login of the process. It knows logins, and does not keep them: one that nobody holds is gone.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    kinds: Mutex<Kinds>,
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

/// What login mounts are.
#[derive(Debug, Default)]
struct Kinds(HashMap<Mount, Kind>);

impl Kinds {
    /// Makes room for one more of `namespace`: of its own first, then of whose namespace has the most.
    fn make_room(&mut self, namespace: &str) {
        let own = self.0.keys().filter(|mount| mount.namespace == namespace).count();
        let of = if own >= MOST_KINDS {
            Some(namespace.to_owned())
        } else if self.0.len() >= MOST_KINDS_IN_ALL {
            self.most_crowded()
        } else {
            None
        };
        let forgotten = of.and_then(|of| self.0.keys().find(|mount| mount.namespace == of).cloned());
        forgotten.map(|mount| self.0.remove(&mount));
    }

    /// The namespace that has the most.
    fn most_crowded(&self) -> Option<String> {
        let mut counts = HashMap::<&str, usize>::new();
        self.0.keys().for_each(|mount| *counts.entry(&mount.namespace).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(namespace, _)| namespace.to_owned())
    }
}

/// One caller at a time, and those who waited share its bad luck, but not its refusal.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    attempts: AtomicU64,
    outage: tokio::sync::Mutex<Option<Error>>,
}

impl Turn {
    /// What `ready` has, or `make` makes. An outage that `make` met while others waited is theirs too, in the words
    /// of `told`.
    ///
    /// # Errors
    ///
    /// As `make`.
    pub(crate) async fn take<T>(
        &self,
        ready: impl Fn() -> Option<T>,
        make: impl Future<Output = Result<T>>,
        told: fn(&Error) -> Error,
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
            return Err(told(error));
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
    pub(crate) fn kind(&self, mount: &Mount) -> Option<Kind> {
        locked(&self.kinds).0.get(mount).copied()
    }

    /// Whose turn it is to find out about a login mount.
    pub(crate) fn learning(&self, mount: &Mount) -> Arc<Turn> {
        let mut learning = locked(&self.learning);
        if let Some(turn) = learning.get(mount) {
            return Arc::clone(turn);
        }
        // Of those that nobody learns about now, nothing is to be remembered.
        learning.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(learning.entry(mount.clone()).or_default())
    }

    /// Notes what a login told of its mount. One that ever saw more than accounts is not shared again.
    pub(crate) fn learn(&self, mount: &Mount, kind: Kind) {
        locked(&self.learning).remove(mount);
        let mut kinds = locked(&self.kinds);
        if !kinds.0.contains_key(mount) {
            kinds.make_room(&mount.namespace);
        }
        let known = kinds.0.entry(mount.clone()).or_insert(kind);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(namespace: &str, n: usize) -> Mount {
        Mount {
            namespace: namespace.to_owned(),
            store: format!("https://s{n}"),
            path: "kubernetes".to_owned(),
        }
    }

    #[test]
    fn a_namespace_that_names_many_stores_forgets_its_own_and_nobody_elses() {
        let logins = Logins::default();
        logins.learn(&mount("shop", 0), Kind::Kubernetes);

        (0..10_000).for_each(|n| logins.learn(&mount("hostile", n), Kind::Other));
        (0..10_000).for_each(|n| drop(logins.learning(&mount("hostile", n))));

        assert_eq!(logins.kind(&mount("shop", 0)), Some(Kind::Kubernetes));
        assert_eq!(locked(&logins.kinds).0.len(), 1 + MOST_KINDS);
        assert!(locked(&logins.learning).len() <= 1);
    }

    #[test]
    fn however_many_namespaces_there_are_what_is_known_has_a_bound() {
        let logins = Logins::default();
        for namespace in 0..30 {
            (0..MOST_KINDS).for_each(|n| logins.learn(&mount(&namespace.to_string(), n), Kind::Kubernetes));
        }
        assert_eq!(locked(&logins.kinds).0.len(), MOST_KINDS_IN_ALL);
    }

    #[test]
    fn a_mount_that_ever_saw_more_than_accounts_is_not_shared_again() {
        let logins = Logins::default();
        for kind in [Kind::Kubernetes, Kind::Other, Kind::Kubernetes] {
            logins.learn(&mount("shop", 0), kind);
        }
        assert_eq!(logins.kind(&mount("shop", 0)), Some(Kind::Other));
    }
}
