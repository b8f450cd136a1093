//! What AWS answers, taken apart. Values go straight into secret bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use provider::{Reading, SecretBytes, Span};
use provider_client::SecretText;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::call::{CURRENT, Wanted};
use crate::meaning::Words;

/// Longest name of a version, as AWS has them: a UUID, or a client's token of up to 64 characters.
const MAX_VERSION: usize = 64;

/// What `GetSecretValue` brings, and `BatchGetSecretValue` of each secret.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SecretValue {
    #[serde(default, rename = "ARN")]
    arn: String,
    #[serde(default)]
    name: String,
    version_id: Option<String>,
    secret_string: Option<SecretText>,
    secret_binary: Option<SecretText>,
}

/// What `BatchGetSecretValue` brings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SecretValues {
    #[serde(default)]
    pub(crate) secret_values: Vec<SecretValue>,
    #[serde(default)]
    pub(crate) errors: Vec<SecretError>,
    pub(crate) next_token: Option<String>,
}

/// What `ListSecrets` brings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedSecrets {
    pub(crate) secret_list: Vec<ListedSecret>,
    pub(crate) next_token: Option<String>,
}

/// One secret of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedSecret {
    pub(crate) name: String,
    #[serde(default)]
    tags: Vec<Tag>,
    deleted_date: Option<IgnoredAny>,
    #[serde(default)]
    secret_versions_to_stages: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// What `GetParametersByPath` brings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ParametersByPath {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) next_token: Option<String>,
}

/// Why a batch brings one secret not.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SecretError {
    secret_id: String,
    #[serde(default)]
    error_code: String,
    #[serde(default)]
    message: String,
}

/// What `DescribeSecret` tells.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Description {
    deleted_date: Option<IgnoredAny>,
    #[serde(default)]
    version_ids_to_stages: BTreeMap<String, Vec<String>>,
}

/// What `GetParameters` brings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Parameters {
    #[serde(default)]
    pub(crate) parameters: Vec<Parameter>,
    #[serde(default)]
    pub(crate) invalid_parameters: Vec<String>,
}

/// One parameter.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Parameter {
    #[serde(default, rename = "ARN")]
    arn: String,
    #[serde(default)]
    name: String,
    version: Option<u64>,
    selector: Option<String>,
    value: SecretText,
}

/// Keys to sign with.
#[derive(Debug, Clone)]
pub struct Keys {
    pub(crate) id: String,
    pub(crate) secret: SecretBytes,
    pub(crate) token: Option<SecretBytes>,
    /// How long they are good for, where they end.
    pub(crate) lasts: Option<Span>,
}

/// Credentials as the agents of a machine tell them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    access_key_id: String,
    secret_access_key: SecretText,
    #[serde(alias = "SessionToken")]
    token: Option<SecretText>,
    expiration: Option<String>,
}

/// `body` as what was asked for. `None` if it is something else.
pub(crate) fn of_json<T: DeserializeOwned>(body: &SecretBytes) -> Option<T> {
    serde_json::from_slice(body.expose()).ok()
}

impl SecretValue {
    /// Whether `id` is its name or its ARN.
    pub(crate) fn is_called(&self, id: &str) -> bool {
        self.name == id || self.arn == id
    }

    /// Whether `id` is its ARN without the six random characters at its end, which AWS takes too.
    pub(crate) fn is_begun_by(&self, id: &str) -> bool {
        self.arn.rsplit_once('-').is_some_and(|(arn, _)| arn == id)
    }

    /// The value. `None` if there is none, or bytes that are not in base64.
    pub(crate) fn reading(&self) -> Option<Reading> {
        let body = match (&self.secret_string, &self.secret_binary) {
            (Some(SecretText(text)), _) => text.clone(),
            (None, Some(SecretText(binary))) => STANDARD.decode(binary.expose()).ok()?.into(),
            (None, None) => return None,
        };
        Some(Reading { version: self.version_id.clone().filter(|id| is_version(id)), ..Reading::new(body) })
    }
}

impl SecretError {
    pub(crate) fn is_about(&self, id: &str) -> bool {
        self.secret_id == id
    }

    pub(crate) fn words(&self) -> Words {
        Words { code: self.error_code.clone(), message: self.message.clone() }
    }
}

impl Description {
    /// Whether the secret waits for its end.
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted_date.is_some()
    }

    /// Whether a reading of `wanted` would bring `version`.
    pub(crate) fn shows(&self, wanted: &Wanted, version: &str) -> bool {
        let Some(stages) = self.version_ids_to_stages.get(version) else { return false };
        let has = |label: &str| stages.iter().any(|stage| stage == label);
        match (&wanted.version, &wanted.label) {
            (Some(exact), None) => exact == version,
            (Some(exact), Some(label)) => exact == version && has(label),
            (None, Some(label)) => has(label),
            (None, None) => has(CURRENT),
        }
    }
}

impl ListedSecret {
    /// Whether it waits for its end.
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted_date.is_some()
    }

    /// Whether it has the tag `key`, with that value where one is asked for.
    pub(crate) fn has_tag(&self, key: &str, value: Option<&str>) -> bool {
        self.tags.iter().any(|tag| tag.key == key && value.is_none_or(|value| tag.value == value))
    }

    /// The version that is in use, if there is one.
    pub(crate) fn current(&self) -> Option<&str> {
        let mut versions = self.secret_versions_to_stages.iter();
        let is_current = |(_, stages): &(&String, &Vec<String>)| stages.iter().any(|stage| stage == CURRENT);
        versions.find(is_current).map(|(version, _)| version.as_str())
    }
}

impl Parameter {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is what was asked for, in a call that asks for one version of each parameter.
    pub(crate) fn is(&self, wanted: &Wanted) -> bool {
        let is_called =
            [&self.name, &self.arn].into_iter().any(|id| *id == wanted.id || *id == wanted.selector());
        let which = wanted.version.as_ref().or(wanted.label.as_ref());
        let selected = self.selector.as_deref().map(|selector| selector.trim_start_matches(':'));
        is_called
            && selected.is_none_or(|selected| which.is_none_or(|which| selected.ends_with(which.as_str())))
    }

    pub(crate) fn reading(&self) -> Reading {
        let version = self.version.map(|version| version.to_string());
        Reading { version, ..Reading::new(self.value.0.clone()) }
    }
}

fn is_version(id: &str) -> bool {
    id.len() <= MAX_VERSION && id.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Keys {
    /// Those of the Pod Identity agent and of a machine's metadata. `None` if they are none.
    pub fn of_json(body: &SecretBytes, now: Timestamp) -> Option<Self> {
        let Told { access_key_id, secret_access_key, token, expiration } = of_json(body)?;
        let lasts = match expiration {
            Some(raw) => Some(left(&raw, now)?),
            None => None,
        };
        let (secret, token) = (secret_access_key.0, token.map(|token| token.0));
        Self { id: access_key_id, secret, token, lasts }.whole()
    }

    /// Those that STS grants. `None` if they are none.
    pub fn of_xml(body: &SecretBytes, now: Timestamp) -> Option<Self> {
        let text = |name| between(body.expose(), name);
        let secret = |name| Some(SecretBytes::from(text(name)?.to_owned()));
        let lasts = Some(left(text("Expiration")?, now)?);
        let id = text("AccessKeyId")?.to_owned();
        Self { id, secret: secret("SecretAccessKey")?, token: Some(secret("SessionToken")?), lasts }.whole()
    }

    /// The same, if they can be what a signature is made with.
    pub(crate) fn whole(self) -> Option<Self> {
        let is_id =
            (1..=128).contains(&self.id.len()) && self.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_id && !self.secret.is_empty() && self.secret.expose_str().is_some()).then_some(self)
    }
}

/// What is left until `end`.
fn left(end: &str, now: Timestamp) -> Option<Span> {
    let end: Timestamp = end.parse().ok()?;
    Some(Duration::try_from(end.duration_since(now)).map_or(Span::ZERO, Span::capped))
}

/// The text of the first element `name` of an XML answer of STS, which has neither attributes nor entities in what is
/// looked for. `None` if there is no such text.
pub(crate) fn between<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let (_, behind) = std::str::from_utf8(body).ok()?.split_once(&format!("<{name}>"))?;
    let (text, _) = behind.split_once(&format!("</{name}>"))?;
    let text = text.trim();
    (!text.contains('<')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn body(text: &str) -> SecretBytes {
        text.to_owned().into()
    }

    fn secret(text: &str) -> SecretValue {
        of_json(&body(text)).unwrap()
    }

    fn wanted(version: Option<&str>, label: Option<&str>) -> Wanted {
        Wanted { id: "a".to_owned(), version: version.map(str::to_owned), label: label.map(str::to_owned) }
    }

    #[test]
    fn a_value_is_text_or_bytes_and_has_its_version() {
        let text = secret(r#"{"Name":"a","VersionId":"v1","SecretString":"p\u00e4\"ss"}"#).reading().unwrap();
        assert_eq!((text.body.expose(), text.version.as_deref()), ("pä\"ss".as_bytes(), Some("v1")));

        let bytes = secret(r#"{"Name":"a","SecretBinary":"AAEC/w=="}"#).reading().unwrap();
        assert_eq!((bytes.body.expose(), bytes.version), (&[0, 1, 2, 255][..], None));
        assert!(secret(r#"{"Name":"a","SecretString":""}"#).reading().unwrap().body.is_empty());
        assert!(secret(r#"{"Name":"a"}"#).reading().is_none());
        assert!(secret(r#"{"Name":"a","SecretBinary":"no base64"}"#).reading().is_none());
        assert!(of_json::<SecretValue>(&body(r#"{"SecretString":7}"#)).is_none());
    }

    #[test]
    fn a_version_of_more_characters_than_aws_has_is_none() {
        let odd = format!(r#"{{"SecretString":"s","VersionId":"{}"}}"#, "v".repeat(65));
        assert_eq!(secret(&odd).reading().unwrap().version, None);
    }

    #[test]
    fn a_secret_is_known_by_its_name_and_by_its_arn_with_and_without_its_end() {
        let found =
            secret(r#"{"ARN":"arn:aws:secretsmanager:eu-west-1:1:secret:shop/db-a1b2c3","Name":"shop/db"}"#);
        assert!(found.is_called("shop/db"));
        assert!(found.is_called("arn:aws:secretsmanager:eu-west-1:1:secret:shop/db-a1b2c3"));
        let begun = "arn:aws:secretsmanager:eu-west-1:1:secret:shop/db";
        assert!(found.is_begun_by(begun) && !found.is_called(begun));
        assert!(!found.is_called("shop") && !found.is_called("") && !found.is_begun_by("shop/db"));
    }

    #[test]
    fn a_parameter_is_known_by_its_name_or_its_arn_and_by_what_selected_it() {
        let found = |text: &str| of_json::<Parameter>(&body(text)).unwrap();
        let of = |id: &str, version, label| Wanted { id: id.to_owned(), ..wanted(version, label) };
        let plain = found(r#"{"Name":"/a","ARN":"arn:x:parameter/a","Value":"v","Version":4}"#);
        assert!(plain.is(&of("/a", None, None)) && plain.is(&of("arn:x:parameter/a", None, None)));
        assert!(!plain.is(&of("/ab", None, None)) && !plain.is(&of("", None, None)));
        let labelled = found(r#"{"Name":"/a","Value":"v","Version":4,"Selector":":prod"}"#);
        assert!(labelled.is(&of("/a", None, Some("prod"))) && !labelled.is(&of("/a", Some("3"), None)));
        assert_eq!(plain.reading().version.as_deref(), Some("4"));
    }

    #[test]
    fn a_description_tells_which_version_a_stage_shows() {
        let told: Description = of_json(&body(
            r#"{"VersionIdsToStages":{"v1":["AWSPREVIOUS"],"v2":["AWSCURRENT","mine"],"v3":[]}}"#,
        ))
        .unwrap();
        assert!(told.shows(&wanted(None, None), "v2") && !told.shows(&wanted(None, None), "v1"));
        assert!(told.shows(&wanted(None, Some("AWSPREVIOUS")), "v1"));
        assert!(told.shows(&wanted(Some("v3"), None), "v3") && !told.shows(&wanted(Some("v4"), None), "v4"));
        assert!(!told.is_deleted());
        let deleted: Description = of_json(&body(r#"{"DeletedDate":1.5e9}"#)).unwrap();
        assert!(deleted.is_deleted());
    }

    #[test]
    fn keys_are_read_from_xml_and_from_json_and_have_an_end() {
        let xml = "<R><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s+/=</SecretAccessKey>\
                   <SessionToken>t</SessionToken><Expiration>1970-01-01T01:00:00Z</Expiration></Credentials></R>";
        let json = r#"{"AccessKeyId":"ASIA1","SecretAccessKey":"s+/=","Token":"t","Expiration":"1970-01-01T01:00:00Z"}"#;
        for keys in [Keys::of_xml(&body(xml), NOW), Keys::of_json(&body(json), NOW)] {
            let keys = keys.unwrap();
            assert_eq!((keys.id.as_str(), keys.secret.expose()), ("ASIA1", &b"s+/="[..]));
            assert_eq!((keys.token.unwrap().expose(), keys.lasts), (&b"t"[..], Some(Span::from_secs(3600))));
        }
    }

    #[test]
    fn what_is_no_keys_is_none() {
        for xml in ["", "<AccessKeyId>A</AccessKeyId>", "<AccessKeyId><b>A</b></AccessKeyId>", "\u{0}"] {
            assert!(Keys::of_xml(&body(xml), NOW).is_none(), "{xml}");
        }
        for json in [
            "",
            "{}",
            r#"{"AccessKeyId":"","SecretAccessKey":"s"}"#,
            r#"{"AccessKeyId":"A\n","SecretAccessKey":"s"}"#,
            r#"{"AccessKeyId":"A","SecretAccessKey":""}"#,
            r#"{"AccessKeyId":"A","SecretAccessKey":"s","Expiration":"soon"}"#,
        ] {
            assert!(Keys::of_json(&body(json), NOW).is_none(), "{json}");
        }
    }
}
