use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::{Client, Method};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::asked;
use crate::port;
use crate::process::{Server, mortal, until};
use crate::tls::{Authority, Identity};
use crate::tool::tool;

/// A **stub** of CyberArk's Central Credential Provider: `hack/servers/ccp.py`, which says what it cannot show.
#[derive(Debug)]
pub struct Ccp {
    port: u16,
    authority: Authority,
    http: Client,
    _server: Server,
    folder: TempDir,
}

impl Ccp {
    /// Starts a stub over HTTPS.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("secretfs-ccp-").tempdir().expect("a folder");
        let (authority, port) = (Authority::new(), port::free());
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, authority.pem()).expect("to write a certificate");
        let (certificate, key) = authority.server(&["localhost"]).save(folder.path(), "server");
        let mut command = mortal("KILL");
        command
            .arg(tool("stubs"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/servers/ccp.py"))
            .args(["--port", &port.to_string()])
            .arg("--certificate")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .arg("--clients")
            .arg(&ca)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let server = Server::logging(command, &folder.path().join("log"));
        let stub = Self { port, http: client_of(&authority), authority, _server: server, folder };
        until(|| stub.call(&Method::GET, "/_health", None).0 == 200, || stub.complaint());
        stub
    }

    /// `https://localhost:<port>`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The file with the authority of server and clients.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate with the common name `name`.
    pub fn client(&self, name: &str) -> Identity {
        self.authority.client(name)
    }

    /// Makes an application that is known by certificates of `client`, and sees these safes.
    pub fn application(&self, id: &str, client: &str, safes: &[&str]) {
        self.order(&json!({"do": "application", "id": id, "client": client, "safes": safes}));
    }

    /// Makes an account with these properties: `Safe`, `Name`, `Content` and others.
    pub fn account(&self, properties: &Value) {
        self.order(&json!({"do": "account", "properties": properties}));
    }

    /// Removes an account.
    pub fn remove(&self, safe: &str, name: &str) {
        self.order(&json!({"do": "remove", "safe": safe, "name": name}));
    }

    /// Gives this answer to the next `times` requests whose method and target match.
    pub fn fault(&self, matches: &str, times: u32, status: u16, body: &Value) {
        let fault = json!({"match": matches, "times": times, "status": status, "body": body});
        assert_eq!(self.call(&Method::POST, "/_fault", Some(&fault)).0, 204, "{}", self.complaint());
    }

    /// How many requests had `part` in their target.
    pub fn asked(&self, part: &str) -> usize {
        let seen = self.call(&Method::GET, "/_log", None).1;
        let has = |entry: &&Value| entry["target"].as_str().is_some_and(|target| target.contains(part));
        seen.as_array().map(|seen| seen.iter().filter(has).count()).unwrap_or_default()
    }

    fn order(&self, order: &Value) {
        let (status, answer) = self.call(&Method::POST, "/_admin", Some(order));
        assert_eq!(status, 200, "{order}: {answer}: {}", self.complaint());
    }

    fn call(&self, method: &Method, target: &str, body: Option<&Value>) -> (u16, Value) {
        asked(self.http.request(method.clone(), format!("{}{target}", self.url())), body)
    }

    fn complaint(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        format!("the stub of CCP is not well:\n{log}")
    }
}

fn client_of(authority: &Authority) -> Client {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("our own PEM");
    roots.add(root).expect("our own authority");
    let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder().tls_backend_preconfigured(tls).no_proxy().pool_max_idle_per_host(0);
    client.build().expect("an HTTP client")
}
