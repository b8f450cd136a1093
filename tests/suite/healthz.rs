//! Probes, and attempts of strangers to make them fail.

use std::process::Command;
use std::time::Duration;

use testing::RunningNode;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::Told;

/// `secretfs healthz` of `node` with these arguments.
fn healthz(node: &RunningNode, words: &[&str]) -> Told {
    Command::new(env!("CARGO_BIN_EXE_secretfs"))
        .arg("healthz")
        .args(words)
        .arg("--socket")
        .arg(node.path("state/health.sock"))
        .output()
        .unwrap()
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_probes_how_it_is_as_long_as_it_runs() {
    let mut node = RunningNode::start(env!("CARGO_BIN_EXE_secretfs"), &[]).await;

    let live = healthz(&node, &["live"]);
    assert_eq!((live.code, live.out.as_str(), live.err.as_str()), (Some(0), "alive\n", ""));
    assert_eq!(healthz(&node, &[]).out, "alive\n");
    // The node checks every few seconds whether the mounter is alive.
    testing::until(|| healthz(&node, &["ready"]).out == "ready\n", || healthz(&node, &["ready"]).err);

    node.stop_node();
    let gone = healthz(&node, &["live"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.starts_with("secretfs: no secretfs node answers at "), "{}", gone.err);
    assert_eq!(healthz(&node, &["lively"]).code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fills_the_http_port_keeps_neither_probes_nor_others_from_an_answer() {
    let node = RunningNode::start(env!("CARGO_BIN_EXE_secretfs"), &[]).await;
    let address = node.http_address();
    let mut taken = Vec::new();
    for number in 0..300 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream: TcpStream = socket.connect(address.parse().unwrap()).await.unwrap();
        if number % 2 == 0 {
            // A connection that is refused may be closed before it is read.
            let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        }
        taken.push(stream);
    }

    let answer = tokio::time::timeout(Duration::from_secs(20), node.http("/livez")).await;
    let probe = healthz(&node, &["live"]);

    assert_eq!(answer.expect("an answer over HTTP"), "alive\n");
    assert_eq!(probe.code, Some(0), "{}", probe.err);
}
