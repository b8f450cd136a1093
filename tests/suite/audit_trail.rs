//! What becomes of pods and of changes where the audit trail cannot be written.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testing::{PodVolume, RunningNode};

use crate::embedded::Store;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
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
