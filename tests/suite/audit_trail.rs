//! Who opened which file, in the audit trail of a node, and what `secretfs audit` says of that trail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

    /// Reads a file in a process of its own, and says which process that was.
    fn read(&self, pod: &PodVolume, file: &str) -> u32 {
        let mut cat =
            Command::new("cat").arg(self.bench.file(pod, file)).stdout(Stdio::null()).spawn().unwrap();
        assert!(cat.wait().unwrap().success());
        cat.id()
    }

    /// What `status --coverage` says: for whom, which object, and how far its version has come.
    fn reach(&self) -> Vec<[String; 3]> {
        let mut status = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        status.args(["status", "--coverage", "-o", "json", "--socket"]).arg(self.bench.node.path("admin"));
        let told = status.output().unwrap();
        assert!(told.status.success(), "{told:?}");
        let rows: Vec<Value> = serde_json::from_slice(&told.stdout).unwrap();
        let row = |row: &Value| ["who", "object", "reach"].map(|key| row[key].as_str().unwrap().to_owned());
        let mut rows: Vec<_> = rows.iter().map(row).collect();
        rows.sort();
        rows
    }

    /// Whether the node has noted that all lines arrived. What it has not noted, a crash may have lost.
    fn is_written(&self) -> bool {
        let noted = fs::read_to_string(self.bench.node.path("audit.log.chain/written")).unwrap_or_default();
        noted.trim() == self.records().len().to_string()
    }

    /// Whether the trail is what was written, and what is told of it.
    fn verify(&self, trail: &Path, more: &[&str]) -> (bool, String) {
        let key = self.at("key");
        let told = audit(&[&["verify", text(trail), "--key", text(&key)], more].concat());
        (told.status.success(), String::from_utf8_lossy(&told.stdout).into_owned())
    }

    fn verify_with_checkpoints(&self, trail: &Path) -> (bool, String) {
        self.verify(trail, &["--checkpoint", text(&self.at("checkpoints"))])
    }

    /// From now on the disk takes no record: the trail is `/dev/full`.
    fn fill_the_disk(&self) {
        fs::rename(self.log(), self.at("moved")).unwrap();
        std::os::unix::fs::symlink("/dev/full", self.log()).unwrap();
    }

    fn empty_the_disk(&self) {
        fs::remove_file(self.log()).unwrap();
        fs::rename(self.at("moved"), self.log()).unwrap();
    }
}

fn sum(records: &[Value]) -> u64 {
    records.iter().map(|record| record["count"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_is_recorded_with_its_reader_and_after_a_rotation_it_is_told_who_has_only_the_old_version() {
    let mut chained = Chained::start().await;
    let [web, side] = ["web", "side"].map(|name| PodVolume::new(name, "app"));
    chained.bench.publish(&[web.clone(), side.clone()]).await;

    let readers = [chained.read(&web, "a"), chained.read(&side, "a")];

    chained.bench.until("both opens are recorded", || chained.opens("a").len() == 2).await;
    let opens = chained.opens("a");
    for (pod, pid) in [&web, &side].into_iter().zip(readers) {
        let record = opens.iter().find(|record| record["actor"]["pod"]["name"] == *pod.pod).unwrap();
        let resource = &record["resources"][0];
        assert_eq!((&resource["version"], &record["count"]), (&"1".into(), &1.into()), "{record}");
        let process = &record["actor"]["process"];
        assert_eq!((&process["uid"], &process["pid"]), (&0.into(), &pid.into()), "{record}");
        // The node has fewer capabilities than this reader, so it may know its name alone.
        assert_eq!(process["name"], "cat", "{record}");
    }
    let rows = |web: &str, side: &str| {
        let row = |who: &str, object: &str, reach: &str| [who, object, reach].map(str::to_owned);
        let never = |who| row(who, "d/b", "never");
        [row("shop/side", "a", side), never("shop/side"), row("shop/web", "a", web), never("shop/web")]
    };
    chained.bench.until("both have the version", || chained.reach() == rows("opened", "opened")).await;

    // The other pod does not open the new version.
    chained.bench.put("2");
    let is_told = || chained.reach() == rows("old", "old");
    chained.bench.until("both have an old version only", is_told).await;
    chained.read(&web, "a");
    let is_told = || chained.reach() == rows("opened", "old");
    chained.bench.until("one has an old version only", is_told).await;

    for pod in [web, side] {
        chained.bench.node.unpublish(&pod).await.unwrap();
    }
    chained.bench.node.stop_node();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_file_is_in_a_chain_that_survives_deaths_of_the_node_and_betrays_changes() {
    let mut chained = Chained::start().await;
    let pod = PodVolume::new("web", "app");
    chained.bench.publish(std::slice::from_ref(&pod)).await;
    chained.read(&pod, "a");
    chained.bench.until("the open is recorded", || !chained.opens("a").is_empty()).await;

    // Killed when it knows that all is written, the node loses nothing, and goes on with the chain.
    chained.bench.until("the node knows what is written", || chained.is_written()).await;
    chained.bench.node.restart_node().await;
    chained.read(&pod, "a");
    chained.bench.until("the next open is recorded", || chained.opens("a").len() == 2).await;
    let (is_intact, told) = chained.verify(&chained.log(), &[]);
    assert!(is_intact && !told.contains("lost"), "{told}");

    // Killed while records wait for a disk that is full, it loses them. That is told, and is no change.
    chained.fill_the_disk();
    chained.read(&pod, "d/b");
    let is_full = || chained.bench.node.log().contains("audit records cannot be written");
    chained.bench.until("the disk is full", is_full).await;
    chained.bench.node.kill_node();
    chained.empty_the_disk();
    chained.bench.node.start_node().await;

    // Opens that are repeated are counted.
    for _ in 0..20 {
        chained.read(&pod, "a");
    }
    chained.bench.put("2");
    let is_rotated = || chained.records().iter().any(|record| record["api"]["operation"] == "rotate");
    chained.bench.until("the volume shows the new version", is_rotated).await;
    chained.read(&pod, "a");
    chained.bench.node.unpublish(&pod).await.unwrap();
    chained.bench.node.stop_node();
    let opens = chained.opens("a");
    assert!(sum(&opens) == 23, "{opens:?}");
    let version = |record: &Value| record["resources"][0]["version"].as_str().map(str::to_owned);
    let versions: BTreeSet<_> = opens.iter().map(version).collect();
    assert_eq!(versions, BTreeSet::from(["1", "2"].map(|version| Some(version.to_owned()))), "{opens:?}");
    let begins = chained.records().iter().filter(|record| record["api"]["operation"] == "begin").count();
    assert_eq!(begins, 3);
    let (is_intact, told) = chained.verify_with_checkpoints(&chained.log());
    assert!(is_intact && told.starts_with("intact: "), "{told}");
    assert!(told.contains("a crash lost records ") && told.contains("the newest checkpoint knows"), "{told}");

    the_commands_name_the_reader(&chained);
    changes_are_found(&chained);
}

fn the_commands_name_the_reader(chained: &Chained) {
    let log = chained.log();
    let readers = audit(&["readers", "app", text(&log), "-o", "json"]);
    let readers: Value = serde_json::from_slice(&readers.stdout).unwrap();
    assert_eq!(readers.as_array().unwrap().len(), 1, "{readers}");
    assert_eq!((&readers[0]["who"], &readers[0]["opened"]), (&"shop/web".into(), &"2".into()));
    assert_eq!((&readers[0]["node"], &readers[0]["program"]), (&"node-1".into(), &"cat".into()));
    assert!(readers[0]["opens"].as_u64() == Some(23), "{readers}");
    assert_eq!(readers[0].get("holds"), None, "the volume has ended");
    let tail = audit(&["tail", text(&log), "-n", "1000"]);
    let tail = String::from_utf8_lossy(&tail.stdout).into_owned();
    assert!(tail.contains("  open  shop/web  cat  ") && tail.contains("app#value@2"), "{tail}");
}

/// A change of one byte, wherever it is, and a cut at the end.
fn changes_are_found(chained: &Chained) {
    let (whole, forged) = (fs::read(chained.log()).unwrap(), chained.at("forged"));
    let step = whole.len() / 23;
    for at in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&forged, bytes).unwrap();
        let (is_intact, told) = chained.verify_with_checkpoints(&forged);
        assert!(!is_intact && told.contains("CHANGED"), "byte {at}: {told}");
    }
    let end = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    fs::write(&forged, &whole[..=end]).unwrap();
    let (is_intact, told) = chained.verify_with_checkpoints(&forged);
    assert!(!is_intact && told.contains("and a checkpoint knows record"), "{told}");
    let (is_intact, told) = chained.verify(&forged, &[]);
    assert!(is_intact && told.contains("if the last records were cut off, that is not seen"), "{told}");
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

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_refresh_is_recorded_with_the_user_and_the_process_that_gave_it() {
    let mut bench = Bench::start().await;
    let pod = PodVolume::new("web", "app");
    bench.publish(std::slice::from_ref(&pod)).await;
    let refresh = |which: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        command.arg("refresh").args(which).arg("--socket").arg(bench.node.path("admin"));
        let mut asker = command.stdout(Stdio::null()).spawn().unwrap();
        assert!(asker.wait().unwrap().success());
        asker.id()
    };

    let askers = [refresh(&["--all"]), refresh(&["--class", "shop/app"])];

    let orders = || -> Vec<Value> {
        let records = bench.node.audit();
        let records = records.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["api"]["operation"] == "refresh").collect()
    };
    bench.until("both orders are recorded", || orders().len() >= 2).await;
    let told = |record: &Value| (record["actor"].clone(), record.get("class").cloned());
    let order = |pid: u32, class: Option<&str>| {
        let actor = serde_json::json!({"kind": "person", "process": {"uid": 0, "pid": pid}});
        (actor, class.map(Value::from))
    };
    let told: Vec<_> = orders().iter().map(told).collect();
    assert_eq!(told, [order(askers[0], None), order(askers[1], Some("shop/app"))]);
    bench.node.unpublish(&pod).await.unwrap();
    bench.node.stop_node();
}
