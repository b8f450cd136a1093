//! `secretfs check` on the command line.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const GOLDEN: &str = "tests/golden/check.txt";

fn check(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.arg("check").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn manifests(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let relative = |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    paths.into_iter().map(relative).collect()
}

/// Every manifest below `tests/manifests` has one error. The golden file has line, key, reason and remedy of each.
/// `UPDATE_GOLDEN=1` rewrites it, so that its diff can be reviewed.
#[test]
fn each_broken_manifest_is_told_by_line_key_reason_and_remedy() {
    let mut told = String::new();
    for manifest in manifests("tests/manifests") {
        let output = check(&[&manifest]);
        told += &format!("{}exit {}\n\n", stdout(&output), output.status.code().unwrap());
    }

    let golden = root().join(GOLDEN);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &told).unwrap();
    }
    assert_eq!(told, fs::read_to_string(golden).unwrap());
}

#[test]
fn the_examples_are_clean_one_by_one_and_together() {
    let examples = manifests("examples");
    assert!(examples.len() >= 4, "{examples:?}");

    for files in
        examples.iter().filter(|file| !file.ends_with("pod.yaml")).map(String::as_str).chain(["examples"])
    {
        let output = check(&[files]);
        let told = stdout(&output);
        assert!(output.status.success() && told.contains("0 errors, 0 warnings"), "{told}");
    }
}

#[test]
fn what_a_class_leaves_to_the_node_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let class = fs::read_to_string(root().join("examples/class-vault.yaml")).unwrap();
    let without: String = class
        .lines()
        .filter(|line| !line.contains("vaultAddress:"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(without.len() < class.len());
    let file = dir.path().join("class.yaml");
    fs::write(&file, without).unwrap();

    let output = check(&[file.to_str().unwrap()]);

    assert!(output.status.success(), "{}", stdout(&output));
}

#[test]
fn a_secret_of_google_that_is_called_creds_is_no_login_in_several_files() {
    let dir = tempfile::tempdir().unwrap();
    let class = fs::read_to_string(root().join("examples/class-gcp.yaml")).unwrap();
    let file = dir.path().join("class.yaml");
    fs::write(&file, class.replace("/secrets/db/", "/secrets/creds/")).unwrap();

    let output = check(&["--strict", file.to_str().unwrap()]);

    assert!(output.status.success(), "{}", stdout(&output));
}

#[test]
fn standard_input_is_a_file_too() {
    let mut child = command(&["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"kind: SecretProviderClass\n").unwrap();

    let output = child.wait_with_output().unwrap();

    assert!(
        stdout(&output).starts_with("<stdin>:1: error: apiVersion: it is missing"),
        "{}",
        stdout(&output)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_in_the_command() {
    for arguments in [&["missing.yaml"][..], &[]] {
        let output = check(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn warnings_are_errors_where_that_is_asked() {
    let warned = "tests/manifests/provider-unknown.yaml";
    let lax = check(&[warned]);
    assert!(lax.status.success() && stdout(&lax).contains("0 errors, 1 warning"), "{}", stdout(&lax));

    let strict = check(&["--strict", warned]);

    assert_eq!(strict.status.code(), Some(1));
    assert!(stdout(&strict).contains(": error: spec.provider: "), "{}", stdout(&strict));
    assert!(stdout(&strict).contains("1 error, 0 warnings"), "{}", stdout(&strict));
    assert!(check(&["--strict", "examples/class-vault.yaml"]).status.success());
}

#[test]
fn scripts_read_findings_as_json() {
    let output = check(&["-o", "json", "tests/manifests/key-unknown.yaml"]);

    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["errors"], 1);
    let finding = &report["findings"][0];
    assert_eq!(
        (finding["key"].as_str(), finding["severity"].as_str()),
        (Some("secretfs.dev/refesh"), Some("error"))
    );
    assert!(finding["line"].is_u64() && finding["remedy"].as_str().unwrap().contains("secretfs.dev/refresh"));
}

#[test]
fn ten_thousand_objects_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("huge.yaml");
    let objects = "      - {objectName: a, secretPath: b}\n".repeat(10_000);
    let head = fs::read_to_string(root().join("tests/manifests/mode-unknown.yaml")).unwrap();
    let head = head.split("    objects:").next().unwrap();
    fs::write(&file, format!("{head}    objects: |\n{objects}")).unwrap();

    let output = check(&[file.to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("spread the objects over several classes"), "{}", stdout(&output));
}
