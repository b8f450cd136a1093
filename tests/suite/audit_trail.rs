//! Who opened which file, in the audit trail of a node, and what `secretfs audit` says of that trail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testing::{PodVolume, RunningNode};

use crate::embedded::Store;
use crate::fuse_node::Bench;

fn audit(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secretfs")).arg("audit").args(words).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A node whose audit trail is a chain in a file.
struct Chained {
    bench: Bench,
    place: tempfile::TempDir,
}

impl Chained {
    async fn start() -> Self {
        let (mut bench, place) = (Bench::prepare(), tempfile::tempdir().unwrap());
        // Every node of the tests has this trail.
        let log = bench.node.path("audit.log");
        let begun = audit(&["init", text(&log)]);
        assert!(begun.status.success(), "{begun:?}");
        fs::write(place.path().join("key"), begun.stdout).unwrap();
        bench.node.flag("--audit-checkpoints", text(&place.path().join("checkpoints")));
        bench.node.call("node-1");
        bench.node.start_node().await;
        Self { bench, place }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.bench.node.path("audit.log")
    }

    fn records(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.log()).unwrap();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn opens(&self, path: &str) -> Vec<Value> {
        let is_meant =
            |record: &Value| record["api"]["operation"] == "open" && record["resources"][0]["path"] == path;
        self.records().into_iter().filter(is_meant).collect()
    }

    fn verify(&self) -> (bool, String) {
        let (log, key) = (self.log(), self.at("key"));
        let told = audit(&[
            "verify",
            text(&log),
            "--key",
            text(&key),
            "--checkpoint",
            text(&self.at("checkpoints")),
        ]);
        (told.status.success(), String::from_utf8_lossy(&told.stdout).into_owned())
    }
}

fn sum(records: &[Value]) -> u64 {
    records.iter().map(|record| record["count"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_file_is_in_a_chain_that_survives_deaths_of_the_node_and_betrays_changes() {
    let mut chained = Chained::start().await;
    let pod = PodVolume::new("web", "app");
    chained.bench.publish(std::slice::from_ref(&pod)).await;
    let file = chained.bench.node.target(&pod).join("a");
    let read = || assert!(Command::new("cat").arg(&file).output().unwrap().status.success());

    // The first open is told soon, with the program and the version.
    read();
    chained.bench.until("the open is recorded", || !chained.opens("a").is_empty()).await;
    let first = chained.opens("a").remove(0);
    assert_eq!((&first["resources"][0]["version"], &first["count"]), (&"1".into(), &1.into()));
    assert_eq!(first["actor"]["pod"]["name"], "web");
    assert_eq!(first["actor"]["process"]["uid"], 0);
    let program = first["actor"]["process"]["file"]["path"].as_str().unwrap();
    assert!(program.ends_with("cat") || program.ends_with("coreutils"), "{first}");

    let covered = Command::new(env!("CARGO_BIN_EXE_secretfs"))
        .args(["status", "--coverage", "-o", "json", "--socket"])
        .arg(chained.bench.node.path("admin"))
        .output()
        .unwrap();
    let covered: Value = serde_json::from_slice(&covered.stdout).unwrap();
    let reach: Vec<_> = covered.as_array().unwrap().iter().map(|row| &row["reach"]).collect();
    assert_eq!(reach, ["opened", "never"], "{covered}");

    // Killed in the middle, the node goes on with the chain; repeated opens are counted.
    chained.bench.node.kill_node();
    chained.bench.node.restart_node().await;
    (0..20).for_each(|_| read());
    chained.bench.put("2");
    chained.bench.node.text_becomes(&pod, "a", Some("2"), crate::fuse_node::SOON).await;
    read();
    chained.bench.node.unpublish(&pod).await.unwrap();
    chained.bench.node.stop_node();
    let opens = chained.opens("a");
    assert!(sum(&opens) >= 22, "{opens:?}");
    assert!(opens.iter().any(|record| record["resources"][0]["version"] == "2"), "{opens:?}");
    let (is_intact, told) = chained.verify();
    assert!(is_intact, "{told}");

    // Who had it, who opened it.
    let log = chained.log();
    let readers = audit(&["readers", "app", text(&log), "-o", "json"]);
    let readers: Value = serde_json::from_slice(&readers.stdout).unwrap();
    assert_eq!((&readers[0]["who"], &readers[0]["opened"]), (&"shop/web".into(), &"2".into()));
    assert_eq!(readers[0].get("holds"), None, "the volume has ended");
    let tail = audit(&["tail", text(&log), "-n", "1000"]);
    let tail = String::from_utf8_lossy(&tail.stdout).into_owned();
    assert!(tail.contains("  open  shop/web  ") && tail.contains("app#value@2"), "{tail}");

    // One record less, at the end or in the middle, is found out.
    let whole = fs::read_to_string(&log).unwrap();
    for gone in [whole.lines().count() - 1, 2] {
        let kept = whole.lines().enumerate().filter(|(number, _)| *number != gone);
        let kept: String = kept.map(|(_, line)| format!("{line}\n")).collect();
        fs::write(&log, kept).unwrap();
        let (is_intact, told) = chained.verify();
        assert!(!is_intact && told.contains("CHANGED"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_file_that_takes_nothing_keeps_no_pod_from_its_files_and_is_told() {
    let store = Store::init();
    store.put("shop", "app", "1");
    let flags = ["--store", store.path(), "--audit-log", "/dev/full"];
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &flags);
    let class = crate::support::store_class(&["objectName: a, item: app"]);
    node.class("app", &class.replace("    objects: |", "    secretfs.dev/mode: fuse\n    objects: |"));
    node.start_node().await;
    let pod = PodVolume::new("web", "app");

    node.publish(&pod).await.unwrap();

    assert_eq!(node.text(&pod, "a").as_deref(), Some("1"));
    testing::until(|| node.log().contains("audit records cannot be written"), || node.log());
    node.unpublish(&pod).await.unwrap();
}

#[test]
fn a_change_that_must_be_recorded_and_cannot_be_is_not_made() {
    let store = Store::init();
    store.put("shop", "app", "1");
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("audit.jsonl");
    let put = |log: &str| {
        let words = ["put", "app", "--namespace", "shop", "--audit-required", "--audit-log", log];
        store.try_run(&words, b"2")
    };
    let history = || store.run(&["history", "app", "--namespace", "shop", "-o", "json"], b"");
    let before = history();

    let refused = put("/dev/full");

    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("nothing was changed"), "{told}");
    assert_eq!(history(), before);
    assert!(put(text(&log)).status.success());
    let records = fs::read_to_string(&log).unwrap();
    let statuses: Vec<Value> =
        records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].clone()).collect();
    assert_eq!(statuses, ["unknown", "success"]);
    assert_ne!(history(), before);
}
