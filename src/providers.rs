//! Which stores this binary can read: the only module that names a provider crate, but for the
//! embedded store's own commands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use provider::{Declaration, Provider};

/// Where external providers listen on a node.
const PROVIDERS_DIR: &str = "/var/run/secrets-store-csi-providers";
/// The same, searched first.
const ADDITIONAL_PROVIDERS_DIR: &str = "/etc/kubernetes/secrets-store-csi-providers";

/// What the stores that are built in say of themselves.
pub const DECLARATIONS: &[&Declaration] = &[
    #[cfg(feature = "vault")]
    &provider_vault::DECLARATION,
    #[cfg(feature = "store")]
    &provider_store::DECLARATION,
    #[cfg(feature = "kubernetes")]
    &provider_kubernetes::DECLARATION,
];

/// What the store says of itself that classes call `name`, if it is built in.
pub fn declaration(name: &str) -> Option<&'static Declaration> {
    DECLARATIONS.iter().find(|declaration| declaration.is_called(name)).copied()
}

/// The providers by the names a class may give.
#[derive(Clone, Default)]
pub struct Providers {
    built_in: BTreeMap<&'static str, Arc<dyn Provider>>,
    /// Where those listen that are not built in.
    #[cfg(feature = "external")]
    sockets: Option<Arc<provider_external::Sockets>>,
}

impl Providers {
    /// Every provider of this binary, to understand classes with and not to read. What a class leaves to
    /// the settings of a node is taken to be there.
    pub fn offline() -> Self {
        let settings =
            ProviderArgs { vault_address: Some("https://vault.invalid".to_owned()), ..Default::default() };
        settings.build().unwrap_or_default()
    }

    /// Adds `provider` under each of its names.
    #[must_use]
    pub fn with(mut self, provider: &Arc<dyn Provider>) -> Self {
        for name in provider.names() {
            self.built_in.insert(name, Arc::clone(provider));
        }
        self
    }

    /// The provider of that name: one that is built in, else an external one where those are allowed,
    /// whether or not it is there.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Provider>> {
        self.built_in.get(name).cloned().or_else(|| self.external(name))
    }

    #[cfg(feature = "external")]
    fn external(&self, name: &str) -> Option<Arc<dyn Provider>> {
        let external = provider_external::External::named(name, self.sockets.as_ref()?)?;
        Some(Arc::new(external))
    }

    #[cfg(not(feature = "external"))]
    fn external(&self, _name: &str) -> Option<Arc<dyn Provider>> {
        None
    }

    /// How often watches of those that are built in ended by themselves and were begun anew, by one of its names each.
    pub fn watch_restarts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let firsts = self.built_in.iter().filter(|(name, provider)| provider.names().first() == Some(*name));
        firsts.map(|(name, provider)| (*name, provider.watch_restarts()))
    }

    /// The names of those that are built in, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.built_in.keys().copied()
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Settings of every provider, which a class may narrow but not widen.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ProviderArgs {
    /// Vault: address of the server where a class gives none
    #[arg(long, env = "VAULT_ADDR", value_name = "URL", help_heading = "Providers")]
    vault_address: Option<String>,

    /// Vault: namespace where a class gives none
    #[arg(long, env = "VAULT_NAMESPACE", value_name = "NAMESPACE", help_heading = "Providers")]
    vault_namespace: Option<String>,

    /// Vault: mount of the kubernetes login method where a class gives none
    #[arg(long, default_value = "kubernetes", value_name = "MOUNT", help_heading = "Providers")]
    vault_auth_mount: String,

    /// Vault: certificate authorities (PEM) to trust instead of the system's
    #[arg(long, env = "VAULT_CACERT", value_name = "FILE", help_heading = "Providers")]
    vault_ca: Option<PathBuf>,

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

    /// Directory of the embedded store
    #[arg(
        long,
        env = "SECRETFS_STORE",
        default_value = "/var/lib/secretfs/store",
        value_name = "DIR",
        help_heading = "Providers"
    )]
    store: PathBuf,

    /// Root key of the embedded store; by default `root.key` in its directory
    #[arg(long, env = "SECRETFS_ROOT_KEY", value_name = "FILE", help_heading = "Providers")]
    root_key: Option<PathBuf>,

    /// Kubernetes: URL of the API server, for native Secrets; by default the cluster's that this runs in
    #[arg(long, env = "SECRETFS_KUBERNETES_API_SERVER", value_name = "URL", help_heading = "Providers")]
    kubernetes_api_server: Option<String>,

    /// Kubernetes: certificate authorities (PEM) to trust instead of the system's; by default the
    /// cluster's that this runs in
    #[arg(long, env = "SECRETFS_KUBERNETES_CA", value_name = "FILE", help_heading = "Providers")]
    kubernetes_ca: Option<PathBuf>,

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

impl ProviderArgs {
    /// The same, with insecure stores allowed as `default` says where no setting does. Tells whether they are.
    pub fn allow_insecure_stores_by_default(&mut self, default: bool) -> bool {
        *self.allow_insecure_stores.get_or_insert(default)
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
        let providers = Providers { sockets: self.sockets(&providers), ..providers };
        Ok(providers)
    }

    /// The same without any that listens on a socket of its own.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_in(&self) -> provider::Result<Providers> {
        let providers = Providers::default();
        #[cfg(feature = "vault")]
        let providers = providers.with(&self.vault()?);
        #[cfg(feature = "store")]
        let providers = providers.with(&self.embedded_store());
        #[cfg(feature = "kubernetes")]
        let providers = providers.with(&self.kubernetes()?);
        Ok(providers)
    }

    /// The same and, unless a setting says otherwise, those that listen where a node's external providers do.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_for_node(mut self) -> provider::Result<Providers> {
        if self.additional_providers_dirs.is_empty() {
            self.additional_providers_dirs = vec![ADDITIONAL_PROVIDERS_DIR.into()];
        }
        self.providers_dir.get_or_insert_with(|| PROVIDERS_DIR.into());
        self.build()
    }

    /// Where a node finds the sockets of external providers.
    pub(crate) fn external_dirs(&self) -> Vec<PathBuf> {
        let additional = match self.additional_providers_dirs.as_slice() {
            [] => vec![ADDITIONAL_PROVIDERS_DIR.into()],
            named => named.to_vec(),
        };
        let own = self.providers_dir.clone().unwrap_or_else(|| PROVIDERS_DIR.into());
        additional.into_iter().chain([own]).collect()
    }

    #[cfg(feature = "external")]
    fn sockets(&self, built_in: &Providers) -> Option<Arc<provider_external::Sockets>> {
        let directories: Vec<_> =
            self.additional_providers_dirs.iter().chain(&self.providers_dir).cloned().collect();
        let built_in = built_in.names().map(str::to_owned).collect();
        let sockets =
            provider_external::Sockets { directories, max_answer: self.max_call_recv_msg_size, built_in };
        (!sockets.directories.is_empty()).then(|| Arc::new(sockets))
    }

    #[cfg(feature = "store")]
    fn embedded_store(&self) -> Arc<dyn Provider> {
        use provider_store::{EmbeddedStore, RootKeySource};
        let root =
            self.root_key.clone().map_or_else(|| RootKeySource::beside(&self.store), RootKeySource::File);
        Arc::new(EmbeddedStore::new(self.store.clone(), root))
    }

    #[cfg(feature = "kubernetes")]
    fn kubernetes(&self) -> provider::Result<Arc<dyn Provider>> {
        use provider_kubernetes::{Kubernetes, KubernetesConfig};
        let config = KubernetesConfig {
            api_server: self.kubernetes_api_server.clone(),
            ca: self.kubernetes_ca.clone(),
            tls13_only: self.tls13_only,
            ..KubernetesConfig::default()
        };
        Ok(Arc::new(Kubernetes::new(&config.or_in_cluster())?))
    }

    #[cfg(feature = "vault")]
    fn vault(&self) -> provider::Result<Arc<dyn Provider>> {
        let vault = provider_vault::Vault::new(provider_vault::VaultConfig {
            address: self.vault_address.clone(),
            namespace: self.vault_namespace.clone(),
            auth_mount: self.vault_auth_mount.clone(),
            ca: self.vault_ca.clone(),
            tls_dir: self.tls_dir.clone(),
            allow_insecure: self.allow_insecure_stores.unwrap_or(false),
            tls13_only: self.tls13_only,
            proxy: self.proxy.clone(),
            no_proxy: self.no_proxy.clone(),
            ..provider_vault::VaultConfig::default()
        })?;
        Ok(Arc::new(vault))
    }
}
