//! `kubectl secretfs` with a real API server and with statuses that a real node wrote.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use testing::Cluster;

use super::world::{SHARED, SOON, World};

/// The output of the plugin, called as kubectl calls it.
fn plugin(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("kubectl-secretfs");
    symlink(env!("CARGO_BIN_EXE_secretfs"), &program).unwrap();
    run(&program, cluster.kubeconfig(), arguments)
}

fn run(program: &Path, kubeconfig: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let told = Command::new(program).args(arguments).env("KUBECONFIG", kubeconfig).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (told.status.code(), text(told.stdout) + &text(told.stderr))
}

/// Its output as JSON, as soon as it mentions `pod`.
fn once_told_of(cluster: &Cluster, pod: &str) -> Value {
    let begun = Instant::now();
    loop {
        let (code, told) = plugin(cluster, &["-n", "view", "--no-nodes", "-o", "json"]);
        assert_eq!(code, Some(0), "{told}");
        let told: Value = serde_json::from_str(&told).unwrap();
        if told["volumes"].as_array().unwrap().iter().any(|volume| volume["pod"] == pod) {
            return told;
        }
        assert!(begun.elapsed() < SOON, "{told}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[tokio::test]
async fn pods_are_shown_with_their_classes_versions_and_nodes() {
    let world = World::start(&SHARED, "view").await;
    SHARED.apply(&world.class("v1", "c", "key"));
    world.published(&world.pod("web", "c")).await;

    let json = once_told_of(&SHARED, "web");
    let (_, text) = plugin(&SHARED, &["-n", "view"]);
    let (_, wide) = plugin(&SHARED, &["-A", "-o", "wide"]);
    let (_, elsewhere) = plugin(&SHARED, &["-n", "default"]);

    let volume = &json["volumes"][0];
    assert_eq!((&volume["class"], &volume["node"]), (&"c".into(), &"test-node".into()), "{json}");
    assert_eq!(volume["objects"]["key"], "1", "{json}");
    assert!(text.contains("view/c") && text.contains("mounted"), "{text}");
    assert!(wide.contains("key=1"), "{wide}");
    assert!(elsewhere.contains("No pod mounts a class here."), "{elsewhere}");
}

#[test]
fn a_node_that_cannot_be_asked_is_named_and_the_rest_is_shown() {
    // An API server without a kubelet on its node, so `kubectl exec` fails.
    SHARED.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: absent}\n");
    SHARED.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: absent}\n");
    SHARED.apply(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: driver\n  namespace: absent\n  labels:\n    \
         {app.kubernetes.io/name: secretfs, app.kubernetes.io/component: node}\n\
         spec:\n  automountServiceAccountToken: false\n  nodeName: far-away\n  \
         containers: [{name: node, image: none}]\n",
    );
    SHARED.kubectl(&[
        "patch",
        "pod",
        "driver",
        "-n",
        "absent",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status": {"phase": "Running"}}"#,
    ]);

    let (code, told) = plugin(&SHARED, &["-n", "absent", "--driver-namespace", "absent"]);
    let (_, not_there) = plugin(&SHARED, &["-n", "absent"]);

    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("Not asked: node far-away: "), "{told}");
    // Anybody may give a pod such labels, so pods of other namespaces are not asked.
    assert!(!not_there.contains("far-away"), "{not_there}");
    assert!(not_there.contains("no pod of the driver runs in namespace secretfs-system"), "{not_there}");
}

#[test]
fn what_is_typed_wrong_is_2_and_not_told_back() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("kubectl-secretfs");
    symlink(env!("CARGO_BIN_EXE_secretfs"), &program).unwrap();

    for arguments in [&["hunter2"][..], &["-n", "a", "-A"], &["-o", "hunter2"]] {
        let (code, told) = run(&program, Path::new("/nonexistent"), arguments);
        assert_eq!(code, Some(2), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let (code, told) = run(&program, Path::new("/nonexistent"), &["--help"]);
    assert_eq!(code, Some(0));
    assert!(told.contains("kubectl secretfs -A"), "{told}");
}
