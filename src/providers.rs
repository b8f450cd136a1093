//! The stores that this binary can read. Only this module names provider crates, except for the embedded store's own
//! commands. Each store is one line of `stores!`.

mod settings;

use std::collections::BTreeSet;

use provider::{Declaration, Network, Providers, Settings};

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

/// The declaration of the built-in store that classes call `name`.
pub fn declaration(name: &str) -> Option<&'static Declaration> {
    DECLARATIONS.iter().find(|declaration| declaration.is_called(name)).copied()
}

/// The annotations of service accounts that stores look at.
pub fn annotations() -> BTreeSet<&'static str> {
    DECLARATIONS.iter().flat_map(|declaration| declaration.annotations).map(|key| key.name).collect()
}

/// Every provider of this binary, only to parse classes and not to read. Settings of a node that a class needs count as
/// present.
pub fn offline() -> Providers {
    PerStore::offline().build(&Network::default()).unwrap_or_default()
}
