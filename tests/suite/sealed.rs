//! Values that are sealed in a manifest, through a real `secretfs` and a real OpenBao.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use testing::{Claims, Issuer, OpenBao, PodVolume, RunningNode};

use crate::support::Told;

/// How long a simple step may take.
const SOON: Duration = Duration::from_secs(60);
/// Withdrawal by polling waits 30 seconds for a second answer.
const CONFIRMED: Duration = Duration::from_secs(120);
/// The rules of a policy that lets nobody decrypt.
const NOTHING: &[(&str, &[&str])] = &[("cubbyhole/nothing", &["read"])];
/// What nobody but the pod may see.
const CANARY: &str = "canary-of-the-till-83d1";

/// An OpenBao with two keys. Its role `till` lets pods of `shop/shop` decrypt with `transit/shop`, `stranger` does not.
fn store() -> (OpenBao, Issuer) {
    let (bao, issuer) = (OpenBao::start(), Issuer::start());
    bao.transit(&["shop", "bank"]);
    bao.auth_kubernetes("kubernetes", &issuer);
    bao.policy("opens", &[("transit/decrypt/shop", &["update"])]);
    bao.policy("logs-in", NOTHING);
    bao.policy("seals", &[("transit/encrypt/*", &["update"])]);
    bao.policy("reseals", &[("transit/encrypt/*", &["update"]), ("transit/decrypt/*", &["update"])]);
    for (role, policy) in [("till", "opens"), ("stranger", "logs-in")] {
        let body = json!({
            "bound_service_account_names": "shop", "bound_service_account_namespaces": "shop",
            "audience": "vault", "token_policies": policy, "token_ttl": "10m",
        });
        bao.write(&format!("auth/kubernetes/role/{role}"), &body);
    }
    (bao, issuer)
}

/// The desk of somebody who seals, which shares no file with a node.
struct Desk {
    directory: TempDir,
    bao: String,
}

impl Desk {
    /// With a token of `policy`.
    fn new(bao: &OpenBao, policy: &str) -> Self {
        let body = json!({"policies": [policy], "no_parent": true});
        let token =
            bao.write("auth/token/create", &body)["auth"]["client_token"].as_str().unwrap().to_owned();
        let desk = Self { directory: tempfile::tempdir().unwrap(), bao: bao.address() };
        fs::write(desk.path("token"), token).unwrap();
        fs::set_permissions(desk.path("token"), PermissionsExt::from_mode(0o600)).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The class `till`, which shows `objects`.
    fn class(&self, objects: &str) -> String {
        let bao = &self.bao;
        format!(
            "# A comment that stays.\napiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\n\
             metadata: {{name: till, namespace: shop}}\nspec:\n  provider: sealed\n  parameters:\n    kms: vault\n    \
             kmsKey: transit/shop\n    kmsParameters: |\n      vaultAddress: {bao}\n      roleName: till\n    secretfs.dev/refresh: 1s\n    \
             secretfs.dev/on-denied: remove\n    objects: |\n{objects}"
        )
    }

    fn write(&self, class: &str) -> PathBuf {
        let file = self.path("till.yaml");
        fs::write(&file, class).unwrap();
        file
    }

    /// Runs `secretfs COMMAND till.yaml ARGUMENTS` as who has the token, with `value` as its input.
    fn run(&self, command: &str, arguments: &[&str], value: &str) -> Told {
        let mut process = Command::new(env!("CARGO_BIN_EXE_secretfs"))
            .arg(command)
            .arg(self.path("till.yaml"))
            .args(["--environment", "production", "--parameter", "secretfs.dev/auth=token"])
            .arg("--credential")
            .arg(format!("token={}", self.path("token").display()))
            .args(arguments)
            .args(["--log", "trace"])
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments does not read it.
        let _ = process.stdin.take().unwrap().write_all(value.as_bytes());
        Told::from(process.wait_with_output().unwrap())
    }

    /// The sealed text of `value` for `object`.
    fn seal(&self, object: &str, value: &str) -> String {
        let told = self.run("seal", &["--object", object], value);
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert!(
            told.out.starts_with("SFS1 environment=production namespace=shop class=till "),
            "{}",
            told.out
        );
        assert!(!told.out.contains(value) && !told.err.contains(value), "{}{}", told.out, told.err);
        told.out
    }

    /// Every file of the desk.
    fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.directory.path()).unwrap().map(|file| file.unwrap().path());
        files.map(|file| fs::read_to_string(file).unwrap()).collect()
    }
}

/// An object as it stands below `objects: |`.
fn object(name: &str, text: &str) -> String {
    format!(
        "      - objectName: {name}\n        sealed: |\n          {}\n",
        text.trim().replace('\n', "\n          ")
    )
}

fn pod(issuer: &Issuer, name: &str) -> PodVolume {
    let token = issuer.mint(&Claims::of("shop", "shop").pod(name).audience("vault"));
    PodVolume::new(name, "till").token("vault", token)
}

#[tokio::test]
async fn a_value_that_was_sealed_at_a_desk_is_shown_to_who_may_decrypt_rotated_and_taken_back() {
    let (bao, issuer) = store();
    let desk = Desk::new(&bao, "seals");
    desk.write(&desk.class(""));
    let first = desk.seal("db/password", CANARY);
    desk.write(&desk.class(&object("db/password", &first)));
    assert!(desk.files().iter().all(|text| !text.contains(CANARY)), "no file has the value");

    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.flag("--environment", "production");
    node.class("till", &fs::read_to_string(desk.path("till.yaml")).unwrap());
    node.start_node().await;
    let till = pod(&issuer, "till-0");
    node.publish_until_done(&till).await;
    assert_eq!(node.text(&till, "db/password").as_deref(), Some(CANARY));

    let told = desk.run("seal", &["--object", "db/password", "--write"], "new");
    assert_eq!(told.code, Some(0), "{}", told.err);
    node.class("till", &fs::read_to_string(desk.path("till.yaml")).unwrap());
    node.text_becomes(&till, "db/password", Some("new"), SOON).await;

    let class = fs::read_to_string(desk.path("till.yaml")).unwrap();
    let mut other = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    other.flag("--environment", "production");
    other.class("till", &class.replace("roleName: till", "roleName: stranger"));
    other.start_node().await;
    let refused = other.publish(&pod(&issuer, "stranger-0")).await.unwrap_err();
    assert!(refused.message().contains("permission denied"), "{refused}");

    bao.policy("opens", NOTHING);
    node.text_becomes(&till, "db/password", None, CONFIRMED).await;
    assert!(!node.log().contains(CANARY) && !node.audit().contains(CANARY));
}

crate::modes::again_in_mode_fuse! {
    a_value_that_was_sealed_at_a_desk_is_shown_to_who_may_decrypt_rotated_and_taken_back,
}

#[tokio::test]
async fn a_node_of_another_environment_or_of_none_shows_nothing() {
    let (bao, issuer) = store();
    let desk = Desk::new(&bao, "seals");
    desk.write(&desk.class(""));
    let class = desk.class(&object("db/password", &desk.seal("db/password", CANARY)));

    for (flags, why) in [(&["--environment", "staging"][..], "staging"), (&[], "--environment")] {
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
        flags.chunks(2).for_each(|flag| node.flag(flag[0], flag[1]));
        node.class("till", &class);
        node.start_node().await;
        let refused = node.publish(&pod(&issuer, "till-0")).await.unwrap_err();
        assert!(refused.message().contains(why), "{refused}");
    }
}

#[test]
fn who_may_encrypt_may_not_decrypt_and_a_check_tells_what_was_copied() {
    let (bao, _issuer) = store();
    let desk = Desk::new(&bao, "seals");
    desk.write(&desk.class(""));
    let class = desk.class(&object("db/password", &desk.seal("db/password", CANARY)));
    let check = || {
        let told = Command::new(env!("CARGO_BIN_EXE_secretfs"))
            .args(["seal", "--check"])
            .arg(desk.path("till.yaml"))
            .output();
        Told::from(told.unwrap())
    };

    desk.write(&class);
    let told = check();
    assert_eq!((told.code, told.out.as_str()), (Some(0), "1 sealed classes, 0 faults\n"), "{}", told.err);
    let told = desk.run("reseal", &["--all"], "");
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("permission denied"), "{}", told.err);
    assert_eq!(fs::read_to_string(desk.path("till.yaml")).unwrap(), class, "the file is as it was");

    for (from, to, why) in [
        ("name: till,", "name: drawer,", "class \"till\""),
        ("namespace: shop}", "namespace: bank}", "namespace \"shop\""),
        ("objectName: db/password", "objectName: db/user", "object \"db/password\""),
        ("kmsKey: transit/shop", "kmsKey: transit/bank", "kmsKey"),
        (" end\n", " \n", "its end is missing"),
    ] {
        desk.write(&class.replace(from, to));
        let told = check();
        assert_eq!(told.code, Some(1), "{from}");
        assert!(told.out.contains(why), "{from}: {}", told.out);
    }
}

#[test]
fn values_are_sealed_again_for_another_key_and_class_and_nobody_sees_them() {
    let (bao, _issuer) = store();
    let desk = Desk::new(&bao, "reseals");
    desk.write(&desk.class(""));
    let objects: String =
        ["db/password", "db/user"].map(|name| object(name, &desk.seal(name, CANARY))).concat();
    let class = desk.class(&objects);
    desk.write(
        &class
            .replace("kmsKey: transit/shop", "kmsKey: transit/bank")
            .replace("name: till,", "name: drawer,"),
    );

    let told = desk.run("reseal", &[], "");

    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(told.out.ends_with("2 sealed again\n"), "{}", told.out);
    assert!(!told.out.contains(CANARY) && !told.err.contains(CANARY));
    let after = fs::read_to_string(desk.path("till.yaml")).unwrap();
    assert!(after.starts_with("# A comment that stays.\n") && !after.contains("transit/shop"), "{after}");
    assert_eq!(after.matches("class=drawer").count(), 2);
    assert_eq!(after.matches("kms=vault key=transit/bank").count(), 2);
    assert!(desk.files().iter().all(|text| !text.contains(CANARY)), "no file has the value");
    assert_eq!(fs::read_dir(desk.directory.path()).unwrap().count(), 2, "and no other file was made");

    let again = desk.run("reseal", &[], "");
    assert!(again.out.ends_with("0 sealed again\n"), "{}", again.out);
}
