//! Orders to take secrets back, in a real API server that several nodes watch.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::Instant;

use testing::{Cluster, Component, PodVolume, RunningNode, until};
use tonic::Code;

use super::world::{SHARED, SOON, World, api_server};

const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");

/// `secretfs` with the rights of this kubeconfig's user: what it printed, or why it failed.
fn secretfs(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(SECRETFS).args(arguments).env("KUBECONFIG", cluster.kubeconfig()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// A class of mode `mode` that shows item `api` as `key` and item `other` as `other`.
fn class(world: &World, name: &str, mode: &str) -> String {
    let mode = format!("parameters:\n    secretfs.dev/mode: {mode}\n");
    let other = "item: api}\n      - {objectName: other, item: other}\n";
    world.class("v1", name, "key").replace("parameters:\n", &mode).replace("item: api}\n", other)
}

/// Another node of the same cluster, with the same store.
async fn another(cluster: &Cluster, world: &World, name: &str) -> RunningNode {
    let mut node = RunningNode::prepare(SECRETFS, &["--store", world.store.path()]);
    node.call(name);
    node.ask(cluster.kubeconfig());
    node.use_mounter();
    node.start_node().await;
    node
}

/// Three nodes, on each of which a pod of each mode has its files.
async fn three(cluster: &Cluster, namespace: &'static str) -> (World, Vec<RunningNode>, Vec<PodVolume>) {
    let world = World::start(cluster, namespace).await;
    world.store.put(namespace, "other", "stays");
    let pods: Vec<_> = ["tmpfs", "fuse"].iter().map(|mode| world.pod(mode, mode)).collect();
    ["tmpfs", "fuse"].iter().for_each(|mode| cluster.apply(&class(&world, mode, mode)));
    let mut nodes = Vec::new();
    for name in ["one", "two", "three"] {
        let node = another(cluster, &world, name).await;
        for pod in &pods {
            node.publish_until_done(pod).await;
        }
        nodes.push(node);
    }
    (world, nodes, pods)
}

fn held(node: &RunningNode, pod: &PodVolume) -> File {
    File::open(node.target(pod).join("key")).unwrap()
}

/// What a program reads through a handle that it has open, from the start: the bytes, or the error.
fn read(file: &File) -> Result<String, i32> {
    let mut bytes = [0; 64];
    let read = file.read_at(&mut bytes, 0).map_err(|error| error.raw_os_error().unwrap_or_default())?;
    Ok(String::from_utf8(bytes[..read].to_vec()).unwrap())
}

/// Waits until handles that were opened before an order, one of each mode, give nothing any more. The name of a file goes
/// first, and what is open a moment later.
fn are_refused([in_tmpfs, over_fuse]: &[File; 2], node: &RunningNode) {
    let refused = || (read(in_tmpfs), read(over_fuse)) == (Ok(String::new()), Err(EACCES));
    until(refused, || format!("{:?} and {:?}: {}", read(in_tmpfs), read(over_fuse), node.log()));
}

/// The record of what an order took back, once it is in the audit trail of `node`.
fn withdrawal(node: &RunningNode) -> String {
    let withdrawn = || node.audit().lines().find(|line| line.contains("withdraw")).map(str::to_owned);
    until(|| withdrawn().is_some(), || node.audit());
    withdrawn().unwrap()
}

const EACCES: i32 = 13;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_reaches_every_node_at_once_and_one_that_was_down_before_it_serves() {
    let cluster = api_server();
    let (_world, mut nodes, pods) = three(&cluster, "ordered").await;
    let handles: Vec<_> = nodes.iter().map(|node| [held(node, &pods[0]), held(node, &pods[1])]).collect();
    let mut down = nodes.pop().unwrap();
    down.kill_node();
    let begun = Instant::now();

    let told =
        secretfs(&cluster, &["revoke", "-n", "ordered", "--object", "api", "--reason", "it leaked", "leak"])
            .unwrap();
    let ordered = Instant::now();
    assert!(told.contains("until `secretfs unrevoke -n ordered leak`"), "{told}");
    for node in &nodes {
        for pod in &pods {
            node.text_becomes(pod, "key", None, SOON).await;
        }
    }
    let (since, before) = (ordered.elapsed().as_millis(), begun.elapsed().as_millis());
    println!("two nodes follow an order {before} ms after the command began, {since} ms after it ended");
    for (node, opened) in nodes.iter().zip(&handles) {
        are_refused(opened, node);
        assert_eq!(node.text(&pods[0], "other").as_deref(), Some("stays"));
        let withdrawn = withdrawal(node);
        assert!(withdrawn.contains("Revocation ordered/leak"), "{withdrawn}");
    }

    let begun = Instant::now();
    down.start_node().await;
    println!("the node that was down is back after {} ms", begun.elapsed().as_millis());
    for pod in &pods {
        assert_eq!((down.text(pod, "key"), down.text(pod, "other").as_deref()), (None, Some("stays")));
    }
    are_refused(handles.last().unwrap(), &down);
    let refused = down.publish(&PodVolume { uid: "new".to_owned(), ..pods[0].clone() }).await.unwrap_err();
    assert!(refused.message().contains("revoked by Revocation ordered/leak: it leaked"), "{refused}");

    secretfs(&cluster, &["unrevoke", "-n", "ordered", "leak"]).unwrap();
    for node in nodes.iter().chain([&down]) {
        for pod in &pods {
            node.text_becomes(pod, "key", Some("one"), SOON).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_a_node_that_starts_follows_the_orders_that_it_recorded() {
    let cluster = api_server();
    let (_world, mut nodes, pods) = three(&cluster, "recorded").await;
    nodes.truncate(1);
    let mut node = nodes.pop().unwrap();
    secretfs(&cluster, &["revoke", "--cluster", "-n", "recorded", "--class", "fuse", "all"]).unwrap();
    node.text_becomes(&pods[1], "key", None, SOON).await;
    cluster.kill(Component::ApiServer);

    node.restart_node().await;

    assert_eq!((node.text(&pods[0], "key").as_deref(), node.text(&pods[1], "key")), (Some("one"), None));
    node.unpublish(&pods[1]).await.unwrap();
    let refused = node.publish(&pods[1]).await.unwrap_err();
    println!("a pod that starts while the API server is away: {refused}");
    assert!(matches!(refused.code(), Code::NotFound | Code::Unavailable), "{refused}");
    assert_eq!(node.text(&pods[1], "key"), None);
}

#[test]
fn who_lacks_the_right_orders_nothing_and_is_told_which_role_has_it() {
    SHARED.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: rightless}\n");
    SHARED.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: rightless}\n");
    let token = SHARED.kubectl(&["create", "token", "default", "-n", "rightless"]);
    let admin = std::fs::read_to_string(SHARED.kubeconfig()).unwrap();
    let mut config: serde_json::Value = serde_yaml::from_str(&admin).unwrap();
    config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_string()).unwrap();
    let kubeconfig = file.path().display().to_string();
    for (place, role) in [
        (["-n", "rightless"].as_slice(), " revocations-operator-role"),
        (&["--cluster"], "clusterrevocations-operator-role"),
    ] {
        let words = [&["revoke", "--object", "a", "--kubeconfig", &kubeconfig], place].concat();

        let refused = secretfs(&SHARED, &words).unwrap_err();

        assert!(refused.contains("you may not create") && refused.contains(role), "{refused}");
    }
    assert_eq!(SHARED.kubectl(&["get", "revocations", "-n", "rightless", "-o", "name"]), "");
}

#[test]
fn the_api_server_takes_no_order_that_names_nothing_and_lets_none_be_changed() {
    SHARED.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: schemas}\n");
    let order = |kind: &str, spec: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text =
            format!("apiVersion: secretfs.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n");
        std::fs::write(file.path(), text).unwrap();
        SHARED.try_kubectl(&[
            "apply",
            "--server-side",
            "-n",
            "schemas",
            "-f",
            &file.path().display().to_string(),
        ])
    };
    for (kind, spec, told) in [
        ("Revocation", "{}", "name what is revoked"),
        ("Revocation", "{reason: because}", "name what is revoked"),
        ("Revocation", "{everything: true, pod: web}", "name what is revoked"),
        ("ClusterRevocation", "{class: db}", "needs its namespace"),
        ("ClusterRevocation", "{everything: false}", "name what is revoked"),
    ] {
        let refused = order(kind, spec).unwrap_err();
        assert!(refused.contains(told), "{kind} {spec}: {refused}");
    }
    order("Revocation", "{pod: web}").unwrap();
    let changed = order("Revocation", "{pod: other}").unwrap_err();
    assert!(changed.contains("an order does not change"), "{changed}");
    let again = secretfs(&SHARED, &["revoke", "-n", "schemas", "--pod", "web", "a"]).unwrap_err();
    assert!(again.contains("there is an order of this name"), "{again}");
    let json = secretfs(&SHARED, &["revoke", "-n", "schemas", "--pod", "web", "-o", "json"]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let name = json["name"].as_str().unwrap();
    assert!(name.starts_with("revoke-") && json["kind"] == "Revocation" && json["holds"] == true, "{json}");
    secretfs(&SHARED, &["unrevoke", "-n", "schemas", name]).unwrap();
    let gone = secretfs(&SHARED, &["unrevoke", "-n", "schemas", name]).unwrap_err();
    assert!(gone.contains("no such order"), "{gone}");
}
