//! Checks that a provider uses nothing from a process's environment or from files that nobody named.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::opened::serves;
use crate::{Broken, CANARY, Fixture, VALUE, owe};

/// Set in the child process, whose environment has all of these variables and files.
const CHILD: &str = "PROVIDER_CONTRACT_CHILD";

/// Environment variables that clients of stores and their libraries read. The test sets each to the address of a trap
/// or to a credential.
const ADDRESSES: [&str; 13] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "VAULT_ADDR",
    "VAULT_AGENT_ADDR",
    "BAO_ADDR",
    "AWS_ENDPOINT_URL",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "IDENTITY_ENDPOINT",
    "GCE_METADATA_HOST",
];
const CREDENTIALS: [&str; 9] = [
    "VAULT_TOKEN",
    "VAULT_NAMESPACE",
    "BAO_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "IDENTITY_HEADER",
    "SECRETFS_TOKEN",
];
/// Files in the home directory that such clients read.
const FILES: [&str; 5] = [
    ".vault-token",
    ".netrc",
    ".aws/credentials",
    ".kube/config",
    ".config/gcloud/application_default_credentials.json",
];

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// What the child process does.
pub(crate) async fn read_as_child(fixture: &dyn Fixture) {
    fixture.put("mine", VALUE);
    serves(fixture, &*fixture.provider(), "mine", VALUE).await.unwrap_or_else(|broken| panic!("{broken}"));
    assert!(!fixture.saw(CANARY), "the store was sent what nobody named");
}

pub(crate) async fn check(fixture: &dyn Fixture) -> Result<(), Broken> {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let home = tempfile::tempdir().unwrap();
    FILES.iter().for_each(|file| write(&home.path().join(file)));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([fixture.test(), "--exact", "--nocapture"]).env(CHILD, "1").env("HOME", home.path());
    let port = trap.local_addr().unwrap().port();
    child.envs(ADDRESSES.map(|name| (name, format!("http://127.0.0.1:{port}"))));
    child.envs(CREDENTIALS.map(|name| (name, CANARY)));
    child.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", port.to_string());
    child.env(
        "GOOGLE_APPLICATION_CREDENTIALS",
        home.path().join(".config/gcloud/application_default_credentials.json"),
    );
    child.env("KUBECONFIG", home.path().join(".kube/config")).env_remove("NO_PROXY").env_remove("no_proxy");
    child.stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    owe(told.contains("1 passed"), || format!("with credentials lying around: {told}"))?;
    owe(trap.accept().is_err(), || "an address that nobody named was connected to".to_owned())
}

fn write(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, CANARY).unwrap();
}
