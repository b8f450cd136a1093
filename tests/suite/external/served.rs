//! `secretfs provider`: serves our providers to our own driver and to a client that calls as upstream's driver does.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testing::{Claims, Issuer, OpenBao, PodVolume, Postgres, RunningNode, until};
use tonic::Code;

use super::provider::program;
use crate::support::class;

/// The longest time until a change is visible, on a busy machine.
const SEEN: Duration = Duration::from_secs(30);
const VALUE: &str = "hunter2-canary";

/// An OpenBao whose role `shop` lets namespace and service account `shop` read `kv`, and a `secretfs provider vault`.
struct Ours {
    process: Child,
    directory: tempfile::TempDir,
    bao: OpenBao,
    issuer: Issuer,
}

impl Ours {
    fn start() -> Self {
        let (bao, issuer) = (OpenBao::start(), Issuer::start());
        bao.mount_kv2("kv");
        bao.put("kv", "app", &json!({ "password": VALUE }));
        bao.policy("shop", &[("kv/data/app", &["read"]), ("database/*", &["read"])]);
        bao.auth_kubernetes("kubernetes", &issuer);
        bao.write(
            "auth/kubernetes/role/shop",
            &json!({
                "bound_service_account_names": ["shop"], "bound_service_account_namespaces": ["shop"],
                "audience": "vault", "token_policies": ["shop"],
            }),
        );
        let directory = tempfile::tempdir().unwrap();
        let process = serve(directory.path());
        Self { process, directory, bao, issuer }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("ours.sock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn token(&self, service_account: &str) -> String {
        self.issuer.mint(&Claims::of("shop", service_account).pod("web"))
    }

    fn objects(path: &str) -> String {
        format!("- {{objectName: password, secretPath: {path}, secretKey: password}}")
    }

    /// The request of upstream's driver for a pod of `service_account`, with `more` parameters in the class.
    fn request(&self, service_account: &str, more: &Value) -> Value {
        let tokens = json!({ "vault": {
            "token": self.token(service_account), "expirationTimestamp": "2099-01-01T00:00:00Z",
        }});
        let mut attributes = json!({
            "csi.storage.k8s.io/ephemeral": "true",
            "csi.storage.k8s.io/pod.name": "web",
            "csi.storage.k8s.io/pod.namespace": "shop",
            "csi.storage.k8s.io/pod.uid": "uid-web",
            "csi.storage.k8s.io/serviceAccount.name": service_account,
            "csi.storage.k8s.io/serviceAccount.tokens": tokens.to_string(),
            "secretProviderClass": "app",
            "vaultAddress": self.bao.address(),
            "roleName": "shop",
            "objects": Self::objects("kv/data/app"),
        });
        attributes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({
            "attributes": attributes.to_string(),
            "secrets": "null",
            "target_path": "/var/lib/kubelet/pods/uid-web/volumes/kubernetes.io~csi/s/mount",
            "permission": "420",
        })
    }

    /// Calls as upstream's driver does.
    fn call(&self, request: &Value) -> Value {
        let mut client = Command::new(program())
            .arg("call")
            .arg(self.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        client.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
        let told = client.wait_with_output().unwrap();
        assert!(told.status.success(), "{}", self.log());
        serde_json::from_slice(&told.stdout).unwrap()
    }
}

fn serve(directory: &Path) -> Child {
    let socket = directory.join("ours.sock");
    let log = fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_secretfs"))
        .args(["provider", "vault", "--log", "debug", "--http", "127.0.0.1:0", "--endpoint"])
        .arg(&socket)
        .arg("--audit-log")
        .arg(directory.join("audit"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    until(|| socket.exists(), || fs::read_to_string(directory.join("log")).unwrap());
    process
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_provider_of_ours_answers_upstreams_driver_with_files_and_versions_and_keeps_them_to_itself() {
    let ours = Ours::start();

    let answer = ours.call(&ours.request("shop", &json!({})));

    assert_eq!(answer["code"], "OK", "{answer}");
    assert_eq!(answer["version"]["version"], "v1alpha1");
    assert_eq!(answer["version"]["runtime_name"], "vault");
    let response = &answer["response"];
    assert_eq!(response["object_version"], json!([{ "id": "password", "version": "1" }]));
    let encoded = "aHVudGVyMi1jYW5hcnk=";
    assert_eq!(response["files"], json!([{ "path": "password", "mode": 0o644, "contents": encoded }]));
    let audit = fs::read_to_string(ours.directory.path().join("audit")).unwrap();
    assert!(audit.contains("password") && audit.contains("shop"), "{audit}");
    for text in [ours.log(), audit] {
        assert!(!text.contains(VALUE) && !text.contains(&ours.token("shop")), "{text}");
    }
}

#[test]
fn what_a_provider_of_ours_cannot_give_has_the_code_of_its_reason() {
    let ours = Ours::start();
    let code = |request: &Value| ours.call(request)["code"].as_str().unwrap().to_owned();

    assert_eq!(code(&ours.request("stranger", &json!({}))), "Unauthenticated");
    assert_eq!(
        code(&ours.request("shop", &json!({ "objects": Ours::objects("kv/data/other") }))),
        "PermissionDenied"
    );
    assert_eq!(code(&ours.request("shop", &json!({ "objects": "- nonsense" }))), "InvalidArgument");
    let no_token = json!({ "csi.storage.k8s.io/serviceAccount.tokens": "{}" });
    assert_eq!(code(&ours.request("shop", &no_token)), "FailedPrecondition");
    let away = json!({ "vaultAddress": "http://127.0.0.1:1" });
    assert_eq!(code(&ours.request("shop", &away)), "Unavailable");
    assert_eq!(code(&ours.request("shop", &json!({}))), "OK");
}

#[test]
fn an_object_on_a_lease_is_refused_where_nobody_would_end_it_and_the_lease_is_ended() {
    let (ours, postgres) = (Ours::start(), Postgres::start());
    ours.bao.database("database", &postgres, "shop", "1h", "2h");
    let objects = "- {objectName: user, secretPath: database/creds/shop, secretKey: username}";

    let answer = ours.call(&ours.request("shop", &json!({ "objects": objects })));

    assert_eq!(answer["code"], "InvalidArgument", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("lease"), "{answer}");
    assert!(ours.bao.requests("read", "database/creds/shop") > 0);
    let logins = || postgres.query("select count(*) from pg_roles where rolname like 'v-%'");
    until(|| logins().trim() == "0", || format!("{} logins\n{}", logins(), ours.log()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_driver_mounts_and_rotates_through_a_provider_of_ours_in_another_process() {
    let ours = Ours::start();
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.flag("--providers-dir", ours.directory.path().to_str().unwrap());
    let parameters = format!(
        "    vaultAddress: {}\n    roleName: shop\n    secretfs.dev/refresh: 1s\n    objects: {:?}\n",
        ours.bao.address(),
        Ours::objects("kv/data/app"),
    );
    node.class("app", &class("ours", &parameters));
    node.start_node().await;
    let pod = PodVolume::new("web", "app").token("vault", ours.token("shop"));

    node.publish(&pod).await.unwrap_or_else(|status| panic!("{status}\n{}\n{}", node.log(), ours.log()));
    assert_eq!(node.text(&pod, "password").as_deref(), Some(VALUE));
    ours.bao.put("kv", "app", &json!({ "password": "rotated" }));
    node.text_becomes(&pod, "password", Some("rotated"), SEEN).await;

    let mut stranger = PodVolume::new("other", "app");
    "stranger".clone_into(&mut stranger.service_account);
    let token = ours.issuer.mint(&stranger.claims());
    let stranger = stranger.token("vault", token);
    let refused = node.publish(&stranger).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert!(refused.message().contains("shop/stranger"), "{refused}");
}

#[test]
fn a_provider_of_ours_that_is_stopped_takes_its_socket_away_and_its_next_process_replaces_one() {
    let mut ours = Ours::start();
    ours.process.kill().unwrap();
    ours.process.wait().unwrap();
    assert!(ours.socket().exists(), "nobody took it away");
    let before = fs::metadata(ours.socket()).map(|stat| std::os::unix::fs::MetadataExt::ino(&stat)).unwrap();

    ours.process = serve(ours.directory.path());
    let replaced =
        || fs::metadata(ours.socket()).is_ok_and(|stat| std::os::unix::fs::MetadataExt::ino(&stat) != before);
    until(replaced, || ours.log());
    assert_eq!(ours.call(&ours.request("shop", &json!({})))["code"], "OK");

    let pid = rustix::process::Pid::from_child(&ours.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(ours.process.wait().unwrap().success(), "{}", ours.log());
    assert!(!ours.socket().exists());
}

crate::modes::again_in_mode_fuse! {
    a_provider_of_ours_answers_upstreams_driver_with_files_and_versions_and_keeps_them_to_itself,
    what_a_provider_of_ours_cannot_give_has_the_code_of_its_reason,
    an_object_on_a_lease_is_refused_where_nobody_would_end_it_and_the_lease_is_ended,
    our_driver_mounts_and_rotates_through_a_provider_of_ours_in_another_process,
    a_provider_of_ours_that_is_stopped_takes_its_socket_away_and_its_next_process_replaces_one,
}
