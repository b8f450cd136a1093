use std::path::PathBuf;
use std::sync::Arc;

use crate::{Accounts, Declaration, Provider, Result, Workload};

/// The administrator's settings for all stores that are reached over a network.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Folder for the certificate paths of classes. Without it, classes may not name certificates.
    pub tls_dir: Option<PathBuf>,
    /// Whether classes may use stores over HTTP, or TLS without verification.
    pub allow_insecure: bool,
    /// Whether TLS before 1.3 is refused.
    pub tls13_only: bool,
    /// URL of the proxy to use.
    pub proxy: Option<String>,
    /// Hosts to reach without the proxy, as in `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// Who may use the identity of this machine.
    pub machine: MachineIdentity,
    /// What the cluster says of service accounts; `None` where there is no cluster, and where the administrator does
    /// not have it asked.
    pub accounts: Option<Arc<dyn Accounts>>,
}

impl Network {
    /// The same for the stores of `declaration`: those that declare no annotations ask for none.
    #[must_use]
    pub fn of(&self, declaration: &Declaration) -> Self {
        let accounts = self.accounts.clone().filter(|_| !declaration.annotations.is_empty());
        Self { accounts, ..self.clone() }
    }
}

/// Who may use the identity of the machine: an AWS instance role, an Azure managed identity or a Google metadata
/// server. It gives every pod of a node the same rights, so a class cannot choose it by itself.
#[derive(Debug, Clone, Default)]
pub struct MachineIdentity {
    /// The namespaces whose pods may use it; `*` means all.
    pub namespaces: Vec<String>,
    /// Whether the user of a plain host asked for it.
    pub is_for_host: bool,
}

impl MachineIdentity {
    /// Whether `workload` may read with the identity of the machine.
    pub fn is_for(&self, workload: &Workload) -> bool {
        match &workload.pod {
            Some(_) => self.namespaces.iter().any(|name| name == "*" || *name == workload.identity.namespace),
            None => self.is_for_host,
        }
    }
}

/// The administrator's settings for one kind of store: its own group of command-line flags.
pub trait Settings: Sized {
    /// Makes the provider with these settings. It connects at the first call.
    ///
    /// # Errors
    ///
    /// A setting can never work.
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>>;

    /// Settings that are good enough to parse classes, but not to read. They have a value for everything that a class
    /// may leave out.
    fn offline() -> Self;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Pod};

    fn workload(namespace: &str, pod: Option<Pod>) -> Workload {
        let identity = Identity::named(namespace, "web");
        let (tokens, credentials) = Default::default();
        Workload { identity, pod, volume: "v".to_owned(), tokens, credentials }
    }

    #[test]
    fn pods_read_as_the_machine_in_listed_namespaces_only_and_hosts_where_it_was_asked_for() {
        let pod = || Some(Pod { name: "web-0".to_owned(), uid: "uid-0".to_owned() });
        let listed = MachineIdentity { namespaces: vec!["infra".to_owned()], is_for_host: false };
        let host = MachineIdentity { namespaces: Vec::new(), is_for_host: true };

        assert!(listed.is_for(&workload("infra", pod())));
        assert!(!listed.is_for(&workload("shop", pod())) && !listed.is_for(&workload("infra", None)));
        assert!(host.is_for(&workload("shop", None)) && !host.is_for(&workload("shop", pod())));
        assert!(!MachineIdentity::default().is_for(&workload("", None)));
    }
}
