//! The commands that ask running processes, on the command line.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use secretfs::admin::socket::AdminSocket;
use secretfs::admin::{
    Admin, ObjectState, ObjectStatus, Refreshed, Revoked, VolumeStatus, WaitingStatus, Which,
};
use testing::in_private_mounts;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::support::{Target, Told, class, copy_program, mount, mounts_below};

/// A process with one volume, `/mnt/app`. At a refresh its store revokes a password.
struct OneVolume;

#[async_trait::async_trait]
impl Admin for OneVolume {
    async fn status(&self) -> Vec<VolumeStatus> {
        let password = ObjectStatus {
            name: "db/password".to_owned(),
            path: "password".to_owned(),
            request: None,
            secret: None,
            key: None,
            composed: Vec::new(),
            version: Some("3".to_owned()),
            fingerprint: None,
            state: ObjectState::Stale,
            confirmed_seconds_ago: Some(300),
            last_error: Some("connection refused".to_owned()),
        };
        vec![VolumeStatus {
            volume: "mount-1".to_owned(),
            target: "/mnt/app".into(),
            class: "shop/db".to_owned(),
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            pod: None,
            provider: Some("vault".to_owned()),
            store: Some("https://vault".to_owned()),
            identity: Some("role web".to_owned()),
            files: 1,
            bytes: 9,
            confirmed_seconds_ago: Some(300),
            next_try_in_seconds: Some(5),
            awaits_credentials: false,
            sub_paths: Vec::new(),
            last_error: None,
            remarks: Vec::new(),
            objects: vec![password],
            opened: None,
        }]
    }

    async fn waiting(&self) -> Vec<WaitingStatus> {
        vec![WaitingStatus {
            volume: "csi-2".to_owned(),
            class: "shop/db".to_owned(),
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            pod: Some("web-2".to_owned()),
            times: 3,
            first_seconds_ago: 130,
            last_seconds_ago: 4,
            reason: "object db/password: permission denied".to_owned(),
        }]
    }

    async fn revoked(&self) -> Result<Vec<Revoked>, String> {
        Ok(Vec::new())
    }

    async fn refresh(&self, which: &Which) -> Vec<Refreshed> {
        let elsewhere = matches!(which, Which::Class { name, .. } if name != "db");
        let error = Some("object db/password was destroyed".to_owned());
        let refreshed = || Refreshed {
            volume: "mount-1".to_owned(),
            target: "/mnt/app".to_owned(),
            changed: vec!["password".to_owned()],
            error,
        };
        if elsewhere { Vec::new() } else { vec![refreshed()] }
    }
}

/// A process that answers at a socket, and a copy of the program that every user may run.
struct Host {
    directory: Target,
    runtime: Runtime,
    shutdown: CancellationToken,
}

impl Host {
    fn start() -> Self {
        let host = Self {
            directory: Target::new(),
            runtime: Runtime::new().unwrap(),
            shutdown: CancellationToken::new(),
        };
        copy_program(&host.program());
        let _inside = host.runtime.enter();
        let socket = AdminSocket::bind(&host.socket()).unwrap();
        host.runtime.spawn(socket.serve(Arc::new(OneVolume), host.shutdown.clone()));
        drop(_inside);
        host
    }

    fn program(&self) -> PathBuf {
        self.directory.parent().join("secretfs")
    }

    fn socket(&self) -> PathBuf {
        self.directory.parent().join("node.sock")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.args(arguments).env("SECRETFS_ADMIN_SOCKET", self.directory.parent());
        command
    }

    fn run(&self, arguments: &[&str]) -> Told {
        Told::from(self.command(arguments).output().unwrap())
    }

    fn run_as_nobody(&self, arguments: &[&str]) -> Told {
        Told::from(self.command(arguments).uid(65534).gid(65534).output().unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn secretfs(arguments: &[&str]) -> Told {
    Told::from(Command::new(env!("CARGO_BIN_EXE_secretfs")).args(arguments).output().unwrap())
}

#[test]
fn a_volume_is_listed_and_told_why() {
    let host = Host::start();

    let listed = host.run(&["status"]);
    let json = host.run(&["status", "-o", "json"]);
    let why = host.run(&["why", "/mnt/app"]);

    assert!(listed.out.contains("/mnt/app") && listed.out.contains("1 of 1 stale"), "{listed:?}");
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["volumes"][0]["objects"][0]["state"], "stale");
    assert!(why.out.contains("The store said: connection refused.\n"), "{why:?}");
    assert_eq!((listed.code, why.code), (Some(0), Some(0)));
}

#[test]
fn a_pod_that_waits_is_listed_and_told_why() {
    let host = Host::start();

    let listed = host.run(&["status"]);
    let json = host.run(&["status", "-o", "json"]);
    let why = host.run(&["why", "shop/web-2"]);

    assert!(listed.out.contains("NOT MOUNTED") && listed.out.contains("shop/web-2"), "{listed:?}");
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["waiting"][0]["times"], 3);
    assert!(why.out.contains("was refused 3 times in 2 min, the last time 4 s ago"), "{why:?}");
    assert!(why.out.contains("object db/password: permission denied"), "{why:?}");
    assert_eq!(why.code, Some(0));
}

#[test]
fn a_status_comes_in_four_forms() {
    let host = Host::start();

    let [text, wide, json, yaml] =
        ["text", "wide", "json", "yaml"].map(|form| host.run(&["status", "-o", form]).out);

    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(wide.contains("mount-1") && wide.contains("vault") && wide.contains("in 5 s"), "{wide}");
    assert!(json.starts_with('{') && yaml.starts_with("volumes:"), "{json}{yaml}");
    let (json, yaml): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&json).unwrap(), serde_yaml::from_str(&yaml).unwrap());
    assert_eq!(json, yaml);
}

#[test]
fn a_refresh_that_failed_says_what_changed_all_the_same() {
    let host = Host::start();

    let refreshed = host.run(&["refresh", "mount-1"]);
    let nothing = host.run(&["refresh", "--class", "shop/other"]);

    assert_eq!(
        refreshed.out,
        "/mnt/app: 1 file changed: password; not refreshed in full: object db/password was destroyed\n"
    );
    assert_eq!(refreshed.code, Some(1));
    assert!(nothing.err.contains("no volume of class shop/other is mounted"), "{nothing:?}");
    assert_eq!(nothing.code, Some(1));
}

#[test]
fn another_user_cannot_open_the_admin_socket() {
    let host = Host::start();

    let told = host.run_as_nobody(&["status"]);

    assert!(told.err.contains("Permission denied"), "{told:?}");
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
}

#[test]
fn another_user_who_gets_at_the_admin_socket_is_turned_away_by_what_the_kernel_says_of_them() {
    let host = Host::start();
    fs::set_permissions(host.socket(), Permissions::from_mode(0o666)).unwrap();

    let told = host.run_as_nobody(&["refresh", "--all"]);
    let root = host.run(&["status"]);

    assert!(told.err.contains("uid 65534 may not ask; run this as root"), "{told:?}");
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    assert_eq!(root.code, Some(0));
}

#[test]
fn without_a_running_process_the_remedy_is_named() {
    let told = secretfs(&["why", "x", "--socket", "/nonexistent/admin"]);

    assert!(
        told.err.contains("nobody answers at /nonexistent/admin; start one with `secretfs mount`"),
        "{told:?}"
    );
    assert_eq!(told.code, Some(1));
}

#[test]
fn what_was_typed_wrong_is_2() {
    for arguments in [
        &["refresh"][..],
        &["refresh", "--all", "x"],
        &["refresh", "--class", "db"],
        &["umount"],
        &["status", "--log", "secretfs=loud"],
        &["status", "--log", "nonsense"],
    ] {
        let told = secretfs(arguments);
        assert_eq!(told.code, Some(2), "{arguments:?}: {told:?}");
    }
}

#[test]
fn what_was_typed_in_the_wrong_place_is_told_by_nobody() {
    let host = Host::start();
    for arguments in [
        &["hunter2"][..],
        &["status", "a", "hunter2"],
        &["status", "hunter2"],
        &["why", "hunter2"],
        &["refresh", "hunter2"],
        &["refresh", "--class", "hunter2"],
        &["store", "put", "shop/api", "hunter2"],
        &["store", "put", "hunter2!"],
        &["mount", "class.yaml", "/target", "hunter2"],
        &["mount", "class.yaml", "/target", "--credential", "hunter2"],
        &["mount", "class.yaml", "/target", "--hunter2"],
        &["status", "--log", "hunter2"],
        &["status", "--output=hunter2"],
        &["node", "--min-refresh", "hunter2"],
    ] {
        let told = host.run(arguments);

        assert!(!told.out.contains("hunter2") && !told.err.contains("hunter2"), "{arguments:?}: {told:?}");
        assert!(told.code.is_some_and(|code| code > 0) && told.err.len() > 20, "{arguments:?}: {told:?}");
    }
}

#[test]
fn a_file_without_a_class_is_said_to_hold_none() {
    let directory = Target::new();
    let file = directory.parent().join("empty.yaml");
    for text in ["", "# nothing\n", "kind: Pod\nmetadata: {name: web}\n"] {
        fs::write(&file, text).unwrap();

        let told = secretfs(&["mount", file.to_str().unwrap(), directory.path().to_str().unwrap()]);

        assert!(
            told.err.contains("empty.yaml holds no SecretProviderClass; write one"),
            "{text:?}: {told:?}"
        );
        assert_eq!(told.code, Some(2));
    }
}

#[test]
fn a_credential_that_no_provider_looks_at_is_refused_with_what_was_meant() {
    let directory = Target::new();
    let (file, secret) = (directory.parent().join("class.yaml"), directory.parent().join("role-id"));
    let parameters = "    vaultAddress: https://127.0.0.1:1\n    secretfs.dev/auth: approle\n    \
                      objects: '[{objectName: a, secretPath: secret/data/a, secretKey: a}]'\n";
    fs::write(&file, class("vault", parameters)).unwrap();
    fs::write(&secret, "id").unwrap();
    let mount = |key: &str| {
        let credential = format!("{key}={}", secret.display());
        secretfs(&[
            "mount",
            file.to_str().unwrap(),
            directory.path().to_str().unwrap(),
            "--credential",
            &credential,
        ])
    };

    let near = mount("roleid");
    let far = mount("password");

    assert!(near.err.contains("did you mean role-id?"), "{near:?}");
    assert!(far.err.contains("it takes role-id, secret-id, token, tls.crt, tls.key"), "{far:?}");
    assert_eq!((near.code, far.code), (Some(2), Some(2)));
    assert!(!directory.path().exists());
}

#[test]
fn shells_get_completions_for_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = secretfs(&["completions", shell]).out;

        for command in ["status", "why", "refresh", "umount"] {
            assert!(script.contains(command), "{command} for {shell}");
        }
    }
}

#[test]
fn a_man_page_is_written_for_every_command_and_for_kubectls_plugin() {
    let work = tempfile::tempdir().unwrap();
    let directory = work.path().join("man1");

    let told = secretfs(&["man", directory.to_str().unwrap()]);

    assert_eq!(told.code, Some(0), "{told:?}");
    let page = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    assert!(page("secretfs-mount.1").contains("\\-\\-on\\-change"), "{}", page("secretfs-mount.1"));
    for name in ["secretfs.1", "secretfs-store-put.1", "secretfs-migrate-plan.1", "kubectl-secretfs.1"] {
        assert!(page(name).contains(".SH SYNOPSIS"), "{name}");
    }
}

#[test]
fn the_small_program_of_the_mounter_has_a_man_page_of_its_own_with_all_its_options() {
    let work = tempfile::tempdir().unwrap();
    secretfs(&["man", work.path().to_str().unwrap()]);
    let page = fs::read_to_string(work.path().join("secretfs-mounter.1")).unwrap().replace('\\', "");
    let help: Told =
        testing::mounter(env!("CARGO_BIN_EXE_secretfs").as_ref()).arg("--help").output().unwrap().into();

    assert!(page.contains("fBsecretfs-mounterfR") && !page.contains("fBsecretfs mounterfR"), "{page}");
    for option in options(&help.out).into_keys() {
        assert!(page.contains(&option), "{option}: {page}");
    }
}

#[test]
fn what_a_mount_left_is_unmounted_and_its_directory_stays() {
    in_private_mounts(|| {
        let target = Target::new();
        mount(&target, &[("token", "t1")]);

        let told = umount(&target.path());

        assert_eq!(told.code, Some(0), "{told:?}");
        assert_eq!(mounts_below(target.parent()), [""; 0]);
        assert!(target.path().is_dir());
    });
}

#[test]
fn what_is_not_ours_is_not_unmounted() {
    in_private_mounts(|| {
        let target = Target::new();
        fs::create_dir(target.path()).unwrap();
        let foreign =
            Command::new("mount").args(["-t", "tmpfs", "foreign"]).arg(target.path()).status().unwrap();
        assert!(foreign.success());

        let told = umount(&target.path());

        assert_eq!(told.code, Some(1));
        assert!(told.err.contains("nothing of secretfs is mounted at"), "{told:?}");
        assert_eq!(mounts_below(target.parent()).len(), 1);
    });
}

fn umount(target: &Path) -> Told {
    secretfs(&["umount", "--socket", "/nonexistent/admin", target.to_str().unwrap()])
}

/// The options in a help text, each with its default if the text has one.
fn options(help: &str) -> BTreeMap<String, Option<String>> {
    let mut options = BTreeMap::new();
    let mut last = None;
    for line in help.lines() {
        let name = line.split_whitespace().find(|word| word.starts_with("--"));
        if let Some(name) = name.filter(|_| line.trim_start().starts_with('-')) {
            last = Some(name.to_owned());
            options.insert(name.to_owned(), None);
        }
        if let (Some(name), Some((_, rest))) = (&last, line.split_once("[default: ")) {
            options.insert(name.clone(), rest.split(']').next().map(str::to_owned));
        }
    }
    options
}

#[test]
fn the_small_program_of_the_mounter_takes_the_options_of_the_command_with_their_defaults() {
    let secretfs = Path::new(env!("CARGO_BIN_EXE_secretfs"));
    let help = |mut command: Command| {
        let told: Told = command.arg("--help").output().unwrap().into();
        options(&told.out)
    };
    let mut command = Command::new(secretfs);
    command.arg("mounter");

    let (of_program, of_command) = (help(testing::mounter(secretfs)), help(command));

    assert!(of_program.contains_key("--socket") && of_program.len() > 8, "{of_program:?}");
    assert_eq!(of_program, of_command);
}
