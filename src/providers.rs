//! Which stores this binary can read: the only module that names a provider crate, but for the
//! embedded store's own commands. A store is one line of `stores!`.

mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use provider::{Declaration, Network, Provider, Settings};

pub use self::settings::ProviderArgs;

/// Everything that depends on which stores there are: for each its cargo feature, a word, and the type of its
/// settings, in a crate that declares the store beside it.
macro_rules! stores {
    ($($feature:tt => $store:ident: $crate_name:ident::$settings:ident,)*) => {
        /// What the stores that are built in say of themselves.
        pub const DECLARATIONS: &[&Declaration] = &[
            $(#[cfg(feature = $feature)] &$crate_name::DECLARATION,)*
        ];

        /// The settings of each store that is built in.
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
                $(
                    #[cfg(feature = $feature)]
                    let providers = providers.with(&self.$store.provider(&network.of(&$crate_name::DECLARATION))?);
                )*
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

/// What the store says of itself that classes call `name`, if it is built in.
pub fn declaration(name: &str) -> Option<&'static Declaration> {
    DECLARATIONS.iter().find(|declaration| declaration.is_called(name)).copied()
}

/// The annotations of service accounts that stores look at.
pub fn annotations() -> BTreeSet<&'static str> {
    DECLARATIONS.iter().flat_map(|declaration| declaration.annotations).map(|key| key.name).collect()
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
