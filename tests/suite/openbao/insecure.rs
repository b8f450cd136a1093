//! Stores that are reached in an insecure way, on which others could answer.

use testing::RunningNode;
use tonic::Code;

use super::support::{SECRETFS, Shop, until};

const ONE: &str = "- {objectName: key, secretPath: secret/data/app, secretKey: key}";
const ALLOWED: &str = "--allow-insecure-stores";
const NOT_ALLOWED: &str = "--allow-insecure-stores=false";

#[tokio::test]
async fn a_running_pod_keeps_its_files_when_its_insecure_store_is_not_allowed_any_more() {
    let shop = Shop::start();
    shop.put("app", "v1");
    let mut node = RunningNode::prepare(SECRETFS, &[ALLOWED]);
    // With another name it is not the exempt loopback address.
    shop.class("app", ONE).with("vaultTLSServerName", "elsewhere.test").serve(&node);
    node.start_node().await;
    let pod = shop.pod("web-0", "app");
    node.publish(&pod).await.unwrap();

    node.drop_flag(ALLOWED);
    node.restart_node().await;
    shop.put("app", "v2");
    node.publish(&pod).await.unwrap();
    let refused = node.publish(&shop.pod("web-1", "app")).await.unwrap_err();
    let told = || node.log().lines().any(|line| line.contains(ALLOWED) && line.contains(&pod.id()));
    until(told, || node.log()).await;

    assert_eq!(node.text(&pod, "key").as_deref(), Some("v1"));
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("it is http") && refused.message().contains(ALLOWED), "{refused}");
    let metrics = node.http("/metrics").await;
    assert!(metrics.contains("secretfs_insecure_stores_total{state=\"refused\"}"), "{metrics}");
    assert!(!metrics.contains("state=\"allowed\""), "{metrics}");
}

/// The output of `secretfs check` for a class.
fn checked(node: &RunningNode, manifest: &str) -> String {
    let file = node.path("checked.yaml");
    std::fs::write(&file, manifest).unwrap();
    let output = std::process::Command::new(SECRETFS).arg("check").arg(&file).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn under_upstreams_name_an_insecure_store_is_allowed_and_warned_of_and_under_our_own_it_is_refused() {
    let shop = Shop::start();
    shop.put("app", "v1");
    let class = shop.class("app", ONE).with("vaultTLSServerName", "elsewhere.test");
    let node = |flags: &[&str]| {
        let node = RunningNode::prepare(SECRETFS, flags);
        class.serve(&node);
        node
    };
    let pod = shop.pod("web-0", "app");

    let mut own = node(&[]);
    own.start_node().await;
    let refused = own.publish(&pod).await.unwrap_err();
    let counted = own.http("/metrics").await;

    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains(ALLOWED), "{refused}");
    assert!(!own.log().contains("insecure stores are allowed"), "{}", own.log());
    assert!(counted.contains("secretfs_insecure_stores_total{state=\"refused\"}"), "{counted}");
    let warned = checked(&own, &class.manifest());
    assert!(warned.contains("warning: vaultAddress: it is http") && warned.contains(ALLOWED), "{warned}");

    let mut upstream = node(&["--driver-name", "secrets-store.csi.k8s.io"]);
    upstream.start_node().await;
    upstream.publish(&pod).await.unwrap();
    let counted = upstream.http("/metrics").await;

    assert_eq!(upstream.text(&pod, "key").as_deref(), Some("v1"));
    assert!(upstream.log().contains("insecure stores are allowed"), "{}", upstream.log());
    assert!(counted.contains("secretfs_insecure_stores_total{state=\"allowed\"}"), "{counted}");

    // The administrator forbids it: mounted volumes stay, and report what to do.
    upstream.switch(NOT_ALLOWED);
    upstream.restart_node().await;
    shop.put("app", "v2");
    upstream.publish(&pod).await.unwrap();
    let refused = upstream.publish(&shop.pod("web-1", "app")).await.unwrap_err();
    let told = || upstream.log().lines().any(|line| line.contains(ALLOWED) && line.contains(&pod.id()));
    until(told, || upstream.log()).await;
    let counted = upstream.http("/metrics").await;

    assert_eq!(upstream.text(&pod, "key").as_deref(), Some("v1"));
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(counted.contains("secretfs_insecure_stores_total{state=\"refused\"}"), "{counted}");
}

crate::modes::again_in_mode_fuse! {
    a_running_pod_keeps_its_files_when_its_insecure_store_is_not_allowed_any_more,
    under_upstreams_name_an_insecure_store_is_allowed_and_warned_of_and_under_our_own_it_is_refused,
}
