//! Values that are sealed with keys of AWS KMS (a real moto, which here lets everybody do everything) and of age, through a
//! real `secretfs`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use testing::{Claims, Issuer, Moto, PodVolume, RunningNode, in_private_mounts};

use crate::support::{Target, Told};

const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");
const REGION: &str = "eu-west-1";
/// What nobody but the pod may see.
const CANARY: &str = "canary-of-the-till-4c07";
/// A key of age for tests.
const RECIPIENT: &str = "age16wjnk0v4rrjdfs542rvjrk87gl9dkpwhjcsxs3gqgm3cf35nvfhqxg7sqj";
const IDENTITY: &str = "AGE-SECRET-KEY-10UPJW04EWVJFK3G79390AD04DFNR3JC4UZD3MX359D3JSWYMJEPS3TH8PX";

/// The desk of somebody who seals.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write_private(&self, name: &str, text: &str) -> PathBuf {
        let file = self.path(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        file
    }

    /// The class `till` with `kms` and what it shows, as a file.
    fn class(&self, kms: &str, objects: &str) -> PathBuf {
        let file = self.path("till.yaml");
        let class = format!(
            "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: till, namespace: shop}}\n\
             spec:\n  provider: sealed\n  parameters:\n{kms}    objects: |\n{objects}"
        );
        fs::write(&file, class).unwrap();
        file
    }

    /// Runs `secretfs COMMAND till.yaml` for production.
    fn run(&self, command: &str, arguments: &[&str], value: &str) -> Told {
        let mut process = Command::new(SECRETFS)
            .arg(command)
            .arg(self.path("till.yaml"))
            .args(["--environment", "production", "--log", "trace"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments does not read it.
        let _ = process.stdin.take().unwrap().write_all(value.as_bytes());
        let told = Told::from(process.wait_with_output().unwrap());
        assert!(!told.out.contains(CANARY) && !told.err.contains(CANARY), "{}{}", told.out, told.err);
        told
    }

    /// The object `password` with `CANARY` sealed in it, as it stands below `objects: |`.
    fn sealed(&self, arguments: &[&str]) -> String {
        let told = self.run("seal", &[&["--object", "password"], arguments].concat(), CANARY);
        assert_eq!(told.code, Some(0), "{}", told.err);
        let text = told.out.trim().replace('\n', "\n          ");
        format!("      - objectName: password\n        sealed: |\n          {text}\n")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path("till.yaml")).unwrap()
    }
}

fn of_aws(moto: &Moto, key: &str) -> String {
    let url = moto.url();
    format!(
        "    kms: aws\n    kmsKey: {key}\n    kmsParameters: |\n      region: {REGION}\n      endpoint: {url}\n      \
         roleArn: arn:aws:iam::123456789012:role/shop\n"
    )
}

fn of_age() -> String {
    format!("    kms: age\n    kmsKey: {RECIPIENT}\n")
}

fn key(moto: &Moto) -> String {
    moto.kms(REGION, "CreateKey", &json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

/// What logs a person in at AWS: an access key in files.
fn with_access_key(desk: &Desk) -> Vec<String> {
    let credential = |key: &str| format!("{key}={}", desk.write_private(key, "AKIATEST").display());
    let credentials = ["access-key-id", "secret-access-key"].map(credential);
    let login = "secretfs.dev/auth=keys".to_owned();
    let arguments = credentials.into_iter().flat_map(|given| ["--credential".to_owned(), given]);
    ["--parameter".to_owned(), login].into_iter().chain(arguments).collect()
}

async fn node(class: &str, flags: &[(&str, &Path)]) -> RunningNode {
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    node.flag("--environment", "production");
    flags.iter().for_each(|(flag, value)| node.flag(flag, value.to_str().unwrap()));
    node.class("till", class);
    node.start_node().await;
    node
}

fn pod(issuer: &Issuer) -> PodVolume {
    let audience = "sts.amazonaws.com";
    let token = issuer.mint(&Claims::of("shop", "shop").pod("till-0").audience(audience));
    PodVolume::new("till-0", "till").token(audience, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_sealed_with_a_key_of_kms_is_mounted_and_sealed_again_with_another_key_and_for_a_host()
 {
    let (moto, issuer, desk) = (Moto::start(), Issuer::start(), Desk::new());
    let (first, second) = (key(&moto), key(&moto));
    let login = with_access_key(&desk);
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    desk.class(&of_aws(&moto, &first), "");
    let object = desk.sealed(&login);
    desk.class(&of_aws(&moto, &first), &object);

    let running = node(&desk.text(), &[]).await;
    running.publish_until_done(&pod(&issuer)).await;
    assert_eq!(running.text(&pod(&issuer), "password").as_deref(), Some(CANARY));
    assert!(!running.log().contains(CANARY) && !running.audit().contains(CANARY));

    for (kms, says) in [
        (of_aws(&moto, &second), format!("kms=aws key={second}")),
        (of_age(), format!("kms=age key={RECIPIENT}")),
    ] {
        let objects = desk.text().split_once("    objects: |\n").unwrap().1.to_owned();
        let theirs: Vec<_> =
            ["region", "roleArn"].iter().zip([REGION, "arn:aws:iam::123456789012:role/shop"]).collect();
        let from: Vec<_> = theirs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let endpoint = format!("endpoint={}", moto.url());
        desk.class(&kms, &objects);
        let from = [&from[0], &from[1], &endpoint, "secretfs.dev/auth=keys"];
        let from: Vec<&str> = from.into_iter().flat_map(|from| ["--from", from]).collect();
        let credentials = &login[2..];
        let people = if kms.contains("aws") { &login[..2] } else { &[] };
        let told = desk.run("reseal", &[people, credentials, &from].concat(), "");
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        assert!(desk.text().contains(&says), "{}", desk.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_opens_what_was_sealed_to_a_key_of_age_only_if_that_was_allowed() {
    let (issuer, desk) = (Issuer::start(), Desk::new());
    let key = desk.write_private("identity", IDENTITY);
    desk.class(&of_age(), "");
    let object = desk.sealed(&[]);
    desk.class(&of_age(), &object);

    let cautious = node(&desk.text(), &[("--node-key", &key)]).await;
    let refused = cautious.publish(&pod(&issuer)).await.unwrap_err();
    assert!(refused.message().contains("--allow-node-key"), "{refused}");

    let mut allowing = RunningNode::prepare(SECRETFS, &[]);
    allowing.flag("--environment", "production");
    allowing.flag("--node-key", key.to_str().unwrap());
    allowing.switch("--allow-node-key");
    allowing.class("till", &desk.text());
    allowing.start_node().await;
    allowing.publish_until_done(&pod(&issuer)).await;
    assert_eq!(allowing.text(&pod(&issuer), "password").as_deref(), Some(CANARY));
    for log in [cautious.log(), allowing.log()] {
        assert!(!log.contains(CANARY) && !log.contains(IDENTITY), "{log}");
    }
}

#[test]
fn a_host_mounts_what_was_sealed_to_its_key_if_nobody_else_can_read_that() {
    in_private_mounts(|| {
        let (desk, target) = (Desk::new(), Target::new());
        desk.class(&of_age(), "");
        let object = desk.sealed(&[]);
        desk.class(&of_age(), &object);
        let key = desk.write_private("identity", &format!("# of a laptop\n{IDENTITY}\n"));
        let mount = |more: &[&str]| {
            let mounted = Command::new(SECRETFS)
                .arg("mount")
                .args([&desk.path("till.yaml"), &target.path()])
                .args(["--once", "--environment", "production"])
                .args(more)
                .arg("--state-dir")
                .arg(desk.path("state"))
                .arg("--admin-dir")
                .arg(desk.path("admin"))
                .stdin(Stdio::null())
                .output();
            Told::from(mounted.unwrap())
        };

        let told = mount(&[]);
        assert!(told.code != Some(0) && told.err.contains("--node-key"), "{}", told.err);
        fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
        let with_key = ["--node-key", key.to_str().unwrap()];
        let told = mount(&with_key);
        assert!(told.code != Some(0) && told.err.contains("others can read"), "{}", told.err);
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();

        let told = mount(&with_key);

        assert_eq!(told.code, Some(0), "{}", told.err);
        assert_eq!(target.read("password"), CANARY);
        let unmounted = Command::new(SECRETFS)
            .arg("umount")
            .arg(target.path())
            .env("SECRETFS_STATE_DIR", desk.path("state"))
            .output();
        assert!(unmounted.unwrap().status.success());
    });
}
