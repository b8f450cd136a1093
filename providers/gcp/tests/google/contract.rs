//! What every provider owes, against a server that answers as Google's API references say. No test here has asked Google.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_contract::{Behaviour, Fixture, Said, Script, TOKEN, Traffic, VALUE, Who, pod, token};
use provider_gcp::{Gcp, GcpConfig, Patience};
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Seen};

use crate::support::{CLUSTER, POOL, parameters};

const EVERYBODY: [Who; 4] = [Who::One, Who::Two, Who::Reborn, Who::Elsewhere];

#[tokio::test]
async fn gcp_keeps_the_contract_of_all_providers() {
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
    seen.target == "/v1/token"
}

/// The token that a login of `who` is given.
fn access_token(who: Who) -> String {
    format!("{TOKEN}-access-{who:?}")
}

fn answer(script: &Script, seen: &Seen) -> Answer {
    match script.behaviour() {
        Behaviour::HangAtLogin if is_login(seen) => Answer::Hang,
        _ if is_login(seen) => exchange(&seen.body),
        Behaviour::Serve | Behaviour::HangAtLogin => read(script, seen),
        Behaviour::Says(index) => said().remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => {
            status(429, "RESOURCE_EXHAUSTED", "slow").with("retry-after", &u64::MAX.to_string())
        }
    }
}

fn read(script: &Script, seen: &Seen) -> Answer {
    if seen.header("authorization") != Some(&format!("Bearer {}", access_token(Who::One))) {
        return status(403, "PERMISSION_DENIED", "denied");
    }
    let named = seen.target.strip_prefix("/v1/projects/p1/secrets/").unwrap_or_default();
    let name = named.strip_suffix("/versions/latest:access").unwrap_or_default();
    match script.value(name) {
        Some(value) => found(name, &STANDARD.encode(value)),
        None => status(404, "NOT_FOUND", "not found or has no versions"),
    }
}

fn found(name: &str, data: &str) -> Answer {
    let name = format!("projects/123/secrets/{name}/versions/1");
    Answer::json(200, &json!({"name": name, "payload": {"data": data}}))
}

fn status(code: u16, name: &str, message: &str) -> Answer {
    Answer::json(code, &json!({"error": {"code": code, "message": message, "status": name}}))
}

/// A login that lasts longer than anything does.
fn exchange(body: &[u8]) -> Answer {
    let jwt = serde_json::from_slice::<Value>(body).unwrap()["subjectToken"].as_str().unwrap().to_owned();
    let is = |who: &Who| token(*who).expose() == jwt.as_bytes();
    let Some(who) = EVERYBODY.into_iter().find(is) else {
        return Answer::json(400, &json!({"error": "invalid_grant", "error_description": "who is this?"}));
    };
    Answer::json(200, &json!({"access_token": access_token(who), "expires_in": u64::MAX}))
}

/// The answers of the table in the crate's documentation.
fn said() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Revoked, Unauthenticated, Unavailable};
    let state = |state| format!("Secret Version [projects/123/secrets/mine/versions/1] is in {state} state.");
    let page = format!("<html>{VALUE}</html>");
    let with_token = format!("denied for {}", access_token(Who::One));
    let value = STANDARD.encode(VALUE);
    let wrong_sum = json!({
        "name": "projects/123/secrets/mine/versions/1", "payload": {"data": value, "dataCrc32c": "1"},
    });
    vec![
        ("404", NotFound, status(404, "NOT_FOUND", "not found")),
        ("a version that is disabled", Revoked, status(400, "FAILED_PRECONDITION", &state("DISABLED"))),
        ("a version that is destroyed", Revoked, status(400, "FAILED_PRECONDITION", &state("DESTROYED"))),
        ("a key that cannot be used", Denied, status(400, "FAILED_PRECONDITION", "the key is not enabled")),
        ("403", Denied, status(403, "PERMISSION_DENIED", &with_token)),
        ("401", Unauthenticated, status(401, "UNAUTHENTICATED", "invalid credentials")),
        ("400", Invalid, status(400, "INVALID_ARGUMENT", "no")),
        ("429", Unavailable, status(429, "RESOURCE_EXHAUSTED", "slow").with("retry-after", "7")),
        ("429 without a time", Unavailable, status(429, "RESOURCE_EXHAUSTED", "slow")),
        ("500", Unavailable, status(500, "INTERNAL", "internal")),
        ("503", Unavailable, status(503, "UNAVAILABLE", "away")),
        ("307", Unavailable, status(307, "", "").with("location", "http://127.0.0.1:9/")),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("a page that is not found", Unavailable, Answer::text(404, "text/html", &page)),
        ("a wrong checksum", Unavailable, Answer::json(200, &wrong_sum)),
        ("another secret", Unavailable, found("other", &value)),
        ("no base64", Unavailable, found("mine", "*")),
        ("half an answer", Unavailable, Answer::Truncated(vec![b'{'; 1000])),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "contract::gcp_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let patience = Patience {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            total: self.patience(),
        };
        let config = GcpConfig {
            endpoint: self.server.url(),
            identity_provider: Some(CLUSTER.to_owned()),
            patience,
            ..GcpConfig::default()
        };
        Arc::new(Gcp::new(config).unwrap())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let object = |name: &&str| {
            format!("- {{resourceName: projects/p1/secrets/{name}/versions/latest, path: {name}}}\n")
        };
        parameters([("secrets", &names.iter().map(object).collect::<String>())])
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(parameters([("secrets", "- {resourceName: projects/p1/secrets/a, path: ../outside}")]))
    }

    fn workload(&self, who: Who, volume: &str) -> Workload {
        let mut workload = pod(who, volume);
        workload.tokens.insert(POOL.to_owned(), token(who));
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
