//! Containers that mount single files of a volume, in the way kubelet mounts them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use testing::{PodVolume, RunningNode};

use crate::embedded::Store;
use crate::support::store_class;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_mounts_by_subpath_is_told_of_once_and_sees_no_rotation() {
    let store = Store::init();
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--store", store.path()]);
    store.put("shop", "app", "old");
    node.class("app", &store_class(&["objectName: password, item: app"]));
    let (pod, other) = (PodVolume::new("web", "app"), PodVolume::new("other", "app"));
    node.start_node().await;
    node.publish(&pod).await.unwrap();
    node.publish(&other).await.unwrap();

    let mounts = node.target(&pod).ancestors().nth(4).unwrap().join("volume-subpaths/secrets/web");
    fs::create_dir_all(&mounts).unwrap();
    for at in ["0", "1"] {
        fs::write(mounts.join(at), "").unwrap();
        let file = node.target(&pod).join("password").canonicalize().unwrap();
        rustix::mount::mount_bind(file, mounts.join(at)).unwrap();
    }
    let told = || node.log().matches("which no rotation reaches").count();
    let started = Instant::now();
    while told() == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "{}", node.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    store.put("shop", "app", "new");
    node.text_becomes(&pod, "password", Some("new"), Duration::from_secs(20)).await;
    assert_eq!(fs::read_to_string(mounts.join("0")).unwrap(), "old");
    assert_eq!(told(), 1, "{}", node.log());
    assert!(why(&node, &pod).contains("Container web mounts single files of it by subPath"));
    assert!(!why(&node, &other).contains("subPath"));
}

fn why(node: &RunningNode, pod: &PodVolume) -> String {
    let mut why = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    let told = why.args(["why", &pod.id(), "--socket"]).arg(node.path("admin")).output().unwrap();
    String::from_utf8(told.stdout).unwrap()
}
