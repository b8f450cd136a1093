//! Against Microsoft's own fake of the API, beside the stub: the form of its answers is what Microsoft's client reads.
//! Tokens are of the stub, which takes Entra ID's part.

use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{ErrorKind, Packed, Provider as _, Source, Tenure};
use provider_azure::{Azure, AzureConfig};
use testing::AzSecrets;

use crate::support::{CLIENT, Cloud, array, config, parameters, text};

const FIRST: &str = "11111111111111111111111111111111";
const NEWEST: &str = "22222222222222222222222222222222";

struct Fake {
    cloud: Cloud,
    azure: Azure,
    _secrets: AzSecrets,
}

impl Fake {
    fn start() -> Self {
        let (cloud, secrets) = (Cloud::start(), AzSecrets::start());
        let vault_url = Some(format!("{}/vault/NAME", secrets.url()));
        let azure = Azure::new(AzureConfig { vault_url, ..config(&cloud.vault) }).unwrap();
        Self { cloud, azure, _secrets: secrets }
    }

    fn class(&self, objects: &str) -> Arc<dyn Source> {
        self.azure.source("shop", &parameters(&[("clientID", CLIENT), ("objects", &array(objects))])).unwrap()
    }
}

#[tokio::test]
async fn values_and_versions_are_read_as_microsofts_client_reads_them() {
    let fake = Fake::start();
    let source = fake.class(&format!(
        "objectName: db, objectType: secret\n\
         objectName: db, objectType: secret, objectVersion: {FIRST}, objectAlias: first\n\
         objectName: binary, objectType: secret, encoding: base64\n\
         objectName: db, objectType: secret, objectVersionHistory: 2, objectAlias: history"
    ));

    let files = fake.cloud.files(&*source).await.unwrap();

    let shown = |name: &str| (text(&files[name]), files[name].version.as_deref());
    assert_eq!(shown("db"), ("two é\"\\".to_owned(), Some(NEWEST)));
    assert_eq!(shown("first"), ("one".to_owned(), Some(FIRST)));
    assert_eq!(files["binary"].contents.expose(), [0, 1, 2, 255]);
    assert_eq!((shown("history/0").1, shown("history/1").1), (Some(NEWEST), Some(FIRST)));
}

#[tokio::test]
async fn what_is_deleted_disabled_absent_and_not_valid_yet_is_told_apart() {
    let fake = Fake::start();
    for (object, kind, told) in [
        ("objectName: gone", ErrorKind::Revoked, "it was deleted in the vault"),
        ("objectName: off", ErrorKind::Revoked, "SecretDisabled"),
        ("objectName: nobody", ErrorKind::NotFound, "SecretNotFound"),
        ("objectName: db, objectVersion: 333", ErrorKind::NotFound, "SecretNotFound"),
        ("objectName: later", ErrorKind::NotFound, "not valid before 2286"),
    ] {
        let source = fake.class(&format!("{object}, objectType: secret"));
        let error = fake.cloud.files(&*source).await.err().unwrap_or_else(|| panic!("{object} is shown"));
        assert_eq!(error.kind(), kind, "{object}: {error}");
        assert!(error.to_string().contains(told), "{object}: {error}");
    }
}

#[tokio::test]
async fn a_listing_goes_through_all_pages_and_leaves_out_what_is_disabled() {
    let fake = Fake::start();
    let source = fake.class("byTags: team=shop, directory: keys");
    let session = source.session(&fake.cloud.workload("web-0"), Tenure::Shared).await.unwrap();

    let reading = session.read(&source.trees()[0].request).await.unwrap();

    let found: BTreeMap<_, _> = Packed::all(&reading)
        .unwrap()
        .into_iter()
        .map(|leaf| (leaf.path.to_owned(), leaf.found().unwrap().body.expose_str().unwrap().to_owned()))
        .collect();
    let expected = [("binary", "AAEC/w=="), ("db", "two é\"\\")];
    assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
}
