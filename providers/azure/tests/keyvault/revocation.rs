//! What a vault takes back, refuses and cannot give.

use std::time::Duration;

use provider::ErrorKind;
use serde_json::json;

use crate::support::{CLIENT, Cloud};

const ONE: &str = "objectName: a, objectType: secret";

#[tokio::test]
async fn what_is_deleted_is_revoked_until_it_is_recovered() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    let source = cloud.class(ONE);

    cloud.vault.delete_in("shop-kv", "a");
    let error = cloud.files(&*source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Revoked);
    assert!(error.to_string().contains("it was deleted in the vault; recover it"), "{error}");

    cloud.vault.recover_in("shop-kv", "a");
    assert_eq!(cloud.only(&*source).await.unwrap(), "v");
}

#[tokio::test]
async fn what_was_deleted_is_only_absent_for_who_may_not_know() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    cloud.vault.delete_in("shop-kv", "a");
    cloud.vault.deny(CLIENT, "deletedsecrets");

    assert_eq!(cloud.kind(&*cloud.class(ONE)).await, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_history_of_what_was_deleted_is_revoked_too() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    cloud.vault.delete_in("shop-kv", "a");

    let kind = cloud.kind(&*cloud.class("objectName: a, objectType: secret, objectVersionHistory: 2")).await;

    assert_eq!(kind, ErrorKind::Revoked);
}

#[tokio::test]
async fn a_disabled_version_is_revoked_and_read_again_once_it_is_enabled() {
    let cloud = Cloud::start();
    let version = cloud.vault.put_into("shop-kv", "a", "v");
    let source = cloud.class(ONE);

    cloud.vault.attributes_in("shop-kv", "a", &version, &json!({"enabled": false}));
    let error = cloud.files(&*source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Revoked);
    assert!(error.to_string().contains("SecretDisabled"), "{error}");

    cloud.vault.attributes_in("shop-kv", "a", &version, &json!({"enabled": true}));
    assert_eq!(cloud.only(&*source).await.unwrap(), "v");
}

#[tokio::test]
async fn a_right_that_was_taken_away_is_a_denial_that_names_the_role() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    cloud.vault.deny(CLIENT, "secrets");

    let error = cloud.files(&*cloud.class(ONE)).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Denied);
    let told = error.to_string();
    assert!(told.contains("ForbiddenByRbac") && told.contains("Key Vault Secrets User"), "{told}");
    cloud.vault.deny(CLIENT, "");
    assert_eq!(cloud.only(&*cloud.class(ONE)).await.unwrap(), "v");
}

#[tokio::test]
async fn a_vault_that_sheds_load_is_told_with_how_long_to_wait() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    let source = cloud.class(ONE);
    let throttled = json!({"error": {"code": "Throttled", "message": "Request was not processed"}});

    for (headers, wait) in [(json!({"Retry-After": "7"}), Some(Duration::from_secs(7))), (json!({}), None)] {
        cloud.vault.fault("GET .*/secrets/a", 1, 429, &headers, &throttled);
        let error = cloud.files(&*source).await.unwrap_err();
        assert_eq!((error.kind(), error.wait()), (ErrorKind::Unavailable, wait), "{error}");
    }
    assert_eq!(cloud.only(&*source).await.unwrap(), "v");
}

#[tokio::test]
async fn a_login_that_fails_is_told_apart_from_one_that_is_refused() {
    let cloud = Cloud::start();
    cloud.vault.put_into("shop-kv", "a", "v");
    let source = cloud.class(ONE);

    for (status, kind) in
        [(503, ErrorKind::Unavailable), (429, ErrorKind::Unavailable), (400, ErrorKind::Unauthenticated)]
    {
        cloud.vault.fault("POST .*/token", 1, status, &json!({}), &json!({"error": "x"}));
        assert_eq!(cloud.kind(&*source).await, kind, "{status}");
    }
    assert_eq!(cloud.only(&*source).await.unwrap(), "v");
}
