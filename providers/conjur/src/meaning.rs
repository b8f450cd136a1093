//! What an answer without success means.

use jiff::Timestamp;
use provider::{Error, ErrorKind};
use provider_client::{is_outage, reason, retry_after, words};
use serde::Deserialize;

/// The longest plain text that Conjur answers with beside its own form.
const LONGEST_PLAIN: usize = 256;

/// An answer without success.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// `Retry-After`.
    pub(crate) retry_after: Option<&'a str>,
    /// The host that `Location` names.
    pub(crate) redirected_to: Option<&'a str>,
    /// The body.
    pub(crate) body: &'a [u8],
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A value.
    Read,
    /// A token.
    Login,
}

/// <https://docs.cyberark.com/conjur-open-source/latest/en/content/developer/lp_rest_api.htm>
#[derive(Deserialize)]
struct Body {
    error: Told,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    message: String,
}

/// Whose words a body is.
enum Words {
    /// In Conjur's own form.
    Conjurs(String),
    /// Nothing, or a short plain text. Conjur answers 401 and 403 so.
    Plain,
    /// Anything else, such as the page of a proxy.
    Others,
}

impl Refusal<'_> {
    /// What the answer means; the table in the crate's description.
    pub(crate) fn kind(&self, asked: Asked) -> ErrorKind {
        match (asked, self.status, self.words()) {
            (_, status, _) if is_outage(status) => ErrorKind::Unavailable,
            (_, _, Words::Others) => ErrorKind::Unavailable,
            (_, status, Words::Plain) if !matches!(status, 401 | 403) => ErrorKind::Unavailable,
            (Asked::Login, ..) => ErrorKind::Unauthenticated,
            (Asked::Read, 401, _) => ErrorKind::Unauthenticated,
            (Asked::Read, 403, _) => ErrorKind::Denied,
            (Asked::Read, 404, _) => ErrorKind::NotFound,
            (Asked::Read, ..) => ErrorKind::Invalid,
        }
    }

    fn words(&self) -> Words {
        if let Ok(Body { error }) = serde_json::from_slice(self.body) {
            return Words::Conjurs(error.message);
        }
        let body = self.body.trim_ascii();
        let is_page = body.starts_with(b"<") || body.len() > LONGEST_PLAIN;
        if is_page { Words::Others } else { Words::Plain }
    }

    /// The error, with `what` was asked for, in Conjur's words without any of `secrets`.
    pub(crate) fn error(&self, asked: Asked, what: &str, secrets: &[&str], now: Timestamp) -> Error {
        let kind = self.kind(asked);
        let said = match self.words() {
            Words::Conjurs(said) => words(&said, secrets),
            Words::Plain | Words::Others => None,
        };
        let reason = reason(said, self.redirected_to);
        let message = format!("{what}: Conjur answered {}{reason}", self.status);
        let wait = self.retry_after.and_then(|raw| retry_after(raw, now));
        let error = Error::new(kind, message).retry_after(wait);
        match self.advice(kind, asked) {
            Some(advice) => error.remedy(advice),
            None => error,
        }
    }

    fn advice(&self, kind: ErrorKind, asked: Asked) -> Option<&'static str> {
        match (kind, self.status) {
            (_, 300..=399) => Some("set applianceUrl to where Conjur is; redirects are not followed"),
            (ErrorKind::Unavailable, 400..=499) if !is_outage(self.status) => {
                Some("this is no answer of Conjur's: is applianceUrl right, and what is on the way there?")
            }
            (ErrorKind::Denied, _) => Some("permit the host to execute the variable, in Conjur's policy"),
            (ErrorKind::NotFound, _) => Some(
                "correct the variable's id, give it a value, or permit the host to see it, in Conjur's policy",
            ),
            (ErrorKind::Unauthenticated, _) if asked == Asked::Login => Some(
                "check authnId, identity and audience, whether the authenticator is enabled, and the host's \
                 annotations in Conjur's policy",
            ),
            (ErrorKind::Invalid, _) => Some("correct the variable's id"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const OURS: &[u8] = br#"{"error":{"code":"not_found","message":"CONJ00076E Variable is empty: TOKEN"}}"#;

    fn refusal(status: u16, body: &[u8]) -> Refusal<'_> {
        Refusal { status, retry_after: None, redirected_to: None, body }
    }

    #[test]
    fn every_answer_means_what_the_table_says() {
        use ErrorKind::{Denied, Invalid, NotFound, Unauthenticated, Unavailable};
        for (status, body, read, login) in [
            (301, &b""[..], Unavailable, Unavailable),
            (400, OURS, Invalid, Unauthenticated),
            (401, b"", Unauthenticated, Unauthenticated),
            (401, b"Unauthorized", Unauthenticated, Unauthenticated),
            (401, OURS, Unauthenticated, Unauthenticated),
            (401, b"<html>", Unavailable, Unavailable),
            (403, b"", Denied, Unauthenticated),
            (403, OURS, Denied, Unauthenticated),
            (403, b" <html>", Unavailable, Unavailable),
            (404, OURS, NotFound, Unauthenticated),
            (404, b"", Unavailable, Unavailable),
            (404, b"<html>", Unavailable, Unavailable),
            (406, OURS, Invalid, Unauthenticated),
            (408, OURS, Unavailable, Unavailable),
            (422, OURS, Invalid, Unauthenticated),
            (422, b"", Unavailable, Unavailable),
            (429, b"", Unavailable, Unavailable),
            (500, OURS, Unavailable, Unavailable),
            (503, b"", Unavailable, Unavailable),
        ] {
            let refusal = refusal(status, body);
            assert_eq!(refusal.kind(Asked::Read), read, "{status} to a read");
            assert_eq!(refusal.kind(Asked::Login), login, "{status} to a login");
        }
        assert_eq!(refusal(401, &[b'a'; 300]).kind(Asked::Read), Unavailable);
    }

    #[test]
    fn an_error_repeats_conjurs_words_and_no_secret() {
        let error = refusal(404, OURS).error(Asked::Read, "shop/db", &["TOKEN"], NOW).to_string();
        assert!(
            error.starts_with("shop/db: Conjur answered 404 (CONJ00076E Variable is empty: …)"),
            "{error}"
        );
        let error = refusal(403, b"hunter2").error(Asked::Read, "shop/db", &[], NOW).to_string();
        assert!(error.contains("execute") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_server_says_how_long_to_wait() {
        let refusal = Refusal { retry_after: Some("7"), ..refusal(429, b"") };
        assert_eq!(refusal.error(Asked::Read, "x", &[], NOW).wait(), Some(Duration::from_secs(7)));
    }
}
