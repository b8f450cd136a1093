//! The external provider, a Go program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use testing::until;

use crate::support::go_program;

/// An external provider with the socket `NAME.sock` in a directory.
pub(crate) struct Provider {
    directory: PathBuf,
    socket: PathBuf,
    process: Option<Child>,
}

impl Provider {
    /// Starts a provider in `directory` that behaves as `control` says.
    pub(crate) fn start(directory: &Path, control: &Value) -> Self {
        let mut provider =
            Self { directory: directory.to_owned(), socket: directory.join("test.sock"), process: None };
        provider.does(control);
        provider.start_again();
        provider
    }

    /// Behaves as `control` says from the next call on.
    pub(crate) fn does(&self, control: &Value) {
        let staged = self.directory.join("control.new");
        fs::write(&staged, control.to_string()).unwrap();
        fs::rename(staged, self.directory.join("control")).unwrap();
    }

    /// A new process, which replaces the socket.
    pub(crate) fn start_again(&mut self) {
        self.spawn(&mut Command::new(program()));
    }

    /// Starts a new process that sees no mount made after its start.
    pub(crate) fn start_again_apart(&mut self) {
        let mut apart = Command::new("unshare");
        self.spawn(apart.args(["--mount", "--propagation", "private", "--kill-child"]).arg(program()));
    }

    fn spawn(&mut self, command: &mut Command) {
        self.kill();
        let _ = fs::remove_file(&self.socket);
        let process = command
            .arg("serve")
            .args([&self.socket, &self.directory.join("control"), &self.directory.join("log")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        let socket = &self.socket;
        until(|| socket.exists(), || "the provider's socket is not there".to_owned());
    }

    /// Kills the process with SIGKILL. The socket's file stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            process.wait().unwrap();
        }
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait_until_dead(&mut self) {
        let process = self.process.as_mut().unwrap();
        until(|| process.try_wait().unwrap().is_some(), || "the provider did not die".to_owned());
        self.process = None;
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for the next request after `before` requests.
    pub(crate) async fn is_asked_after(&self, before: usize) {
        let patience = tokio::time::Instant::now() + Duration::from_secs(30);
        while self.requests().len() <= before {
            assert!(tokio::time::Instant::now() < patience, "the provider is not asked again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A behaviour: answer with these texts, mode 0644.
pub(crate) fn files(files: &[(&str, &str)]) -> Value {
    let file = |(path, text): &(&str, &str)| ((*path).to_owned(), json!({ "contents": text, "mode": 0o644 }));
    json!({ "files": files.iter().map(file).collect::<serde_json::Map<_, _>>() })
}

/// Adds `more` to a behaviour.
pub(crate) fn with(mut control: Value, more: &Value) -> Value {
    control.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    control
}

/// The program. It is built once.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| go_program("provider"))
}
