//! Asks the drivers of the nodes: runs `secretfs status` in each driver pod, by `kubectl exec`.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use kubernetes::view::DriverPod;
use program::visible::visible;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::rows::Rows;
use crate::admin::{VolumeStatus, WaitingStatus};

/// Nodes that are asked at the same time.
const AT_A_TIME: usize = 16;
/// How long one node may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest answer of a node, in bytes: a thousand volumes with many objects.
const LONGEST: u64 = 64 << 20;
/// The most bytes of an error message of `kubectl` that are repeated.
const LONGEST_COMPLAINT: usize = 300;

/// The output of `secretfs status -o json`.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    volumes: Vec<VolumeStatus>,
    #[serde(default)]
    waiting: Vec<WaitingStatus>,
}

/// Asks the driver of every node, and adds to `rows` what it reports about `namespace`, or about all.
pub(super) async fn ask(
    pods: &[DriverPod],
    kubeconfig: Option<&Path>,
    namespace: Option<&str>,
    rows: &mut Rows,
) {
    let asked = futures::stream::iter(pods).map(|pod| async move {
        let answer = timeout(PATIENCE, exec(pod, kubeconfig)).await;
        (pod, answer.unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs())))
    });
    let mut asked = asked.buffer_unordered(AT_A_TIME);
    while let Some((pod, answer)) = asked.next().await {
        match answer {
            Ok(answer) => add(&answer, pod, namespace, rows),
            Err(error) => rows.unseen(format!("node {}: {error:#}", pod.node)),
        }
    }
}

fn add(answer: &Answer, pod: &DriverPod, namespace: Option<&str>, rows: &mut Rows) {
    let is_meant = |of: &str| namespace.is_none_or(|namespace| namespace == of);
    for volume in answer.volumes.iter().filter(|volume| is_meant(&volume.namespace)) {
        rows.mounted(volume, &pod.node);
    }
    for volume in answer.waiting.iter().filter(|volume| is_meant(&volume.namespace)) {
        rows.waiting(volume, &pod.node);
    }
}

/// Uses kubectl, which has the credentials and speaks the protocol. It is installed, because it started this program.
async fn exec(pod: &DriverPod, kubeconfig: Option<&Path>) -> anyhow::Result<Answer> {
    let mut command = Command::new("kubectl");
    if let Some(file) = kubeconfig {
        command.env("KUBECONFIG", file);
    }
    command.args(["exec", "--namespace", &pod.namespace, &pod.name, "--container", "node", "--"]);
    command.args(["secretfs", "status", "--output", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("kubectl")?;
    let (mut out, mut complaint) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (told, complained) = tokio::join!(read(stdout, &mut out), read(stderr, &mut complaint));
    told.and(complained)?;
    child.wait().await?;
    // If a process beside the driver does not answer, `status` prints what it knows, says so, and exits with 1.
    serde_json::from_slice(&out).or_else(|_| bail!("{}", first_words(&complaint)))
}

async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(from) = from else { return Ok(()) };
    from.take(LONGEST).read_to_end(into).await.map(drop)
}

/// The beginning of a foreign message, on one line.
fn first_words(complaint: &[u8]) -> String {
    let complaint = String::from_utf8_lossy(complaint);
    let words = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = visible(&words);
    match words.char_indices().nth(LONGEST_COMPLAINT) {
        _ if words.is_empty() => "it did not answer".to_owned(),
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_told_in_one_line_and_not_without_end() {
        assert_eq!(first_words(b"error: forbidden\n  (no)\x1b[2J\n"), "error: forbidden (no)\\u{1b}[2J");
        assert_eq!(first_words(b""), "it did not answer");
        assert!(!first_words(&b"\x1b[2J ".repeat(1 << 16)).contains('\u{1b}'));
        assert!(first_words(&b"ab ".repeat(1 << 16)).chars().count() <= LONGEST_COMPLAINT + 1);
    }

    #[test]
    fn the_answer_of_an_earlier_version_is_understood() {
        let answer: Answer = serde_json::from_str(r#"{"volumes": []}"#).unwrap();

        assert!(answer.volumes.is_empty() && answer.waiting.is_empty());
    }
}
