//! What every provider owes, against a server that answers in the place of STS, KMS and Confidant.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_confidant::{Confidant, ConfidantConfig, Patience};
use provider_contract::{Behaviour, Fixture, Said, Script, TOKEN, Traffic, VALUE, Who, pod, token};
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Seen};

use crate::support::{AUDIENCE, SERVICE, config, parameters};

const EVERYBODY: [Who; 4] = [Who::One, Who::Two, Who::Reborn, Who::Elsewhere];
/// What Confidant answers where it does not believe a token.
const PAGE: &str = "<!DOCTYPE HTML><title>403 Forbidden</title><p>You don't have the permission to access the requested \
                    resource. It is either read-protected or not readable by the server.</p>";

#[tokio::test]
async fn confidant_keeps_the_contract_of_all_providers() {
    provider_contract::verify(&Stub::start()).await;
}

pub(crate) struct Stub {
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
    seen.target.starts_with("/sts")
}

fn answer(script: &Script, seen: &Seen) -> Answer {
    match script.behaviour() {
        Behaviour::HangAtLogin if is_login(seen) => Answer::Hang,
        _ if is_login(seen) => keys(&String::from_utf8_lossy(&seen.body)),
        _ if seen.target.starts_with("/kms") => encrypted(seen),
        Behaviour::Serve | Behaviour::HangAtLogin => read(script, seen),
        Behaviour::Says(index) => said().remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => error(429, "slow").with("retry-after", &u64::MAX.to_string()),
    }
}

/// The keys of whoever the token is of.
fn keys(form: &str) -> Answer {
    let is = |who: &Who| form.contains(std::str::from_utf8(token(*who).expose()).unwrap());
    let Some(who) = EVERYBODY.into_iter().find(is) else {
        let refused = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
        return Answer::text(400, "text/xml", refused);
    };
    let keys = format!(
        "<R><Credentials><AccessKeyId>ASIA{who:?}</AccessKeyId><SecretAccessKey>{TOKEN}-key</SecretAccessKey>\
         <SessionToken>{TOKEN}-session</SessionToken></Credentials></R>"
    );
    Answer::text(200, "text/xml", &keys)
}

/// A token of kmsauth for whoever signed.
fn encrypted(seen: &Seen) -> Answer {
    let signed = seen.header("authorization").unwrap_or_default();
    let is = |who: &Who| signed.contains(&format!("Credential=ASIA{who:?}/"));
    let who = EVERYBODY.into_iter().find(is).unwrap();
    Answer::json(200, &json!({"CiphertextBlob": format!("{TOKEN}-kmsauth-{who:?}")}))
}

fn shown(who: Who) -> String {
    format!("Basic {}", STANDARD.encode(format!("2/service/{SERVICE}:{TOKEN}-kmsauth-{who:?}")))
}

fn read(script: &Script, seen: &Seen) -> Answer {
    if seen.header("authorization") != Some(&shown(Who::One)) {
        return error(403, "no access");
    }
    let credential = |(name, value): (String, String)| {
        json!({"id": format!("id-of-{name}"), "name": name, "revision": 1, "enabled": true,
               "credential_pairs": {"value": value}})
    };
    service(&script.values().into_iter().map(credential).collect::<Vec<_>>())
}

fn service(credentials: &[Value]) -> Answer {
    Answer::json(200, &json!({"id": SERVICE, "enabled": true, "credentials": credentials}))
}

fn error(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"error": message}))
}

/// The answers of the table in the crate's documentation.
fn said() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Revoked, Unauthenticated, Unavailable};
    let page = format!("<html>{VALUE}</html>");
    let credential = |name: &str, is_enabled: bool| json!({"id": "1", "name": name, "enabled": is_enabled, "credential_pairs": {"value": VALUE}});
    let disabled = json!({"id": SERVICE, "enabled": false, "credentials": [credential("mine", true)]});
    let bank = json!({"id": "bank", "enabled": true, "credentials": [credential("mine", true)]});
    vec![
        ("404", NotFound, Answer::json(404, &json!({}))),
        ("another credential", NotFound, service(&[credential("other", true)])),
        ("a credential that is disabled", Revoked, service(&[credential("mine", false)])),
        ("a service that is disabled", Revoked, Answer::json(200, &disabled)),
        ("two of that name", Invalid, service(&[credential("mine", true), credential("mine", true)])),
        ("403", Denied, error(403, &format!("denied for {}", shown(Who::One)))),
        ("403 for a token", Unauthenticated, Answer::text(403, "text/html", PAGE)),
        ("401", Unauthenticated, error(401, "not authorized")),
        ("400", Invalid, error(400, "no")),
        ("429", Unavailable, error(429, "slow").with("retry-after", "7")),
        ("500", Unavailable, error(500, "Decryption error.")),
        ("503", Unavailable, Answer::text(503, "text/html", &page)),
        ("307", Unavailable, Answer::text(307, "", "").with("location", "http://127.0.0.1:9/")),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("a page that is not found", Unavailable, Answer::text(404, "text/html", &page)),
        ("a page that is forbidden", Unavailable, Answer::text(403, "text/html", &page)),
        ("another service", Unavailable, Answer::json(200, &bank)),
        ("half an answer", Unavailable, Answer::Truncated(vec![b'{'; 1000])),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "contract::confidant_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let patience = Patience {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            total: self.patience(),
        };
        let url = self.server.url();
        let config = config(&url, &format!("{url}/{{service}}"));
        Arc::new(Confidant::new(ConfidantConfig { patience, ..config }).unwrap())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let object = |name: &&str| format!("- {{objectName: {name}, credential: {name}, key: value}}\n");
        parameters(&names.iter().map(object).collect::<String>(), &[])
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(parameters("- {objectName: ../outside}", &[]))
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
        Vec::new()
    }

    fn traffic(&self) -> Traffic {
        let seen = self.server.seen();
        let logins = seen.iter().filter(|seen| is_login(seen)).count();
        let reads = seen.iter().filter(|seen| seen.target.starts_with("/v1/")).count();
        Traffic { logins, reads, open: self.server.open() }
    }

    fn saw(&self, text: &str) -> bool {
        self.server.saw(text)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }
}
