//! What a vault's answers say, as its [API](https://learn.microsoft.com/rest/api/keyvault/) has it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Object, Reading, Result, SecretBytes, Span, Validity};
use provider_client::SecretText;
use serde::Deserialize;

use crate::call::{Call, Kind, is_name, is_version};
use crate::contents;
use crate::objects::{Part, Piece};
use crate::parameters::{OnExpired, Plan};

/// An object as the vault has it. Of the parts that depend on its type only its own are there.
#[derive(Debug, Deserialize)]
pub(crate) struct Bundle {
    /// Of a secret or a certificate: its URL, with the version at the end.
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    attributes: Attributes,
    /// Of a secret.
    #[serde(default)]
    pub(crate) value: Option<SecretText>,
    /// Of a secret.
    #[serde(default, rename = "contentType")]
    pub(crate) content_type: Option<String>,
    /// Of a secret that backs a certificate, and of a certificate.
    #[serde(default)]
    pub(crate) kid: Option<String>,
    /// Of a key.
    #[serde(default)]
    pub(crate) key: Option<PublicKey>,
    /// Of a certificate: DER in base64.
    #[serde(default)]
    pub(crate) cer: Option<String>,
}

/// A public key (RFC 7517); numbers are base64url.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PublicKey {
    /// Its URL, with the version at the end.
    pub(crate) kid: String,
    pub(crate) kty: String,
    pub(crate) crv: String,
    pub(crate) n: String,
    pub(crate) e: String,
    pub(crate) x: String,
    pub(crate) y: String,
}

/// When and whether an object is to be used; times are seconds since 1970.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Attributes {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
    created: Option<i64>,
}

impl Bundle {
    fn of(body: &SecretBytes) -> Option<Self> {
        serde_json::from_slice(body.expose()).ok()
    }

    /// Whether it holds what an object of that kind holds.
    fn is(&self, kind: Kind) -> bool {
        match kind {
            Kind::Secret => self.value.is_some(),
            Kind::Key => self.key.is_some(),
            Kind::Cert => self.cer.is_some(),
        }
    }

    fn version(&self) -> Option<String> {
        let id = self.id.as_deref().or(self.key.as_ref().map(|key| key.kid.as_str()))?;
        version_of(id)
    }
}

/// The version at the end of an object's URL.
fn version_of(id: &str) -> Option<String> {
    let version = id.rsplit('/').next().filter(|version| is_version(version))?;
    Some(version.to_owned())
}

/// What an answer with a status of success says. Its validity ends when something changes by its attributes alone.
///
/// # Errors
///
/// `Unavailable` if it is no such object; `Revoked` if that is disabled.
pub fn reading(call: &Call, body: SecretBytes, now: Timestamp) -> Result<Reading> {
    let Some(bundle) = Bundle::of(&body).filter(|bundle| bundle.is(call.kind)) else {
        let text = format!("{call}: the answer ({} bytes) is no {} of a vault", body.len(), call.kind.name());
        return Err(Error::new(ErrorKind::Unavailable, text)
            .remedy("is keyvaultURL right, and is this a proxy's page?"));
    };
    if bundle.attributes.enabled == Some(false) {
        let text = format!("{call}: it is disabled in the vault");
        return Err(Error::new(ErrorKind::Revoked, text).remedy("enable it, or make a new version"));
    }
    let (version, validity) = (bundle.version(), bundle.attributes.validity(now));
    Ok(Reading { body, version, validity })
}

/// The file that `plan.objects[index]` makes of a reading.
///
/// # Errors
///
/// `NotFound` before the object is valid, and of the parts of a certificate where it is none; `Revoked` once it has
/// expired, if the class wants it removed then; `Invalid` if it cannot be written as the class wants it.
pub fn extract(plan: &Plan, index: usize, reading: &Reading, now: Timestamp) -> Result<Object> {
    let none = || Error::new(ErrorKind::Invalid, "the class has no such object");
    let (part, object) = plan.parts.get(index).zip(plan.objects.get(index)).ok_or_else(none)?;
    let call = Call::of_request(&object.request).ok_or_else(none)?;
    let contents = file(plan.on_expired, *part, &call, reading, now)?;
    Ok(Object { contents, significant: None, version: reading.version.clone() })
}

fn file(
    on_expired: OnExpired,
    part: Part,
    call: &Call,
    reading: &Reading,
    now: Timestamp,
) -> Result<SecretBytes> {
    let nonsense = || Error::new(ErrorKind::Unavailable, format!("{call}: the answer is none of a vault"));
    let bundle = Bundle::of(&reading.body).ok_or_else(nonsense)?;
    bundle.attributes.judge(on_expired, call, now)?;
    contents::of(part, &bundle).map_err(|why| {
        let error = Error::new(why.kind, format!("{call}: {}", why.reason));
        error.remedy(why.remedy)
    })
}

impl Attributes {
    /// How long nothing changes by itself: until it begins to be valid, or until it expires.
    fn validity(self, now: Timestamp) -> Option<Validity> {
        let next = [self.nbf, self.exp].into_iter().flatten().filter(|at| *at > now.as_second()).min()?;
        let seconds = u64::try_from(next.saturating_sub(now.as_second())).unwrap_or_default();
        Some(Validity { duration: Span::from_secs(seconds), renewable: false, lease: None })
    }

    fn judge(self, on_expired: OnExpired, call: &Call, now: Timestamp) -> Result<()> {
        if let Some(begins) = self.nbf.filter(|at| *at > now.as_second()) {
            let text = format!("{call}: it is not valid before {}", told(begins));
            return Err(Error::new(ErrorKind::NotFound, text)
                .remedy("it is shown then; change its activation date (notBefore) if it is wanted earlier"));
        }
        if let Some(ended) = self.exp.filter(|at| *at <= now.as_second() && on_expired == OnExpired::Remove) {
            let text = format!("{call}: it expired on {}", told(ended));
            return Err(
                Error::new(ErrorKind::Revoked, text).remedy("make a new version, or write on-expired: keep")
            );
        }
        Ok(())
    }
}

/// When the object of a reading expires, in seconds since 1970, if it does.
pub(crate) fn expires(reading: &Reading) -> Option<i64> {
    Bundle::of(&reading.body)?.attributes.exp
}

/// A time for people; one that no calendar has as its number.
pub(crate) fn told(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

/// A version in a list of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) version: String,
    created: i64,
}

/// One page of such a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) versions: Vec<Listed>,
    /// The query of the next page; empty if this is the last.
    pub(crate) next: String,
}

#[derive(Deserialize)]
struct Written {
    value: Vec<Item>,
    #[serde(default, rename = "nextLink")]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(alias = "kid")]
    id: String,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

impl Page {
    /// Enabled versions only. Of a link to the next page nothing but the query is taken: the token goes to this vault.
    pub(crate) fn of(body: &SecretBytes) -> Option<Self> {
        let Written { value, next_link } = serde_json::from_slice(body.expose()).ok()?;
        let listed = |item: Item| {
            let enabled = item.attributes.enabled != Some(false);
            let created = item.attributes.created.unwrap_or_default();
            enabled.then(|| version_of(&item.id)).flatten().map(|version| Listed { version, created })
        };
        let versions = value.into_iter().filter_map(listed).collect();
        Some(Self { versions, next: query_of(next_link) })
    }
}

fn query_of(next_link: Option<String>) -> String {
    let link = next_link.filter(|link| !link.is_empty());
    let next = link.and_then(|link| link.split_once('?').map(|(_, query)| query.to_owned()));
    next.unwrap_or_default()
}

/// A secret in a list of secrets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListedSecret {
    pub(crate) name: String,
    pub(crate) tags: BTreeMap<String, String>,
}

/// One page of such a list.
#[derive(Debug)]
pub(crate) struct SecretPage {
    pub(crate) secrets: Vec<ListedSecret>,
    /// The query of the next page; empty if this is the last.
    pub(crate) next: String,
}

impl SecretPage {
    /// Enabled secrets only.
    pub(crate) fn of(body: &SecretBytes) -> Option<Self> {
        let Written { value, next_link } = serde_json::from_slice(body.expose()).ok()?;
        let listed = |item: Item| {
            let name = item.id.rsplit('/').next().filter(|name| is_name(name))?.to_owned();
            Some(ListedSecret { name, tags: item.tags.unwrap_or_default() })
        };
        let enabled = value.into_iter().filter(|item| item.attributes.enabled != Some(false));
        let secrets = enabled.map(listed).collect::<Option<_>>()?;
        Some(Self { secrets, next: query_of(next_link) })
    }
}

/// The contents of a secret that was listed.
///
/// # Errors
///
/// As [`extract`].
pub(crate) fn listed(call: &Call, drops_expired: bool, reading: &Reading, now: Timestamp) -> Result<Reading> {
    let on_expired = if drops_expired { OnExpired::Remove } else { OnExpired::Keep };
    let part = Part { kind: Kind::Secret, piece: Piece::Pem };
    let body = file(on_expired, part, call, reading, now)?;
    Ok(Reading { version: reading.version.clone(), ..Reading::new(body) })
}

/// The versions from the newest on, or from `pinned` on: by when they were created.
pub(crate) fn newest_first(mut versions: Vec<Listed>, pinned: Option<&str>) -> Vec<String> {
    versions.sort_by_key(|listed| Reverse(listed.created));
    let names = versions.into_iter().map(|listed| listed.version);
    match pinned {
        None => names.collect(),
        Some(pinned) => names.skip_while(|version| version != pinned).collect(),
    }
}

/// Whether an answer says that an object was deleted and can be recovered.
pub(crate) fn is_deletion(body: &SecretBytes) -> bool {
    #[derive(Deserialize)]
    struct Deletion {
        #[serde(rename = "recoveryId")]
        _recovery_id: String,
    }
    serde_json::from_slice::<Deletion>(body.expose()).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_000;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn call() -> Call {
        let (vault, name) = ("https://kv".to_owned(), "a".to_owned());
        Call { vault, kind: Kind::Secret, name, version: None, age: None, sought: None }
    }

    fn read(body: &Value) -> Result<Reading> {
        reading(&call(), body.to_string().into(), now())
    }

    fn secret(attributes: &Value) -> Value {
        json!({"value": "v", "id": "https://kv/secrets/a/0123abcd", "attributes": attributes})
    }

    fn shown(attributes: &Value, on_expired: OnExpired) -> Result<SecretBytes> {
        let part = Part { kind: Kind::Secret, piece: Piece::Pem };
        file(on_expired, part, &call(), &read(&secret(attributes))?, now())
    }

    #[test]
    fn trap_version_string_is_the_vaults_own_version_id() {
        assert_eq!(read(&secret(&json!({}))).unwrap().version.as_deref(), Some("0123abcd"));
        let key = json!({"key": {"kid": "https://kv/keys/a/77"}});
        let of_key = reading(&Call { kind: Kind::Key, ..call() }, key.to_string().into(), now()).unwrap();
        assert_eq!(of_key.version.as_deref(), Some("77"));
    }

    #[test]
    fn what_is_no_object_of_that_kind_is_an_outage() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"value":1}"#,
            r#"{"cer":"AA=="}"#,
            r#"{"value":"v","attributes":{"exp":1e99}}"#,
        ] {
            let error = reading(&call(), body.to_owned().into(), now()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{body}");
        }
    }

    #[test]
    fn a_disabled_version_is_revoked() {
        assert_eq!(read(&secret(&json!({"enabled": false}))).unwrap_err().kind(), ErrorKind::Revoked);
    }

    #[test]
    fn nothing_is_shown_before_it_is_valid_and_it_is_read_again_then() {
        let early = json!({"nbf": NOW + 60, "exp": NOW + 90});
        let error = shown(&early, OnExpired::Keep).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("not valid before 1970-01-01T00:17:40Z"), "{error}");
        let validity = read(&secret(&early)).unwrap().validity.unwrap();
        assert_eq!(validity.duration, Span::from_secs(60));
        assert!(shown(&json!({"nbf": NOW}), OnExpired::Keep).is_ok());
    }

    #[test]
    fn what_has_expired_stays_or_goes_as_the_class_says() {
        let expired = || json!({"exp": NOW});

        assert_eq!(shown(&expired(), OnExpired::Keep).unwrap().expose(), b"v");
        assert_eq!(shown(&expired(), OnExpired::Remove).unwrap_err().kind(), ErrorKind::Revoked);
        assert!(shown(&json!({"exp": NOW + 1}), OnExpired::Remove).is_ok());
        assert_eq!(read(&secret(&expired())).unwrap().validity, None, "nothing more changes by itself");
    }

    #[test]
    fn versions_are_shown_from_the_newest_and_disabled_ones_are_not_among_them() {
        let item = |id: &str, created: i64, enabled: bool| json!({"id": format!("https://kv/secrets/a/{id}"), "attributes": {"created": created, "enabled": enabled}});
        let listed = json!({
            "value": [item("b", 2, true), item("d", 4, false), item("a", 1, true), item("c", 3, true)],
            "nextLink": "https://evil.example.com/x?$skiptoken=25",
        });

        let page = Page::of(&listed.to_string().into()).unwrap();

        assert_eq!(page.next, "$skiptoken=25");
        assert_eq!(newest_first(page.versions.clone(), None), ["c", "b", "a"]);
        assert_eq!(newest_first(page.versions.clone(), Some("b")), ["b", "a"]);
        assert!(newest_first(page.versions, Some("gone")).is_empty());
        assert!(Page::of(&"{}".to_owned().into()).is_none());
    }
}
