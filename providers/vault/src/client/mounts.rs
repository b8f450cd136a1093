//! Remembers the kinds of login mounts, as their answers show them. The kind decides who may share a login.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provider_client::Turn;

/// The kind of a login mount, as its answers show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It checks the service account and nothing else.
    Kubernetes,
    /// It may check more than the service account.
    Other,
}

/// A login mount as one namespace knows it. Namespaces do not wait for each other to learn its kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Mount {
    pub(crate) namespace: String,
    pub(crate) store: String,
    pub(crate) path: String,
}

/// Most login mounts that are remembered per namespace. Beyond that, the kind of another mount is learnt again.
const MOST_KINDS: usize = 64;
/// Most login mounts that are remembered in total.
const MOST_KINDS_IN_ALL: usize = 1024;

/// The known kinds of login mounts, and the callers that are finding out a kind.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    kinds: Mutex<Kinds>,
    learning: Mutex<HashMap<Mount, Arc<Turn>>>,
}

/// The kinds of login mounts.
#[derive(Debug, Default)]
struct Kinds(HashMap<Mount, Kind>);

impl Kinds {
    /// Makes room for one more entry of `namespace`. At the namespace's own limit one of its entries goes; at the total
    /// limit, an entry of the namespace that has the most.
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

    /// The namespace with the most entries.
    fn most_crowded(&self) -> Option<String> {
        let mut counts = HashMap::<&str, usize>::new();
        self.0.keys().for_each(|mount| *counts.entry(&mount.namespace).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(namespace, _)| namespace.to_owned())
    }
}

impl Mounts {
    /// The kind of a login mount, if it is known.
    pub(crate) fn kind(&self, mount: &Mount) -> Option<Kind> {
        locked(&self.kinds).0.get(mount).copied()
    }

    /// The turn of the callers that want to find out the kind of a login mount.
    pub(crate) fn learning(&self, mount: &Mount) -> Arc<Turn> {
        let mut learning = locked(&self.learning);
        if let Some(turn) = learning.get(mount) {
            return Arc::clone(turn);
        }
        // Forget the mounts for which no caller waits.
        learning.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(learning.entry(mount.clone()).or_default())
    }

    /// Remembers the kind of a mount after a login. A mount that was ever [`Kind::Other`] stays it, so that its logins
    /// are not shared.
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
        let mounts = Mounts::default();
        mounts.learn(&mount("shop", 0), Kind::Kubernetes);

        (0..10_000).for_each(|n| mounts.learn(&mount("hostile", n), Kind::Other));
        (0..10_000).for_each(|n| drop(mounts.learning(&mount("hostile", n))));

        assert_eq!(mounts.kind(&mount("shop", 0)), Some(Kind::Kubernetes));
        assert_eq!(locked(&mounts.kinds).0.len(), 1 + MOST_KINDS);
        assert!(locked(&mounts.learning).len() <= 1);
    }

    #[test]
    fn however_many_namespaces_there_are_what_is_known_has_a_bound() {
        let mounts = Mounts::default();
        for namespace in 0..30 {
            (0..MOST_KINDS).for_each(|n| mounts.learn(&mount(&namespace.to_string(), n), Kind::Kubernetes));
        }
        assert_eq!(locked(&mounts.kinds).0.len(), MOST_KINDS_IN_ALL);
    }

    #[test]
    fn a_mount_that_ever_saw_more_than_accounts_is_not_shared_again() {
        let mounts = Mounts::default();
        for kind in [Kind::Kubernetes, Kind::Other, Kind::Kubernetes] {
            mounts.learn(&mount("shop", 0), kind);
        }
        assert_eq!(mounts.kind(&mount("shop", 0)), Some(Kind::Other));
    }
}
