//! The answers to kubelet while the mounter is away.

use testing::{PodVolume, RunningNode};
use tonic::Code;

use crate::embedded::Store;
use crate::support::store_class;

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_while_the_mounter_is_dead_is_unavailable_and_done_when_it_is_back() {
    let store = Store::init();
    store.put_json("shop", "app", &serde_json::json!({ "password": "hunter2" }));
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.flag("--store", store.path());
    node.class("app", &store_class(&["objectName: password, item: app, key: password"]));
    node.use_mounter();
    node.start_node().await;
    node.kill_mounter();

    let pod = PodVolume::new("web", "app");
    let refused = node.publish(&pod).await.unwrap_err();
    node.start_mounter();
    node.publish_until_done(&pod).await;

    println!("{refused}");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("is `secretfs-mounter` running?"), "{refused}");
    assert_eq!(node.text(&pod, "password").as_deref(), Some("hunter2"));
}

crate::modes::again_in_mode_fuse! {
    a_publish_while_the_mounter_is_dead_is_unavailable_and_done_when_it_is_back,
}
