//! What an answer without success means.

use std::time::Duration;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Span};
use provider_client::{is_outage, reason, retry_after, words};
use serde::Deserialize;

/// How long to leave a server alone whose password is being changed.
const CHANGING: Duration = Duration::from_secs(5);

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

/// What CCP says of a failure.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    error_code: String,
    #[serde(default)]
    error_msg: String,
}

impl Refusal<'_> {
    fn said(&self) -> Option<Body> {
        serde_json::from_slice(self.body).ok()
    }

    /// Whether the password is being changed at this moment.
    pub(crate) fn is_changing(&self) -> bool {
        self.said().is_some_and(|said| said.error_code == "APPAP282E")
    }

    /// What the answer means; the table in the crate's description.
    pub(crate) fn kind(&self) -> ErrorKind {
        if is_outage(self.status) {
            return ErrorKind::Unavailable;
        }
        let Some(Body { error_code, .. }) = self.said() else { return ErrorKind::Unavailable };
        match (error_code.as_str(), self.status) {
            ("APPAP282E", _) => ErrorKind::Unavailable,
            ("APPAP306E", _) => ErrorKind::Unauthenticated,
            ("APPAP004E", _) => ErrorKind::NotFound,
            ("APPAP227E" | "APPAP228E" | "APPAP229E", _) => ErrorKind::Invalid,
            (_, 401) => ErrorKind::Unauthenticated,
            (_, 403) => ErrorKind::Denied,
            (_, 404) => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    /// The error, with `what` was asked for, in CCP's words.
    pub(crate) fn error(&self, what: &str, now: Timestamp) -> Error {
        if self.is_changing() {
            return changing(what);
        }
        let said =
            self.said().and_then(|said| words(&format!("{}: {}", said.error_code, said.error_msg), &[]));
        let message = format!("{what}: CCP answered {}{}", self.status, reason(said, self.redirected_to));
        let wait = self.retry_after.and_then(|raw| retry_after(raw, now));
        let kind = self.kind();
        let error = Error::new(kind, message).retry_after(wait);
        match self.advice(kind) {
            Some(advice) => error.remedy(advice),
            None => error,
        }
    }

    fn advice(&self, kind: ErrorKind) -> Option<&'static str> {
        match (kind, self.status) {
            (_, 300..=399) => Some("set url to where CCP is; redirects are not followed"),
            (ErrorKind::Unavailable, 400..=499) if !is_outage(self.status) => {
                Some("this is no answer of CCP's: are url and webService right?")
            }
            (ErrorKind::Unauthenticated, _) => {
                Some("let the application appId be known by this certificate in the vault")
            }
            (ErrorKind::Denied, _) => Some("define the application appId in the vault, or correct appId"),
            (ErrorKind::NotFound, _) => Some(
                "correct the search, or make the application and the provider's user members of the safe",
            ),
            (ErrorKind::Invalid, _) => Some("write a narrower search"),
            _ => None,
        }
    }
}

/// Which of two passwords counts, nobody knows while one takes the place of the other.
pub(crate) fn changing(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the password is being changed"))
        .retry_after(Some(Span::capped(CHANGING)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &[u8]) -> Refusal<'_> {
        Refusal { status, retry_after: None, redirected_to: None, body }
    }

    #[test]
    fn every_answer_means_what_the_table_says() {
        use ErrorKind::{Denied, Invalid, NotFound, Unauthenticated, Unavailable};
        for (status, code, kind) in [
            (302, "", Unavailable),
            (400, "AIMWS031E", Invalid),
            (400, "APPAP007E", Invalid),
            (400, "APPAP229E", Invalid),
            (400, "APPAP282E", Unavailable),
            (401, "X", Unauthenticated),
            (403, "APPAP008E", Denied),
            (403, "APPAP306E", Unauthenticated),
            (404, "APPAP004E", NotFound),
            (400, "APPAP004E", NotFound),
            (404, "X", NotFound),
            (408, "X", Unavailable),
            (429, "X", Unavailable),
            (500, "APPAP004E", Unavailable),
            (503, "X", Unavailable),
        ] {
            let body = format!(r#"{{"ErrorCode":"{code}","ErrorMsg":"no"}}"#);
            assert_eq!(refusal(status, body.as_bytes()).kind(), kind, "{status} {code}");
        }
        for status in [400, 401, 403, 404] {
            assert_eq!(refusal(status, b"<html>").kind(), Unavailable, "{status}");
        }
    }

    #[test]
    fn a_password_that_is_being_changed_is_asked_for_again_in_five_seconds() {
        let body = br#"{"ErrorCode":"APPAP282E","ErrorMsg":"x"}"#;
        let error = refusal(400, body).error("account a", Timestamp::UNIX_EPOCH);
        assert_eq!((error.kind(), error.wait()), (ErrorKind::Unavailable, Some(CHANGING)));
        assert!(error.to_string().contains("is being changed"), "{error}");
    }
}
