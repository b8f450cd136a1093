use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::background::wait;
use crate::http::{asked, http_client};
use crate::port;
use crate::process::{Server, mortal, until};
use crate::tool::on_path_or_tool;

/// A real moto, which answers like Secrets Manager, Parameter Store, KMS, DynamoDB and STS, over HTTP.
///
/// It accepts any token and, until it [judges](Self::judge), any signature, and allows everything. Without a stage it
/// returns the version that was put last, whichever version has `AWSCURRENT`. With a stage it returns the right one.
#[derive(Debug)]
pub struct Moto {
    port: u16,
    http: Client,
    _server: Server,
    _folder: TempDir,
}

impl Moto {
    /// An empty moto. Ready in about a second.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("secretfs-moto-").tempdir().expect("a folder");
        let (port, log) = (port::free(), folder.path().join("log"));
        let mut command = mortal("KILL");
        command
            .arg(on_path_or_tool("moto_server").expect("moto_server: run hack/tools moto"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .current_dir(folder.path())
            .env("HOME", folder.path());
        let server = Server::logging(command, &log);
        let moto = Self { port, http: http_client(), _server: server, _folder: folder };
        let complaint = || format!("moto is not ready:\n{}", fs::read_to_string(&log).unwrap_or_default());
        until(|| moto.is_ready(), complaint);
        moto
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Creates a secret with text in `region`, and returns its ARN.
    pub fn create_secret(&self, region: &str, name: &str, text: &str) -> String {
        let made = self.secrets(region, "CreateSecret", &json!({"Name": name, "SecretString": text}));
        made["ARN"].as_str().expect("an ARN").to_owned()
    }

    /// Creates a secret with bytes in `region`.
    pub fn create_binary(&self, region: &str, name: &str, bytes: &[u8]) {
        self.secrets(region, "CreateSecret", &json!({"Name": name, "SecretBinary": STANDARD.encode(bytes)}));
    }

    /// Creates a new version of a secret, which becomes the current one, and returns its id.
    pub fn put_secret(&self, region: &str, name: &str, text: &str) -> String {
        let made = self.secrets(region, "PutSecretValue", &json!({"SecretId": name, "SecretString": text}));
        made["VersionId"].as_str().expect("a version").to_owned()
    }

    /// Creates a version of a parameter that KMS encrypts, and returns its number.
    pub fn put_parameter(&self, region: &str, name: &str, text: &str) -> u64 {
        let put = json!({"Name": name, "Value": text, "Type": "SecureString", "Overwrite": true});
        self.parameters(region, "PutParameter", &put)["Version"].as_u64().expect("a version")
    }

    /// One call of Secrets Manager.
    pub fn secrets(&self, region: &str, operation: &str, body: &Value) -> Value {
        self.call(region, "secretsmanager", &format!("secretsmanager.{operation}"), body)
    }

    /// One call of the Parameter Store.
    pub fn parameters(&self, region: &str, operation: &str, body: &Value) -> Value {
        self.call(region, "ssm", &format!("AmazonSSM.{operation}"), body)
    }

    /// One call of KMS.
    pub fn kms(&self, region: &str, operation: &str, body: &Value) -> Value {
        self.call(region, "kms", &format!("TrentService.{operation}"), body)
    }

    /// Creates a user with an access key, and returns the key and its secret. `policy` counts once moto
    /// [judges](Self::judge).
    pub fn user(&self, name: &str, policy: &Value) -> [String; 2] {
        self.iam(&[("Action", "CreateUser"), ("UserName", name)]);
        let document = policy.to_string();
        let policy = [("UserName", name), ("PolicyName", "own"), ("PolicyDocument", document.as_str())];
        self.iam(&[&[("Action", "PutUserPolicy")], &policy[..]].concat());
        let made = self.iam(&[("Action", "CreateAccessKey"), ("UserName", name)]);
        ["AccessKeyId", "SecretAccessKey"].map(|element| {
            let rest = made.split_once(&format!("<{element}>")).expect("an access key").1;
            rest.split_once('<').expect("an access key").0.to_owned()
        })
    }

    /// Creates a role. `policy` counts once moto [judges](Self::judge). Anybody may assume the role.
    pub fn role(&self, name: &str, policy: &Value) {
        let trust = json!({"Version": "2012-10-17", "Statement": []}).to_string();
        self.iam(&[("Action", "CreateRole"), ("RoleName", name), ("AssumeRolePolicyDocument", &trust)]);
        let (action, document) = (("Action", "PutRolePolicy"), policy.to_string());
        self.iam(&[action, ("RoleName", name), ("PolicyName", "own"), ("PolicyDocument", &document)]);
    }

    /// From now on signatures have to be right, and policies count. Nobody can assume a role by a token any more.
    pub fn judge(&self) {
        let request = self.http.post(format!("{}/moto-api/reset-auth", self.url())).body("0");
        let judges =
            wait(async move { request.send().await.is_ok_and(|answer| answer.status().is_success()) });
        assert!(judges, "moto does not judge");
    }

    fn iam(&self, form: &[(&str, &str)]) -> String {
        let scope = "AKIATEST/20260101/us-east-1/iam/aws4_request";
        let request = self
            .http
            .post(self.url())
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
            )
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encoded(&[form, &[("Version", "2010-05-08")]].concat()));
        let (status, answer) = wait(async move {
            let response = request.send().await.expect("an answer of moto");
            (response.status().as_u16(), response.text().await.unwrap_or_default())
        });
        assert!((200..300).contains(&status), "moto answered {status} to {form:?}: {answer}");
        answer
    }

    /// moto takes the region from the signature, and ignores the rest of it.
    fn call(&self, region: &str, service: &str, target: &str, body: &Value) -> Value {
        let scope = format!("AKIATEST/20260101/{region}/{service}/aws4_request");
        let request = self
            .http
            .post(self.url())
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
            )
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .body(body.to_string());
        let (status, answer) = asked(request, None);
        assert!((200..300).contains(&status), "moto answered {status} to {target} {body}: {answer}");
        answer
    }

    fn is_ready(&self) -> bool {
        let request = self.http.get(format!("{}/moto-api/data.json", self.url()));
        wait(async move { request.send().await.is_ok_and(|answer| answer.status().is_success()) })
    }
}

fn encoded(form: &[(&str, &str)]) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    let text = |text: &str| text.bytes().map(byte).collect::<String>();
    form.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join("&")
}
