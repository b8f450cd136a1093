//! The driver registers with kubelet, and again when kubelet has lost it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use testing::RunningNode;

use super::client::{Answer, Kubelet};

async fn registering() -> RunningNode {
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.register();
    node.start_node().await;
    node
}

/// Registers the sockets that appear in kubelet's directory. `more` is added to the command.
fn register(node: &RunningNode, more: &Value) -> Answer {
    let mut command = json!({ "do": "register", "directory": node.path("kubelet/plugins_registry") });
    command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Kubelet::start().run(&command)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_registers_itself_within_kubelets_deadlines() {
    let node = registering().await;

    let registered = register(&node, &json!({}));

    registered.is("OK", &[]);
    assert_eq!(registered.message, "", "NodeGetInfo answers at the endpoint that was registered");
    assert_eq!(
        registered.plugin,
        json!({
            "type": "CSIPlugin",
            "name": "csi.secretfs.dev",
            "endpoint": node.path("csi.sock"),
            "versions": ["1.0.0"],
            "node_id": "test-node",
        })
    );
    assert_eq!(fs::metadata(&registered.socket).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_that_restarts_finds_the_same_socket() {
    let node = registering().await;
    let first = register(&node, &json!({}));

    let second = register(&node, &json!({}));

    assert_eq!((first.socket, first.which), (second.socket, second.which));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_registration_is_offered_anew() {
    let node = registering().await;
    let refused = register(&node, &json!({ "refuse": "NodeGetInfo: not now" }));

    let again = register(&node, &json!({ "seen": refused.which }));

    assert_ne!(again.which, refused.which);
    assert_eq!(again.message, "");
    assert!(node.log().contains("NodeGetInfo: not now"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_socket_is_bound_again() {
    let node = registering().await;
    let first = register(&node, &json!({}));

    fs::remove_file(&first.socket).unwrap();

    let again = register(&node, &json!({ "seen": first.which }));
    assert_eq!((again.socket, again.message.as_str()), (first.socket, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_was_killed_offers_itself_anew() {
    let mut node = registering().await;
    let first = register(&node, &json!({}));

    node.kill_node();
    assert!(first.socket.exists());
    node.start_node().await;

    let again = register(&node, &json!({ "seen": first.which }));
    assert_eq!(again.message, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_is_stopped_leaves_its_socket_so_that_the_node_keeps_it() {
    let mut node = registering().await;
    let first = register(&node, &json!({}));

    node.stop_node();

    assert!(first.socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_beside_a_mounter_stays_registered_over_its_death_on_the_socket_that_the_mounter_holds() {
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.start_mounter();
    node.flag("--mounter", node.path("mounter.sock").to_str().unwrap());
    node.register();
    node.start_node().await;
    let first = register(&node, &json!({}));
    assert_eq!(first.message, "");

    // The node writes the note after it has answered kubelet. A node that dies before that registers again.
    testing::until(|| node.path("state/registered").exists(), || node.log());
    node.restart_node().await;

    testing::until(|| node.log().contains("kubelet still has the driver registered"), || node.log());
    let asked_again = register(&node, &json!({}));
    assert_eq!((&asked_again.socket, &asked_again.which), (&first.socket, &first.which));
    assert_eq!(asked_again.message, "");

    fs::remove_file(&first.socket).unwrap();
    let anew = register(&node, &json!({ "seen": first.which }));
    assert_eq!(anew.message, "");
}
