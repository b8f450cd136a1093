//! Runs the contract suite against a stub that answers as OpenBao does. The other tests here show that a real OpenBao
//! answers in this way.

use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_contract::{Behaviour, Fixture, Said, Script, TOKEN, Traffic, VALUE, Who, pod, token};
use provider_vault::{Patience, Vault, VaultConfig};
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Seen};

use crate::support::parameters;

const EVERYBODY: [Who; 4] = [Who::One, Who::Two, Who::Reborn, Who::Elsewhere];

#[tokio::test]
async fn vault_keeps_the_contract_of_all_providers() {
    provider_contract::verify(&Stub::start()).await;
}

struct Stub {
    server: FaultServer,
    script: Script,
}

impl Stub {
    fn start() -> Self {
        let script = Script::default();
        let told = script.clone();
        Self { server: FaultServer::http(move |seen| answer(&told, seen)), script }
    }
}

fn is_login(seen: &Seen) -> bool {
    seen.target == "/v1/auth/kubernetes/login"
}

/// The client token for a login of `who`.
fn client_token(who: Who) -> String {
    format!("{TOKEN}-client-{who:?}")
}

fn answer(script: &Script, seen: &Seen) -> Answer {
    match script.behaviour() {
        Behaviour::HangAtLogin if is_login(seen) => Answer::Hang,
        _ if is_login(seen) => login(&seen.body),
        Behaviour::Serve | Behaviour::HangAtLogin => read(script, seen),
        Behaviour::Says(index) => said().remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => Answer::json(429, &json!({})).with("retry-after", &u64::MAX.to_string()),
    }
}

fn read(script: &Script, seen: &Seen) -> Answer {
    if seen.header("x-vault-token") != Some(&client_token(Who::One)) {
        return errors(403, "permission denied");
    }
    let name = seen.target.strip_prefix("/v1/secret/data/").unwrap_or_default();
    match script.value(name) {
        Some(value) => found(&json!({"data": {"key": value}, "metadata": {"version": 1}})),
        None => errors(404, "no handler"),
    }
}

fn found(data: &Value) -> Answer {
    let whole =
        json!({"request_id": "r", "lease_id": "", "lease_duration": 0, "renewable": false, "data": data});
    Answer::json(200, &whole)
}

fn errors(status: u16, text: &str) -> Answer {
    Answer::json(status, &json!({"errors": [text]}))
}

/// An answer to a login with an extremely long lifetime.
fn login(body: &[u8]) -> Answer {
    let jwt = serde_json::from_slice::<Value>(body).unwrap()["jwt"].as_str().unwrap().to_owned();
    let is = |who: &Who| token(*who).expose() == jwt.as_bytes();
    let Some(who) = EVERYBODY.into_iter().find(is) else { return errors(403, "who is this?") };
    let identity = pod(who, "").identity;
    let metadata = json!({
        "service_account_namespace": identity.namespace, "service_account_name": identity.name,
        "service_account_uid": identity.uid,
    });
    let auth = json!({"client_token": client_token(who), "lease_duration": u64::MAX, "metadata": metadata});
    Answer::json(200, &json!({"auth": auth}))
}

/// The answers in the table of the crate's documentation.
fn said() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Revoked, Unauthenticated, Unavailable};
    let taken_back =
        |metadata: Value| Answer::json(404, &json!({"data": {"data": null, "metadata": metadata}}));
    let deleted = json!({"deletion_time": "2026-01-01T00:00:00Z", "destroyed": false, "version": 3});
    let destroyed = json!({"deletion_time": "", "destroyed": true, "version": 3});
    let page = format!("<html>{VALUE}</html>");
    let with_token = format!("permission denied for {}", client_token(Who::One));
    vec![
        ("404", NotFound, errors(404, "none")),
        ("200 without data", NotFound, found(&Value::Null)),
        (
            "200 without the key",
            NotFound,
            found(&json!({"data": {"other": VALUE}, "metadata": {"version": 1}})),
        ),
        ("a version that was deleted", Revoked, taken_back(deleted)),
        ("a version that was destroyed", Revoked, taken_back(destroyed)),
        ("403", Denied, errors(403, &with_token)),
        ("401", Unauthenticated, errors(401, "no")),
        ("400", Invalid, errors(400, "no")),
        ("204", Invalid, Answer::Reply { status: 204, headers: vec![], body: vec![] }),
        ("429", Unavailable, errors(429, "slow down").with("retry-after", "7")),
        ("500", Unavailable, errors(500, "internal error")),
        ("503", Unavailable, errors(503, "Vault is sealed")),
        ("307", Unavailable, errors(307, "").with("location", "http://127.0.0.1:9/")),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("half an answer", Unavailable, Answer::Truncated(vec![b'{'; 1000])),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "contract::vault_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let patience = Patience {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            total: self.patience(),
        };
        let address = Some(self.server.url());
        Arc::new(Vault::new(VaultConfig { address, patience, ..VaultConfig::default() }).unwrap())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let object = |name: &&str| {
            format!("- {{objectName: {name}, secretPath: secret/data/{name}, secretKey: key}}\n")
        };
        let objects: String = names.iter().map(object).collect();
        parameters([("roleName", "app"), ("objects", &objects)])
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(parameters([("roleName", "app"), ("objects", "- {objectName: ../outside, secretPath: x}")]))
    }

    fn workload(&self, who: Who, volume: &str) -> Workload {
        let mut workload = pod(who, volume);
        workload.tokens.insert("vault".to_owned(), token(who));
        workload
    }

    fn put(&self, name: &str, value: &str) {
        self.script.put(name, value);
    }

    fn behave(&self, behaviour: Behaviour) {
        self.script.behave(behaviour);
    }

    fn answers(&self) -> Vec<Said> {
        said().into_iter().map(|(what, kind, _)| Said { what, kind }).collect()
    }

    fn never(&self) -> Vec<(ErrorKind, &'static str)> {
        Vec::new()
    }

    fn traffic(&self) -> Traffic {
        let seen = self.server.seen();
        let logins = seen.iter().filter(|seen| is_login(seen)).count();
        Traffic { logins, reads: seen.len() - logins, open: self.server.open() }
    }

    fn saw(&self, text: &str) -> bool {
        self.server.saw(text)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }
}
