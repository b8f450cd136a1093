//! The calls other than publish and unpublish.

use serde_json::{Value, json};
use testing::RunningNode;

use super::client::{Kubelet, call};
use super::world::World;

fn ask(kubelet: &mut Kubelet, node: &RunningNode, method: &str) -> Value {
    let answer = kubelet.run(&call(&node.path("csi.sock"), method, &json!({})));
    answer.is("OK", &[]);
    answer.response
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_tells_its_name_and_has_no_controller() {
    let node = RunningNode::start(env!("CARGO_BIN_EXE_secretfs"), &[]).await;
    let mut kubelet = Kubelet::start();

    let info = ask(&mut kubelet, &node, "Identity/GetPluginInfo");
    let capabilities = ask(&mut kubelet, &node, "Identity/GetPluginCapabilities");

    assert_eq!(info["name"], "csi.secretfs.dev");
    assert_eq!(info["vendorVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(capabilities, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_tells_its_name_and_that_it_takes_groups_and_counts_bytes() {
    let node = RunningNode::start(env!("CARGO_BIN_EXE_secretfs"), &[]).await;
    let mut kubelet = Kubelet::start();

    let info = ask(&mut kubelet, &node, "Node/NodeGetInfo");
    let capabilities = ask(&mut kubelet, &node, "Node/NodeGetCapabilities");

    assert_eq!(info, json!({ "nodeId": "test-node" }));
    let types: Vec<_> =
        capabilities["capabilities"].as_array().unwrap().iter().map(|it| it["rpc"]["type"].clone()).collect();
    assert_eq!(types, ["VOLUME_MOUNT_GROUP", "GET_VOLUME_STATS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_does_not_make_the_plugin_unready() {
    let mut world = World::new().await;
    world.bao.stop();

    let probed = world.call("Identity/Probe", &json!({}));

    assert_eq!(probed.response, json!({ "ready": true }));
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_expansion_and_a_controller_are_not_implemented() {
    let node = RunningNode::start(env!("CARGO_BIN_EXE_secretfs"), &[]).await;
    let mut kubelet = Kubelet::start();
    for method in [
        "Node/NodeStageVolume",
        "Node/NodeUnstageVolume",
        "Node/NodeExpandVolume",
        "Controller/CreateVolume",
        "Controller/ControllerGetCapabilities",
    ] {
        let answer = kubelet.run(&call(&node.path("csi.sock"), method, &json!({})));
        assert_eq!(answer.code, "UNIMPLEMENTED", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_the_path_of_the_socket_as_authority_is_served() {
    let node = RunningNode::start(env!("CARGO_BIN_EXE_secretfs"), &[]).await;
    let mut command = call(&node.path("csi.sock"), "Node/NodeGetInfo", &json!({}));
    command["authority"] = json!("%2Fvar%2Flib%2Fkubelet%2Fplugins%2Fcsi.sock");

    let answer = Kubelet::start().run(&command);

    answer.is("OK", &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_4_mib_is_refused_and_the_next_one_served() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    let mut huge = world.request(&pod);
    huge["secrets"]["padding"] = json!("x".repeat(5 << 20));

    let refused = world.call("Node/NodePublishVolume", &huge);

    assert_eq!(refused.code, "OUT_OF_RANGE");
    world.has_nothing_of(&pod);
    world.served(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_count_the_bytes_and_inodes_of_a_volume() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    let request = json!({ "volume_id": pod.id(), "volume_path": world.node.target(&pod) });
    let answer = world.call("Node/NodeGetVolumeStats", &request);

    answer.is("OK", &[]);
    let number = |entry: &Value, of: &str| entry[of].as_str().unwrap_or("0").parse::<i64>().unwrap();
    let usage = answer.response["usage"].as_array().unwrap();
    assert_eq!(usage.iter().map(|entry| entry["unit"].clone()).collect::<Vec<_>>(), ["BYTES", "INODES"]);
    for entry in usage {
        assert!(number(entry, "used") > 0, "{entry}");
        assert_eq!(number(entry, "used") + number(entry, "available"), number(entry, "total"), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_without_id_or_path_are_invalid_and_elsewhere_there_are_none() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);
    let target = world.node.target(&pod);

    for (request, code) in [
        (json!({ "volume_path": target }), "INVALID_ARGUMENT"),
        (json!({ "volume_id": pod.id() }), "INVALID_ARGUMENT"),
        (json!({ "volume_id": pod.id(), "volume_path": "/tmp" }), "NOT_FOUND"),
        (json!({ "volume_id": "csi-other", "volume_path": target }), "NOT_FOUND"),
    ] {
        let answer = world.call("Node/NodeGetVolumeStats", &request);
        assert_eq!(answer.code, code, "{request}: {}", answer.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_code_and_logged_with_whom_they_are_for() {
    let mut world = World::new().await;
    let (pod, strange) = (world.pod("web"), world.pod_of("api", "no-such-class"));
    world.served(&pod);
    world.publish(&pod).is("OK", &[]);
    world.publish(&strange).is("NOT_FOUND", &[]);
    world.unpublish(&pod).is("OK", &[]);

    let metrics = world.node.http("/metrics").await;
    let log = world.node.log();

    for line in [
        r#"secretfs_publish_total{code="ok",provider="vault"} 2"#,
        r#"secretfs_publish_total{code="not_found",provider="other"} 1"#,
        r#"secretfs_publish_seconds_count{provider="vault"} 1"#,
        r#"secretfs_unpublish_total{code="ok"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    let failure = log
        .lines()
        .find(|line| line.contains("csi::node: failed") && line.contains("no-such-class"))
        .unwrap();
    for word in ["NodePublishVolume", "namespace=\"shop\"", "pod=\"api\"", &strange.id(), "NotFound"] {
        assert!(failure.contains(word), "no {word} in {failure}");
    }
}

crate::modes::again_in_mode_fuse! {
    the_plugin_tells_its_name_and_has_no_controller,
    the_node_tells_its_name_and_that_it_takes_groups_and_counts_bytes,
    a_store_that_is_away_does_not_make_the_plugin_unready,
    stages_expansion_and_a_controller_are_not_implemented,
    a_client_that_sends_the_path_of_the_socket_as_authority_is_served,
    a_message_beyond_4_mib_is_refused_and_the_next_one_served,
    stats_count_the_bytes_and_inodes_of_a_volume,
    stats_without_id_or_path_are_invalid_and_elsewhere_there_are_none,
    calls_are_counted_by_code_and_logged_with_whom_they_are_for,
}
