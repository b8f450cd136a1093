//! The client that calls as kubelet does, a Go program.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use csi_proto::csi::NodePublishVolumeRequest;
use csi_proto::csi::volume_capability::AccessType;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::go_program;

/// A running client.
pub(crate) struct Kubelet {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The result of a command.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: usize,
    /// Whether kubelet takes the code as the end of the operation.
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    pub(crate) response: Value,
    pub(crate) socket: PathBuf,
    pub(crate) which: String,
    pub(crate) plugin: Value,
    pub(crate) answers: Vec<Self>,
}

impl Kubelet {
    pub(crate) fn start() -> Self {
        let mut process =
            Command::new(program()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, commands, answers: BufReader::new(answers) }
    }

    pub(crate) fn run(&mut self, command: &Value) -> Answer {
        writeln!(self.commands, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the client failed at {command}");
        let answer: Answer = serde_json::from_str(&line).unwrap();
        std::iter::once(&answer).chain(&answer.answers).for_each(Answer::keeps_to_the_specification);
        answer
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    fn keeps_to_the_specification(&self) {
        assert_eq!(self.details, 0, "a status has no details: {self:?}");
        let silent = ["OK", "UNIMPLEMENTED"].contains(&self.code.as_str());
        assert!(silent || !self.message.is_empty(), "a status has a message: {self:?}");
    }

    /// Fails unless the code is `code` and the message contains all `words`.
    #[track_caller]
    pub(crate) fn is(&self, code: &str, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.message);
        for word in words {
            assert!(self.message.contains(word), "no {word:?} in: {}", self.message);
        }
    }
}

/// A command to call the CSI `method` at `socket`.
pub(crate) fn call(socket: &Path, method: &str, request: &Value) -> Value {
    json!({ "do": "call", "socket": socket, "method": format!("/csi.v1.{method}"), "request": request })
}

/// `request` in protobuf's JSON.
pub(crate) fn json_of(request: &NodePublishVolumeRequest) -> Value {
    let group = match request.volume_capability.as_ref().and_then(|it| it.access_type.as_ref()) {
        Some(AccessType::Mount(mount)) => mount.volume_mount_group.as_str(),
        other => panic!("kubelet mounts: {other:?}"),
    };
    json!({
        "volume_id": request.volume_id,
        "target_path": request.target_path,
        "volume_capability": {
            "mount": { "volume_mount_group": group },
            "access_mode": { "mode": "SINGLE_NODE_WRITER" },
        },
        "readonly": request.readonly,
        "secrets": request.secrets,
        "volume_context": request.volume_context,
    })
}

/// The client. It is built once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| go_program("kubelet"))
}
