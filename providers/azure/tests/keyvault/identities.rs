//! Who reads as whom.

use std::sync::Arc;

use provider::{ErrorKind, Identity, Provider, Source, Tenure, Workload};
use provider_azure::Azure;

use crate::support::{CLIENT, Cloud, TENANT, array, config, files, parameters, text, with};

const ONE: &str = "objectName: a, objectType: secret";

fn principal(cloud: &Cloud) -> Arc<dyn Source> {
    cloud.source(&[("objects", &array(ONE))])
}

#[tokio::test]
async fn pods_of_one_account_share_a_login_and_pods_of_another_share_nothing_with_them() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    let source = cloud.class(ONE);
    let login = async |workload| source.session(&workload, Tenure::Shared).await;

    let one = login(cloud.workload("web-0")).await.unwrap();
    let same = login(cloud.workload("web-1")).await.unwrap();
    let other = login(cloud.of_account("worker", "worker-0")).await.unwrap_err();

    assert_eq!(one.identity(), same.identity());
    assert_eq!(cloud.asked("/oauth2/"), 2, "one login of web, one of worker");
    assert_eq!(other.kind(), ErrorKind::Unauthenticated);
    let told = other.to_string();
    assert!(
        told.contains("AADSTS700213")
            && told.contains("federated credential")
            && told.contains("shop/worker"),
        "{told}"
    );
    assert!(!told.contains("Trace ID"), "{told}");
}

#[tokio::test]
async fn a_class_may_keep_logins_apart_by_pod() {
    let cloud = Cloud::start();
    let source =
        cloud.source(&[("clientID", CLIENT), ("secretfs.dev/share", "pod"), ("objects", &array(ONE))]);

    let one = source.session(&cloud.workload("web-0"), Tenure::Shared).await.unwrap();
    let other = source.session(&cloud.workload("web-1"), Tenure::Shared).await.unwrap();

    assert_ne!(one.identity(), other.identity());
}

#[tokio::test]
async fn a_client_secret_of_the_volume_logs_in_however_its_keys_are_written() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    cloud.vault.client_secret("app", "s3cret & sound");

    for keys in [["clientid", "clientsecret"], ["ClientID", "CLIENTSECRET"]] {
        let workload = with("web", "web-0", &[], &[(keys[0], "app\n"), (keys[1], "s3cret & sound")]);
        let files = files(&*principal(&cloud), &workload).await.unwrap();
        assert_eq!(text(&files["a"]), "v");
    }
}

#[tokio::test]
async fn a_wrong_client_secret_and_a_missing_one_are_told_without_the_secret() {
    let cloud = Cloud::start();
    cloud.vault.client_secret("app", "right");
    let login = async |credentials: &[(&str, &str)]| {
        let workload = with("web", "web-0", &[], credentials);
        principal(&cloud).session(&workload, Tenure::Shared).await.unwrap_err()
    };

    let wrong = login(&[("clientid", "app"), ("clientsecret", "hunter2hunter2")]).await;
    let missing = login(&[("clientid", "app")]).await;

    assert_eq!((wrong.kind(), missing.kind()), (ErrorKind::Unauthenticated, ErrorKind::NoCredential));
    assert!(
        wrong.to_string().contains("nodePublishSecretRef") && !wrong.to_string().contains("hunter2"),
        "{wrong}"
    );
    assert!(missing.to_string().contains("clientsecret"), "{missing}");
}

#[tokio::test]
async fn two_client_secrets_of_one_account_are_two_identities() {
    let cloud = Cloud::start();
    cloud.vault.client_secret("app", "one");
    let source = principal(&cloud);
    let login = async |client: &str, secret: &str| {
        let workload = with("web", "web-0", &[], &[("clientid", client), ("clientsecret", secret)]);
        source.session(&workload, Tenure::Shared).await
    };

    let one = login("app", "one").await.unwrap();
    cloud.vault.client_secret("other", "two");
    let other = login("other", "two").await.unwrap();

    assert_ne!(one.identity(), other.identity());
    assert!(
        login("app", "guessed").await.is_err(),
        "nobody is given a login for a secret that they do not have"
    );
}

fn of_namespace(namespace: &str) -> Workload {
    Workload { identity: Identity::named(namespace, "web"), ..with("web", "web-0", &[], &[]) }
}

#[tokio::test]
async fn the_machines_identity_is_for_the_namespaces_that_the_administrator_lists_and_for_no_others() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    let objects = array(ONE);
    let machine =
        [("useVMManagedIdentity", "true"), ("userAssignedIdentityID", "m-1"), ("objects", objects.as_str())];
    let source = cloud.source(&machine);

    let denied = source.session(&of_namespace("shop"), Tenure::Shared).await.unwrap_err();
    let asked = cloud.vault.seen().len();
    let files = files(&*source, &of_namespace("infra")).await.unwrap();

    assert_eq!(denied.kind(), ErrorKind::NoCredential);
    assert!(denied.to_string().contains("--allow-node-identity"), "{denied}");
    assert_eq!(asked, 0);
    assert_eq!(text(&files["a"]), "v");
    assert_eq!(cloud.asked("client_id=m-1"), 1);
    assert_eq!(cloud.asked("resource=https%3A%2F%2Fvault.azure.net"), 1);
}

#[tokio::test]
async fn a_class_that_asks_for_no_machine_gets_none_though_its_namespace_may_have_it() {
    let cloud = Cloud::start();
    let workload = of_namespace("infra");

    for source in [cloud.class(ONE), principal(&cloud)] {
        let error = source.session(&workload, Tenure::Shared).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoCredential);
    }
    assert_eq!(cloud.vault.seen().len(), 0);
}

#[tokio::test]
async fn no_token_is_sent_where_a_vault_points_to() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    let source = cloud.class(ONE);
    let session = source.session(&cloud.workload("web-0"), Tenure::Shared).await.unwrap();
    cloud.vault.expire();

    // The stub's challenge names an authority elsewhere.
    let error = session.read(&source.objects()[0].request).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(cloud.asked("/oauth2/"), 1);
    session.discard();
    assert_eq!(cloud.only(&*source).await.unwrap(), "v", "a new login reads again");
    assert_eq!(cloud.asked("/oauth2/"), 2);
}

#[tokio::test]
async fn a_vault_on_an_open_way_is_sent_nothing_without_the_administrators_leave() {
    let cloud = Cloud::start();
    let source = cloud.source(&[
        ("clientID", CLIENT),
        ("keyvaultURL", "http://vault.example.com"),
        ("objects", &array(ONE)),
    ]);

    let error = source.session(&cloud.workload("web-0"), Tenure::Shared).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("--allow-insecure-stores"), "{error}");
    assert_eq!(cloud.vault.seen().len(), 0);
}

#[tokio::test]
async fn what_the_tools_of_azure_would_take_from_the_environment_is_in_no_setting() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    cloud.only(&*cloud.class(ONE)).await.unwrap();

    let login = cloud.vault.seen().into_iter().find(|entry| entry["method"] == "POST").unwrap();

    assert_eq!(login["target"], format!("/{TENANT}/oauth2/v2.0/token"));
    let body = login["body"].as_str().unwrap();
    assert!(
        body.contains(&format!("client_id={CLIENT}"))
            && body.contains("scope=https%3A%2F%2Fvault.azure.net%2F.default"),
        "{body}"
    );
}

#[tokio::test]
async fn a_setting_that_could_never_work_is_refused_at_the_start() {
    let cloud = Cloud::start();
    let good = || config(&cloud.vault);
    for bad in [
        provider_azure::AzureConfig { cloud: "Mars".to_owned(), ..good() },
        provider_azure::AzureConfig { authority: Some("login".to_owned()), ..good() },
        provider_azure::AzureConfig { vault_url: Some("https://one-vault.example.com".to_owned()), ..good() },
        provider_azure::AzureConfig { metadata_endpoint: String::new(), ..good() },
    ] {
        let error = Azure::new(bad).unwrap_err();
        assert!(error.to_string().contains("--azure-"), "{error}");
    }
    let azure = Azure::new(good()).unwrap();
    assert!(azure.source("shop", &parameters(&[("objects", "")])).is_err());
}
