//! For whom a thread works: what it takes of what tenants share counts for them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;

thread_local! {
    static TENANT: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// Takes the thread's earlier tenant back on drop, also where the work panics.
struct Until(Option<Arc<str>>);

impl Drop for Until {
    fn drop(&mut self) {
        let earlier = self.0.take();
        // A thread that ends has no tenant any more.
        let _ = TENANT.try_with(|tenant| tenant.replace(earlier));
    }
}

/// Does `work` for `tenant`, a namespace: [`SecretBytes`](crate::SecretBytes) that it makes take the tenant's share of
/// secret memory. Tasks that it starts are not meant; each says for whom it works.
pub fn for_tenant<F: Future>(tenant: &str, work: F) -> impl Future<Output = F::Output> + use<F> {
    let tenant: Option<Arc<str>> = Some(tenant.into());
    // An async function would have room for it twice.
    let mut work = Box::pin(work);
    poll_fn(move |context| as_tenant(tenant.clone(), || work.as_mut().poll(context)))
}

/// The same for work that does not wait. `None` is this process itself.
pub fn as_tenant<T>(tenant: Option<Arc<str>>, work: impl FnOnce() -> T) -> T {
    let _until = Until(TENANT.try_with(|current| current.replace(tenant)).unwrap_or_default());
    work()
}

/// The same for work that another thread does for whom this thread works for now.
pub fn for_current_tenant<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let tenant = current_tenant();
    move || as_tenant(tenant, work)
}

/// For whom this thread works now; `None` is this process itself.
pub(crate) fn current_tenant() -> Option<Arc<str>> {
    TENANT.try_with(|tenant| tenant.borrow().clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_of_two_tasks_of_one_thread_works_for_its_own_tenant_and_the_thread_for_nobody() {
        let seen = |tenant: &'static str| {
            for_tenant(tenant, async {
                let before = current_tenant();
                tokio::task::yield_now().await;
                (before, as_tenant(None, current_tenant), current_tenant())
            })
        };

        let (shop, bank) = tokio::join!(seen("shop"), seen("bank"));

        assert_eq!(shop, (Some("shop".into()), None, Some("shop".into())));
        assert_eq!(bank, (Some("bank".into()), None, Some("bank".into())));
        assert_eq!(current_tenant(), None);
    }

    #[tokio::test]
    async fn a_thread_works_for_the_tenant_of_who_gives_it_work() {
        let seen = for_tenant("shop", async {
            let given = tokio::task::spawn_blocking(for_current_tenant(current_tenant));
            let other = tokio::task::spawn_blocking(current_tenant);
            (given.await.unwrap(), other.await.unwrap())
        });

        assert_eq!(seen.await, (Some("shop".into()), None));
    }

    #[test]
    fn work_that_panics_leaves_no_tenant_behind() {
        let panicked = std::panic::catch_unwind(|| as_tenant(Some("shop".into()), || panic!("on purpose")));

        assert!(panicked.is_err() && current_tenant().is_none());
    }
}
