//! Volumes from a **stub** of Conjur, through a real `secretfs`. `hack/servers/conjur.py` says what the stub cannot
//! show.

use std::time::Duration;

use testing::{Claims, Conjur, Issuer, PodVolume, RunningNode};

/// How long a simple step may take.
const SOON: Duration = Duration::from_secs(60);
/// Withdrawal by polling waits 30 seconds for a second answer.
const CONFIRMED: Duration = Duration::from_secs(120);
const HOST: &str = "host/shop/web";

/// The files of the example.
const FILES: [(&str, &str); 3] =
    [("db/url", "postgres://db"), ("db/password", "old"), ("legacy/password", "old")];

async fn node() -> (Conjur, Issuer, RunningNode) {
    let issuer = Issuer::start();
    let conjur = Conjur::start(&issuer);
    conjur.trust(HOST, "shop:shop");
    conjur.permit(HOST, "shop/.*", &["read", "execute"]);
    conjur.put("shop/db/url", b"postgres://db");
    conjur.put("shop/db/password", b"old");
    let example = include_str!("../../examples/class-conjur.yaml")
        .replace("refresh: 30s", "refresh: 1s\n    secretfs.dev/on-denied: remove")
        .replace("https://conjur.conjur.svc.cluster.local", &conjur.url())
        .replace("    caCertPath: conjur/ca.crt\n", "");
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.class("shop-conjur", &example);
    node.start_node().await;
    (conjur, issuer, node)
}

fn pod(issuer: &Issuer, name: &str) -> PodVolume {
    let token = issuer.mint(&Claims::of("shop", "shop").pod(name).audience("conjur"));
    PodVolume::new(name, "shop-conjur").token("conjur", token)
}

#[tokio::test]
async fn upstreams_conjur_example_is_served_rotated_and_taken_back_by_the_pods_own_token() {
    let (conjur, issuer, node) = node().await;
    let first = pod(&issuer, "web-0");

    node.publish_until_done(&first).await;
    let shown = FILES.map(|(file, _)| (file, node.text(&first, file).unwrap()));
    assert_eq!(shown, FILES.map(|(file, text)| (file, text.to_owned())));

    conjur.put("shop/db/password", b"new");
    node.text_becomes(&first, "db/password", Some("new"), SOON).await;
    node.text_becomes(&first, "legacy/password", Some("new"), SOON).await;

    // Conjur says only that it is not there, which is a denial.
    conjur.permit(HOST, "shop/db/url", &["read", "execute"]);
    node.text_becomes(&first, "db/password", None, CONFIRMED).await;
    assert_eq!(node.text(&first, "db/url").as_deref(), Some("postgres://db"), "the others stay");
    let refused = node.publish(&pod(&issuer, "web-1")).await.unwrap_err();
    assert!(refused.message().contains("Conjur's policy"), "{refused}");

    conjur.permit(HOST, "shop/.*", &["read", "execute"]);
    node.text_becomes(&first, "db/password", Some("new"), SOON).await;
}

crate::modes::again_in_mode_fuse! {
    upstreams_conjur_example_is_served_rotated_and_taken_back_by_the_pods_own_token,
}
