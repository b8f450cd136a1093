//! A second pod, and a second process, start while OpenBao is away.

use std::time::Duration;

use serde_json::json;
use tonic::Code;

use super::support::{SOON, Shop, node};

const ONE: &str = "- {objectName: key, secretPath: secret/data/app, secretKey: key}";

#[tokio::test]
async fn a_cached_start_serves_the_same_service_account_while_openbao_is_stopped_and_no_other() {
    let mut shop = Shop::start();
    shop.put("app", "v1");
    let cached = shop.class("app", ONE).with("secretfs.dev/start", "cached");
    let fresh = shop.class("fresh", ONE);
    let node = node(&[cached, fresh]).await;
    node.publish(&shop.pod("web-0", "app")).await.unwrap();
    let (second, stranger) = (shop.pod("web-1", "app"), shop.pod_of("other", "job-0", "app"));

    shop.bao.stop();
    // Until the reading is older than the class allows.
    tokio::time::sleep(Duration::from_secs(3)).await;
    node.publish(&second).await.unwrap();

    assert_eq!(node.text(&second, "key").as_deref(), Some("v1"));
    let refused = node.publish(&stranger).await.unwrap_err();
    println!("a stranger is told: {}", refused.message());
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains("key") && refused.message().contains("refuses connections"),
        "{refused}"
    );
    assert_eq!(node.text(&stranger, "key"), None);
    let refused = node.publish(&shop.pod("web-2", "fresh")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "a fresh start waits for the store");
}

#[tokio::test]
async fn a_node_that_was_killed_while_openbao_is_down_keeps_files_and_rotates_after_the_next_token() {
    let mut shop = Shop::durable();
    shop.bao.put("secret", "app", &json!({"key": "v1"}));
    let mut node = node(&[shop.class("app", ONE)]).await;
    let pod = shop.pod("web-0", "app");
    node.publish(&pod).await.unwrap();

    shop.bao.stop();
    node.restart_node().await;
    node.publish(&pod).await.unwrap();

    assert_eq!(node.text(&pod, "key").as_deref(), Some("v1"));
    assert_eq!(node.mounts().len(), 1);
    shop.bao.start_again();
    shop.put("app", "v2");
    node.publish(&shop.pod("web-0", "app")).await.unwrap();
    node.text_becomes(&pod, "key", Some("v2"), SOON).await;
}

crate::modes::again_in_mode_fuse! {
    a_cached_start_serves_the_same_service_account_while_openbao_is_stopped_and_no_other,
    a_node_that_was_killed_while_openbao_is_down_keeps_files_and_rotates_after_the_next_token,
}
