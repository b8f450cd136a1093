use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provider::{Error, ErrorKind, Result};

use crate::connection::{Connection, Endpoint, Settings};
use crate::lookup::Lookups;
use crate::material::{ClientPair, Material};
use crate::tls_settings::Tls;

/// How many servers without a login keep their connections.
const MAX_CLIENTS: usize = 64;

/// The connections to the servers of one kind of store: one entry per server and set of certificates, the most recently
/// used one last. `K` is everything that distinguishes servers.
pub struct Connections<K> {
    clients: Mutex<Vec<(Key<K>, Arc<Connection>)>>,
    lookups: Arc<Lookups>,
}

#[derive(PartialEq, Eq)]
struct Key<K>(K, [u8; 32]);

impl<K> Default for Connections<K> {
    fn default() -> Self {
        Self { clients: Mutex::default(), lookups: Arc::default() }
    }
}

impl<K> fmt::Debug for Connections<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connections({})", self.lock().len())
    }
}

impl<K: PartialEq> Connections<K> {
    /// The connections of `tenant` to `server`, whose address is in `endpoint`. Certificate paths of classes are below
    /// `tls_dir`. With a client certificate from the workload's `own` credentials, the connections are not shared.
    ///
    /// # Errors
    ///
    /// `Invalid` if the certificates cannot be read or used; also as [`Connection::new`].
    pub async fn to(
        &self,
        tenant: &str,
        server: K,
        endpoint: Endpoint<'_>,
        own: Option<ClientPair>,
        tls_dir: Option<&Path>,
        settings: &Settings,
    ) -> Result<Arc<Connection>> {
        let mut material = material(endpoint.tls, tls_dir).await?;
        let is_own = own.is_some();
        if is_own {
            material.client = own;
        }
        let connect = || Connection::new(endpoint, &material, settings, &self.lookups).map(Arc::new);
        let connection = if is_own { connect()? } else { self.shared(server, &material, connect)? };
        connection.used_by(tenant);
        Ok(connection)
    }

    fn shared(
        &self,
        server: K,
        material: &Material,
        connect: impl FnOnce() -> Result<Arc<Connection>>,
    ) -> Result<Arc<Connection>> {
        let key = Key(server, material.fingerprint());
        if let Some(known) = self.get(&key) {
            return Ok(known);
        }
        let connection = connect()?;
        self.keep(key, Arc::clone(&connection));
        Ok(connection)
    }

    /// Removes the entry that was unused for longest. Entries that a login uses stay, so a tenant that names many
    /// servers removes no entry that others use.
    fn keep(&self, key: Key<K>, connection: Arc<Connection>) {
        let mut clients = self.lock();
        let is_idle = |(_, connection): &(Key<K>, Arc<Connection>)| Arc::strong_count(connection) == 1;
        if clients.iter().filter(|client| is_idle(client)).count() >= MAX_CLIENTS
            && let Some(longest_unused) = clients.iter().position(is_idle)
        {
            clients.remove(longest_unused);
        }
        clients.push((key, connection));
    }

    fn get(&self, key: &Key<K>) -> Option<Arc<Connection>> {
        let mut clients = self.lock();
        let at = clients.iter().position(|(known, _)| known == key)?;
        let client = clients.remove(at);
        let connection = Arc::clone(&client.1);
        clients.push(client);
        Some(connection)
    }
}

impl<K> Connections<K> {
    fn lock(&self) -> MutexGuard<'_, Vec<(Key<K>, Arc<Connection>)>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn material(tls: &Tls, tls_dir: Option<&Path>) -> Result<Material> {
    if tls.ca.is_none() && tls.ca_directory.is_none() && tls.client_certificate.is_none() {
        return Ok(Material::default());
    }
    let (tls, tls_dir) = (tls.clone(), tls_dir.map(Path::to_owned));
    let load = tokio::task::spawn_blocking(move || Material::load(&tls, tls_dir.as_deref()));
    load.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "stopping")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::settings;

    #[tokio::test]
    async fn whoever_names_many_servers_pushes_out_none_that_somebody_uses() {
        let (connections, tls, settings) = (Connections::default(), Tls::default(), settings());
        let to = async |n: usize| {
            let address = format!("https://s{n}");
            let endpoint = Endpoint { name: &address, address: &address, tls: &tls };
            connections.to("shop", n, endpoint, None, None, &settings).await.unwrap()
        };
        let used = to(0).await;

        for n in 1..3 * MAX_CLIENTS {
            to(n).await;
        }

        assert!(Arc::ptr_eq(&used, &to(0).await));
        assert_eq!(connections.lock().len(), 1 + MAX_CLIENTS);
    }
}
