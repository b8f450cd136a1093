//! Volumes from a **stub** of CyberArk's Central Credential Provider, through a real `secretfs`. `hack/servers/ccp.py`
//! says what the stub cannot show.

use std::time::Duration;

use serde_json::json;
use testing::{Ccp, PodVolume, RunningNode};

/// How long a simple step may take.
const SOON: Duration = Duration::from_secs(60);
/// Withdrawal by polling waits 30 seconds for a second answer.
const CONFIRMED: Duration = Duration::from_secs(120);

#[tokio::test]
async fn the_example_for_cyberark_is_mounted_in_a_pod_rotated_and_taken_back() {
    let ccp = Ccp::start();
    ccp.application("shop", "shop", &["Shop"]);
    let postgres = |password: &str| {
        ccp.account(
            &json!({"Safe": "Shop", "Name": "postgres-shop", "Content": password, "UserName": "shop",
                            "Address": "db.example.com"}),
        );
    };
    postgres("old");
    ccp.account(&json!({"Safe": "Shop", "Name": "store", "Content": "AQI="}));
    let example = include_str!("../../examples/class-cyberark.yaml")
        .replace("refresh: 5m", "refresh: 1s\n    secretfs.dev/on-denied: remove")
        .replace("https://ccp.example.com", &ccp.url());
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.flag("--cyberark-ca", ccp.authority_file().to_str().unwrap());
    node.class("shop-cyberark", &example);
    node.start_node().await;
    let client = ccp.client("shop");
    let mut pod = PodVolume::new("web-0", "shop-cyberark");
    pod.secrets.insert("tls.crt".to_owned(), client.certificate);
    pod.secrets.insert("tls.key".to_owned(), client.key);

    let refused = node.publish(&PodVolume::new("web-1", "shop-cyberark")).await.unwrap_err();
    assert!(refused.message().contains("tls.crt"), "{refused}");
    node.publish_until_done(&pod).await;
    let shown = ["db/password", "db/user", "db/host"].map(|file| node.text(&pod, file).unwrap());
    assert_eq!(shown, ["old", "shop", "db.example.com"]);
    assert_eq!(node.read(&pod, "store.p12").unwrap(), [1, 2]);
    assert_eq!(node.text(&pod, "invoice-key"), None, "it may be missing");

    postgres("new");
    node.text_becomes(&pod, "db/password", Some("new"), SOON).await;

    ccp.remove("Shop", "postgres-shop");
    node.text_becomes(&pod, "db/password", None, CONFIRMED).await;
    assert_eq!(node.read(&pod, "store.p12").unwrap(), [1, 2], "the others stay");
    postgres("newest");
    node.text_becomes(&pod, "db/password", Some("newest"), SOON).await;
}

crate::modes::again_in_mode_fuse! {
    the_example_for_cyberark_is_mounted_in_a_pod_rotated_and_taken_back,
}
