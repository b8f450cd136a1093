//! An embedded store whose database somebody put back to an earlier day, as a node and its pods meet it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::{PodVolume, RunningNode};

use crate::embedded::Store;
use crate::support::store_class;

/// What a writer of the database can write.
fn database(store: &Store) -> Vec<(PathBuf, Vec<u8>)> {
    let files =
        ["store.db", "store.db-wal", "store.db-shm"].map(|name| PathBuf::from(store.path()).join(name));
    files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_store_takes_nothing_new_to_a_pod_and_is_told_and_audited() {
    let store = Store::init();
    store.put("shop", "app", "leaked");
    let earlier = database(&store);
    store.put("shop", "app", "rotated");
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--store", store.path()]);
    let mut class = store_class(&["objectName: password, item: app"]);
    class += "    secretfs.dev/refresh: 1s\n";
    node.class("app", &class);
    node.start_node().await;
    let (running, new) = (PodVolume::new("web", "app"), PodVolume::new("new", "app"));
    node.publish(&running).await.unwrap();

    for (file, contents) in earlier {
        fs::write(file, contents).unwrap();
    }

    let denied = |record: &Value| {
        record["api"]["operation"] == "deny" && record.to_string().contains("was rolled back")
    };
    let began = Instant::now();
    while !node.audit().lines().any(|line| denied(&serde_json::from_str(line).unwrap())) {
        assert!(began.elapsed() < Duration::from_secs(30), "{}\n{}", node.audit(), node.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.text(&running, "password").as_deref(), Some("rotated"));
    let refused = node.publish(&new).await.unwrap_err();
    assert!(refused.message().contains("secretfs store restore --accept-older"), "{refused}");

    store.run(&["restore", "--accept-older"], b"");
    node.text_becomes(&running, "password", Some("leaked"), Duration::from_secs(30)).await;
    node.publish_until_done(&new).await;
}
