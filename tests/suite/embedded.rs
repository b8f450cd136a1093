//! An embedded store for one test, used through its commands.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A store in a temporary directory.
pub(crate) struct Store {
    directory: tempfile::TempDir,
    /// The program whose commands are used.
    pub(crate) binary: PathBuf,
}

impl Store {
    /// A new, empty store.
    pub(crate) fn init() -> Self {
        Self::init_with(env!("CARGO_BIN_EXE_secretfs").as_ref())
    }

    /// A new, empty store, made by the commands of `binary`.
    pub(crate) fn init_with(binary: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("secretfs-store").tempdir().unwrap();
        let store = Self { directory, binary: binary.to_owned() };
        store.run(&["init"], b"");
        store
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    /// Puts a new version of an item with one key, `value`.
    pub(crate) fn put(&self, namespace: &str, item: &str, value: &str) {
        self.run(&["put", item, "--namespace", namespace], value.as_bytes());
    }

    /// Puts a new version of an item with the keys of a JSON object.
    pub(crate) fn put_json(&self, namespace: &str, item: &str, keys: &serde_json::Value) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(keys.to_string().as_bytes()).unwrap();
        self.run(&["put", item, "--namespace", namespace, "--json", file.path().to_str().unwrap()], b"");
    }

    /// Runs a `secretfs store` command, which must succeed. Returns its standard output.
    pub(crate) fn run(&self, words: &[&str], stdin: &[u8]) -> String {
        let output = self.try_run(words, stdin);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "secretfs store {words:?}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a `secretfs store` command, which may fail.
    pub(crate) fn try_run(&self, words: &[&str], stdin: &[u8]) -> Output {
        let mut child = Command::new(&self.binary)
            .arg("store")
            .args(words)
            .args(["--store", self.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may close it, so the error is ignored.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }
}
