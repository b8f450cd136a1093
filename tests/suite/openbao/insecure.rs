//! Stores on whose way others could answer.

use testing::RunningNode;
use tonic::Code;

use super::support::{SECRETFS, Shop, until};

const ONE: &str = "- {objectName: key, secretPath: secret/data/app, secretKey: key}";
const ALLOWED: &str = "--allow-insecure-stores";

#[tokio::test]
async fn a_running_pod_keeps_its_files_when_its_insecure_store_is_not_allowed_any_more() {
    let shop = Shop::start();
    shop.put("app", "v1");
    let mut node = RunningNode::prepare(SECRETFS, &[ALLOWED]);
    // By another name it is not the loopback address that is exempt.
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
