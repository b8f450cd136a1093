//! Reads the audit trail with the commands in docs/audit.md.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testing::{PodVolume, RunningNode};

use crate::embedded::Store;
use crate::support::{class, store_class};

/// The shell commands in docs/audit.md, in order.
fn commands() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

/// The output of each command, run in `directory` one after the other.
fn answers(directory: &Path, questions: &[(&str, &str)]) -> Vec<String> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/tools");
    assert!(Command::new(tools).arg("jq").output().unwrap().status.success(), "jq is installed");
    let run = |command: &String| {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", command]).current_dir(directory);
        let done = shell.envs(questions.iter().copied()).output().unwrap();
        assert!(done.status.success(), "{command}\n{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    commands().iter().map(run).collect()
}

/// A class with an object that is a file, one that is not, and a file composed of both. `refresh` is very short or very
/// long.
fn composing(name: &str, refresh: &str) -> String {
    class(
        "secretfs",
        &format!(
            "    objects: |
      - {{objectName: password, item: db, key: password}}
      - {{objectName: user, item: db, key: user, file: false}}
    secretfs.dev/refresh: {refresh}
    secretfs.dev/files: |
      - {{path: app.env, format: dotenv, from: {{USER: user, PASSWORD: password}}}}
"
        ),
    )
    .replace("name: app", &format!("name: {name}"))
}

/// A node called `name` that writes its log and audit trail into one file. Its volume of class `app` is mounted.
async fn node(name: &str, store: &Store, refresh: &str) -> (RunningNode, PodVolume) {
    let flags = ["--audit-log", "-", "--enable-secret-rotation=false"];
    let flags = if refresh == "never" { &flags[..] } else { &flags[..2] };
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), flags);
    node.flag("--store", store.path());
    let text = composing("app", "1s");
    node.class(
        "app",
        &if refresh == "never" { text.replace("    secretfs.dev/refresh: 1s\n", "") } else { text },
    );
    node.call(name);
    node.start_node().await;
    let pod = PodVolume::new(&format!("web-{name}"), "app");
    node.publish(&pod).await.unwrap();
    (node, pod)
}

/// The time of the unpublish, to the minute.
fn minute_of_the_unpublish(trail: &str) -> String {
    let records = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let unpublish = records.into_iter().find(|record| record["api"]["operation"] == "unpublish").unwrap();
    unpublish["time"].as_str().unwrap().chars().take("2026-03-01T14:03".len()).collect()
}

fn rows(answer: &str) -> Vec<Vec<&str>> {
    answer.lines().map(|line| line.split('\t').collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_questions_of_the_page_are_answered_from_what_nodes_really_wrote() {
    let store = Store::init();
    store.put_json("shop", "db", &json!({"user": "app", "password": "hunter1"}));
    let (fresh, first) = node("node-1", &store, "1s").await;
    let (old, _) = node("node-2", &store, "never").await;
    let gone = PodVolume::new("gone", "app");
    fresh.publish(&gone).await.unwrap();
    fresh.unpublish(&gone).await.unwrap();
    let minute = minute_of_the_unpublish(&fresh.audit());
    store.put_json("shop", "db", &json!({"user": "app", "password": "hunter2"}));
    fresh.text_becomes(&first, "password", Some("hunter2"), Duration::from_secs(60)).await;
    let directory = tempfile::tempdir().unwrap();
    let rotated = || {
        let log = fresh.log();
        fs::write(directory.path().join("node-1.log"), &log).unwrap();
        log.contains("\"operation\":\"rotate\"")
    };
    testing::until(rotated, || fresh.log());
    fs::write(directory.path().join("node-2.log"), old.log()).unwrap();

    let answers = answers(directory.path(), &[("SECRET", "db"), ("VERSION", "2"), ("MINUTE", &minute)]);

    let [_, _, who, behind, happened] = answers.try_into().unwrap();
    let id = first.id();
    let mut mounted = rows(&who);
    mounted.sort();
    let on_first = |object, version| vec!["node-1", "shop/web-node-1", &id, object, version];
    assert_eq!(mounted[0], on_first("password", "2"), "{who}");
    assert_eq!(mounted.len(), 4, "{who}");
    assert!(mounted[2..].iter().all(|row| row[1] == "shop/web-node-2" && row[4] == "1"), "{who}");
    assert!(rows(&behind).iter().any(|row| row[1] == "shop/web-node-2" && row[3] == "1"), "{behind}");
    let unpublished = |row: &Vec<&str>| row[1..4] == ["node-1", "unpublish", "success"];
    assert!(rows(&happened).iter().any(unpublished), "{minute}: {happened}");
    assert!(happened.contains("db@1"), "{happened}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_names_the_store_the_secret_and_what_it_became_also_where_it_is_no_file() {
    let store = Store::init();
    store.put_json("shop", "db", &json!({"user": "app", "password": "hunter1"}));
    let (node, pod) = node("node-1", &store, "1s").await;

    let trail = node.audit();
    let record: Value = serde_json::from_str(trail.lines().next().unwrap()).unwrap();

    assert_eq!(record["node"], "node-1");
    let resources = record["resources"].as_array().unwrap();
    let of = |name: &str| resources.iter().find(|resource| resource["name"] == name).unwrap();
    let address = format!("secretfs:{}", store.path());
    for (name, key) in [("password", "password"), ("user", "user")] {
        let resource = of(name);
        assert_eq!(resource["store"], *address);
        assert_eq!([&resource["namespace"], &resource["secret"], &resource["key"]], ["shop", "db", key]);
        assert_eq!(resource["version"], "1");
        assert_eq!(resource["composed"], json!(["app.env"]));
    }
    assert_eq!((&of("password")["path"], of("user").get("path")), (&json!("password"), None));
    let status = Command::new(env!("CARGO_BIN_EXE_secretfs"))
        .args(["status", "-o", "json", "--socket"])
        .arg(node.path("admin"))
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let user = &status["volumes"][0]["objects"][1];
    assert_eq!(
        (&user["name"], &user["version"], &user["secret"]),
        (&json!("user"), &json!("1"), &json!("db"))
    );
    node.unpublish(&pod).await.unwrap();
}

/// The failed records of `operation` for `pod`.
fn failures(node: &RunningNode, operation: &str, pod: &PodVolume) -> Vec<Value> {
    let trail = node.audit();
    let records = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_pod = |record: &Value| record["volume"] == pod.id() && record["status"] == "failure";
    records.filter(|record| of_pod(record) && record["api"]["operation"] == operation).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_refusal_names_the_store_and_what_it_refused() {
    let store = Store::init();
    let address = format!("secretfs:{}", store.path());
    store.put("shop", "open", "v1");
    store.run(&["put", "closed", "--namespace", "shop", "--service-account", "somebody"], b"v1");
    let put_for = |item: &str, account: &str| {
        store.run(&["put", item, "--namespace", "shop", "--service-account", account], b"v2")
    };
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--store", store.path()]);
    node.call("node-1");
    let objects = ["objectName: first, item: open", "objectName: second, item: closed, file: false"];
    let composed = "    secretfs.dev/refresh: 1s\n    secretfs.dev/files: |\n      - {path: app.env, format: dotenv, from: {SECOND: second}}\n";
    node.class("app", &(store_class(&objects) + composed));
    let missing = store_class(&["objectName: gone, item: nowhere"]);
    node.class("missing", &missing.replace("name: app", "name: missing"));
    node.start_node().await;
    let (web, lost) = (PodVolume::new("web", "app"), PodVolume::new("lost", "missing"));

    // A refused publish: the record names the refused object, and has everything of a successful record except a
    // version.
    node.publish(&web).await.unwrap_err();
    node.publish(&lost).await.unwrap_err();
    let [denied, not_found] = [failures(&node, "deny", &web), failures(&node, "publish", &lost)];
    let refused = json!([{
        "provider": "secretfs", "store": address, "namespace": "shop", "secret": "closed", "key": "value",
        "name": "second", "composed": ["app.env"],
    }]);
    assert_eq!((&denied[0]["resources"], &denied[0]["node"]), (&refused, &json!("node-1")));
    let absent = &not_found[0]["resources"][0];
    assert_eq!([&absent["store"], &absent["secret"]], [&json!(address), &json!("nowhere")]);

    // Refused at several refreshes: each refusal is recorded once.
    put_for("closed", "shop");
    node.publish(&web).await.unwrap();
    let before = failures(&node, "deny", &web).len();
    put_for("open", "somebody");
    let after = |wanted: usize| failures(&node, "deny", &web).len() == before + wanted;
    testing::until(|| after(1), || node.audit());
    put_for("closed", "somebody");
    testing::until(|| after(2), || node.audit());
    let names: Vec<_> = failures(&node, "deny", &web)[before..]
        .iter()
        .map(|record| {
            assert_eq!(record["resources"].as_array().unwrap().len(), 1, "{record}");
            let resource = &record["resources"][0];
            assert_eq!([&resource["store"], &resource["namespace"]], [&json!(address), &json!("shop")]);
            resource["secret"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(names, ["open", "closed"]);
}

crate::modes::again_in_mode_fuse! {
    the_questions_of_the_page_are_answered_from_what_nodes_really_wrote,
    a_record_names_the_store_the_secret_and_what_it_became_also_where_it_is_no_file,
    a_record_of_a_refusal_names_the_store_and_what_it_refused,
}
