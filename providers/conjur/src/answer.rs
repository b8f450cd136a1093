//! What answers with success hold.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{Error, ErrorKind, Result, SecretBytes, Span};
use provider_client::SecretText;
use serde::Deserialize;

/// How long a token lasts where it does not say
/// (<https://docs.cyberark.com/conjur-open-source/latest/en/content/developer/conjur_api_authenticate.htm>).
const LIFETIME: u64 = 480;

/// The values of an answer for several variables, by their full ids. They are in base64 where the answer says so, and
/// a server that does not know that sends them as they are.
#[derive(Debug)]
pub(crate) struct Batch {
    values: BTreeMap<String, SecretText>,
    is_base64: bool,
}

impl Batch {
    pub(crate) fn of(body: &SecretBytes, encoding: Option<&str>) -> Option<Self> {
        let values = serde_json::from_slice(body.expose()).ok()?;
        Some(Self { values, is_base64: encoding.is_some_and(|said| said.eq_ignore_ascii_case("base64")) })
    }

    /// The value of the variable with this full id.
    pub(crate) fn take(&mut self, id: &str) -> Option<SecretBytes> {
        let SecretText(value) = self.values.remove(id)?;
        if self.is_base64 { STANDARD.decode(value.expose()).ok().map(SecretBytes::new) } else { Some(value) }
    }
}

/// The number of the newest version, from what a server says of a variable.
pub(crate) fn newest(body: &SecretBytes) -> Option<u64> {
    #[derive(Deserialize)]
    struct Resource {
        secrets: Vec<Version>,
    }
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Resource { secrets } = serde_json::from_slice(body.expose()).ok()?;
    secrets.into_iter().map(|secret| secret.version).max()
}

/// A login.
#[derive(Debug)]
pub(crate) struct Granted {
    /// As a header has it.
    pub(crate) token: SecretBytes,
    pub(crate) lasts: Span,
}

impl Granted {
    /// What a login answers: a signed token as JSON, of which each call carries the base64.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it is no token.
    pub(crate) fn of(body: &SecretBytes, what: &str) -> Result<Self> {
        let unfit = || {
            let text = format!("{what}: the answer grants no token");
            Error::new(ErrorKind::Unavailable, text).remedy("is applianceUrl right?")
        };
        let Token { payload, .. } = serde_json::from_slice(body.expose()).map_err(|_| unfit())?;
        let token = SecretBytes::from(STANDARD.encode(body.expose()));
        Ok(Self { token, lasts: Span::from_secs(lifetime(&payload).unwrap_or(LIFETIME).min(LIFETIME)) })
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(rename = "protected")]
    _protected: String,
    payload: String,
    #[serde(rename = "signature")]
    _signature: SecretText,
}

/// Times of a token are the server's, so only their difference counts.
fn lifetime(payload: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        iat: u64,
        exp: u64,
    }
    let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let Claims { iat, exp } = serde_json::from_slice(&raw).ok()?;
    exp.checked_sub(iat)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn granted(payload: &str) -> Result<Granted> {
        let body = json!({"protected": "p", "payload": payload, "signature": "s"}).to_string();
        Granted::of(&body.into(), "login")
    }

    fn payload(claims: &serde_json::Value) -> String {
        base64::engine::general_purpose::URL_SAFE.encode(claims.to_string())
    }

    #[test]
    fn a_token_lasts_as_it_says_but_at_most_eight_minutes() {
        for (claims, seconds) in [
            (json!({"sub": "host/shop", "iat": 1000, "exp": 1060}), 60),
            (json!({"sub": "host/shop", "iat": 1000, "exp": u64::MAX}), 480),
            (json!({"sub": "host/shop", "iat": 1000}), 480),
            (json!({"iat": 5, "exp": 1}), 480),
        ] {
            assert_eq!(granted(&payload(&claims)).unwrap().lasts, Span::from_secs(seconds), "{claims}");
        }
        assert_eq!(granted("*").unwrap().lasts, Span::from_secs(480));
        for body in ["", "{}", "<html>", r#"{"payload":"x"}"#] {
            let error = Granted::of(&body.to_owned().into(), "login").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{body}");
        }
    }

    #[test]
    fn values_are_decoded_only_where_the_answer_says_so() {
        let body = SecretBytes::from(r#"{"acme:variable:a":"AP8=","acme:variable:b":"*"}"#.to_owned());
        let mut encoded = Batch::of(&body, Some("base64")).unwrap();
        let mut plain = Batch::of(&body, None).unwrap();
        assert_eq!(encoded.take("acme:variable:a").unwrap().expose(), [0, 255]);
        assert!(encoded.take("acme:variable:b").is_none() && encoded.take("acme:variable:c").is_none());
        assert_eq!(plain.take("acme:variable:a").unwrap().expose(), b"AP8=");
        assert!(!format!("{plain:?}").contains('*'));
        assert!(Batch::of(&"[]".to_owned().into(), None).is_none());
    }

    #[test]
    fn the_newest_version_has_the_highest_number() {
        let of = |body: &str| newest(&body.to_owned().into());
        assert_eq!(of(r#"{"id":"a","secrets":[{"version":2},{"version":11,"expires_at":null}]}"#), Some(11));
        assert_eq!(of(r#"{"secrets":[]}"#), None);
        assert_eq!(of("{}"), None);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body: Vec<u8>, base64: bool) {
            let body = SecretBytes::new(body);
            let _ = newest(&body);
            let _ = Granted::of(&body, "login");
            if let Some(mut batch) = Batch::of(&body, base64.then_some("base64")) {
                let _ = batch.take("a");
            }
        }
    }
}
