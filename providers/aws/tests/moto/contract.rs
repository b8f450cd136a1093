//! What every provider owes, against a stub that answers as AWS's documentation says. The other tests here show what a
//! real moto answers; neither is AWS.

use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_aws::{Aws, AwsConfig, Patience};
use provider_contract::{Behaviour, Fixture, Said, Script, TOKEN, Traffic, VALUE, Who, pod, token};
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Seen};

use crate::support::parameters;

const EVERYBODY: [Who; 4] = [Who::One, Who::Two, Who::Reborn, Who::Elsewhere];

/// Which service of AWS the stub plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plays {
    SecretsManager,
    ParameterStore,
}

#[tokio::test]
async fn secrets_manager_keeps_the_contract_of_all_providers() {
    let test = "contract::secrets_manager_keeps_the_contract_of_all_providers";
    provider_contract::verify(&Stub::start(test, Plays::SecretsManager)).await;
}

#[tokio::test]
async fn the_parameter_store_keeps_the_contract_of_all_providers() {
    let test = "contract::the_parameter_store_keeps_the_contract_of_all_providers";
    provider_contract::verify(&Stub::start(test, Plays::ParameterStore)).await;
}

struct Stub {
    test: &'static str,
    plays: Plays,
    server: FaultServer,
    script: Script,
}

impl Stub {
    fn start(test: &'static str, plays: Plays) -> Self {
        let script = Script::default();
        let told = script.clone();
        Self { test, plays, server: FaultServer::http(move |seen| answer(plays, &told, seen)), script }
    }
}

fn is_login(seen: &Seen) -> bool {
    seen.header("x-amz-target").is_none()
}

/// The session token that a login of `who` is given.
fn session_token(who: Who) -> String {
    format!("{TOKEN}-session-{who:?}")
}

fn answer(plays: Plays, script: &Script, seen: &Seen) -> Answer {
    match script.behaviour() {
        Behaviour::HangAtLogin if is_login(seen) => Answer::Hang,
        _ if is_login(seen) => login(&seen.body),
        Behaviour::Serve | Behaviour::HangAtLogin => read(script, seen),
        Behaviour::Says(index) => said(plays).remove(index).2,
        Behaviour::Hang => Answer::Hang,
        Behaviour::Endless => Answer::Endless(100 << 20),
        Behaviour::Forever => failed("ThrottlingException", "").with("retry-after", &u64::MAX.to_string()),
    }
}

fn read(script: &Script, seen: &Seen) -> Answer {
    let is_signed =
        seen.header("authorization").is_some_and(|signed| signed.starts_with("AWS4-HMAC-SHA256 "));
    if !is_signed || seen.header("x-amz-security-token") != Some(&session_token(Who::One)) {
        return failed("AccessDeniedException", "not authorized");
    }
    let asked: Value = serde_json::from_slice(&seen.body).unwrap();
    let ids =
        |list: &Value| list.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    match seen.header("x-amz-target").unwrap() {
        "secretsmanager.GetSecretValue" => one(script, asked["SecretId"].as_str().unwrap()),
        "secretsmanager.BatchGetSecretValue" => batch(script, ids(&asked["SecretIdList"])),
        "AmazonSSM.GetParameters" => named(script, ids(&asked["Names"])),
        other => failed("UnknownOperationException", other),
    }
}

fn secret(script: &Script, name: &str) -> Option<Value> {
    let value = script.value(name)?;
    Some(json!({"Name": name, "VersionId": "v1", "SecretString": value, "VersionStages": ["AWSCURRENT"]}))
}

fn one(script: &Script, name: &str) -> Answer {
    match secret(script, name) {
        Some(found) => Answer::json(200, &found),
        None => failed("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
    }
}

fn batch(script: &Script, names: Vec<String>) -> Answer {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match secret(script, &name) {
            Some(secret) => found.push(secret),
            None => errors
                .push(json!({"SecretId": name, "ErrorCode": "ResourceNotFoundException", "Message": "none"})),
        }
    }
    Answer::json(200, &json!({"SecretValues": found, "Errors": errors}))
}

fn named(script: &Script, names: Vec<String>) -> Answer {
    let (known, absent): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| script.value(name).is_some());
    let found = |name: &String| json!({"Name": name, "Type": "SecureString", "Value": script.value(name), "Version": 1});
    let found: Vec<_> = known.iter().map(found).collect();
    Answer::json(200, &json!({"Parameters": found, "InvalidParameters": absent}))
}

fn failed(code: &str, message: &str) -> Answer {
    Answer::json(400, &json!({"__type": format!("com.amazonaws.x#{code}"), "message": message}))
}

/// A login that lasts longer than anything does.
fn login(body: &[u8]) -> Answer {
    let jwt = url_field(body, "WebIdentityToken");
    let is = |who: &Who| token(*who).expose() == jwt.as_bytes();
    let Some(who) = EVERYBODY.into_iter().find(is) else {
        let xml = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>who is this?</Message></Error></ErrorResponse>";
        return Answer::text(403, "text/xml", xml);
    };
    let (id, secret, session) = (format!("ASIA{who:?}"), format!("{TOKEN}-secret"), session_token(who));
    let xml = format!(
        "<AssumeRoleWithWebIdentityResponse><Credentials><AccessKeyId>{id}</AccessKeyId>\
         <SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{session}</SessionToken>\
         <Expiration>9999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResponse>"
    );
    Answer::text(200, "text/xml", &xml)
}

fn url_field(body: &[u8], name: &str) -> String {
    let fields = url::form_urlencoded::parse(body);
    fields.into_owned().find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_default()
}

/// The answers of the table in the crate's documentation.
fn said(plays: Plays) -> Vec<(&'static str, ErrorKind, Answer)> {
    let mut said = of_both();
    said.extend(match plays {
        Plays::SecretsManager => of_secrets_manager(),
        Plays::ParameterStore => of_the_parameter_store(),
    });
    said
}

fn of_both() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, Unauthenticated, Unavailable};
    let page = format!("<html>{VALUE}</html>");
    let with_token = format!("not authorized with {}", session_token(Who::Two).replace(TOKEN, "…"));
    let status = |status, code: &str| Answer::json(status, &json!({"__type": code}));
    vec![
        ("denied", Denied, failed("AccessDeniedException", &with_token)),
        (
            "an ended credential",
            Unauthenticated,
            failed("ExpiredTokenException", "The security token is expired"),
        ),
        ("unknown keys", Unauthenticated, failed("UnrecognizedClientException", "invalid token")),
        ("a bad signature", Unauthenticated, failed("InvalidSignatureException", "Signature expired")),
        ("invalid", Invalid, failed("ValidationException", "")),
        ("throttled", Unavailable, failed("ThrottlingException", "Rate exceeded")),
        ("throttled for 7 s", Unavailable, failed("ThrottlingException", "").with("retry-after", "7")),
        ("429", Unavailable, status(429, "TooManyRequestsException")),
        ("500", Unavailable, status(500, "InternalServiceError")),
        ("503", Unavailable, status(503, "ServiceUnavailableException")),
        ("307", Unavailable, Answer::text(307, "text/plain", "").with("location", "http://127.0.0.1:9/")),
        ("a proxy's page", Unavailable, Answer::text(403, "text/html", &page)),
        ("a page", Unavailable, Answer::text(200, "text/html", &page)),
        ("nothing of the kind", Unavailable, Answer::json(200, &json!({}))),
        ("half an answer", Unavailable, Answer::Truncated(vec![b'{'; 1000])),
        ("a cut", Unavailable, Answer::Reset),
    ]
}

fn of_secrets_manager() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, Invalid, NotFound, Revoked, Unavailable};
    let deleted = "You can't perform this operation on the secret because it was marked for deletion.";
    vec![
        ("absent", NotFound, failed("ResourceNotFoundException", "none")),
        ("deleted", Revoked, failed("InvalidRequestException", deleted)),
        ("an odd request", Invalid, failed("InvalidRequestException", "no")),
        ("a key that is disabled", Denied, failed("DecryptionFailure", "KMS key is disabled")),
        ("no value", Unavailable, Answer::json(200, &json!({"Name": "mine"}))),
    ]
}

fn of_the_parameter_store() -> Vec<(&'static str, ErrorKind, Answer)> {
    use ErrorKind::{Denied, NotFound, Unavailable};
    vec![
        ("absent", NotFound, Answer::json(200, &json!({"Parameters": [], "InvalidParameters": ["mine"]}))),
        ("a key that is disabled", Denied, failed("InvalidKeyId", "")),
        (
            "another",
            Unavailable,
            Answer::json(200, &json!({"Parameters": [{"Name": "other", "Value": VALUE}]})),
        ),
    ]
}

impl Fixture for Stub {
    fn test(&self) -> &'static str {
        self.test
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let patience = Patience {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_millis(300),
            total: self.patience(),
        };
        let endpoint = Some(self.server.url());
        Arc::new(Aws::new(AwsConfig { endpoint, patience, ..AwsConfig::default() }).unwrap())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let kind = match self.plays {
            Plays::SecretsManager => "secretsmanager",
            Plays::ParameterStore => "ssmparameter",
        };
        let object = |name: &&str| format!("- {{objectName: {name}, objectType: {kind}}}\n");
        let objects: String = names.iter().map(object).collect();
        parameters(&[("objects", &objects)])
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(parameters(&[("objects", "- {objectName: .., objectType: secretsmanager}")]))
    }

    fn workload(&self, who: Who, volume: &str) -> Workload {
        let mut workload = pod(who, volume);
        workload.tokens.insert("sts.amazonaws.com".to_owned(), token(who));
        workload
    }

    fn put(&self, name: &str, value: &str) {
        self.script.put(name, value);
    }

    fn behave(&self, behaviour: Behaviour) {
        self.script.behave(behaviour);
    }

    fn answers(&self) -> Vec<Said> {
        said(self.plays).into_iter().map(|(what, kind, _)| Said { what, kind }).collect()
    }

    fn never(&self) -> Vec<(ErrorKind, &'static str)> {
        match self.plays {
            Plays::SecretsManager => Vec::new(),
            Plays::ParameterStore => {
                vec![(ErrorKind::Revoked, "a parameter that was deleted is as if it had never been")]
            }
        }
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
