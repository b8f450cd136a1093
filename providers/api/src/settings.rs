use std::path::PathBuf;
use std::sync::Arc;

use crate::{Accounts, Declaration, Provider, Result, Workload};

/// How stores over a network are reached: the administrator's word, for stores of every kind.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Folder below which the certificate paths of classes are looked up. Without it a class may name none.
    pub tls_dir: Option<PathBuf>,
    /// Whether classes may ask for stores over HTTP, and for TLS that is not verified.
    pub allow_insecure: bool,
    /// Whether TLS before 1.3 is refused.
    pub tls13_only: bool,
    /// URL of the proxy to go through.
    pub proxy: Option<String>,
    /// Hosts to reach without it, as in `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// For whom a store may be asked as this machine.
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

/// For whom a provider may act as the machine: by an AWS instance role, an Azure managed identity or a Google metadata
/// server. Every pod of a node would have the same rights by it, so that no class gets it on its own word.
#[derive(Debug, Clone, Default)]
pub struct MachineIdentity {
    /// The namespaces whose pods may have it; `*` is each.
    pub namespaces: Vec<String>,
    /// Whether who mounts on a plain host asked for it.
    pub is_for_host: bool,
}

impl MachineIdentity {
    /// Whether `workload` may read as the machine.
    pub fn is_for(&self, workload: &Workload) -> bool {
        match &workload.pod {
            Some(_) => self.namespaces.iter().any(|name| name == "*" || *name == workload.identity.namespace),
            None => self.is_for_host,
        }
    }
}

/// What an administrator sets for one kind of store: its own group of flags, as it is typed.
pub trait Settings: Sized {
    /// The kind of store with these settings. It connects when it is asked to.
    ///
    /// # Errors
    ///
    /// A setting could never work.
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>>;

    /// Settings to understand classes with, and not to read: what a class may leave to the settings is there.
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
