//! The reader of the log or of the audit trail may stop reading, and nothing may wait for it.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{ChildStderr, ChildStdout};
use std::thread;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use testing::{PodVolume, RunningNode, http_client};
use tokio::time::timeout;

use crate::embedded::Store;
use crate::support::store_class;

/// Longer than any call takes on a busy machine.
const ANSWERED: Duration = Duration::from_secs(30);
/// More lines than a pipe and the queue before it can hold, at 700 bytes of log and more of audit for each.
const REFUSALS: usize = 2400;
/// Each waits a moment for its class to appear, so many run at the same time.
const AT_A_TIME: usize = 400;
/// The longest name of a class.
const LONG: usize = 200;

/// A node that writes its log and its audit trail into pipes.
struct Piped {
    node: RunningNode,
    _store: Store,
    out: BufReader<ChildStdout>,
    log: BufReader<ChildStderr>,
    url: String,
}

impl Piped {
    /// A node whose log is read up to the line with its HTTP address, and no further.
    async fn start() -> Self {
        let store = Store::init();
        store.put("shop", "app", "hunter2");
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--audit-log", "-"]);
        node.flag("--store", store.path());
        node.class("app", &store_class(&["objectName: password, item: app"]));
        node.write_into_pipes();
        node.start_node().await;
        let (out, log) = node.take_pipes();
        let mut log = BufReader::with_capacity(1, log);
        let line = (&mut log).lines().map(Result::unwrap).find(|line| line.contains("/metrics")).unwrap();
        let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        let url = format!("http://{address}");
        Self { node, _store: store, out: BufReader::new(out), log, url }
    }

    /// Makes the node write more than the pipes hold: pods ask for a class that does not exist.
    async fn tell_too_much(&self) {
        let client = self.node.client().await;
        for first in (0..REFUSALS).step_by(AT_A_TIME) {
            let publish = |number: usize| {
                let pod = PodVolume::new(&format!("{number:0>LONG$}"), &"x".repeat(LONG));
                let (mut client, request) = (client.clone(), self.node.request(&pod));
                async move { client.node_publish_volume(request).await.unwrap_err() }
            };
            let refused = join_all((first..first + AT_A_TIME).map(publish));
            let answered = timeout(ANSWERED, refused).await;
            assert!(answered.is_ok(), "publishes from {first} on are not answered within {ANSWERED:?}");
        }
    }

    async fn get(&self, path: &str) -> String {
        let asked = http_client().get(format!("{}{path}", self.url)).send();
        let answer = timeout(ANSWERED, asked).await.expect("an answer over HTTP").unwrap();
        answer.text().await.unwrap()
    }
}

/// The value of a metric without labels.
fn metric(exposition: &str, name: &str) -> u64 {
    let line = exposition.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

/// What a record of the audit trail tells of.
fn operation(line: &str) -> String {
    let record: Value = serde_json::from_str(line).unwrap();
    record["api"]["operation"].as_str().unwrap().to_owned()
}

/// Reads to the end of `stream` in a thread of its own.
fn drain(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_and_an_audit_trail_that_nobody_reads_hold_up_no_call_and_tell_what_is_missing() {
    let mut piped = Piped::start().await;
    let pod = PodVolume::new("web", "app");

    piped.tell_too_much().await;
    timeout(ANSWERED, piped.node.publish(&pod)).await.expect("an answer to a publish").unwrap();
    assert_eq!(piped.node.text(&pod, "password").as_deref(), Some("hunter2"));
    timeout(ANSWERED, piped.node.unpublish(&pod)).await.expect("an answer to an unpublish").unwrap();
    assert_eq!(piped.get("/livez").await, "alive\n");
    let counted = piped.get("/metrics").await;

    assert!(metric(&counted, "secretfs_log_dropped_total ") > 0, "{counted}");
    assert!(metric(&counted, "secretfs_audit_dropped_total ") > 0, "{counted}");
    let (out, log) = (drain(piped.out), drain(piped.log));
    let ended = piped.node.stop_node().unwrap();
    let (out, log) = (out.join().unwrap(), log.join().unwrap());
    assert!(ended.success(), "{ended}");
    let gap = log.lines().find(|line| line.contains("log lines are missing here")).unwrap_or(&log);
    assert!(gap.contains(" WARN ") && gap.contains(" lines="), "{gap}");
    assert!(out.lines().any(|line| operation(line) == "lose"), "no audit record tells of the missing ones");
    // The trail in the file has lost nothing: one record for each refusal, one publish and one unpublish. In mode fuse
    // the test's own look at a file is told too.
    let trail = piped.node.audit();
    let (opens, others): (Vec<&str>, Vec<&str>) = trail.lines().partition(|line| operation(line) == "open");
    assert_eq!(others.len(), REFUSALS + 2);
    assert!(opens.len() <= 1, "{opens:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let mut piped = Piped::start().await;
    piped.tell_too_much().await;

    let ended = piped.node.stop_node().unwrap();

    assert!(ended.success(), "{ended}");
}

crate::modes::again_in_mode_fuse! {
    a_log_and_an_audit_trail_that_nobody_reads_hold_up_no_call_and_tell_what_is_missing,
    a_process_whose_log_nobody_reads_ends_when_it_is_told_to,
}
