//! Looks up the addresses of host names.
//!
//! The system's resolver blocks. A name server that never answers blocks it for a long time, even after the caller has
//! gone. So lookups have threads of their own, one per name no matter how many callers ask. A lookup that hangs delays
//! neither other system calls nor the lookup of other names. One tenant cannot take all threads with names that hang:
//! each thread is charged to a tenant, and a tenant with some threads gets another only while more than that are free.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use provider::TenantShares;
use tokio::sync::watch;

/// Most names that are looked up at the same time.
const MOST: usize = 256;
/// The stack of a lookup's thread, in bytes.
const STACK: usize = 512 << 10;

/// Most tenants of one server that are remembered. The oldest are forgotten.
const MOST_TENANTS: usize = 1024;

/// The running lookups for every server of one kind of store.
#[derive(Debug)]
pub struct Lookups {
    names: Mutex<HashMap<String, Awaited>>,
    threads: Arc<TenantShares>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { names: Mutex::default(), threads: TenantShares::new(MOST) }
    }
}

/// The result of a lookup, available when it has ended.
type Awaited = watch::Receiver<Option<Found>>;

/// The addresses. Empty if the name has none.
type Found = Vec<SocketAddr>;

/// The tenants that use one server. The lookup of its name is charged to the tenant with the fewest running lookups. So
/// no tenant can block a server for others by using it too.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Mutex<VecDeque<Arc<str>>>);

impl Tenants {
    /// Notes that `tenant` uses the server.
    pub(crate) fn add(&self, tenant: &str) {
        let mut tenants = self.lock();
        let known = tenants.iter().position(|known| **known == *tenant);
        let tenant = known.and_then(|at| tenants.remove(at)).unwrap_or_else(|| tenant.into());
        if tenants.len() >= MOST_TENANTS {
            tenants.pop_front();
        }
        tenants.push_back(tenant);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there are no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// The name has no address.
    Name,
    /// Too many other names are being looked up now.
    Busy,
}

impl Lookups {
    /// The addresses of `host`, which `tenants` use. Their port is 0.
    ///
    /// # Errors
    ///
    /// The name has no address, or cannot be looked up now.
    pub(crate) async fn addresses(
        self: &Arc<Self>,
        host: &str,
        tenants: &Tenants,
    ) -> Result<Found, NotFound> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        let mut found = self.look_up(host, tenants, resolve).ok_or(NotFound::Busy)?;
        let found = found.wait_for(Option::is_some).await.map_err(|_| NotFound::Name)?;
        found.clone().filter(|found| !found.is_empty()).ok_or(NotFound::Name)
    }

    /// The running lookup of `host`, or a new one.
    fn look_up(
        self: &Arc<Self>,
        host: &str,
        tenants: &Tenants,
        resolve: fn(&str) -> Vec<SocketAddr>,
    ) -> Option<Awaited> {
        let mut names = self.lock();
        if let Some(found) = names.get(host) {
            return Some(found.clone());
        }
        let share = self.threads.take(&*tenants.lock())?;
        let (tell, found) = watch::channel(None);
        let (lookups, name) = (Arc::clone(self), host.to_owned());
        let thread = thread::Builder::new().name("lookup".to_owned()).stack_size(STACK);
        let started = thread.spawn(move || {
            let addresses = resolve(&name);
            lookups.lock().remove(&name);
            drop(share);
            tell.send_replace(Some(addresses));
        });
        // The thread ends when the resolver gives up, and sends its result by itself.
        started.ok()?;
        names.insert(host.to_owned(), found.clone());
        Some(found)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Awaited>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn resolve(host: &str) -> Vec<SocketAddr> {
    (host, 0).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn tenants(names: &[&str]) -> Tenants {
        let tenants = Tenants::default();
        names.iter().for_each(|name| tenants.add(name));
        tenants
    }

    #[tokio::test]
    async fn an_address_is_its_own_answer_and_a_name_without_one_is_told() {
        let lookups = Arc::<Lookups>::default();
        let nobody = Tenants::default();
        let found = lookups.addresses("127.0.0.1", &nobody).await.unwrap();
        assert_eq!(found, ["127.0.0.1:0".parse().unwrap()]);
        assert!(!lookups.addresses("localhost", &nobody).await.unwrap().is_empty());
        assert_eq!(lookups.addresses("no-such-name.invalid", &nobody).await, Err(NotFound::Name));
        assert!(lookups.lock().is_empty());
    }

    fn hang(_: &str) -> Vec<SocketAddr> {
        thread::sleep(Duration::from_secs(3600));
        Vec::new()
    }

    #[test]
    fn a_name_that_hangs_has_one_thread_however_many_ask() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn count(host: &str) -> Vec<SocketAddr> {
            ASKED.fetch_add(1, Ordering::SeqCst);
            hang(host)
        }
        let (lookups, shop) = (Arc::<Lookups>::default(), tenants(&["shop"]));

        assert!((0..100).all(|_| lookups.look_up("hangs", &shop, count).is_some()));

        while ASKED.load(Ordering::SeqCst) == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!((lookups.lock().len(), ASKED.load(Ordering::SeqCst)), (1, 1));
    }

    #[test]
    fn a_tenant_whose_names_hang_leaves_room_for_every_other() {
        let (lookups, hostile) = (Arc::<Lookups>::default(), tenants(&["hostile"]));
        let looks_up = |name: &str, of: &Tenants| lookups.look_up(name, of, hang).is_some();

        let taken = (0..=MOST).take_while(|n| looks_up(&format!("hangs-{n}"), &hostile)).count();

        assert_eq!(taken, MOST / 2);
        assert!(looks_up("vault", &tenants(&["shop"])));
        assert!(
            looks_up("shared", &tenants(&["hostile", "shop", "hostile"])),
            "by using it too nobody takes it away"
        );
        assert!(!looks_up("one more", &hostile));
    }

    #[test]
    fn tenants_of_late_are_remembered_each_once() {
        let known = tenants(&["a", "b", "a"]);
        assert_eq!(known.lock().iter().map(|tenant| &**tenant).collect::<Vec<_>>(), ["b", "a"]);

        (0..MOST_TENANTS).for_each(|n| known.add(&n.to_string()));
        let known = known.lock();
        assert_eq!((known.len(), &*known[0]), (MOST_TENANTS, "0"));
    }
}
