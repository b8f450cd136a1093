//! The program as whoever starts it meets it. Nothing is mounted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test arranges has to fail it loudly")]

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use mounter::{Mounter as _, RemoteMounter};
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_secretfs-mounter");

fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    told(Command::new(PROGRAM).args(arguments).output().unwrap())
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Starts it in `directory`, and waits until it says that it is up.
fn serving(directory: &std::path::Path, arguments: &[&str]) -> Child {
    let notify = directory.join("notify");
    let up = UnixDatagram::bind(&notify).unwrap();
    up.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let process = Command::new(PROGRAM)
        .arg("--socket")
        .arg(directory.join("mounter.sock"))
        .arg("--pods")
        .arg(directory)
        .args(arguments)
        .env("NOTIFY_SOCKET", &notify)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut state = [0; 16];
    let length = up.recv(&mut state).unwrap();
    assert_eq!(&state[..length], b"READY=1");
    process
}

fn ended_by(signal: Signal, process: Child) -> (Option<i32>, String, String) {
    kill_process(Pid::from_child(&process), signal).unwrap();
    told(process.wait_with_output().unwrap())
}

#[test]
fn help_and_version_are_answers() {
    let (code, help, complaint) = said(&["--help"]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    assert!(help.contains("secretfs node") && help.contains("--driver-name"), "{help}");

    let (code, version, _) = said(&["--version"]);
    assert_eq!((code, version), (Some(0), format!("secretfs-mounter {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_mistyped_command_line_ends_it_with_2_and_is_not_told_again() {
    for wrong in ["mounter", "--hunter2", "--allow-uid=hunter2", "--log=hunter2"] {
        let (code, answer, complaint) = said(&[wrong]);

        assert_eq!((code, answer.as_str()), (Some(2), ""), "{wrong}");
        assert!(complaint.starts_with("error: ") && complaint.contains("--help"), "{complaint}");
        assert!(!complaint.contains("hunter2"), "{complaint}");
    }
}

#[test]
fn one_that_cannot_listen_ends_with_1_and_the_reason() {
    let (code, _, complaint) = said(&["--socket", "/proc/nowhere/mounter.sock"]);

    assert_eq!(code, Some(1));
    assert!(complaint.starts_with("secretfs-mounter: cannot make /proc/nowhere: "), "{complaint}");
}

#[test]
fn one_that_is_up_says_so_serves_and_ends_well_when_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let process = serving(directory.path(), &["--log-format=json"]);
        let caller = RemoteMounter::new(directory.path().join("mounter.sock"));
        caller.keep("a", b"blob").unwrap();
        let kept = caller.kept().unwrap();

        let (code, answer, log) = ended_by(signal, process);

        assert_eq!(kept, [("a".to_owned(), b"blob".to_vec())]);
        assert_eq!((code, answer.as_str()), (Some(0), ""), "{log}");
        let lines: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["the mounter serves", "the mounter has stopped"]);
    }
}

/// What it keeps out of the node's most privileged process, by the names of crates.
const NOT_THERE: [&str; 10] = [
    "tokio",
    "rustls",
    "aws-lc-rs",
    "hyper",
    "http",
    "tonic",
    "kube",
    "clap",
    "tracing-subscriber",
    "rusqlite",
];

#[test]
fn there_is_no_tls_no_http_and_no_async_runtime_in_it() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "secretfs-mounter"])
        .args(["--edges", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let (code, tree, complaint) = told(tree.unwrap());
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();

    assert_eq!(code, Some(0), "{complaint}");
    assert!(crates.contains(&"rustix") && crates.contains(&"seccompiler"), "{crates:?}");
    for name in NOT_THERE {
        assert!(
            !crates.contains(&name),
            "{name} is in it: cargo tree --package secretfs-mounter --invert {name}"
        );
    }
}
