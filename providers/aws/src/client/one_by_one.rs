//! Who may not make batch calls.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// Identities that are known for one namespace at most.
const MOST: usize = 64;
/// Namespaces that are known at most.
const MOST_NAMESPACES: usize = 256;

/// The identities whose batch calls AWS refused: their secrets are read one by one. Who is forgotten is told again.
#[derive(Debug, Default)]
pub(crate) struct OneByOne(Mutex<HashMap<String, BTreeSet<String>>>);

impl OneByOne {
    pub(crate) fn has(&self, namespace: &str, identity: &str) -> bool {
        self.lock(|known| known.get(namespace).is_some_and(|identities| identities.contains(identity)))
    }

    /// Notes one more. `false` if it is known already.
    pub(crate) fn add(&self, namespace: &str, identity: &str) -> bool {
        self.lock(|known| {
            if !known.contains_key(namespace) && known.len() >= MOST_NAMESPACES {
                known.clear();
            }
            let identities = known.entry(namespace.to_owned()).or_default();
            if identities.len() >= MOST && !identities.contains(identity) {
                identities.pop_first();
            }
            identities.insert(identity.to_owned())
        })
    }

    fn lock<T>(&self, of: impl FnOnce(&mut HashMap<String, BTreeSet<String>>) -> T) -> T {
        of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_told_once_and_a_crowded_namespace_forgets_its_own() {
        let known = OneByOne::default();
        assert!(known.add("shop", "a") && !known.add("shop", "a") && known.has("shop", "a"));
        assert!(!known.has("bank", "a"));

        assert!((0..1000).all(|n| known.add("hostile", &n.to_string())));

        assert!(known.has("shop", "a"));
        known.lock(|known| assert_eq!(known["hostile"].len(), MOST));
        assert!((0..1000).all(|n| known.add(&n.to_string(), "a")));
        known.lock(|known| assert!(known.len() <= MOST_NAMESPACES));
    }
}
