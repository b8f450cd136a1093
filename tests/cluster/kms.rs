//! A real API server that encrypts Secrets through `secretfs kms`, with a key of a real OpenBao.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use testing::{Cluster, Component, OpenBao, Scope};

/// How long the API server may take to notice something. It asks for the status every minute, and every ten seconds
/// while something is wrong.
const NOTICED: Duration = Duration::from_secs(150);
const VALUE: &str = "canary-of-a-secret-in-etcd-4c07";

struct World {
    bao: OpenBao,
    cluster: Cluster,
    plugin: Option<Child>,
}

impl World {
    fn start() -> Self {
        let (bao, cluster) = (OpenBao::start(), Cluster::start(Scope::ApiServer));
        bao.transit(&["kubernetes"]);
        bao.policy(
            "kms",
            &[("transit/encrypt/kubernetes", &["update"]), ("transit/decrypt/kubernetes", &["update"])],
        );
        let body = json!({"policies": ["kms"], "no_parent": true});
        let token =
            bao.write("auth/token/create", &body)["auth"]["client_token"].as_str().unwrap().to_owned();
        let mut world = Self { bao, cluster, plugin: None };
        fs::write(world.path("token"), token).unwrap();
        fs::set_permissions(world.path("token"), PermissionsExt::from_mode(0o600)).unwrap();
        world.start_plugin();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cluster.folder().join(name)
    }

    fn start_plugin(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log/kms.log")).unwrap();
        let plugin = self
            .bao
            .kms_plugin(env!("CARGO_BIN_EXE_secretfs"), self.cluster.folder())
            .stderr(log)
            .spawn()
            .unwrap();
        self.plugin = Some(plugin);
        until("the socket of the plugin", Duration::from_secs(30), || self.path("kms.sock").exists());
    }

    fn kill_plugin(&mut self) {
        let mut plugin = self.plugin.take().unwrap();
        plugin.kill().unwrap();
        plugin.wait().unwrap();
    }

    /// Has the API server encrypt Secrets from its next start on.
    fn encrypt_secrets(&self) {
        let config = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
             providers:\n  - kms: {{apiVersion: v2, name: secretfs, endpoint: \"unix://{}\", timeout: 3s}}\n  - identity: {{}}\n",
            self.path("kms.sock").display()
        );
        fs::write(self.path("encryption.yaml"), config).unwrap();
        self.restart_api_server();
    }

    fn restart_api_server(&self) {
        self.cluster.stop(Component::ApiServer);
        self.cluster.start_again(Component::ApiServer);
    }

    fn put(&self, name: &str, value: &str) {
        self.cluster.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\nstringData: {{key: {value}}}\n"
        ));
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let encoded = self.cluster.try_kubectl(&["get", "secret", name, "-o", "jsonpath={.data.key}"])?;
        Ok(String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).unwrap()).unwrap())
    }

    /// What etcd has of a Secret, as its own API returns it.
    fn in_etcd(&self, name: &str) -> String {
        let port: u16 = fs::read_to_string(self.path("port")).unwrap().trim().parse().unwrap();
        let key = BASE64_STANDARD.encode(format!("/registry/secrets/default/{name}"));
        let body = json!({"key": key}).to_string();
        // etcd listens beside the API server.
        let mut etcd = TcpStream::connect(("127.0.0.1", port + 1)).unwrap();
        let length = body.len();
        write!(etcd, "POST /v3/kv/range HTTP/1.0\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        etcd.read_to_string(&mut answer).unwrap();
        let (_, json) = answer.split_once("\r\n\r\n").unwrap();
        let answer: Value = serde_json::from_str(json).unwrap();
        let value = BASE64_STANDARD.decode(answer["kvs"][0]["value"].as_str().unwrap()).unwrap();
        String::from_utf8_lossy(&value).into_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.plugin.is_some() {
            self.kill_plugin();
        }
    }
}

fn until(what: &str, patience: Duration, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < patience, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn secrets_in_etcd_are_ciphertext_through_restarts_a_rotation_of_the_key_and_its_absence() {
    let mut world = World::start();
    world.put("plain", VALUE);
    assert!(world.in_etcd("plain").contains(VALUE), "what is not encrypted is seen there");

    world.encrypt_secrets();
    world.put("first", VALUE);
    let stored = world.in_etcd("first");
    assert!(stored.starts_with("k8s:enc:kms:v2:secretfs:") && !stored.contains(VALUE), "{stored:?}");
    assert!(stored.contains("transit/kubernetes:v1") && stored.contains("vault:v1:"), "{stored:?}");
    assert_eq!((world.read("plain"), world.read("first")), (Ok(VALUE.to_owned()), Ok(VALUE.to_owned())));

    world.restart_api_server();
    assert_eq!(world.read("first"), Ok(VALUE.to_owned()));

    world.bao.write("transit/keys/kubernetes/rotate", &json!({}));
    until("the new version of the key", NOTICED, || {
        world.put("second", VALUE);
        world.cluster.kubectl(&[
            "annotate",
            "secret",
            "second",
            "--overwrite",
            &format!("n={}", fastrand::u64(..)),
        ]);
        world.in_etcd("second").contains("transit/kubernetes:v2")
    });
    assert_eq!((world.read("first"), world.read("second")), (Ok(VALUE.to_owned()), Ok(VALUE.to_owned())));

    // What it has in memory it still reads. After a restart it cannot, until the plugin is back.
    world.kill_plugin();
    assert_eq!(world.read("second"), Ok(VALUE.to_owned()));
    world.start_plugin();
    world.restart_api_server();
    until("the plugin again", NOTICED, || world.read("first").is_ok() && world.read("second").is_ok());
}
