//! What every provider owes, against a server that answers as Key Vault and Entra ID do. That Azure itself answers so,
//! no test here can show.

use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_azure::{Azure, AzureConfig, Patience};
use provider_contract::{Behaviour, Fixture, Said, Script, TOKEN, Traffic, VALUE, Who, pod, token};
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Seen};
use url::form_urlencoded;

use crate::support::{AUDIENCE, CLIENT, array, parameters};

const EVERYBODY: [Who; 4] = [Who::One, Who::Two, Who::Reborn, Who::Elsewhere];

#[tokio::test]
async fn azure_keeps_the_contract_of_all_providers() {
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
    seen.target.ends_with("/oauth2/v2.0/token")
}

/// The access token that a login of `who` is given.
fn access_token(who: Who) -> String {
    format!("{TOKEN}-access-{who:?}")
}

fn answer(script: &Script, seen: &Seen) -> Answer {
    match script.behaviour() {
        Behaviour::HangAtLogin if is_login(seen) => Answer::Hang,
        _ if is_login(seen) => login(&seen.body),
        Behaviour::Serve | Behaviour::HangAtLogin => read(script, seen),
        // Whether it was deleted is asked at another place, where only an answer about that says so.
        Behaviour::Says(index) if seen.target.contains("/deleted") => match said().remove(index) {
            ("404 of what was deleted", ..) => {
                Answer::json(200, &json!({"recoveryId": "https://kv/deletedsecrets/mine"}))
            }
            _ => refused(404, "SecretNotFound", ""),
        },
        Behaviour::Says(index) => said().remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => Answer::json(429, &json!({})).with("retry-after", &u64::MAX.to_string()),
    }
}

fn read(script: &Script, seen: &Seen) -> Answer {
    if seen.header("authorization") != Some(&format!("Bearer {}", access_token(Who::One))) {
        return refused(403, "Forbidden", "ForbiddenByRbac");
    }
    let name = seen.target.strip_prefix("/secrets/").and_then(|rest| rest.split_once('?'));
    match name.and_then(|(name, _)| script.value(name)) {
        Some(value) => found(&json!({"enabled": true}), &value),
        None => refused(404, "SecretNotFound", ""),
    }
}

fn found(attributes: &Value, value: &str) -> Answer {
    let id = "https://kv/secrets/mine/4387e9f3d6e14c459867679a90fd0f79";
    Answer::json(200, &json!({"value": value, "id": id, "attributes": attributes}))
}

fn refused(status: u16, code: &str, inner: &str) -> Answer {
    let error = json!({"code": code, "message": "no", "innererror": {"code": inner}});
    Answer::json(status, &json!({"error": error}))
}

/// A login that lasts longer than anything does.
fn login(body: &[u8]) -> Answer {
    let field =
        |name: &str| form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value);
    let assertion = field("client_assertion").unwrap_or_default();
    let is = |who: &Who| token(*who).expose() == assertion.as_bytes();
    let Some(who) = EVERYBODY.into_iter().find(is) else {
        return Answer::json(
            401,
            &json!({"error": "invalid_client", "error_description": "AADSTS70021: who is this?"}),
        );
    };
    Answer::json(
        200,
        &json!({"token_type": "Bearer", "access_token": access_token(who), "expires_in": u64::MAX}),
    )
}

/// The answers of the table in the crate's documentation.
fn said() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Revoked, Unauthenticated, Unavailable};
    let page = format!("<html>{VALUE}</html>");
    let message = format!("no right for Bearer {}", access_token(Who::One));
    let with_token = json!({"error": {"code": "Forbidden", "message": message}});
    let throttled = || refused(429, "Throttled", "");
    vec![
        ("404", NotFound, refused(404, "SecretNotFound", "")),
        ("404 of what was deleted", Revoked, refused(404, "SecretNotFound", "")),
        ("not valid yet", NotFound, found(&json!({"nbf": i64::MAX}), VALUE)),
        ("403 of a disabled version", Revoked, refused(403, "Forbidden", "SecretDisabled")),
        ("a disabled version", Revoked, found(&json!({"enabled": false}), VALUE)),
        ("403", Denied, Answer::json(403, &with_token)),
        ("403 of a firewall", Denied, refused(403, "Forbidden", "ForbiddenByFirewall")),
        (
            "401",
            Unauthenticated,
            refused(401, "Unauthorized", "")
                .with("www-authenticate", "Bearer authorization=\"http://127.0.0.1:9\""),
        ),
        ("400", Invalid, refused(400, "BadParameter", "")),
        ("409", Unavailable, refused(409, "Conflict", "ObjectIsBeingRecovered")),
        ("429 with a wait", Unavailable, throttled().with("retry-after", "7")),
        ("429 without", Unavailable, throttled()),
        ("500", Unavailable, refused(500, "InternalServerError", "")),
        ("503", Unavailable, Answer::text(503, "text/html", &page)),
        ("307", Unavailable, refused(307, "", "").with("location", "http://127.0.0.1:9/")),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("another object", Unavailable, Answer::json(200, &json!({"key": {"kty": "RSA"}}))),
        ("half an answer", Unavailable, Answer::Truncated(vec![b'{'; 1000])),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        "contract::azure_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let patience = Patience {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            total: self.patience(),
        };
        let authority = Some(self.server.url());
        Arc::new(Azure::new(AzureConfig { authority, patience, ..AzureConfig::default() }).unwrap())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let objects: Vec<_> =
            names.iter().map(|name| format!("objectName: {name}, objectType: secret")).collect();
        let url = self.server.url();
        parameters(&[("clientID", CLIENT), ("keyvaultURL", &url), ("objects", &array(&objects.join("\n")))])
    }

    fn nonsense(&self) -> Option<Parameters> {
        let objects = array("objectName: a, objectType: secret, objectAlias: ../outside");
        Some(parameters(&[("clientID", CLIENT), ("objects", &objects)]))
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
        Traffic { logins, reads: seen.len() - logins, open: self.server.open() }
    }

    fn saw(&self, text: &str) -> bool {
        self.server.saw(text)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }
}
