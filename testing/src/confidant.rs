use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{asked, http_client};
use crate::moto::Moto;
use crate::port;
use crate::process::{Server, mortal, until};
use crate::tool::tool;

const REGION: &str = "us-east-1";
const CONTEXT: &str = "confidant-test";
const KEY: &str = "alias/authnz";
const ADMIN: &str = "admin@example.com";

/// A real Confidant 6.6.1. A real moto is AWS for it: DynamoDB and KMS.
///
/// Tokens of kmsauth are really encrypted and checked. moto judges no token of a service account, and by default no
/// policy: so who may make tokens of which service cannot be seen here.
#[derive(Debug)]
pub struct Confidant {
    port: u16,
    moto: Moto,
    http: Client,
    _server: Server,
    folder: TempDir,
}

impl Confidant {
    /// Starts both. Ready in some seconds.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("secretfs-confidant-").tempdir().expect("a folder");
        let (moto, port, http) = (Moto::start(), port::free(), http_client());
        for alias in [KEY, "alias/confidant"] {
            let made = moto.kms(REGION, "CreateKey", &json!({}));
            let key = json!({"AliasName": alias, "TargetKeyId": made["KeyMetadata"]["KeyId"]});
            moto.kms(REGION, "CreateAlias", &key);
        }
        let mut command = mortal("KILL");
        command
            .arg(tool("confidant"))
            .args(["--bind", &format!("127.0.0.1:{port}"), "--workers", "1", "--worker-class", "gevent"])
            .arg("confidant.wsgi:app")
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .envs(settings(&moto.url()));
        let server = Server::logging(command, &folder.path().join("log"));
        let confidant = Self { port, moto, http, _server: server, folder };
        until(|| confidant.call(&Method::GET, "/healthcheck", "", None).0 == 200, || confidant.complaint());
        confidant
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What is AWS for it: KMS, and STS.
    pub fn aws(&self) -> &Moto {
        &self.moto
    }

    /// Makes a credential with these pairs, and returns its id.
    pub fn credential(&self, name: &str, pairs: &Value) -> String {
        let body =
            json!({"name": name, "credential_pairs": pairs, "enabled": true, "documentation": "of a test"});
        let made = self.admin(&Method::POST, "/v1/credentials", &body);
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Makes a new revision of a credential.
    pub fn change(&self, id: &str, change: &Value) -> u64 {
        let changed = self.admin(&Method::PUT, &format!("/v1/credentials/{id}"), change);
        changed["revision"].as_u64().expect("a revision")
    }

    /// Gives these credentials to a service, and takes all others from it.
    pub fn service(&self, name: &str, credentials: &[&str], is_enabled: bool) {
        let body = json!({"credentials": credentials, "blind_credentials": [], "enabled": is_enabled});
        self.admin(&Method::PUT, &format!("/v1/services/{name}"), &body);
    }

    fn admin(&self, method: &Method, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, &self.token(), Some(body));
        assert!((200..300).contains(&status), "{status} to {method} {path}: {answer}: {}", self.complaint());
        answer
    }

    /// A token of kmsauth for a person.
    fn token(&self) -> String {
        let at = |time: Timestamp| time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let now = Timestamp::now();
        let (begin, end) = (now - SignedDuration::from_mins(3), now + SignedDuration::from_mins(30));
        let text = json!({"not_before": at(begin), "not_after": at(end)}).to_string();
        let context = json!({"from": ADMIN, "to": CONTEXT, "user_type": "user"});
        let asked = json!({"KeyId": KEY, "Plaintext": STANDARD.encode(text), "EncryptionContext": context});
        let made = self.moto.kms(REGION, "Encrypt", &asked);
        let token = made["CiphertextBlob"].as_str().expect("a token");
        format!("Basic {}", STANDARD.encode(format!("2/user/{ADMIN}:{token}")))
    }

    fn call(&self, method: &Method, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.http.request(method.clone(), format!("{}{path}", self.url()));
        asked(request.header("authorization", token), body)
    }

    fn complaint(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        format!("Confidant is not well:\n{log}")
    }
}

/// Its settings (<https://lyft.github.io/confidant/configuration.html>).
fn settings(aws: &str) -> [(&'static str, String); 26] {
    [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ENDPOINT_URL", aws),
        ("KMS_URL", aws),
        ("DYNAMODB_URL", aws),
        ("DYNAMODB_TABLE", "confidant"),
        ("DYNAMODB_TABLE_ARCHIVE", "confidant-archive"),
        ("DYNAMODB_CREATE_TABLE", "true"),
        ("AUTH_KEY", KEY),
        ("USER_AUTH_KEY", KEY),
        ("AUTH_CONTEXT", CONTEXT),
        ("KMS_MASTER_KEY", "alias/confidant"),
        ("KMS_AUTH_USER_TYPES", "user,service"),
        ("KMS_AUTH_MANAGE_GRANTS", "false"),
        ("BACKGROUND_CACHE_IAM_ROLES", "false"),
        ("SSLIFY", "false"),
        ("SESSION_SECRET", "secret"),
        ("SESSION_TYPE", "null"),
        ("USER_AUTH_MODULE", "header"),
        ("HEADER_AUTH_USERNAME_HEADER", "X-User"),
        ("HEADER_AUTH_EMAIL_HEADER", "X-Email"),
        ("KMS_CONNECTION_TIMEOUT", "5"),
        ("KMS_READ_TIMEOUT", "10"),
        ("STATIC_FOLDER", "/tmp"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
}
