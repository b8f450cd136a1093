//! Which versions have arrived in which containers, over all nodes of a cluster.

use std::time::{Duration, Instant};

use serde_json::Value;
use testing::{PodVolume, RunningNode, until};

use super::world::{SHARED, SOON, World, another, secretfs};

/// What `secretfs status --coverage` tells of this namespace.
fn coverage(namespace: &str) -> Value {
    let words = ["status", "--coverage", "--cluster", "-n", namespace, "-o", "json"];
    secretfs(&SHARED, &words).map_or(Value::Null, |told| serde_json::from_str(&told).unwrap())
}

/// How far the object `key` has come in each pod.
fn reach(namespace: &str) -> Vec<(String, String)> {
    let told = coverage(namespace);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = told["coverage"].as_array().into_iter().flatten();
    rows.map(|row| (text(&row["who"]), text(&row["reach"]))).collect()
}

/// Waits until the pods have come so far. A node that missed its moment tells within half a minute.
async fn becomes(wanted: &[(&str, &str)], nodes: &[&RunningNode]) {
    let wanted: Vec<_> =
        wanted.iter().map(|(pod, reach)| (format!("covered/{pod}"), (*reach).to_owned())).collect();
    let begun = Instant::now();
    while reach("covered") != wanted {
        let log = || nodes.iter().map(|node| node.log()).collect::<String>();
        assert!(begun.elapsed() < 2 * SOON, "{}\n{}", coverage("covered"), log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes a node tell at once what it would tell within half a minute: whatever happens to a volume does.
async fn told_at_once(node: &RunningNode, pod: &PodVolume) {
    node.unpublish(pod).await.unwrap();
    node.publish(pod).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_all_nodes_it_is_told_who_opened_the_new_version_who_an_older_one_and_who_none() {
    let world = World::start(&SHARED, "covered").await;
    let mode = "parameters:\n    secretfs.dev/mode: fuse\n";
    SHARED.apply(&world.class("v1", "app", "key").replace("parameters:\n", mode));
    SHARED.apply(&world.class("v1", "plain", "key"));
    let (one, two) = (another(&SHARED, &world, "one").await, another(&SHARED, &world, "two").await);
    let [opens, sleeps, other] =
        [("opens", "app"), ("sleeps", "app"), ("plain", "plain")].map(|(pod, class)| world.pod(pod, class));
    one.publish_until_done(&opens).await;
    two.publish_until_done(&sleeps).await;
    one.publish_until_done(&other).await;
    assert_eq!(one.text(&opens, "key").as_deref(), Some("one"));

    world.store.put("covered", "api", "two");
    one.text_becomes(&other, "key", Some("two"), SOON).await;
    becomes(&[("opens", "old"), ("plain", "delivered"), ("sleeps", "never")], &[&one, &two]).await;

    one.text_becomes(&opens, "key", Some("two"), SOON).await;
    told_at_once(&one, &other).await;
    becomes(&[("opens", "opened"), ("plain", "delivered"), ("sleeps", "never")], &[&one, &two]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_ready_is_listed_with_what_it_told_last() {
    let world = World::start(&SHARED, "silent").await;
    SHARED.apply(&world.class("v1", "plain", "key"));
    let pod = world.pod("web", "plain");
    let silent = another(&SHARED, &world, "silent-node").await;
    silent.publish_until_done(&pod).await;
    until(|| !coverage("silent").is_null(), || silent.log());
    drop(silent);
    let nodes = || coverage("silent")["silent_nodes"].clone();

    assert_eq!(nodes(), serde_json::json!(["silent-node"]), "it is no node of the cluster");
    SHARED.apply("apiVersion: v1\nkind: Node\nmetadata: {name: silent-node}\n");
    assert_eq!(nodes(), serde_json::json!(["silent-node"]), "nobody says that it is ready");
    let ready = r#"{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}"#;
    SHARED.kubectl(&["patch", "node", "silent-node", "--subresource=status", "--type=merge", "-p", ready]);
    assert_eq!(nodes(), serde_json::json!([]));

    let table = secretfs(&SHARED, &["status", "--coverage", "--cluster", "-n", "silent"]).unwrap();
    assert!(table.contains("silent/web") && table.contains("delivered"), "{table}");
    let nothing = secretfs(&SHARED, &["status", "--coverage", "--cluster", "-n", "nobody"]).unwrap_err();
    assert!(nothing.contains("no volume is mounted in namespace nobody"), "{nothing}");
}
