//! The startup taint: the driver of a node takes it from that node, and can do nothing else with nodes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testing::{RunningNode, until};

use super::{CLUSTER, objects, of_kind, render, render_for};

const NAMESPACE: &str = "tainted";
const BINDING: &str = "tainted-secretfs-startuptaint-rolebinding";
/// The node of the driver under test, and another.
const OWN: &str = "test-node";
const OTHER: &str = "other-node";
const TAINT: &str = "csi.secretfs.dev/agent-not-ready";
const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");

/// Installs the right and the policy, and for each of `nodes` a node with the taint and another one, and the kubeconfig of
/// the driver there, whose token the API server bound to a pod of that node.
fn install(nodes: &[&'static str]) -> BTreeMap<&'static str, tempfile::NamedTempFile> {
    let values = "startupTaint.enabled=true,admissionPolicy.create=false,rbac.namePrefix=tainted-";
    let rendered = objects(&render("", &["--namespace", NAMESPACE, "--set", values]));
    let kinds = [
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    CLUSTER.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n"));
    let items = kinds.map(|kind| of_kind(&rendered, kind)).concat();
    CLUSTER.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    nodes.iter().map(|node| (*node, driver_of(node))).collect()
}

fn driver_of(node: &str) -> tempfile::NamedTempFile {
    let taints = json!([{"key": TAINT, "effect": "NoSchedule"}, {"key": "other", "effect": "NoExecute"}]);
    let pod = json!({"serviceAccountName": "secretfs", "nodeName": node, "containers": [{"name": "a", "image": "a"}]});
    let items = [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "spec": {"taints": taints}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node, "namespace": NAMESPACE}, "spec": pod}),
    ];
    CLUSTER.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    let uid = CLUSTER.field(&["-n", NAMESPACE, "pod", node], "{.metadata.uid}").unwrap();
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", node, "--bound-object-uid", &uid];
    let token = CLUSTER.kubectl(&[&["-n", NAMESPACE, "create", "token", "secretfs"], &bound[..]].concat());
    let cluster = json!({"server": CLUSTER.api_url(), "certificate-authority": CLUSTER.authority()});
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": cluster}],
        "users": [{"name": "a", "user": {"token": token.trim()}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_string()).unwrap();
    file
}

fn taints(node: &str) -> Vec<Value> {
    let spec = CLUSTER.kubectl(&["get", "node", node, "-o", "json"]);
    let node: Value = serde_json::from_str(&spec).unwrap();
    node["spec"]["taints"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn the_driver_takes_the_startup_taint_from_its_own_node_after_registration_and_can_do_nothing_else() {
    let drivers = install(&[OWN, OTHER]);
    let act = |arguments: &[&str]| {
        let config = drivers[OWN].path().display().to_string();
        CLUSTER.try_kubectl(&[&["--kubeconfig", &config], arguments].concat())
    };
    let patch = |node: &str, more: &[&str], patch: &Value| {
        act(&[&["patch", "node", node, "--type=merge", "-p", &patch.to_string()], more].concat())
    };
    let other = json!({"key": "other", "effect": "NoExecute"});
    let left = json!({"spec": {"taints": [other]}});
    // Held from a moment after the policy was made on.
    let held = || patch(OTHER, &[], &json!({})).is_err_and(|told| told.contains("no other"));
    until(held, || "the policy holds nobody".to_owned());

    let refused = [
        ("that node and no other", patch(OTHER, &[], &left)),
        (
            "changes no other",
            patch(OWN, &[], &json!({"spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]}})),
        ),
        ("changes no other", patch(OWN, &[], &json!({"spec": {"taints": null}}))),
        (
            "changes no other",
            patch(OWN, &[], &json!({"spec": {"taints": [other, {"key": TAINT, "effect": "NoExecute"}]}})),
        ),
        ("nothing of its node", patch(OWN, &[], &json!({"spec": {"unschedulable": true}}))),
        ("nothing of its node", patch(OWN, &[], &json!({"metadata": {"labels": {"a": "b"}}}))),
        ("nothing of its node", patch(OWN, &[], &json!({"metadata": {"annotations": {"a": "b"}}}))),
        ("forbidden", patch(OWN, &["--subresource=status"], &json!({"status": {}}))),
        ("forbidden", act(&["get", "node", OWN])),
        ("forbidden", act(&["delete", "node", OWN])),
    ];
    for (words, outcome) in refused {
        let told = outcome.unwrap_err();
        assert!(told.contains(words), "{words}: {told}");
    }

    let mut node = RunningNode::prepare(SECRETFS, &["--startup-taint", TAINT]);
    node.ask(drivers[OWN].path());
    node.register();
    node.start_node().await;
    assert_eq!(taints(OWN).len(), 2, "it waits for its registration");
    let right = CLUSTER.kubectl(&["get", "clusterrolebinding", BINDING, "-o", "json"]);
    CLUSTER.kubectl(&["delete", "clusterrolebinding", BINDING]);
    node.take_registration().await;
    until(|| node.log().contains("the startup taint stays"), || node.log());
    assert_eq!(taints(OWN).len(), 2, "without the right it stays");
    let mut right: Value = serde_json::from_str(&right).unwrap();
    right["metadata"] = json!({"name": BINDING});
    CLUSTER.apply(&right.to_string());
    until(|| taints(OWN) == [other.clone()], || format!("{:?}\n{}", taints(OWN), node.log()));

    assert_eq!(taints(OTHER).len(), 2);
}

#[test]
fn its_right_never_comes_without_its_policy() {
    let refused =
        render_for("1.35.4", "", &["--set", "startupTaint.enabled=true,rbac.install=false"]).unwrap_err();
    assert!(refused.contains("startupTaint.enabled"), "{refused}");

    assert!(!render("", &[]).contains("startuptaint"));
}
