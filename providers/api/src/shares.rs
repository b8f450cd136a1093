//! Divides what tenants share, so that no tenant can take all of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether a tenant may take `more` of `bound`. It has `own` of the `taken` ones. It may if at least as many as it then
/// has stay free for others. So one tenant gets at most half, the next one half of what is left, and a tenant that has
/// none gets one as long as one is free.
///
/// With 256 threads, a tenant that wants all of them gets 128. Another tenant that comes later can get up to 64.
pub fn leaves_room(own: usize, taken: usize, more: usize, bound: usize) -> bool {
    bound.saturating_sub(taken) >= own.saturating_add(more)
}

/// How many each tenant has. Tenants that have none are not in it.
#[derive(Debug, Clone)]
pub struct Counts<K> {
    of: HashMap<K, usize>,
    total: usize,
}

/// A fixed number of things that are given to tenants one by one, as [`leaves_room`] allows.
#[derive(Debug)]
pub struct TenantShares {
    all: usize,
    held: Mutex<Counts<Arc<str>>>,
}

/// One of these things. It is given back on drop.
#[derive(Debug)]
pub struct Share {
    of: Arc<TenantShares>,
    tenant: Arc<str>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { of: HashMap::new(), total: 0 }
    }
}

impl<K: Eq + Hash> Counts<K> {
    /// How many `key` has.
    pub fn of(&self, key: &K) -> usize {
        self.of.get(key).copied().unwrap_or_default()
    }

    /// Whether no tenant has any.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// How many all tenants have together.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Gives `key` this many `more`.
    pub fn add(&mut self, key: K, more: usize) {
        if more == 0 {
            return;
        }
        let count = self.of.entry(key).or_default();
        *count = count.saturating_add(more);
        self.total = self.total.saturating_add(more);
    }

    /// Takes `less` away from `key`.
    pub fn give_back(&mut self, key: &K, less: usize) {
        let Some(count) = self.of.get_mut(key) else { return };
        let given = less.min(*count);
        *count = count.saturating_sub(given);
        self.total = self.total.saturating_sub(given);
        if *count == 0 {
            self.of.remove(key);
        }
    }
}

impl TenantShares {
    /// A new set of `all` free things.
    pub fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { all, held: Mutex::default() })
    }

    /// Takes one for the tenant in `tenants` that has the fewest. If `tenants` is empty it belongs to no tenant. `None`
    /// if even that tenant has to leave the rest to others.
    pub fn take<'a>(self: &Arc<Self>, tenants: impl IntoIterator<Item = &'a Arc<str>>) -> Option<Share> {
        let mut held = self.lock();
        let least = tenants.into_iter().min_by_key(|tenant| held.of(tenant));
        let tenant = least.map_or_else(|| Arc::from(""), Arc::clone);
        leaves_room(held.of(&tenant), held.total(), 1, self.all).then(|| {
            held.add(Arc::clone(&tenant), 1);
            Share { of: Arc::clone(self), tenant }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts<Arc<str>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.lock().give_back(&self.tenant, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as many as `tenant` can get.
    fn most(shares: &Arc<TenantShares>, tenant: &str) -> Vec<Share> {
        let tenant = Arc::from(tenant);
        std::iter::from_fn(|| shares.take([&tenant])).collect()
    }

    #[test]
    fn who_wants_all_leaves_some_to_every_other() {
        let shares = TenantShares::new(256);

        let taken = ["a", "b", "c"].map(|tenant| most(&shares, tenant));

        assert_eq!(taken.each_ref().map(Vec::len), [128, 64, 32]);
        assert!(shares.take([&Arc::from("a")]).is_none());
        assert!(shares.take([&Arc::from("d")]).is_some());
    }

    #[test]
    fn there_is_an_end_to_them_and_what_is_given_back_is_free_again() {
        let shares = TenantShares::new(10);
        let taken: Vec<_> = (0..20).map(|n| most(&shares, &n.to_string())).collect();
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), 10);
        assert!(shares.take([&Arc::from("other")]).is_none());

        drop(taken);

        assert!(shares.lock().is_empty());
        assert_eq!(most(&shares, "other").len(), 5);
    }

    #[test]
    fn what_several_want_counts_for_the_one_of_them_that_has_the_fewest() {
        let shares = TenantShares::new(4);
        let _taken = most(&shares, "hostile");
        let [hostile, shop] = ["hostile", "shop"].map(Arc::<str>::from);

        assert!(shares.take([&hostile]).is_none());
        let share = shares.take([&hostile, &shop]).unwrap();

        assert_eq!(&*share.tenant, "shop");
        assert_eq!(&*shares.take([]).unwrap().tenant, "", "nobody in particular");
    }
}
