//! How many calls a store gets, and how soon a change is visible everywhere.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::future::join_all;
use serde_json::{Value, json};
use testing::PodVolume;
use tonic::Code;

use super::support::{SOON, Shop, node, publish_all, records, until};

const ONE: &str = "- {objectName: key, secretPath: secret/data/app, secretKey: key}";

fn pods(shop: &Shop, count: usize) -> Vec<PodVolume> {
    (0..count).map(|n| shop.pod(&format!("web-{n}"), "app")).collect()
}

#[tokio::test]
async fn a_new_version_reaches_fifty_volumes() {
    let shop = Shop::start();
    shop.put("app", "v1");
    let node = shop.node(ONE).await;
    let pods = pods(&shop, 50);
    publish_all(&node, &pods).await;

    shop.put("app", "v2");
    let written = Instant::now();
    join_all(pods.iter().map(|pod| node.text_becomes(pod, "key", Some("v2"), SOON))).await;

    println!("a new version was in the last of 50 volumes after {:?} (refresh 1 s)", written.elapsed());
}

#[tokio::test]
async fn thirty_volumes_of_one_service_account_are_one_login_and_one_read_per_object_and_refresh() {
    let shop = Shop::start();
    shop.put("app", "v1");
    shop.put("tls", "t1");
    let node = shop
        .node(&format!("{ONE}\n- {{objectName: tls, secretPath: secret/data/tls, secretKey: key}}"))
        .await;
    let pods = pods(&shop, 30);
    let reads = |path: &str| shop.bao.requests("read", path);

    let started = Instant::now();
    publish_all(&node, &pods).await;
    until(|| reads("secret/data/app") >= 6, || node.log()).await;
    // A volume that shares a reading may renew it a little early: at most once in 0.55 s.
    let refreshes = 1 + (started.elapsed().as_secs_f64() / 0.55) as usize;
    let (app, tls) = (reads("secret/data/app"), reads("secret/data/tls"));

    println!("30 volumes in {:?}: {app} and {tls} reads of two objects", started.elapsed());
    assert_eq!(shop.bao.requests("update", "auth/kubernetes/login"), 1);
    assert!(app <= refreshes && tls <= refreshes, "{app} and {tls} reads in {refreshes} refreshes");
}

#[tokio::test]
async fn a_role_that_is_bound_to_one_pod_serves_that_pod_and_not_its_sibling() {
    let shop = Shop::start();
    shop.put("app", "v1");
    shop.jwt_role("one-pod", &json!({"/kubernetes.io/pod/name": "web-0"}));
    let class = shop.class("app", ONE).with("vaultAuthMountPath", "jwt").with("roleName", "one-pod");
    let node = node(&[class]).await;
    let pods = pods(&shop, 2);

    node.publish(&pods[0]).await.unwrap();
    let refused = node.publish(&pods[1]).await.unwrap_err();

    println!("the sibling is told: {}", refused.message());
    assert_eq!(node.text(&pods[0], "key").as_deref(), Some("v1"));
    assert_eq!(refused.code(), Code::Unauthenticated);
    for part in ["key", "shop/shop", "auth/jwt", "one-pod", "check roleName"] {
        assert!(refused.message().contains(part), "{part} is missing in: {}", refused.message());
    }
    assert!(node.left_behind(&pods[1]).iter().all(|path| !path.join("key").exists()));
    assert!(
        node.audit().lines().any(|line| line.contains(r#""operation":"deny""#) && line.contains("web-1"))
    );
}

#[tokio::test]
async fn over_twenty_refreshes_a_certificate_is_issued_once_and_a_whole_answer_does_not_rotate() {
    let shop = Shop::start();
    shop.put("app", "v1");
    shop.pki();
    let issue = |name: &str| {
        format!(
            "- {{objectName: {name}.pem, secretPath: pki/issue/shop, secretKey: certificate, method: PUT, \
             secretArgs: {{common_name: {name}.test, ttl: 12h}}}}"
        )
    };
    let whole = "- {objectName: whole.json, secretPath: secret/data/app}".to_owned();
    let node = shop.node(&[whole, issue("a"), issue("b")].join("\n")).await;
    let pod = shop.pod("web-0", "app");
    node.publish(&pod).await.unwrap();
    let first = node.text(&pod, "a.pem").unwrap();
    let reads = || shop.bao.requests("read", "secret/data/app");

    until(|| reads() > 20, || format!("{} reads\n{}", reads(), node.log())).await;

    assert_eq!(shop.bao.requests("update", "pki/issue/shop"), 2, "one for each object");
    assert_eq!(node.text(&pod, "a.pem").unwrap(), first);
    assert_ne!(node.text(&pod, "b.pem").unwrap(), first);
    assert_eq!(records(&node, "rotate"), 0, "{}", node.audit());
    let ids: BTreeSet<_> = whole_answers(&shop).into_iter().collect();
    assert!(ids.len() > 20, "each answer had an id of its own");

    shop.put("app", "v2");
    let shows = |wanted: &str| node.text(&pod, "whole.json").unwrap().contains(wanted);
    until(|| shows(r#""key":"v2""#), || node.log()).await;
    until(|| records(&node, "rotate") == 1, || node.audit()).await;
}

/// The ids of OpenBao's answers to reads of `secret/app`.
fn whole_answers(shop: &Shop) -> Vec<String> {
    let is = |entry: &&Value| {
        entry["type"] == "response"
            && entry["request"]["operation"] == "read"
            && entry["request"]["path"] == "secret/data/app"
    };
    let audit = shop.bao.audit();
    let id = |entry: &Value| entry["request"]["id"].as_str().unwrap().to_owned();
    audit.iter().filter(is).map(id).collect()
}

crate::modes::again_in_mode_fuse! {
    a_new_version_reaches_fifty_volumes,
    thirty_volumes_of_one_service_account_are_one_login_and_one_read_per_object_and_refresh,
    a_role_that_is_bound_to_one_pod_serves_that_pod_and_not_its_sibling,
    over_twenty_refreshes_a_certificate_is_issued_once_and_a_whole_answer_does_not_rotate,
}
