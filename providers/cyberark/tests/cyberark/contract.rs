//! What every provider owes, against a server that answers as CyberArk's documentation says. No test here has asked a
//! CCP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_contract::{Behaviour, Clause, Fixture, Said, Script, TOKEN, Traffic, VALUE, Who, pod};
use provider_cyberark::{CyberArk, CyberArkConfig, Patience};
use serde_json::{Value, json};
use testing::{Answer, Authority, FaultServer, Seen};

use crate::support::parameters;

const EVERYBODY: [Who; 4] = [Who::One, Who::Two, Who::Reborn, Who::Elsewhere];

#[tokio::test]
async fn cyberark_keeps_the_contract_of_all_providers() {
    provider_contract::verify(&Stub::start()).await;
}

struct Stub {
    server: FaultServer,
    script: Script,
    folder: tempfile::TempDir,
    clients: BTreeMap<String, testing::Identity>,
}

impl Stub {
    fn start() -> Self {
        let authority = Authority::new();
        let clients: BTreeMap<_, _> = EVERYBODY
            .into_iter()
            .map(|who| (format!("{who:?}"), authority.client(&format!("{TOKEN}-{who:?}"))))
            .collect();
        let script = Script::default();
        let (told, one) = (script.clone(), der(&clients["One"].certificate));
        let server = authority.server(&["localhost"]);
        let server =
            FaultServer::https_for(&server, &authority, move |seen| answer(&told, seen, seen.client == one));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { server, script, folder, clients }
    }
}

fn der(certificate: &str) -> Vec<u8> {
    pem::parse(certificate).unwrap().into_contents()
}

fn answer(script: &Script, seen: &Seen, is_one: bool) -> Answer {
    match script.behaviour() {
        Behaviour::Serve | Behaviour::HangAtLogin => read(script, seen, is_one),
        Behaviour::Says(index) => said().remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => error(429, "X").with("retry-after", &u64::MAX.to_string()),
    }
}

fn read(script: &Script, seen: &Seen, is_one: bool) -> Answer {
    if !is_one {
        return error(403, "APPAP306E");
    }
    let name = seen.target.split_once("&Object=").unwrap().1.split('&').next().unwrap();
    match script.value(name) {
        Some(value) => found(&json!({"Content": value, "Name": name, "Safe": "Shop"})),
        None => error(404, "APPAP004E"),
    }
}

fn found(account: &Value) -> Answer {
    Answer::json(200, account)
}

fn error(status: u16, code: &str) -> Answer {
    Answer::json(status, &json!({"ErrorCode": code, "ErrorMsg": "no"}))
}

/// The answers of the table in the crate's documentation.
fn said() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Unauthenticated, Unavailable};
    let page = format!("<html>{VALUE}</html>");
    let changing = json!({"Content": VALUE, "Name": "mine", "PasswordChangeInProcess": "True"});
    vec![
        ("404", NotFound, error(404, "APPAP004E")),
        ("an application that is not defined", Denied, error(403, "APPAP008E")),
        ("another certificate", Unauthenticated, error(403, "APPAP306E")),
        ("several accounts", Invalid, error(400, "APPAP229E")),
        ("400", Invalid, error(400, "AIMWS031E")),
        ("a change", Unavailable, found(&changing)),
        ("a change that is refused", Unavailable, error(400, "APPAP282E")),
        ("429", Unavailable, error(429, "X").with("retry-after", "7")),
        ("500", Unavailable, error(500, "APPAP007E")),
        ("503", Unavailable, Answer::text(503, "text/html", &page)),
        ("307", Unavailable, Answer::text(307, "", "").with("location", "http://127.0.0.1:9/")),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("a page that is not found", Unavailable, Answer::text(404, "text/html", &page)),
        ("another account", Unavailable, found(&json!({"Content": VALUE, "Name": "other"}))),
        ("no account", Unavailable, found(&json!({}))),
        ("half an answer", Unavailable, Answer::Truncated(vec![b'{'; 1000])),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "contract::cyberark_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let patience = Patience {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            total: self.patience(),
        };
        let config = CyberArkConfig {
            url: Some(self.server.url()),
            ca: Some(self.folder.path().join("ca.pem")),
            patience,
            pause: Duration::from_millis(10),
            ..CyberArkConfig::default()
        };
        Arc::new(CyberArk::new(config).unwrap())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let object = |name: &&str| format!("- {{objectName: {name}, object: {name}}}\n");
        parameters(&names.iter().map(object).collect::<String>(), &[])
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(parameters("- {objectName: ../outside, object: a}", &[]))
    }

    fn workload(&self, who: Who, volume: &str) -> Workload {
        let client = &self.clients[&format!("{who:?}")];
        let mut workload = pod(who, volume);
        for (name, text) in [("tls.crt", &client.certificate), ("tls.key", &client.key)] {
            workload.credentials.insert(name.to_owned(), text.clone().into());
        }
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
        vec![
            (ErrorKind::Revoked, "CCP does not say that an account was there"),
            (ErrorKind::NoCredential, "it takes no token; a missing certificate has a test of its own"),
        ]
    }

    fn exempt(&self) -> Vec<(Clause, &'static str)> {
        vec![(Clause::Logins, "there are none: each call is by the application's certificate")]
    }

    fn traffic(&self) -> Traffic {
        Traffic { logins: 0, reads: self.server.seen().len(), open: self.server.open() }
    }

    fn saw(&self, text: &str) -> bool {
        self.server.saw(text)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }
}
