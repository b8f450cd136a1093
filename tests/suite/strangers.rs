//! Hostile texts and numbers from stores and from authors of classes and pods. The store is a **stub** that answers as
//! each test decides. The tests in `openbao` show what a real OpenBao answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use testing::{
    Answer, Authority, Claims, DRIVER, FaultServer, Issuer, PodVolume, RunningNode, Seen, jwt_class,
    prepare_target,
};

/// A number by which no clock can be moved forward.
const ABSURD: u64 = u64::MAX;
/// How long something that is due now may take on a slow machine.
const SOON: Duration = Duration::from_secs(60);
/// Publishes that run at the same time.
const IN_FLIGHT: u64 = 50;
/// The most stores that a node remembers: 256 that no volume reads from, and those that are asked right now.
const MOST_KNOWN: u64 = 256 + IN_FLIGHT;

fn node() -> RunningNode {
    RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[])
}

/// A class of `namespace` that reads `objects` at `address` every `refresh`, with a login that its service account
/// shares.
fn class(namespace: &str, address: &str, objects: &[&str], refresh: &str) -> String {
    let objects: Vec<String> =
        objects.iter().map(|object| format!("- {{{object}, secretKey: key}}")).collect();
    let mut class: Value =
        serde_json::from_str(&jwt_class(namespace, "class", address, &objects.join("\n"))).unwrap();
    let parameters = class["spec"]["parameters"].as_object_mut().unwrap();
    // With the method `jwt` each pod has a login of its own. The stub's answers would mean the same for other methods.
    parameters.insert("secretfs.dev/share".to_owned(), "service-account".into());
    parameters.insert("secretfs.dev/auth".to_owned(), "kubernetes".into());
    parameters.insert("vaultAuthMountPath".to_owned(), "kubernetes".into());
    parameters.insert("secretfs.dev/refresh".to_owned(), refresh.into());
    class.to_string()
}

/// One object of a key-value store.
const APP: &[&str] = &["objectName: file, secretPath: secret/data/app"];

/// A pod of `namespace` with a service account of its own name, so that it shares no reading.
fn pod(issuer: &Issuer, namespace: &str, name: &str) -> PodVolume {
    issuer.pod(namespace, name, name, "class")
}

fn login(seconds: u64) -> Answer {
    Answer::json(200, &json!({"auth": {"client_token": "t", "lease_duration": seconds, "renewable": true}}))
}

/// A store that grants every login, and answers reads with `read`.
fn granting(read: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> FaultServer {
    FaultServer::http(move |seen| if seen.target.ends_with("/login") { login(3600) } else { read(seen) })
}

fn secret(value: &str) -> Answer {
    Answer::json(200, &json!({"data": {"data": {"key": value}, "metadata": {"version": 1}}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_store_tells_absurd_lengths_of_time_is_refreshed_all_the_same() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let store = FaultServer::http(move |seen| {
        if seen.target.ends_with("/login") {
            return login(ABSURD);
        }
        let version = told.load(Ordering::SeqCst);
        if seen.target.contains("database") {
            let lease =
                json!({"lease_id": "l", "lease_duration": ABSURD, "renewable": true, "data": {"key": "v"}});
            return Answer::json(200, &lease);
        }
        let data = json!({"data": {"key": format!("v{version}")}, "metadata": {"version": version}});
        Answer::json(200, &json!({"lease_duration": ABSURD, "data": data}))
    });
    let mut node = node();
    node.class(
        "class",
        &class(
            "shop",
            &store.url(),
            &[APP, &["objectName: leased, secretPath: database/creds/app"]].concat(),
            "1s",
        ),
    );
    node.start_node().await;
    let pod = pod(&Issuer::start(), "shop", "reader");
    node.publish_until_done(&pod).await;
    assert_eq!(node.text(&pod, "file").as_deref(), Some("v1"));

    version.store(2, Ordering::SeqCst);

    let begun = Instant::now();
    node.text_becomes(&pod, "file", Some("v2"), SOON).await;
    println!("the next version was shown after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_named_and_those_that_classes_only_name_are_forgotten() {
    let mut node = node();
    let address = |index: u64| format!("http://127.{}.{}.1:9", index / 250 + 2, index % 250);
    let count = MOST_KNOWN + 100;
    for index in 0..count {
        let class = class(&format!("evil-{index}"), &address(index), APP, "1h");
        node.class(&format!("evil-{index}"), &class);
    }
    node.start_node().await;
    let issuer = Issuer::start();
    let pods: Vec<_> =
        (0..count).map(|index| pod(&issuer, &format!("evil-{index}"), &format!("pod-{index}"))).collect();
    for pods in pods.chunks(IN_FLIGHT as usize) {
        let refused = join_all(pods.iter().map(|pod| node.publish(pod))).await;
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
    }

    // One of these stores gets so many failures that the node leaves it alone.
    let away = (0..12).map(|index| pod(&issuer, "evil-7", &format!("away-{index}")));
    join_all(away.map(async |pod| node.publish(&pod).await.unwrap_err())).await;
    let wanted = format!("state=\"open\",store=\"{}\",namespace=\"evil-7\"", address(7));
    let begun = Instant::now();
    let named = loop {
        let told = breakers(&node).await;
        if told.iter().any(|(labels, _)| labels.contains(&wanted)) {
            break told;
        }
        assert!(begun.elapsed() < SOON, "not named: {wanted}; {told:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let known: u64 = named.iter().map(|(_, count)| count).sum();

    println!("{known} stores are known; {named:?}");
    assert!((1..=MOST_KNOWN).contains(&known), "{known} stores are known");
}

/// The labels of the metric about stores' breakers, and the number of stores for each.
async fn breakers(node: &RunningNode) -> Vec<(String, u64)> {
    let metrics = node.http("/metrics").await;
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("secretfs_breaker_state{"));
    let pairs = lines.map(|line| line.rsplit_once("} ").unwrap());
    pairs.map(|(labels, count)| (labels.to_owned(), count.parse().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pod_does_not_start_on_an_answer_from_before_its_right_was_taken_away() {
    let allowed = Arc::new(AtomicU64::new(1));
    let may = Arc::clone(&allowed);
    let store = granting(move |_| match may.load(Ordering::SeqCst) {
        1 => secret("v1"),
        _ => Answer::json(403, &json!({"errors": ["1 error occurred:\n\t* permission denied\n\n"]})),
    });
    let mut node = node();
    node.flag("--max-shared-age", "1s");
    node.class("class", &class("shop", &store.url(), APP, "100d"));
    node.start_node().await;
    let issuer = Issuer::start();
    node.publish(&issuer.pod("shop", "shop", "first", "class")).await.unwrap();

    allowed.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = issuer.pod("shop", "shop", "second", "class");
    let refused = node.publish(&second).await.unwrap_err();

    assert!(refused.message().contains("permission denied"), "{refused}");
    assert_eq!(node.text(&second, "file"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_for_an_account_is_not_given_to_one_that_was_made_again() {
    let of_account = |uid, pod| PodVolume::new(pod, "class").unsigned_token_of("", uid);
    let (first, second) = (of_account("1", "first"), of_account("2", "second"));
    let may = format!("Bearer {}", first.tokens[""]);
    let authority = Authority::new();
    let api_server = FaultServer::https(&authority.server(&["localhost"]), move |seen| {
        if seen.header("authorization") != Some(&may) {
            let status = json!({"kind": "Status", "reason": "Forbidden", "code": 403, "message": "secrets is forbidden"});
            return Answer::json(403, &status);
        }
        if seen.target.contains("watch") {
            return Answer::Hang;
        }
        let metadata = json!({"name": "app", "namespace": "shop", "resourceVersion": "7", "uid": "u"});
        let secret =
            json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": {"key": "djE="}});
        Answer::json(200, &secret)
    });
    let mut node = node();
    let trusted = node.path("ca.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    node.flag("--kubernetes-api-server", &api_server.url());
    node.flag("--kubernetes-ca", trusted.to_str().unwrap());
    let class = json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "metadata": {"name": "class", "namespace": "shop"},
        "spec": {"provider": "kubernetes", "parameters": {
            "secretfs.dev/refresh": "1h", "objects": "- {objectName: file, secret: app, key: key}",
        }},
    });
    node.class("class", &class.to_string());
    node.start_node().await;
    node.publish(&first).await.unwrap();
    assert_eq!(node.text(&first, "file").as_deref(), Some("v1"));

    let refused = node.publish(&second).await.unwrap_err();

    println!("{}", refused.message());
    assert_eq!(node.text(&second, "file"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_tells_no_namespace_what_another_reads() {
    let store = granting(|_| Answer::Reset);
    let mut node = node();
    node.class(
        "ours",
        &class("shop", &store.url(), &["objectName: file, secretPath: secret/data/ours"], "1h"),
    );
    node.class(
        "theirs",
        &class("bank", &store.url(), &["objectName: file, secretPath: secret/data/theirs"], "1h"),
    );
    node.start_node().await;
    let issuer = Issuer::start();
    let theirs: Vec<_> = (0..8).map(|index| pod(&issuer, "bank", &format!("theirs-{index}"))).collect();

    // As many failures as it takes until the store counts as away for everyone.
    let refused = join_all(theirs.iter().map(|pod| node.publish(pod))).await;
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    let ours = pod(&issuer, "shop", "ours");
    prepare_target(&node.target(&ours), DRIVER);
    let mut request = tonic::Request::new(node.request(&ours));
    // Shorter than the wait until the store is tried again.
    request.set_timeout(Duration::from_secs(5));
    let refused = node.client().await.node_publish_volume(request).await.unwrap_err();

    println!("{}", refused.message());
    assert!(!refused.message().contains("theirs"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_a_pods_author_wrote_for_another_identity_is_not_used() {
    let store = granting(|_| secret("for the bank"));
    let mut node = node();
    node.class("class", &class("shop", &store.url(), APP, "1h"));
    node.start_node().await;
    let token = Issuer::start().mint(&Claims::of("bank", "teller").pod("teller"));
    let written =
        json!({"vault": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}}).to_string();
    let mut thief = PodVolume::new("thief", "class");
    thief.attributes.insert("csi.storage.k8s.io/serviceAccount.tokens".to_owned(), written);

    let refused = node.publish(&thief).await.unwrap_err();

    println!("{}", refused.message());
    assert_eq!(node.text(&thief, "file"), None);
    assert_eq!(store.seen().iter().filter(|seen| seen.target.ends_with("/login")).count(), 0, "logins");
}

crate::modes::again_in_mode_fuse! {
    a_volume_whose_store_tells_absurd_lengths_of_time_is_refreshed_all_the_same,
    a_store_that_does_not_answer_is_named_and_those_that_classes_only_name_are_forgotten,
    a_new_pod_does_not_start_on_an_answer_from_before_its_right_was_taken_away,
    what_was_read_for_an_account_is_not_given_to_one_that_was_made_again,
    an_outage_tells_no_namespace_what_another_reads,
    a_token_that_a_pods_author_wrote_for_another_identity_is_not_used,
}
