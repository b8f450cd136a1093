//! Which stores this binary can read: the only module that names a provider crate, but for the
//! embedded store's own commands. A store is one line of `stores!`.

mod settings;

use std::collections::BTreeMap;
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

#[cfg(all(
    test,
    feature = "aws",
    feature = "azure",
    feature = "gcp",
    feature = "kubernetes",
    feature = "store",
    feature = "vault"
))]
mod tests {
    use provider::{Encoding, Parameters, Reading, Source};

    use super::*;

    /// The base64 of `{"k":"v"}`, and the base64 of that.
    const VALUE: &str = "eyJrIjoidiJ9";
    const TWICE: &str = "ZXlKcklqb2lkaUo5";

    /// For each store: the parameters around one object whose keys go in the place of KEYS, and what it answers.
    fn stores() -> Vec<(&'static str, Vec<(&'static str, String)>, String)> {
        let list = |parameter: &'static str, object: &str| (parameter, format!("- {{{object}, KEYS}}"));
        let text = |key, value: &str| (key, value.to_owned());
        let array = "array:\n- |\n  {objectName: a, objectType: secret, KEYS}\n".to_owned();
        let azure = vec![
            text("keyvaultName", "kv"),
            text("clientID", "c"),
            text("tenantID", "t"),
            ("objects", array),
        ];
        let vault = vec![
            text("roleName", "r"),
            list("objects", "objectName: a, secretPath: secret/data/a, secretKey: k"),
        ];
        let resource = "resourceName: projects/p/secrets/a/versions/latest, path: a";
        vec![
            (
                "aws",
                vec![
                    text("region", "eu-west-1"),
                    list("objects", "objectName: a, objectType: secretsmanager"),
                ],
                VALUE.to_owned(),
            ),
            ("azure", azure, format!(r#"{{"value":"{VALUE}"}}"#)),
            ("gcp", vec![list("secrets", resource)], VALUE.to_owned()),
            ("vault", vault, format!(r#"{{"data":{{"data":{{"k":"{VALUE}"}}}}}}"#)),
            ("secretfs", vec![list("objects", "objectName: a, item: a")], VALUE.to_owned()),
            (
                "kubernetes",
                vec![list("objects", "objectName: a, secret: a, key: k")],
                format!(r#"{{"k":"{TWICE}"}}"#),
            ),
        ]
    }

    fn source(provider: &str, parameters: &[(&str, String)], keys: &str) -> Arc<dyn Source> {
        let filled = parameters.iter().map(|(key, text)| ((*key).to_owned(), text.replace("KEYS", keys)));
        let parameters: Parameters = filled.collect();
        let source = Providers::offline().get(provider).unwrap().source("shop", &parameters);
        source.unwrap_or_else(|faults| panic!("{provider}: {faults:?}"))
    }

    #[test]
    fn every_store_takes_encoding_optional_default_and_jmes_path_alike() {
        let keys = "encoding: base64, optional: true, default: \"x\", jmesPath: k";
        let stores = stores();
        assert_eq!(stores.len(), DECLARATIONS.len(), "a store is missing here");
        for (provider, parameters, answer) in stores {
            let source = source(provider, &parameters, keys);
            let object = &source.objects()[0];

            let read = source.extract(0, &Reading::new(answer.into())).unwrap();
            let decoded = object.decoded(read).unwrap();

            assert_eq!(decoded.contents.expose(), br#"{"k":"v"}"#, "{provider}");
            assert_eq!((object.encoding, object.optional), (Encoding::Base64, true), "{provider}");
            assert_eq!(object.default.as_deref(), Some("x"), "{provider}");
            assert_eq!(object.jmes_path.as_deref(), Some("k"), "{provider}");
        }
    }

    #[test]
    fn every_store_refuses_an_encoding_that_is_none() {
        for (provider, parameters, _) in stores() {
            let filled = parameters
                .iter()
                .map(|(key, text)| ((*key).to_owned(), text.replace("KEYS", "encoding: rot13")));
            let faults =
                Providers::offline().get(provider).unwrap().source("shop", &filled.collect()).unwrap_err();
            let told = faults[0].to_string();
            assert!(told.contains("[0].encoding") && told.contains("base64"), "{provider}: {told}");
        }
    }
}
