//! What every provider owes, against a server that answers as Conjur's documentation says. No test here has asked a
//! Conjur.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_conjur::{Conjur, ConjurConfig, Patience};
use provider_contract::{Behaviour, Fixture, Said, Script, TOKEN, Traffic, VALUE, Who, pod, token};
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Seen};

use crate::support::{AUDIENCE, config, parameters};

const EVERYBODY: [Who; 4] = [Who::One, Who::Two, Who::Reborn, Who::Elsewhere];

#[tokio::test]
async fn conjur_keeps_the_contract_of_all_providers() {
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
    seen.target.starts_with("/authn-jwt/")
}

/// The token that a login of `who` is given, for ever.
fn granted(who: Who) -> Value {
    let payload = STANDARD.encode(json!({"iat": 0, "exp": u64::MAX}).to_string());
    json!({"protected": "", "payload": payload, "signature": format!("{TOKEN}-access-{who:?}")})
}

fn header(who: Who) -> String {
    format!("Token token=\"{}\"", STANDARD.encode(granted(who).to_string()))
}

fn answer(script: &Script, seen: &Seen) -> Answer {
    match script.behaviour() {
        Behaviour::HangAtLogin if is_login(seen) => Answer::Hang,
        _ if is_login(seen) => login(&seen.body),
        Behaviour::Serve | Behaviour::HangAtLogin => read(script, seen),
        Behaviour::Says(index) => said().remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => refused(429, "slow").with("retry-after", &u64::MAX.to_string()),
    }
}

fn login(body: &[u8]) -> Answer {
    let is = |who: &Who| {
        let token = String::from_utf8(token(*who).expose().to_vec()).unwrap();
        body == format!("jwt={token}").as_bytes()
    };
    match EVERYBODY.into_iter().find(is) {
        Some(who) => Answer::json(200, &granted(who)),
        None => Answer::text(401, "text/plain", ""),
    }
}

fn read(script: &Script, seen: &Seen) -> Answer {
    if seen.header("authorization") != Some(&header(Who::One)) {
        return refused(403, "forbidden");
    }
    let value = |name: &str| script.value(name).ok_or_else(|| refused(404, "empty or not found"));
    if let Some(ids) = seen.target.strip_prefix("/secrets?variable_ids=") {
        let ids = ids.replace("%3A", ":").replace("%2C", ",");
        let mut values = serde_json::Map::new();
        for id in ids.split(',') {
            match value(id.strip_prefix("acme:variable:").unwrap()) {
                Ok(value) => values.insert(id.to_owned(), STANDARD.encode(value).into()),
                Err(answer) => return answer,
            };
        }
        return Answer::json(200, &Value::Object(values)).with("content-encoding", "base64");
    }
    let name = seen.target.strip_prefix("/secrets/acme/variable/").unwrap_or_default();
    value(name).map_or_else(|answer| answer, |value| Answer::text(200, "application/octet-stream", &value))
}

fn refused(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"error": {"code": "no", "message": message}}))
}

/// The answers of the table in the crate's documentation.
fn said() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Unauthenticated, Unavailable};
    let page = format!("<html>{VALUE}</html>");
    let with_token = format!("denied for {}", STANDARD.encode(granted(Who::One).to_string()));
    vec![
        ("404", NotFound, refused(404, "empty or not found")),
        ("403", Denied, refused(403, &with_token)),
        ("403 without a word", Denied, Answer::text(403, "text/plain", "")),
        ("401", Unauthenticated, Answer::text(401, "text/plain", "")),
        ("401 in plain text", Unauthenticated, Answer::text(401, "text/plain", "Unauthorized")),
        ("406", Invalid, refused(406, "no text")),
        ("422", Invalid, refused(422, "no")),
        ("429", Unavailable, refused(429, "slow").with("retry-after", "7")),
        ("429 without a time", Unavailable, Answer::text(429, "text/plain", "")),
        ("500", Unavailable, refused(500, "internal")),
        ("503", Unavailable, Answer::text(503, "text/html", &page)),
        ("307", Unavailable, Answer::text(307, "", "").with("location", "http://127.0.0.1:9/")),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("another variable", Unavailable, Answer::json(200, &json!({"acme:variable:other": VALUE}))),
        (
            "no base64",
            Unavailable,
            Answer::json(200, &json!({"acme:variable:mine": "*"})).with("content-encoding", "base64"),
        ),
        ("a page that is not found", Unavailable, Answer::text(404, "text/html", &page)),
        ("a page that is forbidden", Unavailable, Answer::text(403, "text/html", &page)),
        ("404 without a word", Unavailable, Answer::text(404, "text/plain", "")),
        ("half an answer", Unavailable, Answer::Truncated(vec![b'{'; 1000])),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "contract::conjur_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let patience = Patience {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            total: self.patience(),
        };
        Arc::new(Conjur::new(ConjurConfig { patience, ..config(&self.server.url()) }).unwrap())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let object = |name: &&str| format!("- {name}: {name}\n");
        let secrets = names.iter().map(object).collect::<String>();
        parameters([("authnId", "kube"), ("secretfs.dev/share", "service-account"), ("secrets", &secrets)])
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(parameters([("authnId", "kube"), ("secrets", "- ../outside: a")]))
    }

    fn workload(&self, who: Who, volume: &str) -> Workload {
        let mut workload = pod(who, volume);
        workload.tokens.insert(AUDIENCE.to_owned(), token(who));
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
        vec![(ErrorKind::Revoked, "Conjur does not say that a variable was there")]
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
