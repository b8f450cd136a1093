//! Memory that this process may lock for the versions that its volumes show, shared out between namespaces.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuse_session::{Lent, Store};
use provider::{Counts, leaves_room};
use rustix::process::{Resource, getrlimit};

/// Of sixteen parts of what this process may lock, so many are for the versions that are shown. Eight are for what the engine
/// keeps ([`provider::SecretBytes`]), and one is for the buffers of the session layer.
const SIXTEENTHS: u64 = 7;

/// What there is, and who has how much.
#[derive(Debug)]
pub(super) struct Lockable {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: Counts<Arc<str>>,
    /// Namespaces that were told that they have their share.
    told: BTreeSet<Arc<str>>,
}

/// What one version takes. It is given back on drop.
#[derive(Debug)]
struct Taken {
    of: Arc<Lockable>,
    tenant: Arc<str>,
    bytes: usize,
}

impl Lockable {
    /// What the limit of this process (`RLIMIT_MEMLOCK`) allows.
    pub(super) fn by_limit() -> Arc<Self> {
        let limit = getrlimit(Resource::Memlock).current;
        let bytes = |limit: u64| usize::try_from(limit.saturating_mul(SIXTEENTHS) / 16).unwrap_or(usize::MAX);
        Arc::new(Self::of(limit.map_or(usize::MAX, bytes)))
    }

    fn of(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for values of so many bytes. `None` where other namespaces need what is left: a namespace is told so once.
    pub(super) fn take(self: &Arc<Self>, tenant: &str, bytes: usize) -> Option<Lent> {
        let (tenant, bytes) = (Arc::<str>::from(tenant), in_pages(bytes));
        let mut state = self.lock();
        let own = state.taken.of(&tenant);
        if leaves_room(own, state.taken.total(), bytes, self.most) {
            return Some(self.give(&mut state, tenant, bytes));
        }
        if state.told.insert(Arc::clone(&tenant)) {
            tracing::warn!(
                namespace = &*tenant,
                own,
                most = self.most,
                "the namespace has its share of memory that may be locked: further values of its volumes of mode fuse are \
                 in memory that the kernel may swap"
            );
        }
        None
    }

    /// Room for values that an earlier process handed over in `file`. Secret memory is locked when it is mapped, so it counts
    /// even where it is more than the share. Other memory is left unlocked where newer versions may have secret memory.
    pub(super) fn take_for(
        self: &Arc<Self>,
        tenant: &str,
        bytes: usize,
        file: BorrowedFd<'_>,
    ) -> Option<Lent> {
        match (Store::is_secret(file), Store::can_be_secret()) {
            (true, _) => Some(self.give(&mut self.lock(), tenant.into(), in_pages(bytes))),
            (false, true) => None,
            (false, false) => self.take(tenant, bytes),
        }
    }

    fn give(self: &Arc<Self>, state: &mut State, tenant: Arc<str>, bytes: usize) -> Lent {
        state.taken.add(Arc::clone(&tenant), bytes);
        Box::new(Taken { of: Arc::clone(self), tenant, bytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.of.lock();
        state.taken.give_back(&self.tenant, self.bytes);
        if state.taken.of(&self.tenant) == 0 {
            state.told.remove(&self.tenant);
        }
    }
}

/// A version has at least one page, and nobody has a part of a page.
fn in_pages(bytes: usize) -> usize {
    bytes.max(1).checked_next_multiple_of(rustix::param::page_size()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::fs::MemfdFlags;

    use super::*;

    #[test]
    fn a_namespace_with_many_values_leaves_memory_that_may_be_locked_for_others() {
        let lockable = Arc::new(Lockable::of(100 * in_pages(1)));
        let all = |tenant| std::iter::from_fn(|| lockable.take(tenant, 1)).collect::<Vec<_>>();
        let (greedy, quiet) = (all("greedy"), all("quiet"));
        assert_eq!((greedy.len(), quiet.len()), (50, 25));

        assert!(lockable.lock().told.contains("greedy"));
        drop(greedy);
        assert!(!lockable.lock().told.contains("greedy") && lockable.take("quiet", 1).is_some());
    }

    #[test]
    fn what_an_earlier_process_had_in_secret_memory_counts_even_where_it_is_more_than_the_share() {
        let (lockable, page) = (Arc::new(Lockable::of(2 * in_pages(1))), in_pages(1));
        let first = Store::to_hand_over(1, lockable.take("shop", 1)).unwrap().build().0;
        let again = lockable.take_for("shop", 2 * page, first.file().unwrap());
        let ordinary = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();

        if Store::is_secret(first.file().unwrap()) {
            assert!(again.is_some() && lockable.take_for("bank", 1, ordinary.as_fd()).is_none());
            assert_eq!(lockable.lock().taken.total(), 3 * page);
        }
        drop((first, again));
        assert!(lockable.lock().taken.is_empty() && Store::to_hand_over(1, lockable.take("bank", 1)).is_ok());
    }
}
