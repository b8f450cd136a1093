//! `secretfs mount` on a plain host, with a login by AppRole.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use testing::{Postgres, ShownBy};

use super::support::{Class, SECRETFS, Shop, until};
use crate::support::Told;

/// The directories of a host.
pub(super) struct Host {
    root: TempDir,
}

/// A running `secretfs mount`.
pub(super) struct Mounting(Child);

impl Host {
    pub(super) fn new() -> Self {
        Self { root: tempfile::Builder::new().prefix("secretfs-host-").tempdir().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes the class, which chooses the mode of the test.
    pub(super) fn manifest(&self, manifest: &str) {
        self.write("class.yaml", &ShownBy::chosen().class(manifest));
    }

    /// Writes a file that only its owner can read.
    pub(super) fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    /// The log of the processes.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(SECRETFS);
        command.arg("mount").arg(self.path("class.yaml")).arg(self.path("target"));
        command.arg("--state-dir").arg(self.path("state")).arg("--admin-dir").arg(self.path("admin"));
        command.args(flags).stdin(Stdio::null());
        command
    }

    /// Mounts `class.yaml` at `target` and keeps it fresh.
    pub(super) fn mount(&self, flags: &[&str]) -> Mounting {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = self.command(flags).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Mounting(child)
    }

    /// Mounts `class.yaml` at `target` and exits.
    fn mount_once(&self, flags: &[&str]) -> Told {
        Told::from(self.command(&[&["--once"], flags].concat()).output().unwrap())
    }

    fn umount(&self) -> Told {
        let output = Command::new(SECRETFS)
            .arg("umount")
            .arg("--socket")
            .arg(self.path("admin"))
            .arg(self.path("target"))
            .output();
        Told::from(output.unwrap())
    }

    fn shown(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path("target").join(file)).ok()
    }

    /// AppRole credentials, as flags, of a role with the rights of role `shop`.
    fn app_role(&self, shop: &Shop) -> Vec<String> {
        shop.bao.write("sys/auth/approle", &json!({"type": "approle"}));
        shop.bao.write("auth/approle/role/shop", &json!({"token_policies": "shop", "token_ttl": "1h"}));
        let role = shop.bao.read("auth/approle/role/shop/role-id");
        let secret = shop.bao.write("auth/approle/role/shop/secret-id", &json!({}));
        self.write("role-id", role["data"]["role_id"].as_str().unwrap());
        self.write("secret-id", secret["data"]["secret_id"].as_str().unwrap());
        let credential = |key: &str| format!("--credential={key}={}", self.path(key).display());
        vec![credential("role-id"), credential("secret-id")]
    }

    fn class(&self, class: Class) {
        let class = class.with("secretfs.dev/auth", "approle").with("vaultAuthMountPath", "approle");
        self.manifest(&class.manifest());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.path("target"), rustix::mount::UnmountFlags::DETACH);
    }
}

impl Mounting {
    /// Sends SIGTERM and waits for the end.
    pub(super) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(self.0.wait().unwrap().success());
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Mounting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn borrowed(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

const LOGIN: &str = "
- {objectName: user, secretPath: database/creds/shop, secretKey: username}
- {objectName: key, secretPath: secret/data/app, secretKey: key}";

#[tokio::test]
async fn a_program_is_run_after_each_change_and_told_which_files_changed() {
    let (shop, host) = (Shop::start(), Host::new());
    shop.put("app", "v1");
    host.class(shop.class("app", "- {objectName: key, secretPath: secret/data/app, secretKey: key}"));
    let mut flags = host.app_role(&shop);
    let note = format!("printf '%s\\n' \"$SECRETFS_CHANGED\" >> {}", host.path("changed").display());
    flags.extend(["--on-change", "sh", "-c", &note].map(str::to_owned));

    let mount = host.mount(&borrowed(&flags));

    until(|| host.shown("key").as_deref() == Some("v1"), || host.log()).await;
    shop.put("app", "v2");
    until(|| host.shown("key").as_deref() == Some("v2"), || host.log()).await;
    let changed = || fs::read_to_string(host.path("changed")).unwrap_or_default();
    until(|| changed() == "key\n", || format!("{:?}\n{}", changed(), host.log())).await;
    mount.stop();
    assert_eq!(host.shown("key"), None);
    assert_eq!(shop.bao.requests("update", "auth/approle/login"), 1);
}

#[tokio::test]
async fn a_mount_that_nobody_tends_refuses_leases_unless_told_and_then_says_when_they_end() {
    let (shop, host, postgres) = (Shop::start(), Host::new(), Postgres::start());
    shop.put("app", "v1");
    shop.database(&postgres, "10m", "1h");
    host.class(shop.class("app", LOGIN));
    let flags = host.app_role(&shop);
    let logins = || postgres.query("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'");

    let refused = host.mount_once(&borrowed(&flags));

    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("user end if nobody renews") && refused.err.contains("--leave-leases"),
        "{refused:?}"
    );
    assert_eq!(host.shown("key"), None, "nothing is left behind");
    until(|| logins() == "0", || refused.err.clone()).await;

    let left = host.mount_once(&[&borrowed(&flags)[..], &["--leave-leases"]].concat());

    assert_eq!(left.code, Some(0), "{left:?}");
    println!("--leave-leases printed: {}", left.out.trim());
    assert!(left.out.starts_with("user: its lease ends in "), "{left:?}");
    assert_eq!(host.shown("key").as_deref(), Some("v1"));
    assert_eq!(logins(), "1");
    let gone = host.umount();
    assert_eq!(gone.code, Some(0), "{gone:?}");
    assert_eq!(host.shown("key"), None);
}

crate::modes::again_in_mode_fuse! {
    a_program_is_run_after_each_change_and_told_which_files_changed,
}
