use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{asked, http_client};
use crate::issuer::{Claims, Issuer};
use crate::port;
use crate::postgres::Postgres;
use crate::process::{Server, mortal, until};
use crate::tls::Authority;
use crate::tool::on_path_or_tool;

/// A real OpenBao server: unsealed, with an audit log, over HTTP and over TLS.
#[derive(Debug)]
pub struct OpenBao {
    ports: Ports,
    http: Client,
    authority: Authority,
    server: Option<Server>,
    keys: Keys,
    folder: TempDir,
}

#[derive(Debug)]
struct Ports {
    plain: u16,
    tls: u16,
    mutual: u16,
    cluster: u16,
}

#[derive(Debug, Default)]
struct Keys {
    unseal: String,
    root: String,
}

impl OpenBao {
    /// A server that keeps its data in memory and loses it at [`stop`](Self::stop). Ready in a fraction of a second.
    pub fn start() -> Self {
        Self::with_storage("storage \"inmem\" {}\n")
    }

    /// A server that keeps its data over [`stop`](Self::stop) and [`start_again`](Self::start_again). Ready in about
    /// three seconds.
    pub fn durable() -> Self {
        Self::with_storage(
            "storage \"raft\" {\n path = \"data\"\n node_id = \"one\"\n performance_multiplier = 1\n}\n",
        )
    }

    fn with_storage(storage: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("secretfs-openbao-").tempdir().expect("a folder");
        let ports =
            Ports { plain: port::free(), tls: port::free(), mutual: port::free(), cluster: port::free() };
        let authority = Authority::new();
        fs::create_dir(folder.path().join("data")).expect("a folder of our own");
        fs::write(folder.path().join("ca.pem"), authority.pem()).expect("a folder of our own");
        authority.server(&["localhost", "bao.test", "127.0.0.1"]).save(folder.path(), "server");
        fs::write(folder.path().join("bao.hcl"), format!("{storage}{}", ports.config()))
            .expect("a folder of our own");
        let mut bao =
            Self { ports, http: http_client(), authority, server: None, keys: Keys::default(), folder };
        bao.launch();
        bao.initialise();
        bao.unseal();
        bao
    }

    /// `http://127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.plain)
    }

    /// `https://localhost:<port>`. [`authority`](Self::authority) signed its certificate, which is valid for
    /// `localhost`, `bao.test` and 127.0.0.1. The server asks for a client certificate, and also works without one.
    pub fn tls_address(&self) -> String {
        format!("https://localhost:{}", self.ports.tls)
    }

    /// The same, but a client certificate of [`authority`](Self::authority) is required.
    pub fn mutual_tls_address(&self) -> String {
        format!("https://localhost:{}", self.ports.mutual)
    }

    /// The authority that signed the server's certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A token with all rights.
    pub fn root_token(&self) -> &str {
        &self.keys.root
    }

    /// Writes `body` to an API path (without `v1/`) as root. Returns the answer, null if it is empty.
    pub fn write(&self, path: &str, body: &Value) -> Value {
        self.expect(&Method::POST, path, Some(body))
    }

    /// Reads an API path as root.
    pub fn read(&self, path: &str) -> Value {
        self.expect(&Method::GET, path, None)
    }

    /// Deletes an API path as root.
    pub fn delete(&self, path: &str) {
        self.expect(&Method::DELETE, path, None);
    }

    /// Mounts an engine at `path`: `kv`, `database`, `pki`, `transit`, …
    pub fn mount(&self, path: &str, engine: &str) {
        self.write(&format!("sys/mounts/{path}"), &json!({"type": engine}));
    }

    /// Mounts a transit engine at `transit`, with these keys.
    pub fn transit(&self, keys: &[&str]) {
        self.mount("transit", "transit");
        for key in keys {
            self.write(&format!("transit/keys/{key}"), &json!({"type": "aes256-gcm96"}));
        }
    }

    /// `secretfs kms` with the key `transit/kubernetes` of this server. Its token is the file `token` in `directory`, and
    /// its socket is `kms.sock` there.
    pub fn kms_plugin(&self, binary: &str, directory: &Path) -> Command {
        let mut plugin = Command::new(binary);
        plugin
            .args(["kms", "--kms", "vault", "--key", "transit/kubernetes"])
            .args(["--parameter", "secretfs.dev/auth=token", "--parameter"])
            .arg(format!("vaultAddress={}", self.address()))
            .arg("--credential")
            .arg(format!("token={}", directory.join("token").display()))
            .arg("--endpoint")
            .arg(directory.join("kms.sock"))
            .stdout(Stdio::null());
        plugin
    }

    /// Mounts a versioned key/value engine at `path`, and waits until it accepts writes.
    pub fn mount_kv2(&self, path: &str) {
        self.write(&format!("sys/mounts/{path}"), &json!({"type": "kv", "options": {"version": "2"}}));
        let probe = format!("{path}/data/ready");
        until(
            || self.call(&Method::POST, &probe, Some(&json!({"data": {}}))).0 == 200,
            || format!("{path} did not become a versioned engine"),
        );
    }

    /// Writes a version of a secret into a versioned engine. `path` is without `data/`.
    pub fn put(&self, mount: &str, path: &str, data: &Value) {
        self.write(&format!("{mount}/data/{path}"), &json!({"data": data}));
    }

    /// Creates a policy from `(path, capabilities)` rules.
    pub fn policy(&self, name: &str, rules: &[(&str, &[&str])]) {
        let rules = rules.iter().map(|(path, capabilities)| {
            format!("path {} {{ capabilities = {} }}\n", json!(path), json!(capabilities))
        });
        self.write(&format!("sys/policies/acl/{name}"), &json!({"policy": rules.collect::<String>()}));
    }

    /// Creates a kubernetes auth method at `auth/<mount>` that uses `issuer`'s token reviews.
    pub fn auth_kubernetes(&self, mount: &str, issuer: &Issuer) {
        self.write(&format!("sys/auth/{mount}"), &json!({"type": "kubernetes"}));
        self.write(
            &format!("auth/{mount}/config"),
            &json!({
                "kubernetes_host": issuer.url(),
                // Required even if the API server speaks plain HTTP.
                "kubernetes_ca_cert": self.authority.pem(),
                "token_reviewer_jwt": issuer.mint(&Claims::of("kube-system", "reviewer").seconds(86_400)),
                "disable_local_ca_jwt": true,
            }),
        );
    }

    /// Creates a jwt auth method at `auth/<mount>` that trusts `issuer`'s keys.
    pub fn auth_jwt(&self, mount: &str, issuer: &Issuer) {
        self.write(&format!("sys/auth/{mount}"), &json!({"type": "jwt"}));
        self.write(&format!("auth/{mount}/config"), &json!({"oidc_discovery_url": issuer.url()}));
    }

    /// Creates a `database` engine at `mount` with the connection `pg` to `postgres`, and a role `role` whose logins
    /// live for `ttl`, at most `max_ttl` (such as `30s`).
    pub fn database(&self, mount: &str, postgres: &Postgres, role: &str, ttl: &str, max_ttl: &str) {
        self.mount(mount, "database");
        self.write(&format!("{mount}/config/pg"), &postgres.openbao_config());
        let create =
            r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"#;
        self.write(
            &format!("{mount}/roles/{role}"),
            &json!({
                "db_name": "pg", "creation_statements": [create], "default_ttl": ttl, "max_ttl": max_ttl,
            }),
        );
    }

    /// How often `path` (without `v1/` and query) was called with `operation` (`read`, `update`, `list`, …) since the
    /// start, refused calls included. Taken from the audit log.
    pub fn requests(&self, operation: &str, path: &str) -> usize {
        let asked = |entry: &Value| {
            entry["type"] == "request"
                && entry["request"]["operation"] == operation
                && entry["request"]["path"] == path
        };
        self.audit().iter().filter(|entry| asked(entry)).count()
    }

    /// Every entry of the audit log, in order.
    pub fn audit(&self) -> Vec<Value> {
        self.audit_after(0)
    }

    /// The entries of the audit log after its first `lines`.
    pub fn audit_after(&self, lines: usize) -> Vec<Value> {
        self.audit_log().lines().skip(lines).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How many lines the audit log has.
    pub fn audit_lines(&self) -> usize {
        self.audit_log().lines().count()
    }

    fn audit_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("audit.log")).unwrap_or_default()
    }

    /// Freezes the server: it accepts connections but answers nothing.
    pub fn freeze(&self) {
        self.running().signal(Signal::STOP);
        // The signal arrives a moment later. Until then the server answers.
        until(|| self.running().stands_still(), || self.complaint());
    }

    /// Continues a frozen server.
    pub fn thaw(&self) {
        self.running().signal(Signal::CONT);
    }

    /// Kills the server. Connections are then refused.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts a stopped server on the same ports. With durable storage it has its old data. Otherwise it is empty and
    /// has another root token.
    pub fn start_again(&mut self) {
        self.launch();
        if self.call(&Method::GET, "sys/init", None).1["initialized"] != true {
            self.initialise();
        }
        self.unseal();
    }

    /// Seals the server: every call is answered with 503.
    pub fn seal(&self) {
        self.write("sys/seal", &Value::Null);
        // It answers before it is sealed, and meanwhile may even say that its engines do not exist.
        until(|| self.call(&Method::GET, "sys/health", None).0 == 503, || self.complaint());
    }

    /// Unseals the server and waits until it serves.
    pub fn unseal(&self) {
        self.call(&Method::PUT, "sys/unseal", Some(&json!({"key": self.keys.unseal})));
        until(|| self.call(&Method::GET, "sys/health", None).0 == 200, || self.complaint());
    }

    fn launch(&mut self) {
        let mut command = mortal("KILL");
        command
            .arg(binary())
            .args(["server", "-config=bao.hcl", "-log-level=warn"])
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path());
        let mut server = Server::logging(command, &self.log());
        until(
            || {
                assert!(server.ended().is_none(), "{}", self.complaint());
                self.call(&Method::GET, "sys/seal-status", None).0 == 200
            },
            || self.complaint(),
        );
        self.server = Some(server);
    }

    fn initialise(&mut self) {
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let answer = self.expect(&Method::PUT, "sys/init", Some(&shares));
        let text = |value: &Value| value.as_str().expect("a key of sys/init").to_owned();
        self.keys = Keys { unseal: text(&answer["keys"][0]), root: text(&answer["root_token"]) };
    }

    fn running(&self) -> &Server {
        self.server.as_ref().expect("a server that was not stopped")
    }

    fn expect(&self, method: &Method, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!((200..300).contains(&status), "OpenBao answered {status} to {method} {path}: {answer}");
        answer
    }

    /// Status and answer of one call as root; status 0 if there was no answer.
    pub fn call(&self, method: &Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self
            .http
            .request(method.clone(), format!("{}/v1/{path}", self.address()))
            .header("X-Vault-Token", self.root_token());
        asked(request, body)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn complaint(&self) -> String {
        format!("OpenBao is not ready:\n{}", fs::read_to_string(self.log()).unwrap_or_default())
    }
}

impl Ports {
    fn config(&self) -> String {
        let Self { plain, tls, mutual, cluster } = self;
        format!(
            r#"
api_addr = "http://127.0.0.1:{plain}"
cluster_addr = "https://127.0.0.1:{cluster}"
listener "tcp" {{
  address = "127.0.0.1:{plain}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable = true
}}
listener "tcp" {{
  address = "127.0.0.1:{tls}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "server.pem"
  tls_key_file = "server.key"
}}
listener "tcp" {{
  address = "127.0.0.1:{mutual}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "server.pem"
  tls_key_file = "server.key"
  tls_client_ca_file = "ca.pem"
  tls_require_and_verify_client_cert = true
}}
audit "file" "requests" {{
  options {{ file_path = "audit.log" }}
}}
"#
        )
    }
}

/// `$BAO`, or `bao` on the path, or the one that `hack/test` installed.
fn binary() -> PathBuf {
    let named = std::env::var_os("BAO").map(PathBuf::from).filter(|file| file.is_file());
    named
        .and_then(|file| fs::canonicalize(file).ok())
        .or_else(|| on_path_or_tool("bao"))
        .expect("the `bao` binary of OpenBao: run hack/test once, or set BAO to its path")
}
