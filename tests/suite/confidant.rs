//! Volumes from a real Confidant, through a real `secretfs`. A real moto is AWS for both; it judges no token.

use std::time::Duration;

use serde_json::json;
use testing::{Claims, Confidant, Issuer, PodVolume, RunningNode};

const AUDIENCE: &str = "sts.amazonaws.com";
/// How long a simple step may take.
const SOON: Duration = Duration::from_secs(60);
/// Withdrawal by polling waits 30 seconds for a second answer.
const CONFIRMED: Duration = Duration::from_secs(120);

fn pod(issuer: &Issuer, name: &str) -> PodVolume {
    let token = issuer.mint(&Claims::of("shop", "shop").pod(name).audience(AUDIENCE));
    PodVolume::new(name, "shop-confidant").token(AUDIENCE, token)
}

#[tokio::test]
async fn the_example_for_confidant_is_mounted_in_a_pod_rotated_and_taken_back() {
    let (server, issuer) = (Confidant::start(), Issuer::start());
    let db = server.credential("shop db", &json!({"user": "shop", "password": "old"}));
    let api = server.credential("shop api", &json!({"api-token": "T1"}));
    let store = server.credential("shop store", &json!({"p12": "AQI="}));
    server.service("shop-production", &[&db, &api, &store], true);
    let example = include_str!("../../examples/class-confidant.yaml")
        .replace("refresh: 30s", "refresh: 1s")
        .replace("https://confidant.example.com", &server.url());
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.flag("--confidant-aws-endpoint", &server.aws().url());
    node.class("shop-confidant", &example);
    node.start_node().await;
    let first = pod(&issuer, "web-0");

    node.publish_until_done(&first).await;
    let shown = ["db/user", "db/password", "api-token"].map(|file| node.text(&first, file).unwrap());
    assert_eq!(shown, ["shop", "old", "T1"]);
    assert_eq!(node.read(&first, "store.p12").unwrap(), [1, 2]);
    assert_eq!(node.text(&first, "invoice-key"), None, "it may be missing");

    let db_with = |password: &str, is_enabled: bool| {
        let pairs = json!({"user": "shop", "password": password});
        json!({"name": "shop db", "enabled": is_enabled, "credential_pairs": pairs})
    };
    server.change(&db, &db_with("new", true));
    node.text_becomes(&first, "db/password", Some("new"), SOON).await;

    server.change(&db, &db_with("new", false));
    node.text_becomes(&first, "db/password", None, CONFIRMED).await;
    assert_eq!(node.text(&first, "api-token").as_deref(), Some("T1"), "what was not revoked stays");
    let refused = node.publish(&pod(&issuer, "web-1")).await.unwrap_err();
    assert!(refused.message().contains("is disabled in Confidant"), "{refused}");

    server.change(&db, &db_with("new", true));
    node.text_becomes(&first, "db/password", Some("new"), SOON).await;
}

crate::modes::again_in_mode_fuse! {
    the_example_for_confidant_is_mounted_in_a_pod_rotated_and_taken_back,
}
