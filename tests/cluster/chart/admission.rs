//! The admission policy: it judges classes as the program does, and accepts classes without `secretfs.dev/` keys.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use manifest::Settings;
use serde_json::{Value, json};
use testing::until;

use super::{CLUSTER, objects, of_kind, render, repository};

/// Installs the policy. `stored` is a wrong class that is older than the policy.
static POLICY: LazyLock<()> = LazyLock::new(|| {
    CLUSTER.apply(&class("stored", &[("secretfs.dev/start", "later")]).to_string());
    let rendered = objects(&render("", &[]));
    let kinds = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    let items = kinds.map(|kind| of_kind(&rendered, kind)).concat();
    CLUSTER.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    let wrong = class("probe", &[("secretfs.dev/start", "later")]);
    until(|| !judge(std::slice::from_ref(&wrong)).is_empty(), || "the policy refuses nothing".to_owned());
});

/// A class of the embedded store with `parameters`, and with objects.
fn class(name: &str, parameters: &[(&str, &str)]) -> Value {
    let mut all: BTreeMap<&str, &str> = parameters.iter().copied().collect();
    all.insert("objects", "- {objectName: a, item: a, key: a}");
    json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"provider": "secretfs", "parameters": all},
    })
}

/// The API server's messages when it is asked to accept `classes`: one line for each class that it refuses.
fn judge(classes: &[Value]) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": classes});
    fs::write(file.path(), list.to_string()).unwrap();
    let path = file.path().display().to_string();
    let asked = CLUSTER.try_kubectl(&["create", "--dry-run=server", "--validate=strict", "-f", &path]);
    asked.err().into_iter().flat_map(|told| told.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Key without its prefix, and value.
const CASES: [(&str, &str); 64] = [
    ("mode", "tmpfs"),
    ("mode", "fuse"),
    ("mode", "disk"),
    ("refresh", "5m"),
    ("refresh", "90s"),
    ("refresh", "500ms"),
    ("refresh", "007d"),
    ("refresh", "0"),
    ("refresh", "0s"),
    ("refresh", "60"),
    ("refresh", "sixty"),
    ("refresh", "1.5h"),
    ("refresh", "1h30m"),
    ("refresh", " 1h"),
    ("timeout", "10s"),
    ("timeout", "0"),
    ("timeout", ""),
    ("max-stale", "0"),
    ("max-stale", "00"),
    ("max-stale", "24h"),
    ("max-stale", "24"),
    ("on-stale", "remove"),
    ("on-stale", "delete"),
    ("on-denied", "keep"),
    ("on-denied", "Keep"),
    ("on-revoked", "remove"),
    ("on-revoked", "never"),
    ("on-rotate", "none"),
    ("on-rotate", "restart-workload"),
    ("on-rotate", "signal SIGHUP web"),
    ("on-rotate", "SIGHUP"),
    ("on-expired", "remove"),
    ("on-expired", "burn"),
    ("start", "cached"),
    ("start", "Fresh"),
    ("share", "service-account"),
    ("share", "none"),
    ("fetch", "eager"),
    ("fetch", "on-open"),
    ("fetch", "later"),
    ("hold", "5m"),
    ("hold", "6m"),
    ("hold", "300s"),
    ("hold", "301s"),
    ("hold", "0s"),
    ("hold", "1h"),
    ("hold", "10"),
    ("hold", "300000ms"),
    ("hold", "300001ms"),
    ("keep-previous", "10"),
    ("keep-previous", "+2"),
    ("keep-previous", "11"),
    ("keep-previous", "-1"),
    ("auth", "approle"),
    ("auth", "JWT token"),
    ("overridable", "roleName, objects\nsecretfs.dev/refresh"),
    ("overridable", "secretfs.dev/overridable"),
    ("overridable", "roleName,secretfs.dev/refesh"),
    ("overridable", "[roleName]"),
    ("access", "- {containers: [web], paths: [a]}"),
    ("access-unsafe", "allow"),
    ("access-unsafe", "yes"),
    ("overridable", "secretfs.dev/access"),
    ("overridable", "secretfs.dev/on-rotate"),
];

#[test]
fn the_policy_refuses_what_the_program_refuses_and_says_what_to_write() {
    LazyLock::force(&POLICY);
    let keys = CASES.map(|(key, text)| (format!("secretfs.dev/{key}"), text));
    let named = keys.iter().enumerate();
    let classes: Vec<_> =
        named.map(|(index, (key, text))| class(&format!("case-{index}"), &[(key.as_str(), *text)])).collect();

    let complaints = judge(&classes);

    for (index, (key, text)) in keys.iter().enumerate() {
        let complaint = complaints.iter().find(|line| line.contains(&format!("\"case-{index}\"")));
        let program = Settings::default().set(key, text);
        assert_eq!(complaint.is_some(), program.is_err(), "{key} {text:?}: {complaint:?}; {program:?}");
        if let Some(complaint) = complaint {
            let remedy = ["write ", "the keys are ", "list parameters"]
                .iter()
                .any(|remedy| complaint.contains(remedy));
            assert!(complaint.contains(key) && remedy, "{complaint}");
        }
    }
}

#[test]
fn the_policy_knows_the_keys_that_the_program_knows() {
    LazyLock::force(&POLICY);
    let keys_in = |text: &str| text.split_once("the keys are ").map(|(_, keys)| keys.trim().to_owned());

    let refused = judge(&[class("unknown", &[("secretfs.dev/banana", "1")])]);
    let program = Settings::default().set("secretfs.dev/banana", "1").unwrap_err()[0].to_string();

    assert_eq!(keys_in(&refused[0]), keys_in(&program));
}

#[test]
fn every_fault_of_a_class_is_told_at_once() {
    LazyLock::force(&POLICY);
    let faults = [("secretfs.dev/start", "later"), ("secretfs.dev/refresh", "0"), ("secretfs.dev/x", "y")];

    let refused = judge(&[class("faulty", &faults)]).concat();

    assert!(faults.iter().all(|(key, _)| refused.contains(&format!("parameter {key}: "))), "{refused}");
}

/// Manifests for upstream's providers, as administrators write them.
fn upstream() -> Vec<Value> {
    let files = fs::read_dir(repository().join("tests/cluster/classes")).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    texts.flat_map(|text| objects(&text)).collect()
}

#[test]
fn manifests_for_the_upstream_driver_are_not_judged() {
    LazyLock::force(&POLICY);
    let mut classes = upstream();
    let older = classes.clone().into_iter().map(|mut class| {
        class["apiVersion"] = json!("secrets-store.csi.x-k8s.io/v1alpha1");
        class
    });
    classes.extend(older);
    // Upstream would refuse this class only at the mount. The driver does the same.
    classes.push(json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": "empty", "namespace": "shop"},
    }));
    assert!(classes.len() > 10, "{}", classes.len());

    assert_eq!(judge(&classes), Vec::<String>::new());
}

#[test]
fn an_older_version_of_the_resource_is_judged_as_well() {
    LazyLock::force(&POLICY);
    let mut older = class("older", &[("secretfs.dev/start", "later")]);
    older["apiVersion"] = json!("secrets-store.csi.x-k8s.io/v1alpha1");

    let refused = judge(&[older]).concat();

    assert!(refused.contains("write fresh or cached"), "{refused}");
}

#[test]
fn a_wrong_class_that_is_there_already_may_be_labelled_and_deleted_and_not_edited_otherwise() {
    LazyLock::force(&POLICY);
    let stored = ["-n", "shop", "secretproviderclass", "stored"];

    CLUSTER.kubectl(&[&["label"], &stored[..], &["team=shop"]].concat());
    let edited = ["--type=merge", "-p", r#"{"spec":{"parameters":{"objects":"[]"}}}"#];
    let refused = CLUSTER.try_kubectl(&[&["patch"], &stored[..], &edited].concat()).unwrap_err();
    CLUSTER.kubectl(&[&["delete"], &stored[..]].concat());

    assert!(refused.contains("write fresh or cached"), "{refused}");
}
