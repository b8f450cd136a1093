use jiff::Timestamp;
use provider::{Error, ErrorKind, Span};
use provider_client::{is_outage, reason, retry_after, words};
use serde::Deserialize;

use crate::answer;

/// An answer without a 2xx status.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// The status code.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The host in the header `Location`.
    pub redirected_to: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What the store refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A login.
    Login,
    /// Any other call.
    Read,
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    errors: Vec<String>,
}

impl Refusal<'_> {
    /// The meaning of the answer, by the table in the crate's documentation.
    pub fn kind(&self, asked: Asked) -> ErrorKind {
        match self.status {
            _ if self.is_plain_to_tls() => ErrorKind::Unavailable,
            status if is_outage(status) => ErrorKind::Unavailable,
            412 | 472 | 473 => ErrorKind::Unavailable,
            _ if asked == Asked::Login => ErrorKind::Unauthenticated,
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::Denied,
            404 if answer::is_taken_back(self.body) => ErrorKind::Revoked,
            404 => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    /// The error for this answer to a call that asked for `what`. It repeats the store's words without any of the
    /// `secrets`.
    pub fn error(&self, asked: Asked, what: &str, secrets: &[&str], now: Timestamp) -> Error {
        let kind = self.kind(asked);
        let reason = reason(self.words(secrets), self.redirected_to);
        let message = format!("{what}: the store answered {}{reason}", self.status);
        let error = Error::new(kind, message).retry_after(self.wait(now));
        match self.advice(kind, what) {
            Some(advice) => error.remedy(advice),
            None => error,
        }
    }

    /// Whether this is what a TLS port answers to a client that does not speak TLS.
    fn is_plain_to_tls(&self) -> bool {
        self.status == 400 && self.body.starts_with(b"Client sent an HTTP request to an HTTPS server")
    }

    fn wait(&self, now: Timestamp) -> Option<Span> {
        retry_after(self.retry_after?, now)
    }

    /// The store's own words, without any of the `secrets` that were sent to it.
    fn words(&self, secrets: &[&str]) -> Option<String> {
        let Words { errors } = serde_json::from_slice(self.body).ok()?;
        words(&errors.join("; "), secrets)
    }

    fn advice(&self, kind: ErrorKind, what: &str) -> Option<&'static str> {
        match (kind, self.status) {
            (ErrorKind::Unavailable, 400) => Some("write vaultAddress with https://"),
            (_, 300..=399) => Some("set vaultAddress to where the store is; redirects are not followed"),
            (_, 473 | 472) => {
                Some("this server is a standby that does not forward; set vaultAddress to the active one")
            }
            (_, 501) => Some("initialise the store"),
            (_, 503) => Some("unseal the store, or wait until its maintenance is over"),
            (_, 429) => Some("the store sheds load: it is asked again later"),
            (ErrorKind::Denied, _) if !what.contains("/data/") => Some(
                "allow the read in the policies of the role, or correct secretPath, which needs `data/` in a versioned KV engine",
            ),
            (ErrorKind::Denied, _) => Some("allow the read in the policies of the role"),
            (ErrorKind::NotFound, _) => {
                Some("correct secretPath, which needs `data/` in a versioned KV engine, or write the secret")
            }
            (ErrorKind::Revoked, _) => {
                Some("it was deleted or destroyed in the store; write or restore a version")
            }
            (ErrorKind::Unauthenticated, 404 | 405) => Some("correct vaultAuthMountPath and vaultNamespace"),
            (ErrorKind::Unauthenticated, _) => {
                Some("check roleName, vaultAuthMountPath, audience and what the role binds")
            }
            (ErrorKind::Invalid, 405) => Some("correct method"),
            (ErrorKind::Invalid, _) => Some("correct secretPath, method and secretArgs"),
            (ErrorKind::Unavailable | ErrorKind::NoCredential, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const DELETED: &[u8] = br#"{"data":{"data":null,"metadata":{"deletion_time":"2026-01-01T00:00:00Z"}}}"#;

    fn refusal(status: u16, body: &[u8]) -> Refusal<'_> {
        Refusal { status, retry_after: None, redirected_to: None, body }
    }

    #[test]
    fn every_answer_means_what_the_table_says() {
        for (status, body, read, login) in [
            (301, &b""[..], ErrorKind::Unavailable, ErrorKind::Unavailable),
            (307, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (400, b"", ErrorKind::Invalid, ErrorKind::Unauthenticated),
            (401, b"", ErrorKind::Unauthenticated, ErrorKind::Unauthenticated),
            (403, b"", ErrorKind::Denied, ErrorKind::Unauthenticated),
            (404, b"", ErrorKind::NotFound, ErrorKind::Unauthenticated),
            (404, DELETED, ErrorKind::Revoked, ErrorKind::Unauthenticated),
            (405, b"", ErrorKind::Invalid, ErrorKind::Unauthenticated),
            (408, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (412, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (413, b"", ErrorKind::Invalid, ErrorKind::Unauthenticated),
            (429, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (472, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (473, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (500, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (501, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (502, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (503, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
            (504, b"", ErrorKind::Unavailable, ErrorKind::Unavailable),
        ] {
            assert_eq!(refusal(status, body).kind(Asked::Read), read, "{status} to a read");
            assert_eq!(refusal(status, body).kind(Asked::Login), login, "{status} to a login");
        }
    }

    #[test]
    fn the_store_may_say_how_long_to_wait_in_either_form() {
        let wait = |raw| Refusal { retry_after: Some(raw), ..refusal(429, b"") }.wait(NOW);
        assert_eq!(wait("7"), Some(Span::from_secs(7)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:02:00 GMT"), Some(Span::from_secs(120)));
        assert_eq!(wait("Wed, 31 Dec 1969 00:00:00 GMT"), Some(Span::ZERO));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn the_stores_words_are_repeated_on_one_line_and_without_our_secrets() {
        let body = br#"{"errors":["1 error occurred:\n\t* bad token s.TOKEN\n\n"]}"#;
        let told = refusal(403, body).error(Asked::Read, "GET secret/data/x", &["s.TOKEN"], NOW).to_string();
        assert!(
            told.starts_with("GET secret/data/x: the store answered 403 (1 error occurred: * bad token …)"),
            "{told}"
        );
        assert!(told.contains("policies of the role"), "{told}");

        let split = br#"{"errors":["s.TO\u0001KEN"]}"#;
        let told = refusal(403, split).error(Asked::Read, "GET x", &["s.TOKEN"], NOW).to_string();
        assert!(told.starts_with("GET x: the store answered 403 (…)"), "{told}");
    }

    #[test]
    fn a_refused_path_without_data_has_the_hint_that_one_not_found_has() {
        let told = |status, what| refusal(status, b"").error(Asked::Read, what, &[], NOW).to_string();

        assert!(told(404, "GET secret/app").contains("needs `data/`"));
        assert!(told(403, "GET secret/app as x").contains("needs `data/`"));
        assert!(!told(403, "GET secret/data/app as x").contains("needs `data/`"));
    }

    #[test]
    fn a_page_is_not_repeated() {
        let told = refusal(502, b"<html>hunter2</html>").error(Asked::Read, "GET a", &[], NOW).to_string();
        assert_eq!(told, "GET a: the store answered 502");
    }
}
