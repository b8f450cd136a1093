use std::path::Path;
use std::process::Command;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{asked, http_client};
use crate::issuer::Issuer;
use crate::port;
use crate::process::{Server, mortal, until};
use crate::tls::Authority;
use crate::tool::tool;

/// drongo, a server for Google's Secret Manager, behind a **stub** for everything that drongo lacks:
/// `hack/servers/google.py`, which says what it cannot show. All APIs of Google are one server here.
#[derive(Debug)]
pub struct Google {
    port: u16,
    tls_port: u16,
    authority: Authority,
    http: Client,
    _servers: [Server; 3],
    folder: TempDir,
}

impl Google {
    /// Starts one server over plain HTTP and one over TLS. Both exchange tokens of `issuer`. They share the secrets in
    /// drongo and nothing else, so a test uses only one of them.
    pub fn start(issuer: &Issuer) -> Self {
        Self::trusting(issuer.url())
    }

    /// The same, for tokens that are signed with the keys at `issuer` (`/openid/v1/jwks` there, over plain HTTP).
    pub fn trusting(issuer: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("secretfs-google-").tempdir().expect("a folder");
        let (authority, log) = (Authority::new(), folder.path().join("log"));
        let (certificate, key) = authority.server(&["localhost", "127.0.0.1"]).save(folder.path(), "server");
        let [port, tls_port, drongo] = [(); 3].map(|()| port::free());
        let mut command = mortal("KILL");
        command.arg(tool("drongo")).args(["server", "--host", "127.0.0.1", "--port", &drongo.to_string()]);
        let first = Server::logging(command, &log);
        let mut tls = stub(tls_port, drongo, issuer);
        tls.arg("--certificate").arg(certificate).arg("--key").arg(key);
        let servers = [first, Server::logging(stub(port, drongo, issuer), &log), Server::logging(tls, &log)];
        let google = Self { port, tls_port, authority, http: http_client(), _servers: servers, folder };
        let drongo = format!("http://127.0.0.1:{drongo}/drongo/health");
        until(|| google.call(&Method::GET, &drongo, None).0 == 200, || google.complaint());
        until(|| google.ask(&Method::GET, "/_health", None).0 == 200, || google.complaint());
        google
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `https://localhost:<port>`. [`authority`](Self::authority) signed its certificate.
    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}", self.tls_port)
    }

    /// The authority that signed the server's certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Adds a version to the secret `name` (`projects/P/secrets/S`, or with `locations/L`), and returns its number.
    pub fn put(&self, name: &str, value: &[u8]) -> u64 {
        let (parent, id) = name.rsplit_once('/').expect("the name of a secret");
        let (status, _) = self.ask(&Method::GET, &format!("/v1/{name}"), None);
        if status == 404 {
            self.admin(&Method::POST, &format!("/v1/{parent}?secretId={id}"), Some(&json!({})));
        }
        let payload = json!({"payload": {"data": STANDARD.encode(value)}});
        let version = self.admin(&Method::POST, &format!("/v1/{name}:addVersion"), Some(&payload));
        let version = version["name"].as_str().and_then(|name| name.rsplit('/').next()?.parse().ok());
        version.expect("the number of a version")
    }

    /// Creates the secret `name` with `labels`, and without a version.
    pub fn label(&self, name: &str, labels: &Value) {
        let (parent, id) = name.rsplit_once('/').expect("the name of a secret");
        self.admin(&Method::POST, &format!("/v1/{parent}?secretId={id}"), Some(&json!({"labels": labels})));
    }

    /// Calls `verb` on a version (`…/versions/N`): `disable`, `enable` or `destroy`.
    pub fn change(&self, version: &str, verb: &str) {
        self.admin(&Method::POST, &format!("/v1/{version}:{verb}"), Some(&json!({})));
    }

    /// Deletes a secret with all its versions.
    pub fn delete(&self, name: &str) {
        self.admin(&Method::DELETE, &format!("/v1/{name}"), None);
    }

    /// Creates a version (`projects/P/locations/L/parameters/N/versions/V`) of a parameter.
    pub fn put_parameter(&self, version: &str, text: &str) {
        let (parent, id) = version.rsplit_once('/').expect("the name of a version");
        let payload = json!({"payload": {"data": STANDARD.encode(text)}});
        self.admin(&Method::POST, &format!("/v1/{parent}?parameterVersionId={id}"), Some(&payload));
    }

    /// Sends an order to the stub, such as `{"do": "deny", …}`.
    pub fn order(&self, order: &Value) {
        let (status, answer) = self.ask(&Method::POST, "/_admin", Some(order));
        assert_eq!(status, 200, "{order}: {answer}: {}", self.complaint());
    }

    /// Gives this answer to the next `times` requests whose method and target match.
    pub fn fault(&self, matches: &str, times: u32, status: u16, headers: &Value, body: &Value) {
        let fault =
            json!({"match": matches, "times": times, "status": status, "headers": headers, "body": body});
        assert_eq!(self.ask(&Method::POST, "/_fault", Some(&fault)).0, 204, "{}", self.complaint());
    }

    /// The requests so far, except the tests' own orders: `method`, `target`, `headers`, `body`.
    pub fn seen(&self) -> Vec<Value> {
        let seen = self.ask(&Method::GET, "/_log", None).1;
        let seen = seen.as_array().cloned().unwrap_or_default();
        seen.into_iter().filter(|entry| entry["headers"]["authorization"] != "Bearer admin").collect()
    }

    /// How many of these requests had `part` in their target.
    pub fn asked(&self, part: &str) -> usize {
        let has = |entry: &&Value| entry["target"].as_str().is_some_and(|target| target.contains(part));
        self.seen().iter().filter(has).count()
    }

    /// Creates the symmetric key `name` of the key ring `ring` of project `p1` in `europe-west3`, and returns its name.
    pub fn create_key(&self, ring: &str, name: &str) -> String {
        let at = "projects/p1/locations/europe-west3/keyRings";
        // The ring may be there.
        self.ask(&Method::POST, &format!("/v1/{at}?keyRingId={ring}"), Some(&json!({})));
        let key = format!("/v1/{at}/{ring}/cryptoKeys?cryptoKeyId={name}");
        self.admin(&Method::POST, &key, Some(&json!({"purpose": "ENCRYPT_DECRYPT"})));
        format!("{at}/{ring}/cryptoKeys/{name}")
    }

    /// Has Cloud KMS encrypt `plain` with `key` for the additional data `data`, and returns the ciphertext in base64.
    pub fn encrypt(&self, key: &str, plain: &[u8], data: &str) -> String {
        let body = json!({"plaintext": STANDARD.encode(plain), "additionalAuthenticatedData": STANDARD.encode(data)});
        let made = self.admin(&Method::POST, &format!("/v1/{key}:encrypt"), Some(&body));
        made["ciphertext"].as_str().expect("a ciphertext").to_owned()
    }

    fn admin(&self, method: &Method, target: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.ask(method, target, body);
        assert!(
            (200..300).contains(&status),
            "{status} to {method} {target}: {answer}: {}",
            self.complaint()
        );
        answer
    }

    fn ask(&self, method: &Method, target: &str, body: Option<&Value>) -> (u16, Value) {
        self.call(method, &format!("{}{target}", self.url()), body)
    }

    fn call(&self, method: &Method, url: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.http.request(method.clone(), url).header("Authorization", "Bearer admin");
        asked(request, body)
    }

    fn complaint(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        format!("drongo or the stub before it is not well:\n{log}")
    }
}

/// A new key of the service account `email`, in the form of gcloud's key files, and its public half (PEM).
pub fn google_key(email: &str, token_uri: &str) -> (Value, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
    let private: Pkcs8V1Der<'_> = pair.as_der().expect("a key in PKCS#8");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key");
    let pem = |tag: &str, der: &[u8]| {
        format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", STANDARD.encode(der))
    };
    let file = json!({
        "type": "service_account", "client_email": email, "private_key_id": "1", "token_uri": token_uri,
        "private_key": pem("PRIVATE KEY", private.as_ref()),
    });
    (file, pem("PUBLIC KEY", public.as_ref()))
}

fn stub(port: u16, drongo: u16, issuer: &str) -> Command {
    let mut command = mortal("KILL");
    command
        .arg(tool("stubs"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/servers/google.py"))
        .args(["--port", &port.to_string(), "--issuer", issuer, "--drongo", &drongo.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
