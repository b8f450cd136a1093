//! The right to roll out workloads: what it is, and what the policy beside it lets the driver change.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testing::until;

use super::rights::{Installed, expected};
use super::{CLUSTER, objects, of_kind, render};

const MARK: &str = "2026-03-01T12:00:00Z 0123456789abcdef";

/// A workload of this kind in namespace `billing`.
fn workload(kind: &str, name: &str) -> Value {
    let labels = json!({"app": name});
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name, "namespace": "billing", "labels": labels, "annotations": {"kept": "by others"},
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"team": "shop"}},
                "spec": {"containers": [{"name": "web", "image": "web:1", "env": [{"name": "A", "value": "b"}]}]},
            },
        },
    });
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = json!("web");
    }
    workload
}

/// What the API server says when the driver's account sends this merge patch.
fn patched(driver: &Installed, kind: &str, name: &str, patch: &Value) -> Result<String, String> {
    let (account, patch) = (driver.account("secretfs"), patch.to_string());
    let resource = kind.to_lowercase();
    CLUSTER.try_kubectl(&[
        "-n",
        "billing",
        "--as",
        &account,
        "patch",
        &resource,
        name,
        "--type=merge",
        "-p",
        &patch,
    ])
}

fn annotation(text: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"secretfs.dev/rolled-out-for": text}}}}})
}

#[test]
fn the_driver_may_roll_out_workloads_where_the_values_say_and_nowhere_else_and_by_default_nowhere() {
    let driver = Installed::with("restarting", "restartWorkloads.namespaces={shop}");

    assert_eq!(driver.rights("shop"), expected(&["restartWorkloads.namespaces"]));
    assert_eq!(driver.rights("billing"), expected(&[]));
    assert!(!driver.may("list", "deployments.apps") && !driver.may("update", "deployments.apps"));
    let defaults = objects(&render("", &[]));
    let names: BTreeSet<_> = ["ClusterRole", "ValidatingAdmissionPolicy"]
        .into_iter()
        .flat_map(|kind| of_kind(&defaults, kind))
        .map(|object| object["metadata"]["name"].as_str().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.contains("restart")), "{names:?}");
}

#[test]
fn the_policy_lets_the_driver_change_that_annotation_of_a_workload_and_nothing_else() {
    let driver = Installed::with("marking", "restartWorkloads.namespaces={billing}");
    // Even with every right, as by a mistake of somebody.
    CLUSTER.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "far-too-much", "namespace": "billing"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "secretfs", "namespace": "marking"}],
    }).to_string());
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        CLUSTER.apply(&workload(kind, "marked").to_string());
    }
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "evil:1"}]}}}});
    // A new policy takes a moment to hold.
    until(
        || patched(&driver, "Deployment", "marked", &image).is_err_and(|told| told.contains("Policy")),
        || "the policy refuses nothing".to_owned(),
    );
    CLUSTER.apply(&workload("Deployment", "marked").to_string());

    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        patched(&driver, kind, "marked", &annotation(MARK)).unwrap();
        let template = |value: Value| json!({"spec": {"template": value}});
        let with_mark = |mut value: Value| {
            value["spec"]["template"]["metadata"]["annotations"]["secretfs.dev/rolled-out-for"] =
                json!("2026-03-01T12:00:01Z 0123456789abcdef");
            value
        };
        for refused in [
            image.clone(),
            with_mark(image.clone()),
            template(json!({"metadata": {"annotations": {"team": "other"}}})),
            template(json!({"metadata": {"annotations": {"team": null}}})),
            template(json!({"metadata": {"annotations": {"secretfs.dev/rolled-out-for": null}}})),
            template(json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}})),
            template(json!({"metadata": {"labels": {"more": "x"}}})),
            template(json!({"spec": {"hostPID": true}})),
            template(json!({"spec": {"serviceAccountName": "admin"}})),
            with_mark(json!({"metadata": {"labels": {"more": "x"}}})),
            with_mark(json!({"metadata": {"annotations": {"more": "x"}}})),
            with_mark(json!({"metadata": {"annotations": {"kept": null}}})),
            with_mark(json!({"metadata": {"finalizers": ["a.b/c"]}})),
            with_mark(json!({"spec": {"minReadySeconds": 7}})),
            annotation("a note that somebody hides here"),
            annotation(&format!("{MARK} and more")),
        ] {
            let told = patched(&driver, kind, "marked", &refused).unwrap_err();
            assert!(told.contains("'marking-restartworkloads"), "{kind} {refused}: {told}");
        }
    }
    let account = driver.account("secretfs");
    let as_driver =
        |arguments: &[&str]| CLUSTER.try_kubectl(&[&["-n", "billing", "--as", &account], arguments].concat());
    for arguments in [
        &["create", "deployment", "evil", "--image=evil:1"][..],
        &["delete", "deployment", "marked"],
        &["scale", "deployment", "marked", "--replicas=0"],
    ] {
        let told = as_driver(arguments).unwrap_err();
        assert!(told.contains("'marking-restartworkloads"), "{arguments:?}: {told}");
    }
    // Others are not concerned.
    CLUSTER.kubectl(&["-n", "billing", "scale", "deployment", "marked", "--replicas=2"]);
    CLUSTER.kubectl(&["-n", "billing", "delete", "rolebinding", "far-too-much"]);
}
