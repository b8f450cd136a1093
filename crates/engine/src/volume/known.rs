//! What is known of each store. It is kept while a volume reads from the store, and for the stores that were used last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::volume::store_health::StoreHealth;

/// Most stores that are remembered although no volume reads from them.
const MOST_UNUSED: usize = 256;

/// What is known of one store. All readers of the store share it.
pub type Health = Arc<Mutex<StoreHealth>>;

/// Every store that this process remembers.
#[derive(Debug, Default)]
pub struct KnownStores {
    stores: HashMap<Arc<str>, Known>,
    looks: u64,
}

#[derive(Debug)]
struct Known {
    health: Health,
    /// The namespace whose volumes read from the store; `None` once there were several.
    namespace: Option<Arc<str>>,
    /// The number of its last look-up, as counted by `looks`.
    used: u64,
}

impl KnownStores {
    /// What is known of `store`, for a volume of `namespace` that reads from it. If there are too many unused stores,
    /// those of the namespace that named the most are forgotten first: one namespace cannot push out what others need.
    pub fn of(&mut self, store: &Arc<str>, namespace: &Arc<str>) -> Health {
        self.looks += 1;
        if !self.stores.contains_key(store) {
            self.make_room();
        }
        let fresh = || Known { health: Health::default(), namespace: Some(Arc::clone(namespace)), used: 0 };
        let known = self.stores.entry(Arc::clone(store)).or_insert_with(fresh);
        known.used = self.looks;
        if known.namespace.as_ref() != Some(namespace) {
            known.namespace = None;
        }
        Arc::clone(&known.health)
    }

    /// Each store, with the namespace that reads from it if there is only one.
    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, Option<&Arc<str>>, &Health)> {
        self.stores.iter().map(|(store, known)| (store, known.namespace.as_ref(), &known.health))
    }

    fn make_room(&mut self) {
        let unused = || self.stores.iter().filter(|(_, known)| Arc::strong_count(&known.health) == 1);
        if unused().count() < MOST_UNUSED {
            return;
        }
        let mut counts = HashMap::<Option<&Arc<str>>, usize>::new();
        unused().for_each(|(_, known)| *counts.entry(known.namespace.as_ref()).or_default() += 1);
        let longest = unused().min_by_key(|(_, known)| {
            let of_namespace = counts.get(&known.namespace.as_ref()).copied().unwrap_or(0);
            (std::cmp::Reverse(of_namespace), known.used)
        });
        if let Some(store) = longest.map(|(store, _)| Arc::clone(store)) {
            self.stores.remove(&store);
        }
    }
}

/// Runs `look` on what is known of a store. It may change it.
pub fn look<T>(health: &Health, look: impl FnOnce(&mut StoreHealth) -> T) -> T {
    look(&mut health.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: impl AsRef<str>) -> Arc<str> {
        text.as_ref().into()
    }

    #[test]
    fn a_namespace_that_names_many_stores_has_its_own_forgotten() {
        let mut known = KnownStores::default();
        let shop = name("shop");
        let remembered = known.of(&name("https://shop"), &shop);
        let served = known.of(&name("https://served"), &shop);

        drop(remembered);
        for n in 0..10_000 {
            drop(known.of(&name(format!("https://typo-{n}")), &name("hostile")));
        }

        assert_eq!(known.stores.len(), MOST_UNUSED + 1);
        assert!(known.stores.contains_key("https://shop"), "another namespace's is not pushed out");
        assert!(Arc::ptr_eq(&served, &known.of(&name("https://served"), &shop)), "a volume reads from it");
    }

    #[test]
    fn a_store_is_of_one_namespace_until_another_reads_from_it() {
        let mut known = KnownStores::default();
        let of = |known: &KnownStores| known.all().next().and_then(|(_, namespace, _)| namespace.cloned());

        known.of(&name("s"), &name("a"));
        known.of(&name("s"), &name("a"));
        assert_eq!(of(&known), Some(name("a")));
        known.of(&name("s"), &name("b"));
        assert_eq!(of(&known), None);
        known.of(&name("s"), &name("a"));
        assert_eq!(of(&known), None);
    }
}
