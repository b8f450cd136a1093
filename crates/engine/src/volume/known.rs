//! What is known of each store: for as long as a volume reads from it, and of the latest others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::volume::store_health::StoreHealth;

/// Stores that are remembered though no volume reads from them.
const MOST_UNUSED: usize = 256;

/// What is known of one store, shared by all who read from it.
pub type Health = Arc<Mutex<StoreHealth>>;

/// Every store that is known.
#[derive(Debug, Default)]
pub struct KnownStores {
    stores: HashMap<Arc<str>, Known>,
    looks: u64,
}

#[derive(Debug)]
struct Known {
    health: Health,
    /// Whose volumes read from it; `None` once there were several.
    namespace: Option<Arc<str>>,
    /// When it was looked for last, by the count of looks.
    used: u64,
}

impl KnownStores {
    /// What is known of `store`, which a volume of `namespace` reads from. A namespace that names many stores has
    /// its own forgotten first.
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

    /// Each store with the namespace that alone reads from it, if one does.
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

/// Looks at, or changes, what is known of a store.
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
