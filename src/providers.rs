//! Which stores this binary can read: the only module that names a provider crate, but for the
//! embedded store's own commands. A store is one line of `stores!`.

mod settings;

use provider::{Declaration, Network, Providers, Settings};

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

/// What the store says of itself that classes call `name`, if it is built in.
pub fn declaration(name: &str) -> Option<&'static Declaration> {
    DECLARATIONS.iter().find(|declaration| declaration.is_called(name)).copied()
}

/// Every provider of this binary, to understand classes with and not to read. What a class leaves to
/// the settings of a node is taken to be there.
pub fn offline() -> Providers {
    PerStore::offline().build(&Network::default()).unwrap_or_default()
}
