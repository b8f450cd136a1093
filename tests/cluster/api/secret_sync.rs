//! Kubernetes Secrets made from mounted files, in a real API server. Its garbage collector needs a whole cluster; the
//! tests in `e2e` show that part.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::{PodVolume, RunningNode};

use super::world::{SHARED, World};

/// How long the sync of a Secret may take.
const SOON: Duration = Duration::from_secs(60);
const SYNC: &[&str] = &["--sync-secrets"];
const MANAGED: &str = "secrets-store.csi.k8s.io/managed";
const BUNDLE: &str = include_str!("../../../crates/tls-pair/tests/files/bundle.pem");

impl World {
    /// A node that makes Kubernetes Secrets, in a namespace for pods.
    async fn syncing(namespace: &'static str) -> Self {
        let world = Self::start_with(&SHARED, namespace, SYNC).await;
        SHARED.apply(&format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: default, namespace: {namespace}}}\n"
        ));
        world
    }

    /// A class with these secretObjects. Each of `files` is a key of item `api`, or `item:key`, and the file that shows
    /// it.
    fn syncing_class(&self, name: &str, files: &[(&str, &str)], secret_objects: &str) {
        let object = |(key, file): &(&str, &str)| {
            let (item, key) = key.split_once(':').unwrap_or(("api", key));
            format!("      - {{objectName: {file}, item: {item}, key: {key}}}\n")
        };
        let objects: String = files.iter().map(object).collect();
        SHARED.apply(&format!(
            "apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {{name: {name}, namespace: {}}}
spec:
  provider: secretfs
  parameters:
    secretfs.dev/refresh: 1s
    objects: |
{objects}  secretObjects: {secret_objects}
",
            self.namespace
        ));
    }

    /// Creates a pod object with these owners. Returns its volume of `class`.
    fn pod_of(&self, name: &str, class: &str, owners: &[Value]) -> PodVolume {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "ownerReferences": owners},
            "spec": {"containers": [{"name": "c", "image": "none"}], "automountServiceAccountToken": false},
        });
        SHARED.apply(&pod.to_string());
        let uid =
            SHARED.kubectl(&["get", "pod", name, "-n", self.namespace, "-o", "jsonpath={.metadata.uid}"]);
        PodVolume { uid, ..self.pod(name, class) }
    }

    /// A pod without an owner. Its volume is published.
    async fn bare_pod(&self, name: &str, class: &str) -> PodVolume {
        let pod = self.pod_of(name, class, &[]);
        self.published(&pod).await;
        pod
    }

    fn secret(&self, name: &str) -> Option<Value> {
        let text = SHARED.kubectl(&[
            "get",
            "secret",
            name,
            "-n",
            self.namespace,
            "--ignore-not-found",
            "-o",
            "json",
        ]);
        (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    /// Waits until a Secret is as `wanted` says, and returns it.
    async fn secret_becomes(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let secret = self.secret(name).unwrap_or_default();
            if wanted(&secret) {
                return secret;
            }
            assert!(begun.elapsed() < SOON, "{secret:#}\n{}", self.node.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Deletes an item and orders a refresh. What an ordered refresh finds deleted is withdrawn at once.
    fn revoke(&self, item: &str) {
        self.store.run(&["delete", item, "--namespace", self.namespace], b"");
        let mut order = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        order.args(["refresh", "--all"]).env("SECRETFS_ADMIN_SOCKET", self.node.path("admin"));
        // Its exit code reports the revoked object, so it is not checked.
        order.output().unwrap();
    }

    /// Waits for an Event on the pod about a Secret, whose message begins with `text`.
    async fn told(&self, pod: &PodVolume, text: &str) {
        let query = format!("involvedObject.uid={},reason=FailedToCreateSecret", pod.uid);
        let path = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
        let begun = Instant::now();
        loop {
            let told = SHARED.kubectl(&[
                "get",
                "events",
                "-n",
                self.namespace,
                "--field-selector",
                &query,
                "-o",
                path,
            ]);
            if told.lines().any(|line| line.contains(text)) {
                return;
            }
            assert!(begun.elapsed() < SOON, "{text:?} is not told: {told}\n{}", self.node.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// An owner of pods, with this uid.
fn replica_set(uid: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": uid, "uid": uid, "controller": true, "blockOwnerDeletion": true})
}

fn holds(secret: &Value, key: &str, value: &str) -> bool {
    use base64::Engine as _;
    secret["data"][key] == base64::engine::general_purpose::STANDARD.encode(value)
}

fn owners(secret: &Value) -> Vec<&str> {
    secret["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|owner| owner["uid"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_secret_is_made_of_mounted_files_and_belongs_to_what_owns_its_pods() {
    let world = World::syncing("owned").await;
    let object = "[{secretName: db, labels: {environment: test}, annotations: {note: kept}, data: [{objectName: dir/user, key: username}]}]";
    world.syncing_class("c", &[("value", "dir/user")], object);
    for (pod, owner) in [("a-1", "rs-a"), ("a-2", "rs-a"), ("b-1", "rs-b"), ("b-2", "rs-b")] {
        world.published(&world.pod_of(pod, "c", &[replica_set(owner)])).await;
    }

    let secret = world.secret_becomes("db", |secret| owners(secret).len() == 2).await;

    assert!(holds(&secret, "username", "one") && secret["type"] == "Opaque", "{secret:#}");
    assert_eq!(secret["metadata"]["labels"], json!({"environment": "test", MANAGED: "true"}));
    assert_eq!(secret["metadata"]["annotations"], json!({"note": "kept"}));
    let plain = |uid: &str| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": uid, "uid": uid});
    assert_eq!(secret["metadata"]["ownerReferences"], json!([plain("rs-a"), plain("rs-b")]));
    assert!(world.node.http("/metrics").await.contains("\nsync_k8s_secret_total{"));
}

#[tokio::test]
async fn a_pod_that_nothing_owns_owns_its_secrets_itself() {
    let world = World::syncing("bare").await;
    world.syncing_class("c0", &[("value", "f")], "[{secretName: s0, data: [{objectName: f, key: k}]}]");
    world.syncing_class("c1", &[("value", "f")], "[{secretName: s1, data: [{objectName: f, key: k}]}]");
    let pod = world.bare_pod("a", "c0").await;
    world.bare_pod("b", "c1").await;

    let secret = world.secret_becomes("s0", |secret| !owners(secret).is_empty()).await;
    assert_eq!(owners(&secret), [pod.uid]);
    assert_eq!(owners(&world.secret_becomes("s1", Value::is_object).await).len(), 1);
}

#[tokio::test]
async fn a_rotation_reaches_the_secret_and_what_others_wrote_in_it_stays() {
    let world = World::syncing("rotated").await;
    world.syncing_class("c", &[("value", "f")], "[{secretName: s, data: [{objectName: f, key: k}]}]");
    world.bare_pod("a", "c").await;
    world.secret_becomes("s", |secret| holds(secret, "k", "one")).await;
    let patch = json!({
        "metadata": {"labels": {"theirs": "1"}, "annotations": {"theirs": "2"}},
        "data": {"theirs": "Mw=="},
    });
    SHARED.kubectl(&["patch", "secret", "s", "-n", "rotated", "-p", &patch.to_string()]);
    let owner = json!([{"op": "add", "path": "/metadata/ownerReferences/-", "value": replica_set("theirs")}]);
    SHARED.kubectl(&["patch", "secret", "s", "-n", "rotated", "--type=json", "-p", &owner.to_string()]);

    world.store.put("rotated", "api", "two");

    let secret = world.secret_becomes("s", |secret| holds(secret, "k", "two")).await;
    let meta = &secret["metadata"];
    assert_eq!((&meta["labels"]["theirs"], &meta["annotations"]["theirs"]), (&json!("1"), &json!("2")));
    assert!(secret["data"]["theirs"] == "Mw==" && owners(&secret).contains(&"theirs"), "{secret:#}");
}

#[tokio::test]
async fn a_secret_that_is_not_managed_is_not_touched_and_the_pod_is_told_what_to_do() {
    let world = World::syncing("foreign").await;
    SHARED.kubectl(&["create", "secret", "generic", "s", "-n", "foreign", "--from-literal=k=theirs"]);
    let before = world.secret("s").unwrap();
    world.syncing_class("c", &[("value", "f")], "[{secretName: s, data: [{objectName: f, key: k}]}]");
    let pod = world.bare_pod("a", "c").await;

    world.told(&pod, "Secret s exists and is not managed by secretfs, so it stays as it is; delete it").await;
    assert_eq!(world.secret("s").unwrap(), before);

    SHARED.kubectl(&["delete", "secret", "s", "-n", "foreign"]);
    world.store.put("foreign", "api", "two");
    world.secret_becomes("s", |secret| holds(secret, "k", "two")).await;
}

#[tokio::test]
async fn a_secret_that_upstreams_driver_made_is_taken_over_and_its_owners_stay() {
    let world = World::syncing("upstream").await;
    world.store.put("upstream", "other", "two");
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "s", "namespace": "upstream", "labels": {MANAGED: "true"}, "ownerReferences": [replica_set("theirs")]},
        "data": {"f": "b2xk", "g": "dHdv"},
    });
    let file = world.node.path("theirs.json");
    std::fs::write(&file, theirs.to_string()).unwrap();
    SHARED.kubectl(&["create", "-f", file.to_str().unwrap()]);
    let object = "[{secretName: s, data: [{objectName: f, key: f}, {objectName: g, key: g}]}]";
    world.syncing_class("c", &[("value", "f"), ("other:value", "g")], object);
    world.bare_pod("a", "c").await;

    let secret = world.secret_becomes("s", |secret| holds(secret, "f", "one")).await;
    assert!(holds(&secret, "g", "two") && owners(&secret).len() == 2, "{secret:#}");

    world.revoke("other");
    world.secret_becomes("s", |secret| secret["data"]["g"].is_null()).await;
}

#[tokio::test]
async fn tls_secrets_are_made_of_pem_and_the_api_server_judges_every_type() {
    let world = World::syncing("types").await;
    world.store.put_json(
        "types",
        "api",
        &json!({"pem": BUNDLE, "docker": "{\"auths\":{}}", "value": "hunter2"}),
    );
    let files = &[("pem", "web.pem"), ("docker", "docker"), ("value", "value")];
    let objects = "
  - {secretName: web, type: kubernetes.io/tls, data: [{objectName: web.pem, key: tls.crt}, {objectName: web.pem, key: tls.key}]}
  - {secretName: pull, type: kubernetes.io/dockerconfigjson, data: [{objectName: docker, key: .dockerconfigjson}]}
  - {secretName: bad, type: kubernetes.io/dockerconfigjson, data: [{objectName: value, key: .dockerconfigjson}]}
  - {secretName: own, type: example.com/own, data: [{objectName: value, key: v}]}
  - {secretName: no-cert, type: kubernetes.io/tls, data: [{objectName: value, key: tls.crt}, {objectName: web.pem, key: tls.key}]}";
    world.syncing_class("c", files, objects);
    let pod = world.bare_pod("a", "c").await;

    let web = world.secret_becomes("web", Value::is_object).await;
    let chain = &BUNDLE[..BUNDLE.find("-----BEGIN PRIVATE KEY").unwrap()];
    assert!(web["type"] == "kubernetes.io/tls" && holds(&web, "tls.crt", chain), "{web:#}");
    assert!(world.secret_becomes("pull", Value::is_object).await["type"] == "kubernetes.io/dockerconfigjson");
    assert!(world.secret_becomes("own", Value::is_object).await["type"] == "example.com/own");
    world.told(&pod, "Secret bad: Secret \"bad\" is invalid").await;
    world
        .told(&pod, "key tls.crt of Secret no-cert: file \"value\": it is neither PEM nor PKCS#12 (PFX)")
        .await;
    assert!(world.secret("bad").is_none() && world.secret("no-cert").is_none());
    assert!(!world.node.log().contains("hunter2"));
}

#[tokio::test]
async fn two_classes_share_a_secret_and_of_one_key_the_first_keeps_its_value() {
    let world = World::syncing("shared").await;
    world.store.put_json("shared", "api", &json!({"first": "1", "second": "2"}));
    let second = "[{secretName: s, data: [{objectName: f, key: both}, {objectName: f, key: b}]}]";
    world.syncing_class(
        "first",
        &[("first", "f")],
        "[{secretName: s, data: [{objectName: f, key: both}, {objectName: f, key: a}]}]",
    );
    world.syncing_class("second", &[("second", "f")], second);
    let first = world.bare_pod("a", "first").await;
    world.secret_becomes("s", |secret| holds(secret, "a", "1")).await;
    let pod = world.bare_pod("b", "second").await;

    let secret = world.secret_becomes("s", |secret| holds(secret, "b", "2")).await;
    assert!(
        holds(&secret, "both", "1") && holds(&secret, "a", "1") && owners(&secret).len() == 2,
        "{secret:#}"
    );
    world.told(&pod, "key both of Secret s is written by class first with another value").await;

    SHARED.kubectl(&["delete", "secretproviderclass", "first", "-n", "shared"]);
    world.node.unpublish(&first).await.unwrap();
    world.store.put_json("shared", "api", &json!({"first": "1", "second": "3"}));
    world.secret_becomes("s", |secret| holds(secret, "both", "3")).await;
}

#[tokio::test]
async fn a_file_that_is_withdrawn_takes_its_key_along_and_the_last_one_the_secret() {
    let world = World::syncing("withdrawn").await;
    world.store.put("withdrawn", "other", "two");
    let object = "[{secretName: s, data: [{objectName: f, key: f}, {objectName: g, key: g}]}]";
    world.syncing_class("c", &[("value", "f"), ("other:value", "g")], object);
    world.bare_pod("a", "c").await;
    world.secret_becomes("s", |secret| holds(secret, "g", "two")).await;

    world.revoke("other");
    let secret = world.secret_becomes("s", |secret| secret["data"]["g"].is_null()).await;
    assert!(holds(&secret, "f", "one"), "{secret:#}");

    world.revoke("api");
    world.secret_becomes("s", Value::is_null).await;
}

#[tokio::test]
async fn a_secret_that_its_class_names_no_more_goes_and_one_with_keys_of_others_stays_with_them() {
    let world = World::syncing("renamed").await;
    let object = |a: &str, b: &str| {
        format!(
            "[{{secretName: {a}, data: [{{objectName: f, key: k}}]}}, {{secretName: {b}, data: [{{objectName: f, key: k}}]}}]"
        )
    };
    world.syncing_class("c", &[("value", "f")], &object("a", "b"));
    world.bare_pod("a", "c").await;
    world.secret_becomes("a", Value::is_object).await;
    world.secret_becomes("b", Value::is_object).await;
    SHARED.kubectl(&["patch", "secret", "b", "-n", "renamed", "-p", r#"{"data":{"theirs":"Mw=="}}"#]);

    world.syncing_class("c", &[("value", "f")], &object("c", "d"));

    world.secret_becomes("c", Value::is_object).await;
    world.secret_becomes("a", Value::is_null).await;
    let kept = world.secret_becomes("b", |secret| secret["data"]["k"].is_null()).await;
    assert!(kept["data"]["theirs"] == "Mw==" && owners(&kept).is_empty(), "{kept:#}");
}

#[tokio::test]
async fn a_restart_overwrites_nothing_and_makes_again_what_was_deleted() {
    let mut world = World::syncing("restarted").await;
    let object = "[{secretName: s, data: [{objectName: f, key: k}]}, {secretName: t, data: [{objectName: f, key: k}]}]";
    world.syncing_class("c", &[("value", "f")], object);
    world.bare_pod("a", "c").await;
    let before = world.secret_becomes("s", Value::is_object).await;
    world.secret_becomes("t", Value::is_object).await;

    world.node.kill_node();
    SHARED.kubectl(&["delete", "secret", "t", "-n", "restarted"]);
    world.node.start_node().await;

    world.secret_becomes("t", |secret| holds(secret, "k", "one")).await;
    assert_eq!(
        world.secret("s").unwrap()["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn only_the_namespaces_that_are_named_get_secrets() {
    let flags = ["--sync-secrets", "--sync-secrets-namespace", "another"];
    let world = World::start_with(&SHARED, "unnamed", &flags).await;
    world.syncing_class("c", &[("value", "f")], "[{secretName: s, data: [{objectName: f, key: k}]}]");
    let pod = world.pod("a", "c");
    world.published(&pod).await;

    world
        .told(&pod, "no Secrets are made in namespace unnamed; name it in syncSecret.namespaces of the chart")
        .await;
    assert!(world.secret("s").is_none());
}

/// A user who may read classes and pods and create Events, but has no rights on Secrets.
const READER: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: forbidden-sync}
rules:
- {apiGroups: [secrets-store.csi.x-k8s.io], resources: [secretproviderclasses], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [pods], verbs: [get]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: forbidden-sync}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: forbidden-sync}
subjects: [{kind: User, name: reader}]
"#;

#[tokio::test]
async fn a_right_that_is_missing_is_told_with_the_chart_values_that_grant_it() {
    SHARED.apply(READER);
    let mut world = World::syncing("forbidden").await;
    let kubeconfig = world.node.path("reader.kubeconfig");
    impersonate(&world.node, &kubeconfig);
    world.node.ask(&kubeconfig);
    world.node.restart_node().await;
    world.syncing_class("c", &[("value", "f")], "[{secretName: s, data: [{objectName: f, key: k}]}]");
    let pod = world.bare_pod("a", "c").await;

    world
        .told(
            &pod,
            "set syncSecret.enabled=true and name the namespace in syncSecret.namespaces of the chart",
        )
        .await;
}

/// The administrator's kubeconfig, acting as `reader`.
fn impersonate(node: &RunningNode, kubeconfig: &std::path::Path) {
    let text = std::fs::read_to_string(SHARED.kubeconfig()).unwrap();
    assert!(node.root.path().exists() && text.contains("user: {"), "{text}");
    std::fs::write(kubeconfig, text.replacen("user: {client", "user: {as: reader, client", 1)).unwrap();
}
