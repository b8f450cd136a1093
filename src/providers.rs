//! The stores that this binary can read. Only this module names provider crates, except for the embedded store's own
//! commands. Each store is one line of `stores!`.

mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use provider::{Declaration, Network, Provider, Settings};

pub use self::settings::ProviderArgs;

/// Everything that depends on the list of stores. Each line has the store's cargo feature, a word for it, and the type
/// of its settings. The crate with that type also declares the store.
macro_rules! stores {
    ($($feature:tt => $store:ident: $crate_name:ident::$settings:ident,)*) => {
        /// The declarations of the built-in stores.
        pub const DECLARATIONS: &[&Declaration] = &[
            $(#[cfg(feature = $feature)] &$crate_name::DECLARATION,)*
        ];

        /// The settings of each built-in store.
        #[derive(Debug, Clone, Default, clap::Args)]
        struct PerStore {
            $(#[cfg(feature = $feature)] #[command(flatten)] $store: $crate_name::$settings,)*
        }

        impl PerStore {
            fn offline() -> Self {
                Self { $(#[cfg(feature = $feature)] $store: Settings::offline(),)* }
            }

            #[cfg_attr(not(any($(feature = $feature),*)), expect(unused_variables, reason = "there is no store"))]
            fn build(&self, network: &Network) -> provider::Result<Providers> {
                let providers = Providers::default();
                $(#[cfg(feature = $feature)] let providers = providers.with(&self.$store.provider(network)?);)*
                Ok(providers)
            }
        }
    };
}

stores! {
    "aws" => aws: provider_aws::AwsSettings,
    "azure" => azure: provider_azure::AzureSettings,
    "gcp" => gcp: provider_gcp::GcpSettings,
    "vault" => vault: provider_vault::VaultSettings,
    "store" => embedded: provider_store::EmbeddedSettings,
    "kubernetes" => kubernetes: provider_kubernetes::KubernetesSettings,
}

/// The declaration of the built-in store that classes call `name`.
pub fn declaration(name: &str) -> Option<&'static Declaration> {
    DECLARATIONS.iter().find(|declaration| declaration.is_called(name)).copied()
}

/// The providers, by the names that a class may use.
#[derive(Clone, Default)]
pub struct Providers {
    built_in: BTreeMap<&'static str, Arc<dyn Provider>>,
    /// The sockets of external providers.
    #[cfg(feature = "external")]
    sockets: Option<Arc<provider_external::Sockets>>,
}

impl Providers {
    /// Every provider of this binary, only to parse classes and not to read. Settings of a node that a class needs
    /// count as present.
    pub fn offline() -> Self {
        PerStore::offline().build(&Network::default()).unwrap_or_default()
    }

    /// Adds `provider` under each of its names.
    #[must_use]
    pub fn with(mut self, provider: &Arc<dyn Provider>) -> Self {
        for name in provider.names() {
            self.built_in.insert(name, Arc::clone(provider));
        }
        self
    }

    /// The provider with this name: a built-in one, or an external one if those are allowed. An external one need not
    /// exist.
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

    /// How often watches of built-in providers ended unexpectedly and were restarted, each with the provider's first
    /// name.
    pub fn watch_restarts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let firsts = self.built_in.iter().filter(|(name, provider)| provider.names().first() == Some(*name));
        firsts.map(|(name, provider)| (*name, provider.watch_restarts()))
    }

    /// The names of the built-in providers, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.built_in.keys().copied()
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
