//! An embedded store whose database was put back to an earlier day, as seen by a node and its pods.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::{PodVolume, RunningNode};

use crate::embedded::Store;
use crate::support::store_class;

/// The files that a writer of the database can write.
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
        // Written in place, because a file that SQLite maps must never become shorter.
        let opened = fs::OpenOptions::new().write(true).open(&file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&opened, &contents, 0).unwrap();
        opened.set_len(contents.len() as u64).unwrap();
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
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("was rolled back"), "{refused}");

    store.run(&["restore", "--accept-older"], b"");
    node.text_becomes(&running, "password", Some("leaked"), Duration::from_secs(30)).await;
    node.publish_until_done(&new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_tells_which_volumes_of_this_host_show_the_item_and_undelete_brings_it_back_to_them() {
    let store = Store::init();
    store.put("shop", "app", "shown");
    store.put("shop", "other", "not shown");
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--store", store.path()]);
    let mut class = store_class(&["objectName: password, item: app"]);
    class += "    secretfs.dev/on-revoked: remove\n";
    node.class("app", &class);
    node.start_node().await;
    let pod = PodVolume::new("web", "app");
    node.publish(&pod).await.unwrap();
    let socket = node.path("admin").display().to_string();
    let delete = |item: &str| {
        let words = ["delete", item, "--namespace", "shop", "--socket", &socket, "--output", "json"];
        serde_json::from_str::<Value>(&store.run(&words, b"")).unwrap()
    };

    assert_eq!(delete("other")["shown_by"], serde_json::json!([]));
    let shown_by = &delete("app")["shown_by"];

    assert_eq!(shown_by.as_array().unwrap().len(), 1, "{shown_by}");
    assert_eq!(shown_by[0]["pod"], "shop/web");
    assert_eq!(shown_by[0]["target"], node.target(&pod).display().to_string());
    node.text_becomes(&pod, "password", None, Duration::from_secs(30)).await;
    store.run(&["undelete", "app", "--namespace", "shop"], b"");
    node.text_becomes(&pod, "password", Some("shown"), Duration::from_secs(30)).await;
}

crate::modes::again_in_mode_fuse! {
    a_rolled_back_store_takes_nothing_new_to_a_pod_and_is_told_and_audited,
    a_deletion_tells_which_volumes_of_this_host_show_the_item_and_undelete_brings_it_back_to_them,
}
