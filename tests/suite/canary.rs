//! Sends a unique value and unique tokens through every call and every kind of failure. They must be nowhere but in the
//! mounted files: not in logs, audit, metrics, status texts, records or the database. A second after the last volume
//! has gone, they must not be in the memory of the processes either. While a volume shows a value, it is in memory that
//! nobody else can read.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;
use testing::{
    Answer, FaultServer, Issuer, OpenBao, PodVolume, RunningNode, occurrences_in_all_memory,
    occurrences_in_memory,
};
use tonic::Status;

use crate::embedded::Store;

/// The class of mode fuse whose values are read when a file is opened.
const ON_OPEN: &str = "on-open";
/// How long memory may still hold a value that nobody uses any more.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// Texts that must not be found.
struct Canaries {
    value: String,
    other_value: String,
    stored: String,
    /// One token for each pod.
    tokens: Mutex<Vec<String>>,
}

impl Canaries {
    fn new() -> Self {
        let unique =
            |kind: &str| format!("canary-{kind}-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        Self {
            value: unique("value"),
            other_value: unique("rotated"),
            stored: unique("stored"),
            tokens: Mutex::default(),
        }
    }

    fn all(&self) -> Vec<(&'static str, String)> {
        let values = [
            ("the value", &self.value),
            ("the rotated value", &self.other_value),
            ("the stored value", &self.stored),
        ];
        let tokens = self.tokens.lock().unwrap();
        values
            .map(|(name, value)| (name, value.clone()))
            .into_iter()
            .chain(tokens.iter().map(|token| ("a token", signature(token))))
            .collect()
    }

    fn none_in(&self, place: &str, text: &[u8]) {
        for (name, canary) in self.all() {
            let found = text.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{name} is in {place}");
        }
    }
}

/// A token is searched for by its signature, because header and claims are not secret.
fn signature(token: &str) -> String {
    token.rsplit('.').next().unwrap().to_owned()
}

fn class(name: &str, parameters: &str) -> String {
    let indented: String = parameters.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\n\
         metadata: {{name: {name}, namespace: shop}}\nspec:\n{indented}"
    )
}

fn vault_class(name: &str, address: &str, objects: &str) -> String {
    class(
        name,
        &format!(
            "provider: vault\nparameters:\n  vaultAddress: {address}\n  roleName: shop\n  vaultAuthMountPath: jwt\n  \
             secretfs.dev/auth: jwt\n  secretfs.dev/refresh: 1s\n  objects: |\n    {objects}"
        )
        .replace("provider: vault\n", "provider: vault\n"),
    )
}

/// The contents of every file below a directory.
fn files_below(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}

fn refused(canaries: &Canaries, case: &str, outcome: Result<(), Status>) {
    let status = outcome.expect_err(case);
    canaries.none_in(&format!("the status of {case}"), status.message().as_bytes());
    canaries.none_in(&format!("the details of {case}"), status.details());
}

/// Answers of a faulty store to a read, each with the value in it. The field `errors` never has the value, because it
/// holds the store's words for people, which are passed on.
fn bad_answers(value: &str) -> Vec<(&'static str, Answer)> {
    let body = json!({"data": {"data": {"key": value}}});
    let html = format!("<html>{value}</html>");
    let cut = format!("{{\"data\": {{\"data\": {{\"key\": \"{value}");
    vec![
        ("an outage with the value in its body", Answer::json(500, &body)),
        ("a refusal with the value in its body", Answer::json(403, &body)),
        ("a request found wrong with the value in its body", Answer::json(400, &body)),
        ("a page instead of JSON", Answer::text(200, "text/html", &html)),
        ("JSON that is cut off", Answer::text(200, "application/json", &cut)),
        ("a key that is missing", Answer::json(200, &json!({"data": {"data": {"another": value}}}))),
        ("a wrong shape", Answer::json(200, &json!({"data": [value], "lease_duration": value}))),
        ("not found with the value", Answer::json(404, &body)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_and_tokens_are_nowhere_but_in_the_mounted_files() {
    let (issuer, bao, store) = (Issuer::start(), OpenBao::start(), Store::init());
    let canaries = Canaries::new();
    arrange(&bao, &issuer, &canaries);
    store.put("shop", "api", &canaries.stored);
    let faults = FaultServer::before(&bao.address());
    let binary = env!("CARGO_BIN_EXE_secretfs");
    let node = RunningNode::with_mounter(binary, &["--store", store.path()]).await;

    let pod = |name: &str, class: &str| {
        let pod = PodVolume::new(name, class);
        let token = issuer.mint(&pod.claims());
        canaries.tokens.lock().unwrap().push(token.clone());
        pod.token("vault", token)
    };
    for mode in ["tmpfs", "fuse", ON_OPEN] {
        served_from_secret_memory(&node, &bao, mode, &canaries, &pod).await;
    }
    good_life(&node, &bao, &store, &canaries, &pod).await;
    bad_days(&node, &bao, &faults, &canaries, &pod).await;

    tokio::time::sleep(FORGOTTEN).await;
    for (process, pid) in [("node", node.node_pid()), ("mounter", node.mounter_pid())] {
        for (name, canary) in canaries.all() {
            let found = occurrences_in_memory(pid, canary.as_bytes());
            assert_eq!(found, 0, "{name} is in the memory of {process}");
        }
    }
    let metrics = node.http("/metrics").await;
    assert!(metrics.contains("secretfs_store_calls"), "{metrics}");
    canaries.none_in("the metrics", metrics.as_bytes());
    canaries.none_in("the log", node.log().as_bytes());
    canaries.none_in("the audit trail", node.audit().as_bytes());
    for (file, bytes) in
        files_below(&node.path("state")).into_iter().chain(files_below(Path::new(store.path())))
    {
        canaries.none_in(&file, &bytes);
    }
    assert!(
        node.audit().contains("\"publish\"") && node.log().contains("published"),
        "nothing was looked at"
    );
}

fn arrange(bao: &OpenBao, issuer: &Issuer, canaries: &Canaries) {
    bao.auth_jwt("jwt", issuer);
    bao.policy("shop", &[("secret/data/*", &["read"])]);
    bao.write(
        "auth/jwt/role/shop",
        &json!({"role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "token_policies": "shop"}),
    );
    bao.mount_kv2("secret");
    bao.put("secret", "app", &json!({"key": canaries.value}));
}

/// A volume that is served and rarely read again. A value passes through other memory when it is read.
async fn served_from_secret_memory(
    node: &RunningNode,
    bao: &OpenBao,
    mode: &str,
    canaries: &Canaries,
    pod: &impl Fn(&str, &str) -> PodVolume,
) {
    let objects = "- {objectName: key, secretPath: secret/data/app, secretKey: key}\n    \
                   - {objectName: whole.json, secretPath: secret/data/app}";
    let class = vault_class(mode, &bao.address(), objects);
    let shown = if mode == ON_OPEN { "fuse\n      secretfs.dev/fetch: on-open" } else { mode };
    let rarely = format!("refresh: 1h\n      secretfs.dev/mode: {shown}");
    node.class(mode, &class.replace("refresh: 1s", &rarely));
    let served = pod(&format!("of-{mode}"), mode);
    wait_until_published(node, &served).await;
    assert_eq!(node.text(&served, "key").as_deref(), Some(canaries.value.as_str()));

    tokio::time::sleep(FORGOTTEN).await;
    for (process, pid) in [("node", node.node_pid()), ("mounter", node.mounter_pid())] {
        let found = occurrences_in_all_memory(pid, canaries.value.as_bytes());
        assert_eq!(found, 0, "the value of a {mode} volume is in the memory of {process}");
    }
    node.unpublish(&served).await.unwrap();
}

/// Publish, republish, rotate, restart, unpublish.
async fn good_life(
    node: &RunningNode,
    bao: &OpenBao,
    store: &Store,
    canaries: &Canaries,
    pod: &impl Fn(&str, &str) -> PodVolume,
) {
    let objects = "- {objectName: key, secretPath: secret/data/app, secretKey: key}\n    \
                   - {objectName: whole.json, secretPath: secret/data/app}";
    node.class("good", &vault_class("good", &bao.address(), objects));
    let stored = "provider: secretfs\nparameters:\n  objects: |\n    - {objectName: key, item: api}\n  \
                  secretfs.dev/files: |\n    - {path: app.env, format: dotenv, from: {KEY: key}}";
    node.class("stored", &class("stored", stored));
    let (one, two) = (pod("one", "good"), pod("two", "stored"));
    wait_until_published(node, &one).await;
    wait_until_published(node, &two).await;
    assert_eq!(node.text(&one, "key").as_deref(), Some(canaries.value.as_str()));
    assert_eq!(node.text(&two, "key").as_deref(), Some(canaries.stored.as_str()));

    bao.put("secret", "app", &json!({"key": canaries.other_value}));
    node.text_becomes(&one, "key", Some(&canaries.other_value), Duration::from_secs(20)).await;
    node.publish(&one).await.unwrap();
    replaced_token_is_forgotten(node, &one, &pod("one", "good")).await;
    store.put("shop", "api", &format!("{}x", canaries.stored));
    node.text_becomes(&two, "key", Some(&format!("{}x", canaries.stored)), Duration::from_secs(20)).await;

    let mut elsewhere = two.clone();
    elsewhere.fs_group = Some(7);
    refused(canaries, "a publish that differs", node.publish(&elsewhere).await);
    node.unpublish(&one).await.unwrap();
    node.unpublish(&two).await.unwrap();
}

/// Kubelet sends a newer token for a served volume. From then on the volume uses only that one.
async fn replaced_token_is_forgotten(node: &RunningNode, served: &PodVolume, newer: &PodVolume) {
    assert_eq!(served.id(), newer.id());
    node.publish(newer).await.unwrap();
    tokio::time::sleep(FORGOTTEN).await;
    let old = signature(&served.tokens["vault"]);
    assert_eq!(
        occurrences_in_memory(node.node_pid(), old.as_bytes()),
        0,
        "the token that was replaced is kept"
    );
}

/// Waits, because a class file may be read a moment after it was written.
async fn wait_until_published(node: &RunningNode, pod: &PodVolume) {
    let started = Instant::now();
    while let Err(status) = node.publish(pod).await {
        assert!(started.elapsed() < Duration::from_secs(20), "{status}\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every answer that a store should not give, to a publish and to a refresh of a served volume.
async fn bad_days(
    node: &RunningNode,
    bao: &OpenBao,
    faults: &FaultServer,
    canaries: &Canaries,
    pod: &impl Fn(&str, &str) -> PodVolume,
) {
    let objects = "- {objectName: key, secretPath: secret/data/app, secretKey: key}";
    for (index, (case, answer)) in bad_answers(&canaries.value).into_iter().enumerate() {
        let name = format!("bad-{index}");
        node.class(&name, &vault_class(&name, &faults.url(), objects));
        faults.forward(&bao.address());
        let served = pod(&format!("served-{index}"), &name);
        wait_until_published(node, &served).await;

        let behind = Answer::Forward(bao.address().trim_start_matches("http://").to_owned());
        // Logins work as before.
        faults
            .script(move |seen| if seen.target.contains("/data/") { answer.clone() } else { behind.clone() });
        tokio::time::sleep(Duration::from_millis(1500)).await;
        refused(canaries, case, node.publish(&pod(&format!("refused-{index}"), &name)).await);
        node.publish(&served).await.unwrap();
        node.unpublish(&served).await.unwrap();
    }
    let mut wrong = pod("wrong", "good");
    wrong.tokens.insert("vault".to_owned(), format!("{}x", wrong.tokens["vault"]));
    refused(canaries, "a token that is refused", node.publish(&wrong).await);
    wrong.service_account = "other".to_owned();
    refused(canaries, "a token of another account", node.publish(&wrong).await);
    wrong.tokens.clear();
    refused(canaries, "no token", node.publish(&wrong).await);
    wrong.attributes.insert("roleName".to_owned(), canaries.tokens.lock().unwrap()[0].clone());
    let status = node.publish(&wrong).await.expect_err("an attribute of the pod's author");
    assert!(status.message().contains("roleName"), "{status}");
}
