//! `secretfs kms` as an API server calls it, with keys of a real OpenBao. A test of the cluster has a real API server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use csi_proto::kms::key_management_service_client::KeyManagementServiceClient;
use csi_proto::kms::{DecryptRequest, EncryptRequest, StatusRequest, StatusResponse};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tempfile::TempDir;
use testing::{Moto, OpenBao};
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// How long a simple step may take.
const SOON: Duration = Duration::from_secs(60);

type Client = KeyManagementServiceClient<Channel>;

/// A plugin with the key `transit/kubernetes` of an OpenBao.
struct Plugin {
    directory: TempDir,
    process: Child,
}

impl Plugin {
    fn start(bao: &OpenBao) -> Self {
        bao.policy(
            "kms",
            &[("transit/encrypt/kubernetes", &["update"]), ("transit/decrypt/kubernetes", &["update"])],
        );
        let directory = tempfile::tempdir().unwrap();
        renew(directory.path(), bao, "10m");
        let command = bao.kms_plugin(env!("CARGO_BIN_EXE_secretfs"), directory.path());
        Self::run(command, directory)
    }

    /// With a key of AWS KMS.
    fn of_aws(moto: &Moto, key: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        command
            .args(["kms", "--kms", "aws", "--key", key, "--endpoint"])
            .arg(directory.path().join("kms.sock"));
        for parameter in ["region=eu-west-1", "secretfs.dev/auth=keys", &format!("endpoint={}", moto.url())] {
            command.args(["--parameter", parameter]);
        }
        for name in ["access-key-id", "secret-access-key"] {
            let file = directory.path().join(name);
            fs::write(&file, "AKIATEST").unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            command.arg("--credential").arg(format!("{name}={}", file.display()));
        }
        Self::run(command, directory)
    }

    fn run(mut command: Command, directory: TempDir) -> Self {
        let process = command
            .args(["--log", "trace"])
            .stderr(fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { directory, process }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    async fn client(&self) -> Client {
        let socket = self.directory.path().join("kms.sock");
        let started = Instant::now();
        while !socket.exists() {
            assert!(started.elapsed() < SOON, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        connect(socket).await
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes a new token for the plugin.
fn renew(directory: &Path, bao: &OpenBao, ttl: &str) {
    let body = json!({"policies": ["kms"], "no_parent": true, "ttl": ttl});
    let token = bao.write("auth/token/create", &body)["auth"]["client_token"].as_str().unwrap().to_owned();
    let (file, new) = (directory.join("token"), directory.join("token.new"));
    fs::write(&new, token).unwrap();
    fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).unwrap();
    fs::rename(new, file).unwrap();
}

async fn connect(socket: PathBuf) -> Client {
    let connector = service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Client::new(Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap())
}

fn store() -> OpenBao {
    let bao = OpenBao::start();
    bao.transit(&["kubernetes"]);
    bao
}

async fn status(client: &mut Client) -> StatusResponse {
    client.status(StatusRequest {}).await.unwrap().into_inner()
}

async fn encrypt(client: &mut Client, plaintext: &[u8]) -> (Vec<u8>, String) {
    let request = EncryptRequest { plaintext: plaintext.to_vec(), uid: "u".to_owned() };
    let made = client.encrypt(request).await.unwrap().into_inner();
    (made.ciphertext, made.key_id)
}

async fn decrypt(client: &mut Client, ciphertext: &[u8], key_id: &str) -> Result<Vec<u8>, tonic::Status> {
    let request = DecryptRequest {
        ciphertext: ciphertext.to_vec(),
        key_id: key_id.to_owned(),
        uid: "u".to_owned(),
        annotations: Default::default(),
    };
    client.decrypt(request).await.map(|opened| opened.into_inner().plaintext)
}

#[tokio::test]
async fn an_api_servers_keys_are_encrypted_and_its_key_id_follows_a_rotation() {
    let bao = store();
    let plugin = Plugin::start(&bao);
    let mut client = plugin.client().await;
    let seed = b"canary-seed-of-an-api-server-9a1".to_vec();

    let first = status(&mut client).await;
    assert_eq!((&*first.version, &*first.healthz, &*first.key_id), ("v2", "ok", "transit/kubernetes:v1"));
    let (old, old_id) = encrypt(&mut client, &seed).await;
    assert_eq!(old_id, first.key_id);
    assert!(old.len() <= 1024 && !String::from_utf8_lossy(&old).contains("canary"));

    bao.write("transit/keys/kubernetes/rotate", &json!({}));
    assert_eq!(status(&mut client).await.key_id, "transit/kubernetes:v2");
    let (new, new_id) = encrypt(&mut client, &seed).await;
    assert_eq!(new_id, "transit/kubernetes:v2");
    for (ciphertext, key_id) in [(&old, &old_id), (&new, &new_id)] {
        assert_eq!(decrypt(&mut client, ciphertext, key_id).await.unwrap(), seed);
    }

    let mut altered = new.clone();
    let last = altered.len() - 10;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    assert_eq!(decrypt(&mut client, &altered, &new_id).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(!plugin.log().contains("canary-seed"), "{}", plugin.log());
}

#[tokio::test]
async fn a_store_that_is_away_is_told_in_time_and_found_again_and_a_token_that_ended_is_replaced() {
    let bao = store();
    let plugin = Plugin::start(&bao);
    let mut client = plugin.client().await;
    let (ciphertext, key_id) = encrypt(&mut client, b"seed").await;

    bao.freeze();
    let mut request = tonic::Request::new(StatusRequest {});
    request.set_timeout(Duration::from_secs(3));
    let away = client.status(request).await.unwrap().into_inner();
    assert_ne!(away.healthz, "ok");
    assert_eq!(away.key_id, "transit/kubernetes:v1", "the last one that was known");
    bao.thaw();
    let started = Instant::now();
    while status(&mut client).await.healthz != "ok" {
        assert!(started.elapsed() < SOON, "{}", plugin.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(decrypt(&mut client, &ciphertext, &key_id).await.unwrap(), b"seed");

    let token = fs::read_to_string(plugin.directory.path().join("token")).unwrap();
    bao.write("auth/token/revoke", &json!({"token": token}));
    assert_eq!(decrypt(&mut client, &ciphertext, &key_id).await.unwrap_err().code(), Code::Unauthenticated);
    assert_ne!(status(&mut client).await.healthz, "ok");
    renew(plugin.directory.path(), &bao, "10m");
    assert_eq!(decrypt(&mut client, &ciphertext, &key_id).await.unwrap(), b"seed");
}

#[tokio::test]
async fn an_api_servers_keys_are_encrypted_with_a_key_of_aws_for_this_purpose_only() {
    let moto = Moto::start();
    let kms = |operation: &str, body: serde_json::Value| moto.kms("eu-west-1", operation, &body);
    let key = kms("CreateKey", json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let plugin = Plugin::of_aws(&moto, &key);
    let mut client = plugin.client().await;
    let seed = b"canary-seed-of-an-api-server-2f8".to_vec();

    let told = status(&mut client).await;
    assert_eq!((&*told.version, &*told.healthz), ("v2", "ok"), "{}", plugin.log());
    assert!(told.key_id.starts_with(&key), "{}", told.key_id);
    let (ciphertext, key_id) = encrypt(&mut client, &seed).await;
    assert_eq!(key_id, told.key_id);
    assert!(ciphertext.len() <= 1024 && !String::from_utf8_lossy(&ciphertext).contains("canary"));
    assert_eq!(decrypt(&mut client, &ciphertext, &key_id).await.unwrap(), seed);
    // What anybody else encrypts with the key has not the encryption context of this plugin.
    let foreign = kms("Encrypt", json!({"KeyId": key, "Plaintext": "AAAA"}))["CiphertextBlob"].clone();
    let foreign = foreign.as_str().unwrap().as_bytes();
    assert!(decrypt(&mut client, foreign, &key_id).await.is_err());
    assert!(!plugin.log().contains("canary-seed"), "{}", plugin.log());
}

#[test]
fn a_plugin_for_a_key_that_is_none_does_not_start() {
    for (key, parameter, why) in [
        ("kubernetes", "secretfs.dev/auth=token", "it names no mount"),
        ("transit/kubernetes", "secretfs.dev/auth=nothing", "no login method"),
    ] {
        let told = Command::new(env!("CARGO_BIN_EXE_secretfs"))
            .args(["kms", "--endpoint", "/run/secretfs-kms-test/none.sock", "--kms", "vault", "--key", key])
            .args(["--parameter", "vaultAddress=https://127.0.0.1:1", "--parameter", parameter])
            .output()
            .unwrap();
        let told = String::from_utf8(told.stderr).unwrap();
        assert!(told.contains(why), "{told}");
    }
}
