//! The startup taint: the driver may remove it from its own node, and may change nothing else on nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use testing::{RunningNode, until};

use super::{CLUSTER, objects, of_kind, render, render_for};

const NAMESPACE: &str = "tainted";
const BINDING: &str = "tainted-secretfs-startuptaint-rolebinding";
/// The node of the driver under test, and another node.
const OWN: &str = "test-node";
const OTHER: &str = "other-node";
const TAINT: &str = "csi.secretfs.dev/agent-not-ready";
/// How long a change may take.
const SOON: Duration = Duration::from_secs(60);
const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");

/// Installs the right and the policy. Creates each of `nodes` with the startup taint and one other taint. Returns the
/// kubeconfig of the driver on each node, whose token the API server bound to a pod of that node.
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
    let uid = CLUSTER.field(&["-n", NAMESPACE, "pod", node], ".metadata.uid").unwrap();
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

/// The nodes as the account of a kubeconfig can see and change them.
async fn nodes_as(kubeconfig: &Path) -> Api<DynamicObject> {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Node"), "nodes");
    Api::all_with(Client::try_from(config).unwrap(), &resource)
}

/// Keys of a node's taints. The API server adds some to a node without a kubelet.
fn taints(node: &str) -> BTreeSet<String> {
    let spec = CLUSTER.kubectl(&["get", "node", node, "-o", "json"]);
    let node: Value = serde_json::from_str(&spec).unwrap();
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    taints.map(|taint| taint["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_driver_takes_the_startup_taint_from_its_own_node_after_registration_and_can_do_nothing_else() {
    let drivers = install(&[OWN, OTHER]);
    let driver = nodes_as(drivers[OWN].path()).await;
    let patch = async |node: &str, patch: &Value| {
        let patched = driver.patch(node, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(|error| error.to_string())
    };
    let other = json!({"key": "other", "effect": "NoExecute"});
    let taint = |effect: &str| json!({"key": TAINT, "effect": effect});
    let tainted = |taints: Value| json!({"spec": {"taints": taints}});
    // A policy takes effect a moment after its creation.
    let begun = Instant::now();
    while !patch(OTHER, &json!({})).await.is_err_and(|told| told.contains("only that node")) {
        assert!(begun.elapsed() < SOON, "the policy holds nobody");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let refused = [
        ("changes only that node", OTHER, tainted(json!([other]))),
        ("changes no other taint", OWN, tainted(json!([taint("NoSchedule")]))),
        ("changes no other taint", OWN, tainted(Value::Null)),
        ("changes no other taint", OWN, tainted(json!([other, taint("NoExecute")]))),
        ("changes only the taint", OWN, json!({"spec": {"unschedulable": true}})),
        ("changes only the taint", OWN, json!({"metadata": {"labels": {"a": "b"}}})),
        ("changes only the taint", OWN, json!({"metadata": {"annotations": {"a": "b"}}})),
    ];
    for (words, node, wish) in refused {
        let told = patch(node, &wish).await.unwrap_err();
        assert!(told.contains(words), "{wish}: {told}");
    }
    for forbidden in [
        driver.get(OWN).await.map(drop),
        driver.delete(OWN, &DeleteParams::default()).await.map(drop),
        driver
            .patch_status(OWN, &PatchParams::default(), &Patch::Merge(json!({"status": {}})))
            .await
            .map(drop),
    ] {
        let told = forbidden.unwrap_err().to_string();
        assert!(told.contains("forbidden"), "{told}");
    }

    let mut node = RunningNode::prepare(SECRETFS, &["--startup-taint", TAINT]);
    node.ask(drivers[OWN].path());
    node.register();
    node.start_node().await;
    let before = taints(OWN);
    assert!(before.contains(TAINT) && before.contains("other"), "it waits for its registration: {before:?}");
    let right = CLUSTER.kubectl(&["get", "clusterrolebinding", BINDING, "-o", "json"]);
    CLUSTER.kubectl(&["delete", "clusterrolebinding", BINDING]);
    node.take_registration().await;
    until(|| node.log().contains("the startup taint stays"), || node.log());
    assert_eq!(taints(OWN), before, "without the right it stays");
    let mut right: Value = serde_json::from_str(&right).unwrap();
    right["metadata"] = json!({"name": BINDING});
    CLUSTER.apply(&right.to_string());
    until(|| !taints(OWN).contains(TAINT), || format!("{:?}\n{}", taints(OWN), node.log()));

    let less: BTreeSet<_> = before.into_iter().filter(|key| key != TAINT).collect();
    assert_eq!(taints(OWN), less);
    assert!(taints(OTHER).contains(TAINT));
}

#[test]
fn its_right_never_comes_without_its_policy() {
    let refused =
        render_for("1.35.4", "", &["--set", "startupTaint.enabled=true,rbac.install=false"]).unwrap_err();
    assert!(refused.contains("startupTaint.enabled"), "{refused}");

    assert!(!render("", &[]).contains("startuptaint"));
}
