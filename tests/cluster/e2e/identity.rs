//! Attempts to read secrets of others.

use serde_json::json;

use super::world::{DRIVER, Namespace, pod, shared};

#[test]
fn a_pod_of_another_service_account_is_refused_and_told_why() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "identity-account");
    shop.secret("db", "for app alone");
    shop.vault_class("app", &["db"], &[]);
    let mut thief = pod("thief", "app");
    thief["spec"]["serviceAccountName"] = json!("stranger");
    shop.apply(&thief);

    let told = shop.until_event("thief", "FailedMount");
    println!("{told}");
    let told = shop.until_event("thief", "service account name not authorized");
    assert!(told.contains("stranger"), "{told}");
    assert_ne!(shop.field("pod/thief", "{.status.phase}"), "Running");
}

#[test]
fn a_class_of_another_namespace_is_not_found() {
    let (world, _peace) = shared();
    let victim = Namespace::new(world, "identity-victim");
    let thieves = Namespace::new(world, "identity-thief");
    victim.secret("db", "the victim's");
    victim.vault_class("app", &["db"], &[]);
    thieves.apply(&pod("thief", "app"));

    let told = thieves.until_event("thief", "identity-thief/app");
    assert!(told.contains("not found"), "{told}");
    assert_ne!(thieves.field("pod/thief", "{.status.phase}"), "Running");
}

#[test]
fn pod_info_that_its_author_writes_into_the_volume_is_not_believed() {
    let (world, _peace) = shared();
    let victim = Namespace::new(world, "identity-forged");
    let thieves = Namespace::new(world, "identity-forger");
    victim.secret("db", "the victim's");
    victim.vault_class("app", &["db"], &[]);
    let forged = |key: &str, value: &str| {
        let mut thief = pod("thief", "app");
        thief["spec"]["volumes"][0]["csi"]["volumeAttributes"][key] = json!(value);
        thief
    };

    thieves.apply(&forged("csi.storage.k8s.io/pod.namespace", "identity-forged"));
    let told = thieves.until_event("thief", "identity-forger/app");
    assert!(told.contains("not found"), "{told}");
    thieves.delete("thief");

    // The driver refuses a key of kubelet that kubelet itself does not overwrite.
    thieves.apply(&forged("csi.storage.k8s.io/node.name", "elsewhere"));
    thieves.until_event("thief", "kubelet does not set attribute");
}

#[test]
fn a_token_that_the_pods_author_writes_into_the_volume_is_not_used() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "identity-token");
    shop.secret("db", "for app alone");
    shop.vault_class("app", &["db"], &[]);
    // The author of a pod of `stranger` has a token of `app`, and tries to make the driver show it to the store.
    let token = shop.kubectl(&["create", "token", "app", "--audience=vault"]);
    let tokens = json!({"vault": {"token": token.trim(), "expirationTimestamp": "2099-01-01T00:00:00Z"}});
    let mut thief = pod("thief", "app");
    thief["spec"]["serviceAccountName"] = json!("stranger");
    thief["spec"]["volumes"][0]["csi"]["volumeAttributes"]["csi.storage.k8s.io/serviceAccount.tokens"] =
        json!(tokens.to_string());
    shop.apply(&thief);

    shop.until_event("thief", "service account name not authorized");
    assert_ne!(shop.field("pod/thief", "{.status.phase}"), "Running");
}

#[test]
fn the_author_of_a_pod_cannot_override_what_the_class_says() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "identity-override");
    shop.secret("db", "allowed");
    shop.secret("other", "not in the class");
    shop.vault_class("app", &["db"], &[]);
    let mut thief = pod("thief", "app");
    let objects =
        "- {objectName: other, secretPath: secret/data/identity-override/other, secretKey: value}\n";
    thief["spec"]["volumes"][0]["csi"]["volumeAttributes"]["objects"] = json!(objects);
    assert_eq!(thief["spec"]["volumes"][0]["csi"]["driver"], DRIVER);
    shop.apply(&thief);

    let told = shop.until_event("thief", "volume attributes");
    assert!(told.contains("objects") && told.contains("overridable"), "{told}");
    assert_ne!(shop.field("pod/thief", "{.status.phase}"), "Running");
}
