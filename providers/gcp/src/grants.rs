//! What servers of tokens grant.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use provider::{SecretBytes, Span};
use serde::Deserialize;

/// An access token of Google's.
#[derive(Debug, Clone)]
pub struct Granted {
    /// What is shown to Google's APIs.
    pub token: SecretBytes,
    /// From when it was granted.
    pub lasts: Span,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What RFC 6749 (5.1) has, which an exchange, a signature and the metadata server are answered with.
/// <https://docs.cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>,
/// <https://docs.cloud.google.com/compute/docs/access/authenticate-workloads>
#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    access_token: Text<'a>,
    expires_in: u64,
}

/// <https://docs.cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountToken<'a> {
    #[serde(borrow)]
    access_token: Text<'a>,
    #[serde(borrow)]
    expire_time: Text<'a>,
}

/// The token that `body` grants; `None` if it grants none.
pub fn token(body: &SecretBytes) -> Option<Granted> {
    let Token { access_token, expires_in } = serde_json::from_slice(body.expose()).ok()?;
    granted(access_token, Span::from_secs(expires_in))
}

/// The token of a service account that `body` grants; `None` if it grants none.
pub fn account_token(body: &SecretBytes, now: Timestamp) -> Option<Granted> {
    let AccountToken { access_token, expire_time } = serde_json::from_slice(body.expose()).ok()?;
    let ends: Timestamp = expire_time.0.parse().ok()?;
    let lasts = Duration::try_from(ends.duration_since(now)).map_or(Span::ZERO, Span::capped);
    granted(access_token, lasts)
}

fn granted(Text(token): Text<'_>, lasts: Span) -> Option<Granted> {
    let token = SecretBytes::from(token.into_owned());
    (!token.is_empty()).then_some(Granted { token, lasts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> SecretBytes {
        text.to_owned().into()
    }

    #[test]
    fn a_token_lasts_as_long_as_its_server_says() {
        let granted =
            token(&body(r#"{"access_token":"ya29.a","expires_in":3599,"token_type":"Bearer"}"#)).unwrap();
        assert_eq!((granted.token.expose(), granted.lasts), (&b"ya29.a"[..], Span::from_secs(3599)));
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let answer = body(r#"{"accessToken":"ya29.b","expireTime":"2026-01-01T01:00:00Z"}"#);
        assert_eq!(account_token(&answer, now).unwrap().lasts, Span::from_secs(3600));
        let past = body(r#"{"accessToken":"ya29.b","expireTime":"2025-01-01T01:00:00Z"}"#);
        assert_eq!(account_token(&past, now).unwrap().lasts, Span::ZERO);
    }

    #[test]
    fn what_grants_no_token_is_none() {
        for text in ["", "{}", r#"{"access_token":""}"#, r#"{"access_token":"","expires_in":1}"#] {
            assert!(token(&body(text)).is_none(), "{text}");
        }
        let soon = body(r#"{"accessToken":"a","expireTime":"soon"}"#);
        assert!(account_token(&soon, Timestamp::UNIX_EPOCH).is_none());
    }
}
