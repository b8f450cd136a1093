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
    "confidant" => confidant: provider_confidant::ConfidantSettings,
    "conjur" => conjur: provider_conjur::ConjurSettings,
    "cyberark" => cyberark: provider_cyberark::CyberArkSettings,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use provider::{Encoding, Parameters, Reading, Source};

    use super::*;

    /// The base64 of `{"k":"v"}`, and the base64 of that.
    const VALUE: &str = "eyJrIjoidiJ9";
    const TWICE: &str = "ZXlKcklqb2lkaUo5";

    /// A store, the parameters around one object whose keys go in the place of KEYS, and what the store answers.
    type Asked = (&'static str, Vec<(&'static str, String)>, String);

    /// One for each store that is built in.
    fn stores() -> Vec<Asked> {
        let list = |parameter: &'static str, object: &str| (parameter, format!("- {{{object}, KEYS}}"));
        let text = |key, value: &str| (key, value.to_owned());
        let array = "array:\n- |\n  {objectName: a, objectType: secret, KEYS}\n".to_owned();
        let azure = vec![
            text("keyvaultName", "shop-kv"),
            text("clientID", "c"),
            text("tenantID", "t"),
            ("objects", array),
        ];
        let vault = vec![
            text("roleName", "r"),
            list("objects", "objectName: a, secretPath: secret/data/a, secretKey: k"),
        ];
        let variable = "objectName: a, variable: a";
        let conjur = vec![text("authnId", "authn-jwt/kube"), list("objects", variable)];
        let confidant = vec![
            text("service", "shop"),
            text("authKey", "alias/authnz"),
            text("authContext", "confidant"),
            text("region", "us-east-1"),
            list("objects", "objectName: a, key: k"),
        ];
        let of_confidant =
            format!(r#"{{"id":"shop","credentials":[{{"id":"c","credential_pairs":{{"k":"{VALUE}"}}}}]}}"#);
        let cyberark =
            vec![text("appId", "shop"), text("safe", "Shop"), list("objects", "objectName: a, object: a")];
        let resource = "resourceName: projects/p/secrets/a/versions/latest, path: a";
        let all = vec![
            (
                "aws",
                vec![
                    text("region", "eu-west-1"),
                    list("objects", "objectName: a, objectType: secretsmanager"),
                ],
                VALUE.to_owned(),
            ),
            ("azure", azure, format!(r#"{{"value":"{VALUE}"}}"#)),
            ("confidant", confidant, of_confidant),
            ("conjur", conjur, VALUE.to_owned()),
            ("cyberark", cyberark, format!(r#"{{"Content":"{VALUE}"}}"#)),
            ("gcp", vec![list("secrets", resource)], VALUE.to_owned()),
            ("vault", vault, format!(r#"{{"data":{{"data":{{"k":"{VALUE}"}}}}}}"#)),
            ("secretfs", vec![list("objects", "objectName: a, item: a")], VALUE.to_owned()),
            (
                "kubernetes",
                vec![list("objects", "objectName: a, secret: a, key: k")],
                format!(r#"{{"k":"{TWICE}"}}"#),
            ),
        ];
        all.into_iter().filter(|(name, ..)| declaration(name).is_some()).collect()
    }

    fn source(provider: &str, parameters: &[(&str, String)], keys: &str) -> Arc<dyn Source> {
        let filled = parameters.iter().map(|(key, text)| ((*key).to_owned(), text.replace("KEYS", keys)));
        let parameters: Parameters = filled.collect();
        let source = offline().get(provider).unwrap().source("shop", &parameters);
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
            let faults = offline().get(provider).unwrap().source("shop", &filled.collect()).unwrap_err();
            let told = faults[0].to_string();
            assert!(told.contains("[0].encoding") && told.contains("base64"), "{provider}: {told}");
        }
    }
}
