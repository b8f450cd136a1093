use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{asked, http_client};
use crate::issuer::Issuer;
use crate::port;
use crate::process::{Server, mortal, until};
use crate::tool::tool;

/// A **stub** of CyberArk Conjur: `hack/servers/conjur.py`, which says what it cannot show. Its account is `acme`, and
/// its authenticator `authn-jwt/kube`.
#[derive(Debug)]
pub struct Conjur {
    port: u16,
    http: Client,
    _server: Server,
    folder: TempDir,
}

impl Conjur {
    /// Starts a stub over plain HTTP. It accepts tokens of `issuer`.
    pub fn start(issuer: &Issuer) -> Self {
        let folder = tempfile::Builder::new().prefix("secretfs-conjur-").tempdir().expect("a folder");
        let port = port::free();
        let mut command = mortal("KILL");
        command
            .arg(tool("stubs"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/servers/conjur.py"))
            .args(["--port", &port.to_string(), "--issuer", issuer.url()])
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let server = Server::logging(command, &folder.path().join("log"));
        let stub = Self { port, http: http_client(), _server: server, folder };
        until(|| stub.call(&Method::GET, "/_health", None).0 == 200, || stub.complaint());
        stub
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Lets tokens of the service account `subject` (`namespace:name`) log in as `host`.
    pub fn trust(&self, host: &str, subject: &str) {
        let subject = format!("system:serviceaccount:{subject}");
        self.order(&json!({"do": "host", "id": host, "subject": subject}));
    }

    /// Lets this API key log in as `host`.
    pub fn api_key(&self, host: &str, key: &str) {
        self.order(&json!({"do": "host", "id": host, "key": key}));
    }

    /// Gives `host` these privileges on the variables that the regular expression `matches`, and takes all others away.
    pub fn permit(&self, host: &str, matches: &str, privileges: &[&str]) {
        self.order(&json!({"do": "permit", "host": host, "match": matches, "privileges": privileges}));
    }

    /// Adds a version.
    pub fn put(&self, variable: &str, value: &[u8]) {
        self.order(&json!({"do": "set", "variable": variable, "value": STANDARD.encode(value)}));
    }

    /// Makes a variable that has no value.
    pub fn declare(&self, variable: &str) {
        self.order(&json!({"do": "set", "variable": variable}));
    }

    /// Takes a variable out of every policy.
    pub fn drop_variable(&self, variable: &str) {
        self.order(&json!({"do": "drop", "variable": variable}));
    }

    /// Ends all access tokens.
    pub fn expire(&self) {
        self.order(&json!({"do": "expire"}));
    }

    /// Gives this answer to the next `times` requests whose method and target match.
    pub fn fault(&self, matches: &str, times: u32, status: u16, headers: &Value, body: &Value) {
        let fault =
            json!({"match": matches, "times": times, "status": status, "headers": headers, "body": body});
        assert_eq!(self.call(&Method::POST, "/_fault", Some(&fault)).0, 204, "{}", self.complaint());
    }

    /// The requests so far, except the tests' own orders: `method`, `target`, `headers`, `body`.
    pub fn seen(&self) -> Vec<Value> {
        let seen = self.call(&Method::GET, "/_log", None).1;
        seen.as_array().cloned().unwrap_or_default()
    }

    /// How many of these requests had `part` in their target.
    pub fn asked(&self, part: &str) -> usize {
        let has = |entry: &&Value| entry["target"].as_str().is_some_and(|target| target.contains(part));
        self.seen().iter().filter(has).count()
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
        format!("the stub of Conjur is not well:\n{log}")
    }
}
