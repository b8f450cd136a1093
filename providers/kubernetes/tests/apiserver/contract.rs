//! Runs the contract suite against a stub that answers as an API server does. The other tests here show that a real API
//! server answers in this way.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_contract::{Behaviour, Clause, Fixture, Said, Script, Traffic, VALUE, Who, pod, token};
use provider_kubernetes::{Kubernetes, KubernetesConfig};
use serde_json::{Value, json};
use testing::{Answer, Seen};

use crate::fixture::Scripted;

#[tokio::test]
async fn kubernetes_keeps_the_contract_of_all_providers() {
    provider_contract::verify(&Stub::start()).await;
}

struct Stub {
    scripted: Scripted,
    script: Script,
}

impl Stub {
    fn start() -> Self {
        let script = Script::default();
        let told = script.clone();
        Self { scripted: Scripted::new(move |seen| answer(&told, seen)), script }
    }
}

fn answer(script: &Script, seen: &Seen) -> Answer {
    match script.behaviour() {
        Behaviour::Serve | Behaviour::HangAtLogin => read(script, seen),
        Behaviour::Says(index) => said().remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => status(429, "TooManyRequests").with("retry-after", &u64::MAX.to_string()),
    }
}

fn read(script: &Script, seen: &Seen) -> Answer {
    let shown = seen.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
    if shown.map(str::as_bytes) != Some(token(Who::One).expose()) {
        return status(403, "secrets is forbidden");
    }
    let name = seen.target.strip_prefix("/api/v1/namespaces/shop/secrets/").unwrap_or_default();
    match script.value(name) {
        Some(value) => secret(&json!({"k": value})),
        None => status(404, "not found"),
    }
}

fn secret(data: &Value) -> Answer {
    let metadata = json!({"name": "mine", "resourceVersion": "7"});
    Answer::json(200, &json!({"kind": "Secret", "metadata": metadata, "data": data}))
}

fn status(code: u16, message: &str) -> Answer {
    Answer::json(code, &json!({"kind": "Status", "code": code, "message": message}))
}

/// The answers in the table of the crate's documentation.
fn said() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Unauthenticated, Unavailable};
    let page = format!("<html>{VALUE}</html>");
    let denied = format!("forbidden for {}", token(Who::One).expose_str().unwrap());
    vec![
        ("404 of the API server", NotFound, status(404, "not found")),
        ("200 without the key", NotFound, secret(&json!({"other": "b25l"}))),
        ("403", Denied, status(403, &denied)),
        ("401", Unauthenticated, status(401, "Unauthorized")),
        ("400", Invalid, status(400, "bad request")),
        ("422", Invalid, status(422, "invalid")),
        ("404 of somebody else", Unavailable, Answer::text(404, "text/html", &page)),
        ("409", Unavailable, status(409, "conflict")),
        ("429", Unavailable, status(429, "slow down").with("retry-after", "7")),
        ("500", Unavailable, status(500, "internal error")),
        ("302", Unavailable, Answer::text(302, "text/html", "").with("location", "https://127.0.0.1:9/")),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("half an answer", Unavailable, Answer::Truncated(vec![b'{'; 1000])),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "contract::kubernetes_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let config = KubernetesConfig { total: self.patience(), ..self.scripted.config.clone() };
        Arc::new(Kubernetes::new(&config).unwrap())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let object = |name: &&str| format!("- {{objectName: {name}, secret: {name}, key: k}}\n");
        Parameters::from([("objects".to_owned(), names.iter().map(object).collect())])
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(Parameters::from([(
            "objects".to_owned(),
            "- {objectName: a, secret: ../../outside}".to_owned(),
        )]))
    }

    fn workload(&self, who: Who, volume: &str) -> Workload {
        let mut workload = pod(who, volume);
        workload.tokens.insert(String::new(), token(who));
        workload
    }

    fn put(&self, name: &str, value: &str) {
        self.script.put(name, &STANDARD.encode(value));
    }

    fn behave(&self, behaviour: Behaviour) {
        self.script.behave(behaviour);
    }

    fn answers(&self) -> Vec<Said> {
        said().into_iter().map(|(what, kind, _)| Said { what, kind }).collect()
    }

    fn never(&self) -> Vec<(ErrorKind, &'static str)> {
        vec![(ErrorKind::Revoked, "only a watch tells that a Secret was deleted: see the tests of watches")]
    }

    fn exempt(&self) -> Vec<(Clause, &'static str)> {
        vec![(Clause::Logins, "there are none: each call carries the pod's token")]
    }

    fn traffic(&self) -> Traffic {
        let server = &self.scripted.server;
        Traffic { logins: 0, reads: server.seen().len(), open: server.open() }
    }

    fn saw(&self, text: &str) -> bool {
        self.scripted.server.saw(text)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }
}
