//! What is set for stores where a process starts, as it is typed.

use std::path::PathBuf;
use std::sync::Arc;

use provider::{Accounts, MachineIdentity, Network};

use super::{PerStore, Providers};

#[cfg(feature = "external")]
use self::external::ExternalSettings;

/// Settings of every provider, which a class may narrow but not widen.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ProviderArgs {
    #[command(flatten)]
    stores: PerStore,

    #[command(flatten)]
    network: NetworkArgs,

    #[cfg(feature = "external")]
    #[command(flatten)]
    external: ExternalSettings,
}

/// [`Network`], as it is typed.
#[derive(Debug, Clone, Default, clap::Args)]
struct NetworkArgs {
    /// Directory below which certificate paths in classes are looked up; without it a class may name none.
    /// Any class may trust any authority in it; a client certificate and its key are for the classes of one
    /// namespace: those below DIR/NAMESPACE
    #[arg(long, env = "SECRETFS_TLS_DIR", value_name = "DIR", help_heading = "Providers")]
    tls_dir: Option<PathBuf>,

    /// Let classes ask for a store over http://, and for TLS that is not verified (vaultSkipTLSVerify): whoever
    /// is on the way then reads tokens and secrets. Loopback, link-local addresses and --vault-address itself
    /// need no leave
    #[arg(
        long,
        env = "SECRETFS_ALLOW_INSECURE_STORES",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        help_heading = "Providers"
    )]
    allow_insecure_stores: Option<bool>,

    /// Refuse stores that speak no TLS 1.3
    #[arg(long, env = "SECRETFS_TLS13_ONLY", help_heading = "Providers")]
    tls13_only: bool,

    /// Proxy for stores that are reached over HTTP
    #[arg(long, env = "HTTPS_PROXY", value_name = "URL", help_heading = "Providers")]
    proxy: Option<String>,

    /// Hosts that are reached without it, separated by commas
    #[arg(long, env = "NO_PROXY", value_name = "HOSTS", help_heading = "Providers")]
    no_proxy: Option<String>,

    /// Namespaces whose pods may read as this node, by its instance role or managed identity, where their class asks
    /// for it; separated by commas. Every pod there has the node's own rights at the store then
    #[arg(
        long,
        env = "SECRETFS_ALLOW_NODE_IDENTITY",
        value_delimiter = ',',
        value_name = "NAMESPACES",
        help_heading = "Providers"
    )]
    allow_node_identity: Vec<String>,

    /// Whether who mounts on this host asked to act as it.
    #[arg(skip)]
    acts_as_host: bool,

    /// What the cluster says of service accounts.
    #[arg(skip)]
    accounts: Option<Arc<dyn Accounts>>,
}

impl NetworkArgs {
    fn network(&self) -> Network {
        Network {
            tls_dir: self.tls_dir.clone(),
            allow_insecure: self.allow_insecure_stores.unwrap_or(false),
            tls13_only: self.tls13_only,
            proxy: self.proxy.clone(),
            no_proxy: self.no_proxy.clone(),
            machine: MachineIdentity {
                namespaces: self.allow_node_identity.clone(),
                is_for_host: self.acts_as_host,
            },
            accounts: self.accounts.clone(),
        }
    }
}

impl ProviderArgs {
    /// The same; a volume of this host may be read as the host itself.
    pub fn act_as_host(&mut self) {
        self.network.acts_as_host = true;
    }

    /// The same; stores that look at annotations of service accounts ask `accounts`.
    pub fn ask_of_accounts(&mut self, accounts: Arc<dyn Accounts>) {
        self.network.accounts = Some(accounts);
    }

    /// The same, with insecure stores allowed as `default` says where no setting does. Tells whether they are.
    pub fn allow_insecure_stores_by_default(&mut self, default: bool) -> bool {
        *self.network.allow_insecure_stores.get_or_insert(default)
    }

    /// Every provider that was compiled in, and external ones where a setting says where they listen. None connects
    /// before it is asked to.
    ///
    /// # Errors
    ///
    /// A setting could never work.
    pub fn build(&self) -> provider::Result<Providers> {
        let providers = self.build_in()?;
        #[cfg(feature = "external")]
        let providers = Providers { sockets: self.external.sockets(&providers), ..providers };
        Ok(providers)
    }

    /// The same without any that listens on a socket of its own.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_in(&self) -> provider::Result<Providers> {
        self.stores.build(&self.network.network())
    }

    /// The same and, unless a setting says otherwise, those that listen where a node's external providers do.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_for_node(self) -> provider::Result<Providers> {
        #[cfg(feature = "external")]
        let this = Self { external: self.external.of_a_node(), ..self };
        #[cfg(not(feature = "external"))]
        let this = self;
        this.build()
    }

    /// Where a node finds the sockets of external providers.
    pub(crate) fn external_dirs(&self) -> Vec<PathBuf> {
        #[cfg(feature = "external")]
        let directories = self.external.clone().of_a_node().directories();
        #[cfg(not(feature = "external"))]
        let directories = Vec::new();
        directories
    }
}

#[cfg(feature = "external")]
mod external {
    use std::path::PathBuf;
    use std::sync::Arc;

    use provider_external::Sockets;

    use super::Providers;

    /// Where external providers listen on a node.
    const PROVIDERS_DIR: &str = "/var/run/secrets-store-csi-providers";
    /// The same, searched first.
    const ADDITIONAL_PROVIDERS_DIR: &str = "/etc/kubernetes/secrets-store-csi-providers";

    /// What is set for external providers where a process starts.
    #[derive(Debug, Clone, Default, clap::Args)]
    pub(super) struct ExternalSettings {
        /// External: directory of the sockets of providers that are not built in; by default
        /// /var/run/secrets-store-csi-providers for `node`, and none elsewhere
        #[arg(
            long,
            alias = "provider-volume",
            env = "SECRETFS_PROVIDERS_DIR",
            value_name = "DIR",
            help_heading = "Providers"
        )]
        providers_dir: Option<PathBuf>,

        /// External: directories that are searched before it, separated by commas; by default
        /// /etc/kubernetes/secrets-store-csi-providers for `node`
        #[arg(
            long,
            alias = "additional-provider-volume-paths",
            env = "SECRETFS_ADDITIONAL_PROVIDERS_DIRS",
            value_delimiter = ',',
            value_name = "DIRS",
            help_heading = "Providers"
        )]
        additional_providers_dirs: Vec<PathBuf>,

        /// External: most bytes of a provider's answer
        #[arg(long, env = "SECRETFS_MAX_CALL_RECV_MSG_SIZE", default_value_t = 4 << 20, value_name = "BYTES", help_heading = "Providers")]
        max_call_recv_msg_size: usize,
    }

    impl ExternalSettings {
        /// The same, with a node's directories where no setting says others.
        pub(super) fn of_a_node(mut self) -> Self {
            if self.additional_providers_dirs.is_empty() {
                self.additional_providers_dirs = vec![ADDITIONAL_PROVIDERS_DIR.into()];
            }
            self.providers_dir.get_or_insert_with(|| PROVIDERS_DIR.into());
            self
        }

        pub(super) fn directories(&self) -> Vec<PathBuf> {
            self.additional_providers_dirs.iter().chain(&self.providers_dir).cloned().collect()
        }

        pub(super) fn sockets(&self, built_in: &Providers) -> Option<Arc<Sockets>> {
            let built_in = built_in.names().map(str::to_owned).collect();
            let sockets = Sockets {
                directories: self.directories(),
                max_answer: self.max_call_recv_msg_size,
                built_in,
            };
            (!sockets.directories.is_empty()).then(|| Arc::new(sockets))
        }
    }
}
