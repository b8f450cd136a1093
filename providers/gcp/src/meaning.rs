//! What an answer without success means.

use std::time::Duration;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Span};
use provider_client::{is_outage, reason, retry_after, words};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An answer without success.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// The status code.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The host that `Location` names.
    pub redirected_to: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What was asked for when Google refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A value.
    Read,
    /// A token of Google's for a token of the pod's.
    Exchange,
    /// A token for a signature by a service account key.
    Signature,
    /// A token of a service account.
    Account,
    /// The machine's own token.
    Machine,
}

/// What Google's APIs say (<https://cloud.google.com/apis/design/errors>), and what RFC 6749 has token servers say.
#[derive(Deserialize)]
struct Body<'a> {
    /// An object, or the name of the error.
    #[serde(borrow)]
    error: &'a RawValue,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: String,
    #[serde(borrow, default)]
    details: Vec<&'a RawValue>,
}

/// `google.rpc.ErrorInfo` and `google.rpc.RetryInfo`, as far as they are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    reason: Option<String>,
    retry_delay: Option<String>,
}

/// What is known of a refusal.
#[derive(Default)]
struct Known {
    /// Whether this is an answer of an API of Google's.
    is_googles: bool,
    /// The name of the error, such as `FAILED_PRECONDITION` or `invalid_grant`.
    status: String,
    message: String,
    reason: Option<String>,
    wait: Option<Span>,
}

impl Refusal<'_> {
    /// What the answer means; the table in the crate's description.
    pub fn kind(&self, asked: Asked) -> ErrorKind {
        self.meaning(asked, &self.known())
    }

    fn meaning(&self, asked: Asked, known: &Known) -> ErrorKind {
        match (asked, self.status) {
            (_, status) if is_outage(status) => ErrorKind::Unavailable,
            (_, 409 | 499) => ErrorKind::Unavailable,
            // The metadata server answers with pages.
            _ if !known.is_googles && asked != Asked::Machine => ErrorKind::Unavailable,
            (Asked::Account, 403) => ErrorKind::Denied,
            (Asked::Exchange | Asked::Signature | Asked::Account | Asked::Machine, _) => {
                ErrorKind::Unauthenticated
            }
            (Asked::Read, 401) => ErrorKind::Unauthenticated,
            (Asked::Read, 403) => ErrorKind::Denied,
            (Asked::Read, 404) => ErrorKind::NotFound,
            (Asked::Read, _) if known.is_taken_back() => ErrorKind::Revoked,
            (Asked::Read, _) if known.status == "FAILED_PRECONDITION" => ErrorKind::Denied,
            (Asked::Read, _) => ErrorKind::Invalid,
        }
    }

    /// The error, with `what` was asked for, in Google's words without any of `secrets`.
    pub fn error(&self, asked: Asked, what: &str, secrets: &[&str], now: Timestamp) -> Error {
        let known = self.known();
        let kind = self.meaning(asked, &known);
        let reason = reason(words(&known.message, secrets), self.redirected_to);
        let message = format!("{what}: Google answered {}{reason}", self.status);
        let wait = self.retry_after.and_then(|raw| retry_after(raw, now)).or(known.wait);
        let error = Error::new(kind, message).retry_after(wait);
        match self.advice(asked, kind, &known) {
            Some(advice) => error.remedy(advice),
            None => error,
        }
    }

    fn known(&self) -> Known {
        let Ok(Body { error, error_description }) = serde_json::from_slice(self.body) else {
            return Known::default();
        };
        let code = serde_json::from_str::<String>(error.get());
        match (serde_json::from_str::<Status<'_>>(error.get()), code) {
            (Ok(status), _) => Known::of(status),
            (_, Ok(code)) => Known::of_token_server(code, error_description),
            _ => Known::default(),
        }
    }

    fn advice(&self, asked: Asked, kind: ErrorKind, known: &Known) -> Option<&'static str> {
        match (kind, self.status) {
            (_, 300..=399) => Some("set endpoint to where Google's APIs are; redirects are not followed"),
            (_, 429) => Some("Google sheds load, or a quota is used up: it is asked again later"),
            _ if known.reason.as_deref() == Some("SERVICE_DISABLED") => {
                Some("switch the API on: gcloud services enable")
            }
            (ErrorKind::Unavailable, 400..=499) => {
                Some("this is no answer of Google's: is endpoint right, and what is on the way there?")
            }
            (ErrorKind::Denied, _) if asked == Asked::Account => Some(
                "grant roles/iam.workloadIdentityUser on the service account to whom this is, or correct serviceAccount",
            ),
            (ErrorKind::Denied, 403) => Some(
                "grant roles/secretmanager.secretAccessor (of a parameter: roles/parametermanager.parameterAccessor) \
                 on it to whom this is, or correct resourceName",
            ),
            (ErrorKind::Denied, _) => Some("look at the state of the secret and of its key in Cloud KMS"),
            (ErrorKind::NotFound, _) => Some("correct resourceName, or add a version"),
            (ErrorKind::Revoked, _) => Some("it was disabled or destroyed; enable it, or add a version"),
            (ErrorKind::Unauthenticated, _) => advice_of_login(asked),
            (ErrorKind::Invalid, _) => Some("correct resourceName"),
            (ErrorKind::Unavailable | ErrorKind::NoCredential, _) => None,
        }
    }
}

fn advice_of_login(asked: Asked) -> Option<&'static str> {
    match asked {
        Asked::Read => None,
        Asked::Exchange => Some(
            "check workloadIdentityProvider, workloadIdentityPool and audience, and what the provider of the pool \
             accepts (issuer, audiences, attribute condition)",
        ),
        Asked::Signature => Some("put a key that is valid into key.json"),
        Asked::Account => Some("correct serviceAccount"),
        Asked::Machine => Some("give the machine a service account"),
    }
}

impl Known {
    fn of(Status { message, status, details }: Status<'_>) -> Self {
        let details = details.iter().filter_map(|raw| serde_json::from_str::<Detail>(raw.get()).ok());
        let (reasons, delays): (Vec<_>, Vec<_>) =
            details.map(|detail| (detail.reason, detail.retry_delay)).unzip();
        Self {
            is_googles: !status.is_empty(),
            status,
            message,
            reason: reasons.into_iter().flatten().next(),
            wait: delays.into_iter().flatten().find_map(|raw| delay(&raw)),
        }
    }

    fn of_token_server(code: String, more: Option<String>) -> Self {
        let message = more.map_or_else(|| code.clone(), |more| format!("{code}: {more}"));
        Self { is_googles: true, status: code, message, ..Self::default() }
    }

    /// `Secret Version [NAME] is in DISABLED state.`, or so. What stands in brackets are names.
    fn is_taken_back(&self) -> bool {
        let named = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_state);
        let outside = self.message.split('[').enumerate().map(|(index, text)| match index {
            0 => text,
            _ => text.split_once(']').map_or("", |(_, rest)| rest),
        });
        self.status == "FAILED_PRECONDITION" && outside.into_iter().any(named)
    }
}

fn is_state(word: &str) -> bool {
    matches!(word, "DISABLED" | "DESTROYED")
}

/// `3.5s`, as JSON of protocol buffers has it.
fn delay(raw: &str) -> Option<Span> {
    let seconds = raw.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(Span::capped)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn said(status: &str, message: &str) -> Vec<u8> {
        json!({"error": {"code": 400, "message": message, "status": status}}).to_string().into_bytes()
    }

    fn refusal(status: u16, body: &[u8]) -> Refusal<'_> {
        Refusal { status, retry_after: None, redirected_to: None, body }
    }

    #[test]
    fn every_answer_means_what_the_table_says() {
        use ErrorKind::{Denied, Invalid, NotFound, Revoked, Unauthenticated, Unavailable};
        let disabled = "Secret Version [projects/1/secrets/a/versions/3] is in DISABLED state.";
        let destroyed = "Secret Version [projects/1/secrets/a/versions/3] is in DESTROYED state.";
        let other = "Cloud KMS key [projects/1/keys/DISABLED] cannot be used.";
        for (status, name, message, read, login) in [
            (301, "", "", Unavailable, Unavailable),
            (400, "INVALID_ARGUMENT", "", Invalid, Unauthenticated),
            (400, "FAILED_PRECONDITION", disabled, Revoked, Unauthenticated),
            (400, "FAILED_PRECONDITION", destroyed, Revoked, Unauthenticated),
            (400, "FAILED_PRECONDITION", "Cannot access it in state DISABLED.", Revoked, Unauthenticated),
            (400, "FAILED_PRECONDITION", other, Denied, Unauthenticated),
            (400, "INVALID_ARGUMENT", disabled, Invalid, Unauthenticated),
            (401, "UNAUTHENTICATED", "", Unauthenticated, Unauthenticated),
            (403, "PERMISSION_DENIED", "", Denied, Unauthenticated),
            (404, "NOT_FOUND", "", NotFound, Unauthenticated),
            (408, "X", "", Unavailable, Unavailable),
            (409, "ABORTED", "", Unavailable, Unavailable),
            (429, "RESOURCE_EXHAUSTED", "", Unavailable, Unavailable),
            (499, "CANCELLED", "", Unavailable, Unavailable),
            (500, "INTERNAL", "", Unavailable, Unavailable),
            (503, "UNAVAILABLE", "", Unavailable, Unavailable),
            (504, "DEADLINE_EXCEEDED", "", Unavailable, Unavailable),
        ] {
            let body = said(name, message);
            assert_eq!(refusal(status, &body).kind(Asked::Read), read, "{status} {message} to a read");
            for asked in [Asked::Exchange, Asked::Signature, Asked::Machine] {
                assert_eq!(refusal(status, &body).kind(asked), login, "{status} to a login");
            }
        }
        assert_eq!(refusal(403, &said("PERMISSION_DENIED", "")).kind(Asked::Account), Denied);
        assert_eq!(refusal(404, &said("NOT_FOUND", "")).kind(Asked::Account), Unauthenticated);
    }

    #[test]
    fn what_is_no_word_of_googles_is_an_outage() {
        for body in [&b"<html>no</html>"[..], b"", b"{}", b"[]", br#"{"error":{"code":404}}"#] {
            for status in [400, 401, 403, 404] {
                assert_eq!(
                    refusal(status, body).kind(Asked::Machine),
                    ErrorKind::Unauthenticated,
                    "{status}"
                );
                assert_eq!(refusal(status, body).kind(Asked::Read), ErrorKind::Unavailable, "{status}");
                assert_eq!(refusal(status, body).kind(Asked::Exchange), ErrorKind::Unavailable, "{status}");
            }
        }
        let told = refusal(404, b"<html>hunter2</html>").error(Asked::Read, "x", &[], NOW).to_string();
        assert!(told.starts_with("x: Google answered 404; this is no answer of Google's"), "{told}");
    }

    #[test]
    fn a_token_server_says_it_in_its_own_form() {
        let body = br#"{"error":"invalid_grant","error_description":"The ID Token issued is stale: TOKEN"}"#;
        let error = refusal(400, body).error(Asked::Exchange, "login of shop/web", &["TOKEN"], NOW);
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        let told = error.to_string();
        assert!(told.contains("(invalid_grant: The ID Token issued is stale: …)"), "{told}");
        assert!(told.contains("audience"), "{told}");
    }

    #[test]
    fn how_long_to_wait_is_in_a_header_or_in_the_details() {
        let details = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}, 7]);
        let body = json!({"error": {"message": "m", "status": "RESOURCE_EXHAUSTED", "details": details}});
        let body = body.to_string();
        let wait = |retry_after| {
            let refusal = Refusal { retry_after, ..refusal(429, body.as_bytes()) };
            refusal.error(Asked::Read, "x", &[], NOW).wait()
        };
        assert_eq!(wait(None), Some(Duration::from_millis(3500)));
        assert_eq!(wait(Some("7")), Some(Duration::from_secs(7)));
        assert_eq!(delay("soon"), None);
        assert_eq!(delay("-1s"), None);
        assert_eq!(delay("1e300s"), None);
    }

    #[test]
    fn an_api_that_is_switched_off_is_told_so() {
        let details = json!([{"reason": "SERVICE_DISABLED"}]);
        let body = json!({"error": {"message": "m", "status": "PERMISSION_DENIED", "details": details}});
        let told = refusal(403, body.to_string().as_bytes()).error(Asked::Read, "x", &[], NOW).to_string();
        assert!(told.contains("gcloud services enable"), "{told}");
    }
}
