//! Finding addresses by name.
//!
//! The system's resolver blocks, and a name server that never answers blocks it for long after whoever asked has
//! gone. So lookups have threads of their own, one for each name however many ask: those that hang hold up
//! neither system calls of others nor names that can be found.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::watch;

/// Most names that are looked up at one time.
const MOST: usize = 256;
/// Bytes of a lookup's stack.
const STACK: usize = 512 << 10;

/// Lookups under way, for every server of one kind of store.
#[derive(Debug, Default)]
pub struct Lookups(Mutex<HashMap<String, watch::Receiver<Option<Found>>>>);

/// Addresses; none if the name has none.
type Found = Vec<SocketAddr>;

/// Why there are no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// The name has none.
    Name,
    /// Too many other names are being looked up.
    Busy,
}

impl Lookups {
    /// The addresses of `host`, with port 0.
    ///
    /// # Errors
    ///
    /// There are none, or it cannot be looked up now.
    pub(crate) async fn addresses(self: &Arc<Self>, host: &str) -> Result<Found, NotFound> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        let mut found = self.look_up(host, resolve).ok_or(NotFound::Busy)?;
        let found = found.wait_for(Option::is_some).await.map_err(|_| NotFound::Name)?;
        found.clone().filter(|found| !found.is_empty()).ok_or(NotFound::Name)
    }

    /// The lookup of `host` that is under way, or a new one.
    fn look_up(
        self: &Arc<Self>,
        host: &str,
        resolve: fn(&str) -> Vec<SocketAddr>,
    ) -> Option<watch::Receiver<Option<Found>>> {
        let mut names = self.lock();
        if let Some(found) = names.get(host) {
            return Some(found.clone());
        }
        if names.len() >= MOST {
            return None;
        }
        let (tell, found) = watch::channel(None);
        let (lookups, name) = (Arc::clone(self), host.to_owned());
        let thread = thread::Builder::new().name("lookup".to_owned()).stack_size(STACK);
        let started = thread.spawn(move || {
            let addresses = resolve(&name);
            lookups.lock().remove(&name);
            tell.send_replace(Some(addresses));
        });
        // It ends with the resolver's own patience, and tells itself.
        started.ok()?;
        names.insert(host.to_owned(), found.clone());
        Some(found)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Option<Found>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[tokio::test]
    async fn an_address_is_its_own_answer_and_a_name_without_one_is_told() {
        let lookups = Arc::<Lookups>::default();
        let found = lookups.addresses("127.0.0.1").await.unwrap();
        assert_eq!(found, ["127.0.0.1:0".parse().unwrap()]);
        assert!(!lookups.addresses("localhost").await.unwrap().is_empty());
        assert_eq!(lookups.addresses("no-such-name.invalid").await, Err(NotFound::Name));
        assert!(lookups.lock().is_empty());
    }

    #[test]
    fn a_name_that_hangs_has_one_thread_however_many_ask_and_too_many_names_are_refused() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn hang(_: &str) -> Vec<SocketAddr> {
            ASKED.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_secs(3600));
            Vec::new()
        }
        let lookups = Arc::<Lookups>::default();

        assert!((0..100).all(|_| lookups.look_up("hangs", hang).is_some()));
        assert_eq!(lookups.lock().len(), 1);
        assert!((1..MOST).all(|n| lookups.look_up(&format!("hangs-{n}"), hang).is_some()));
        assert!(lookups.look_up("one more", hang).is_none());
        assert!(ASKED.load(Ordering::SeqCst) <= MOST);
    }
}
