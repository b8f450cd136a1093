//! What tenants share, so that none of them can take it from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A number of things, given out one by one. A tenant that has some gets one more only while more than that are free:
/// one tenant gets half of them at most, the next half of what is left, and each that has none gets one as long as
/// there is any.
///
/// With 256 threads, a tenant that wants all of them gets 128; another that comes later gets one, and up to 64.
#[derive(Debug)]
pub struct Shares {
    all: usize,
    held: Mutex<HashMap<Arc<str>, usize>>,
}

/// One of the things, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Shares>,
    tenant: Arc<str>,
}

impl Shares {
    /// `all` of them are free.
    pub fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { all, held: Mutex::default() })
    }

    /// One more for the one of `tenants` that has the fewest; for nobody in particular where there are none. `None` if
    /// even that one has to leave the rest to others.
    pub fn take<'a>(self: &Arc<Self>, tenants: impl IntoIterator<Item = &'a Arc<str>>) -> Option<Share> {
        let mut held = self.lock();
        let has = |tenant: &Arc<str>| held.get(tenant).copied().unwrap_or_default();
        let least = tenants.into_iter().min_by_key(|tenant| has(tenant));
        let tenant = least.map_or_else(|| Arc::from(""), Arc::clone);
        let has = has(&tenant);
        let free = held.values().fold(self.all, |free, held| free.saturating_sub(*held));
        (has < free).then(|| {
            held.insert(Arc::clone(&tenant), has.saturating_add(1));
            Share { of: Arc::clone(self), tenant }
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        if let Some(has) = held.get_mut(&self.tenant) {
            *has = has.saturating_sub(1);
            if *has == 0 {
                held.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as `tenant` gets.
    fn most(shares: &Arc<Shares>, tenant: &str) -> Vec<Share> {
        let tenant = Arc::from(tenant);
        std::iter::from_fn(|| shares.take([&tenant])).collect()
    }

    #[test]
    fn who_wants_all_leaves_some_to_every_other() {
        let shares = Shares::new(256);

        let taken = ["a", "b", "c"].map(|tenant| most(&shares, tenant));

        assert_eq!(taken.each_ref().map(Vec::len), [128, 64, 32]);
        assert!(shares.take([&Arc::from("a")]).is_none());
        assert!(shares.take([&Arc::from("d")]).is_some());
    }

    #[test]
    fn there_is_an_end_to_them_and_what_is_given_back_is_free_again() {
        let shares = Shares::new(10);
        let taken: Vec<_> = (0..20).map(|n| most(&shares, &n.to_string())).collect();
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), 10);
        assert!(shares.take([&Arc::from("other")]).is_none());

        drop(taken);

        assert!(shares.lock().is_empty());
        assert_eq!(most(&shares, "other").len(), 5);
    }

    #[test]
    fn what_several_want_counts_for_the_one_of_them_that_has_the_fewest() {
        let shares = Shares::new(4);
        let _taken = most(&shares, "hostile");
        let [hostile, shop] = ["hostile", "shop"].map(Arc::<str>::from);

        assert!(shares.take([&hostile]).is_none());
        let share = shares.take([&hostile, &shop]).unwrap();

        assert_eq!(&*share.tenant, "shop");
        assert_eq!(&*shares.take([]).unwrap().tenant, "", "nobody in particular");
    }
}
