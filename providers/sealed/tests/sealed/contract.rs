//! Runs the contract suite with keys of a stub that answers as OpenBao does. The tests beside it show that a real
//! OpenBao answers in this way.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use provider::{ErrorKind, Parameters, Provider, Providers, SecretBytes, Workload};
use provider_contract::{Behaviour, Clause, Fixture, Said, Script, TOKEN, Traffic, VALUE, Who, pod, token};
use provider_sealed::{Place, Sealed, SealedText, Sealer};
use provider_vault::{Patience, Vault, VaultConfig};
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Seen};

const EVERYBODY: [Who; 4] = [Who::One, Who::Two, Who::Reborn, Who::Elsewhere];
const DECRYPT: &str = "/v1/transit/decrypt/shop";

#[tokio::test]
async fn sealed_keeps_the_contract_of_all_providers() {
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

fn client_token(who: Who) -> String {
    format!("{TOKEN}-client-{who:?}")
}

/// The data key of the object `name`, and what the stub's engine made of it.
fn data_key(name: &str) -> ([u8; 32], String) {
    let mut key = [0; 32];
    key.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    (key, format!("vault:v1:{}", BASE64_STANDARD.encode(name)))
}

fn sealed(name: &str, value: &str) -> SealedText {
    let (key, wrapped) = data_key(name);
    let place = Place {
        environment: "test".to_owned(),
        namespace: "shop".to_owned(),
        class: String::new(),
        object: name.to_owned(),
    };
    let key = SecretBytes::new(key.to_vec());
    SealedText::seal(place, ["vault", "transit/shop"], (&key, wrapped), &value.to_owned().into()).unwrap()
}

fn answer(script: &Script, seen: &Seen) -> Answer {
    match script.behaviour() {
        Behaviour::HangAtLogin if is_login(seen) => Answer::Hang,
        _ if is_login(seen) => login(&seen.body),
        Behaviour::Serve | Behaviour::HangAtLogin => decrypt(script, seen),
        Behaviour::Says(index) => said().remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => Answer::json(429, &json!({})).with("retry-after", &u64::MAX.to_string()),
    }
}

fn decrypt(script: &Script, seen: &Seen) -> Answer {
    if seen.header("x-vault-token") != Some(&client_token(Who::One)) {
        return errors(403, "permission denied");
    }
    let asked: Value = serde_json::from_slice(&seen.body).unwrap();
    let known = script.values().into_keys().map(|name| (data_key(&name), sealed(&name, ""))).find(
        |((_, wrapped), text)| {
            asked["ciphertext"] == **wrapped
                && seen.target == DECRYPT
                && asked["associated_data"] == associated(&text.place)
        },
    );
    match known {
        Some(((key, _), _)) => found(&json!({"plaintext": BASE64_STANDARD.encode(key)})),
        None => errors(400, "cipher: message authentication failed"),
    }
}

fn associated(place: &Place) -> String {
    let Place { environment, namespace, class, object } = place;
    let json = json!({"class": class, "environment": environment, "namespace": namespace, "object": object});
    BASE64_STANDARD.encode(json.to_string())
}

fn found(data: &Value) -> Answer {
    Answer::json(200, &json!({"request_id": "r", "lease_id": "", "renewable": false, "data": data}))
}

fn errors(status: u16, text: &str) -> Answer {
    Answer::json(status, &json!({"errors": [text]}))
}

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

/// The answers that the provider of the key gives a meaning, and what is this provider's own.
fn said() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Unauthenticated, Unavailable};
    let key = |bytes: &[u8]| found(&json!({"plaintext": BASE64_STANDARD.encode(bytes)}));
    let with_token = format!("permission denied for {}", client_token(Who::One));
    let page = format!("<html>{VALUE}</html>");
    vec![
        ("another data key", Invalid, key(&[9; 32])),
        ("a data key that is too short", Invalid, key(&[9; 16])),
        ("a data key that is no base64", Invalid, found(&json!({"plaintext": "*"}))),
        ("an answer without a data key", NotFound, found(&json!({"other": VALUE}))),
        (
            "the wrong context, or an altered data key",
            Invalid,
            errors(400, "cipher: message authentication failed"),
        ),
        ("no such key", Invalid, errors(400, "encryption key not found")),
        ("no such engine", NotFound, errors(404, "no handler for route")),
        ("403", Denied, errors(403, &with_token)),
        ("401", Unauthenticated, errors(401, "no")),
        ("429", Unavailable, errors(429, "slow down").with("retry-after", "7")),
        ("503", Unavailable, errors(503, "Vault is sealed")),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "contract::sealed_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let patience = Patience {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            total: self.patience(),
        };
        let address = Some(self.server.url());
        let vault = Vault::new(VaultConfig { address, patience, ..VaultConfig::default() }).unwrap();
        let vault: Arc<dyn Provider> = Arc::new(vault);
        let providers = Providers::default().with(&vault);
        Arc::new(Sealed::new(Sealer::new(Some("test".to_owned()), providers)))
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let object = |name: &&str| {
            let value = self.script.value(name).unwrap_or_default();
            format!("- {{objectName: {name}, sealed: \"{}\"}}\n", sealed(name, &value).lines().join(" "))
        };
        class(&names.iter().map(object).collect::<String>())
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(class("- {objectName: a, sealed: SFS1}"))
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
        vec![(
            ErrorKind::Revoked,
            "a transit engine says of a key that is gone what it says of one that never was",
        )]
    }

    fn exempt(&self) -> Vec<(Clause, &'static str)> {
        let why = "each data key is a call of its own, and a transit engine calls what it never made invalid, not absent";
        vec![(Clause::Calls, why)]
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

fn class(objects: &str) -> Parameters {
    let pairs = [
        ("kms", "vault"),
        ("kmsKey", "transit/shop"),
        ("kmsParameters", "roleName: app"),
        ("objects", objects),
    ];
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
