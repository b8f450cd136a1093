//! The attributes of a volume that a provider receives, in the upstream driver's form.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use provider::{Error, ErrorKind, Parameters, Result, SecretBytes, Workload};
use serde::{Deserialize, Serialize};

/// The attribute that holds the tokens.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// A token in the form in which kubelet sends it.
#[derive(Serialize)]
struct BoundToken<'a> {
    token: &'a str,
    #[serde(rename = "expirationTimestamp", skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// The class's parameters, overridden by the volume's attributes, and the tokens, as a JSON object of strings.
///
/// # Errors
///
/// `Invalid`: a token is not valid text.
pub(crate) fn attributes(
    parameters: &Parameters,
    volume: &BTreeMap<String, String>,
    workload: &Workload,
) -> Result<String> {
    let mut all: BTreeMap<&str, &str> = texts(parameters).chain(texts(volume)).collect();
    let tokens = tokens(&workload.tokens)?;
    if let Some(tokens) = &tokens {
        all.insert(TOKENS, tokens);
    }
    json(&all)
}

fn texts(of: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    of.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

/// The pod's credentials as a JSON object of strings; `null` if the pod has none.
///
/// # Errors
///
/// `Invalid`: a credential is not valid text.
pub(crate) fn secrets(workload: &Workload) -> Result<String> {
    if workload.credentials.is_empty() {
        return Ok("null".to_owned());
    }
    let credentials = workload.credentials.iter();
    let texts: Result<BTreeMap<_, _>> =
        credentials.map(|(key, value)| Ok((key.as_str(), text(key, value)?))).collect();
    json(&texts?)
}

fn tokens(tokens: &BTreeMap<String, SecretBytes>) -> Result<Option<String>> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut bound = BTreeMap::new();
    for (audience, token) in tokens {
        let token = text(audience, token)?;
        bound.insert(audience, BoundToken { token, expires: expiry(token) });
    }
    json(&bound).map(Some)
}

fn text<'a>(key: &str, value: &'a SecretBytes) -> Result<&'a str> {
    let refused = || {
        Error::new(
            ErrorKind::Invalid,
            format!("credential {key:?} is no text, and an external provider takes no other"),
        )
    };
    value.expose_str().ok_or_else(refused)
}

fn json(of: &impl Serialize) -> Result<String> {
    serde_json::to_string(of)
        .map_err(|_| Error::new(ErrorKind::Invalid, "the attributes cannot be written as JSON"))
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
}

/// The end of a token's lifetime, from the token itself. Kubelet states the same time.
fn expiry(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    Some(jiff::Timestamp::from_second(exp).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use provider::Identity;

    use super::*;

    fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn workload(tokens: &[(&str, &str)], credentials: &[(&str, &str)]) -> Workload {
        let secret = |pairs: &[(&str, &str)]| {
            strings(pairs).into_iter().map(|(key, value)| (key, SecretBytes::from(value))).collect()
        };
        Workload {
            identity: Identity::named("shop", "web"),
            pod: None,
            volume: "csi-1".to_owned(),
            tokens: secret(tokens),
            credentials: secret(credentials),
        }
    }

    #[test]
    fn the_volumes_attributes_lie_over_the_classes_parameters() {
        let parameters = strings(&[("objects", "- a: <&>"), ("role", "class")]);
        let volume = strings(&[("csi.storage.k8s.io/pod.name", "web-0"), ("role", "pod")]);

        let told = attributes(&parameters, &volume, &workload(&[], &[])).unwrap();

        assert_eq!(told, r#"{"csi.storage.k8s.io/pod.name":"web-0","objects":"- a: <&>","role":"pod"}"#);
    }

    #[test]
    fn tokens_are_a_text_with_the_end_that_they_tell_of_themselves() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1767225600}"#);
        let token = format!("h.{claims}.s");

        let told =
            attributes(&strings(&[]), &strings(&[]), &workload(&[("vault", &token), ("", "opaque")], &[]));

        let told: BTreeMap<String, String> = serde_json::from_str(&told.unwrap()).unwrap();
        let tokens: serde_json::Value = serde_json::from_str(&told[TOKENS]).unwrap();
        assert_eq!(tokens["vault"]["token"], token.as_str());
        assert_eq!(tokens["vault"]["expirationTimestamp"], "2026-01-01T00:00:00Z");
        assert_eq!(tokens[""], serde_json::json!({ "token": "opaque" }));
    }

    #[test]
    fn a_pod_without_credentials_has_the_secrets_null() {
        assert_eq!(secrets(&workload(&[("vault", "t")], &[])).unwrap(), "null");
        assert_eq!(secrets(&workload(&[], &[("id", "a\"b")])).unwrap(), r#"{"id":"a\"b"}"#);
    }
}
