use std::fs;
use std::path::Path;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{asked, http_client};
use crate::issuer::Issuer;
use crate::port;
use crate::process::{Server, mortal, until};
use crate::tool::tool;

/// A **stub** of Azure Key Vault, of Entra ID's token endpoint and of a virtual machine's token endpoint:
/// `hack/servers/keyvault.py`, which says what it cannot show.
#[derive(Debug)]
pub struct KeyVault {
    port: u16,
    http: Client,
    _server: Server,
    folder: TempDir,
}

impl KeyVault {
    /// Starts a stub over plain HTTP. It accepts tokens of `issuer`.
    pub fn start(issuer: &Issuer) -> Self {
        Self::trusting(issuer.url())
    }

    /// The same, for tokens that are signed with the keys at `issuer` (`/openid/v1/jwks` there, over plain HTTP).
    pub fn trusting(issuer: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("secretfs-keyvault-").tempdir().expect("a folder");
        let port = port::free();
        let mut command = mortal("KILL");
        command
            .arg(tool("stubs"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/servers/keyvault.py"))
            .args(["--port", &port.to_string(), "--issuer", issuer])
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let server = Server::logging(command, &folder.path().join("log"));
        let stub = Self { port, http: http_client(), _server: server, folder };
        until(|| stub.call(&Method::GET, "/_health", None).0 == 200, || stub.complaint());
        stub
    }

    /// `http://127.0.0.1:<port>`: a vault, the authority and the virtual machine's endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL of one more vault, called `name`.
    pub fn vault(&self, name: &str) -> String {
        format!("{}/vault/{name}", self.url())
    }

    /// Lets tokens of the service account `subject` (`namespace:name`) log in as application `client`.
    pub fn trust(&self, client: &str, subject: &str) {
        let subject = format!("system:serviceaccount:{subject}");
        self.order(&json!({"do": "trust", "client": client, "subject": subject}));
    }

    /// Lets this client secret log in as application `client`.
    pub fn client_secret(&self, client: &str, secret: &str) {
        self.order(&json!({"do": "secret", "client": client, "secret": secret}));
    }

    /// Denies `client` all requests in which `METHOD PATH` contains `matches`. An empty text allows everything again.
    pub fn deny(&self, client: &str, matches: &str) {
        self.order(&json!({"do": "deny", "client": client, "match": matches}));
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

    /// Removes all faults.
    pub fn heal(&self) {
        self.call(&Method::DELETE, "/_fault", None);
    }

    /// Puts a version of a secret into the vault without a name, and returns the version's id.
    pub fn put(&self, name: &str, value: &str) -> String {
        version(&self.admin(&Method::PUT, &format!("/secrets/{name}"), Some(&json!({"value": value})))["id"])
    }

    /// The same, in the vault called `vault`.
    pub fn put_into(&self, vault: &str, name: &str, value: &str) -> String {
        let path = format!("/vault/{vault}/secrets/{name}");
        version(&self.admin(&Method::PUT, &path, Some(&json!({"value": value})))["id"])
    }

    /// The same with tags.
    pub fn put_tagged(&self, vault: &str, name: &str, value: &str, tags: &Value) {
        let path = format!("/vault/{vault}/secrets/{name}");
        self.admin(&Method::PUT, &path, Some(&json!({"value": value, "tags": tags})));
    }

    /// Creates a key of type `kty` (RSA, EC). An EC key is on the curve `crv`.
    pub fn key_in(&self, vault: &str, name: &str, kty: &str, crv: &str) -> Value {
        let path = format!("/vault/{vault}/keys/{name}/create");
        self.admin(&Method::POST, &path, Some(&json!({"kty": kty, "crv": crv})))
    }

    /// Creates a certificate whose secret has the `content_type` `application/x-pkcs12` or `application/x-pem-file`.
    pub fn certificate_in(&self, vault: &str, name: &str, content_type: &str) -> Value {
        let policy = json!({"policy": {"secret_props": {"contentType": content_type}}});
        self.admin(&Method::POST, &format!("/vault/{vault}/certificates/{name}/create"), Some(&policy))
    }

    /// Changes the attributes of a version of a secret: `enabled`, `nbf`, `exp`.
    pub fn attributes_in(&self, vault: &str, name: &str, version: &str, attributes: &Value) {
        let path = format!("/vault/{vault}/secrets/{name}/{version}");
        self.admin(&Method::PATCH, &path, Some(&json!({"attributes": attributes})));
    }

    /// Deletes a secret. It can be recovered.
    pub fn delete_in(&self, vault: &str, name: &str) {
        self.admin(&Method::DELETE, &format!("/vault/{vault}/secrets/{name}"), None);
    }

    /// Brings a deleted secret back.
    pub fn recover_in(&self, vault: &str, name: &str) {
        self.admin(&Method::POST, &format!("/vault/{vault}/deletedsecrets/{name}/recover"), None);
    }

    /// The stub's answer for a path, such as `/vault/shop-kv/secrets/NAME`.
    pub fn read(&self, path: &str) -> Value {
        self.admin(&Method::GET, path, None)
    }

    /// The requests so far, except the tests' own orders: `method`, `target`, `headers`, `body`.
    pub fn seen(&self) -> Vec<Value> {
        let seen = self.call(&Method::GET, "/_log", None).1;
        let seen = seen.as_array().cloned().unwrap_or_default();
        seen.into_iter().filter(|entry| entry["headers"]["authorization"] != "Bearer admin").collect()
    }

    fn order(&self, order: &Value) {
        let (status, answer) = self.call(&Method::POST, "/_admin", Some(order));
        assert_eq!(status, 200, "{order}: {answer}: {}", self.complaint());
    }

    fn admin(&self, method: &Method, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, &format!("{path}?api-version=7.4"), body);
        assert!((200..300).contains(&status), "the stub answered {status} to {method} {path}: {answer}");
        answer
    }

    fn call(&self, method: &Method, target: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.http.request(method.clone(), format!("{}{target}", self.url()));
        let request = request.header("Authorization", "Bearer admin");
        asked(request, body)
    }

    fn complaint(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        format!("the stub of Key Vault is not well:\n{log}")
    }
}

fn version(id: &Value) -> String {
    let id = id.as_str().expect("an id");
    id.rsplit('/').next().expect("a version").to_owned()
}
