//! The settings for stores, as command-line flags of the commands that read stores.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provider::{Accounts, MachineIdentity, Network, Providers};

use super::PerStore;

#[cfg(feature = "external")]
use self::external::ExternalSettings;

/// The settings of every provider. A class may narrow them, but not widen them.
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

/// The flags for [`Network`].
#[derive(Debug, Clone, Default, clap::Args)]
struct NetworkArgs {
    /// Directory for the certificate paths in classes; without it, classes may not name certificates. Every class may
    /// use any certificate authority in it. Client certificates and their keys are in DIR/NAMESPACE, and only classes
    /// of that namespace may use them
    #[arg(long, env = "SECRETFS_TLS_DIR", value_name = "DIR", help_heading = "Providers")]
    tls_dir: Option<PathBuf>,

    /// Let classes use stores over http://, and TLS that is not verified (vaultSkipTLSVerify). Others on the way to
    /// such a store can read tokens and secrets. Loopback, link-local addresses and --vault-address itself are always
    /// allowed
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

    /// Refuse stores that do not speak TLS 1.3
    #[arg(long, env = "SECRETFS_TLS13_ONLY", help_heading = "Providers")]
    tls13_only: bool,

    /// Proxy for stores that are reached over HTTP
    #[arg(long, env = "HTTPS_PROXY", value_name = "URL", help_heading = "Providers")]
    proxy: Option<String>,

    /// Hosts to reach without the proxy, separated by commas
    #[arg(long, env = "NO_PROXY", value_name = "HOSTS", help_heading = "Providers")]
    no_proxy: Option<String>,

    /// Namespaces whose pods may read with the identity of this node (its instance role or managed identity) if their
    /// class asks for it; separated by commas. Every pod there then has the node's own rights at the store
    #[arg(
        long,
        env = "SECRETFS_ALLOW_NODE_IDENTITY",
        value_delimiter = ',',
        value_name = "NAMESPACES",
        help_heading = "Providers"
    )]
    allow_node_identity: Vec<String>,

    /// Whether the user of this host asked to read as the host.
    #[arg(skip)]
    acts_as_host: bool,

    /// The annotations of service accounts in the cluster.
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
    /// Lets volumes of this host be read with the identity of the host.
    pub fn act_as_host(&mut self) {
        self.network.acts_as_host = true;
    }

    /// Lets stores that look at annotations of service accounts ask `accounts`.
    pub fn ask_of_accounts(&mut self, accounts: Arc<dyn Accounts>) {
        self.network.accounts = Some(accounts);
    }

    /// Has `connect` connect to the sockets of external providers, because this process may not.
    #[cfg_attr(not(feature = "external"), expect(unused_variables, reason = "there are none"))]
    pub fn connect_by(&mut self, connect: impl Fn(&Path) -> io::Result<UnixStream> + Send + Sync + 'static) {
        #[cfg(feature = "external")]
        self.external.connect_by(connect);
    }

    /// Opens nothing that was sealed to a key of age, for which no store is asked.
    pub fn forbid_node_key(&mut self) {
        #[cfg(feature = "sealed")]
        self.stores.sealed.forbid_node_key();
    }

    /// Allows insecure stores as `default` says, if no setting decides it. Returns whether they are allowed.
    pub fn allow_insecure_stores_by_default(&mut self, default: bool) -> bool {
        *self.network.allow_insecure_stores.get_or_insert(default)
    }

    /// Makes every built-in provider, and external ones if a setting names their directories. Each connects at its
    /// first call.
    ///
    /// # Errors
    ///
    /// A setting can never work.
    pub fn build(&self) -> provider::Result<Providers> {
        let providers = self.build_in()?;
        #[cfg(feature = "external")]
        let providers = self.external.add_to(providers);
        Ok(providers)
    }

    /// Makes the built-in providers only.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_in(&self) -> provider::Result<Providers> {
        self.stores.build(&self.network.network())
    }

    /// What seals values with the keys of these stores, and the providers that have them.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    #[cfg(feature = "sealed")]
    pub fn sealer(&self) -> provider::Result<provider_sealed::Sealer> {
        Ok(self.stores.sealed.sealer(&self.build_in()?))
    }

    /// The provider of sealed values with these settings, only to parse classes.
    #[cfg(feature = "sealed")]
    pub fn sealed_offline(&self) -> Arc<dyn provider::Provider> {
        self.stores.sealed.provider(&super::offline())
    }

    /// Makes all providers. Without a setting, the external ones are those in a node's standard directories.
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

    /// The directories in which a node looks for sockets of external providers.
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
    use std::fmt;
    use std::io;
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use provider::{Provider, Providers};
    use provider_external::{Connect, External, Sockets};

    /// The directory in which external providers listen on a node.
    const PROVIDERS_DIR: &str = "/var/run/secrets-store-csi-providers";
    /// A second such directory, which is searched first.
    const ADDITIONAL_PROVIDERS_DIR: &str = "/etc/kubernetes/secrets-store-csi-providers";

    /// Connects by a function.
    struct By<F>(F);

    impl<F> fmt::Debug for By<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("By(..)")
        }
    }

    impl<F: Fn(&Path) -> io::Result<UnixStream> + Send + Sync> Connect for By<F> {
        fn connect(&self, path: &Path) -> io::Result<UnixStream> {
            self.0(path)
        }
    }

    /// The settings of external providers.
    #[derive(Debug, Clone, Default, clap::Args)]
    pub(super) struct ExternalSettings {
        /// Who connects to the sockets, if this process may not.
        #[arg(skip)]
        connect: Option<Arc<dyn Connect>>,

        /// External: directory of the sockets of providers that are not built in; by default
        /// /var/run/secrets-store-csi-providers for `node`, and none for other commands
        #[arg(
            long,
            alias = "provider-volume",
            env = "SECRETFS_PROVIDERS_DIR",
            value_name = "DIR",
            help_heading = "Providers"
        )]
        providers_dir: Option<PathBuf>,

        /// External: directories that are searched before that one, separated by commas; by default
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

        /// External: longest answer of a provider, in bytes
        #[arg(long, env = "SECRETFS_MAX_CALL_RECV_MSG_SIZE", default_value_t = 4 << 20, value_name = "BYTES", help_heading = "Providers")]
        max_call_recv_msg_size: usize,
    }

    impl ExternalSettings {
        /// Sets the directories of a node, if no setting names others.
        pub(super) fn of_a_node(mut self) -> Self {
            if self.additional_providers_dirs.is_empty() {
                self.additional_providers_dirs = vec![ADDITIONAL_PROVIDERS_DIR.into()];
            }
            self.providers_dir.get_or_insert_with(|| PROVIDERS_DIR.into());
            self
        }

        pub(super) fn connect_by(
            &mut self,
            connect: impl Fn(&Path) -> io::Result<UnixStream> + Send + Sync + 'static,
        ) {
            self.connect = Some(Arc::new(By(connect)));
        }

        pub(super) fn directories(&self) -> Vec<PathBuf> {
            self.additional_providers_dirs.iter().chain(&self.providers_dir).cloned().collect()
        }

        /// The same and, where a setting says where they listen, those that are not built in.
        pub(super) fn add_to(&self, built_in: Providers) -> Providers {
            let directories = self.directories();
            if directories.is_empty() {
                return built_in;
            }
            let sockets = Arc::new(Sockets {
                directories,
                max_answer: self.max_call_recv_msg_size,
                built_in: built_in.names().map(str::to_owned).collect(),
                connect: self.connect.clone(),
            });
            built_in.with_others(move |name| {
                Some(Arc::new(External::named(name, &sockets)?) as Arc<dyn Provider>)
            })
        }
    }
}
