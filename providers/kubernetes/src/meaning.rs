//! What an answer of the API server without a 2xx status means.

use jiff::Timestamp;
use provider::{Error, ErrorKind, Span};
use provider_client::{retry_after, words};
use serde::Deserialize;

use crate::reader::Reader;

/// An answer without a 2xx status.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<&'a str>,
    /// The body.
    pub(crate) body: &'a [u8],
    /// The token that was sent. Messages do not repeat it.
    pub(crate) token: &'a str,
}

/// The body that the API server writes for such an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    kind: String,
    message: String,
    pub(crate) code: u16,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    retry_after_seconds: u64,
}

impl Refusal<'_> {
    /// The meaning of the answer, by the table in the crate's documentation.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self.status {
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::Denied,
            404 if self.said().is_some() => ErrorKind::NotFound,
            404 | 408 | 409 | 410 | 425 | 429 => ErrorKind::Unavailable,
            400..=499 => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        }
    }

    /// The error for `reader`, who asked for `secret`.
    pub(crate) fn error(&self, reader: &Reader, secret: &str, now: Timestamp) -> Error {
        let kind = self.kind();
        let mut message = format!(
            "Secret {}/{secret} as {}: the API server answered {}",
            reader.namespace, reader.identity, self.status
        );
        if let Some(words) = self.said().and_then(|said| words(&said.message, &[self.token])) {
            message.push_str(&format!(" ({words})"));
        }
        let error = Error::new(kind, message).retry_after(self.wait(now));
        match self.advice(reader, secret, kind) {
            Some(advice) => error.remedy(advice),
            None => error,
        }
    }

    /// The `Status` in the body, if the answer comes from an API server.
    fn said(&self) -> Option<Status> {
        serde_json::from_slice(self.body).ok().filter(|status: &Status| status.kind == "Status")
    }

    fn wait(&self, now: Timestamp) -> Option<Span> {
        let told = self.said().map(|said| said.details.retry_after_seconds).filter(|seconds| *seconds > 0);
        self.retry_after.and_then(|raw| retry_after(raw, now)).or(told.map(Span::from_secs))
    }

    fn advice(&self, reader: &Reader, secret: &str, kind: ErrorKind) -> Option<String> {
        let namespace = &reader.namespace;
        match kind {
            ErrorKind::Denied => Some(format!(
                "allow it with a Role in namespace {namespace} of {{apiGroups: [\"\"], resources: [secrets], \
                 resourceNames: [{secret}], verbs: [get, watch]}} and a RoleBinding to {}",
                reader.subject()
            )),
            ErrorKind::Unauthenticated => Some(
                "the token has ended, its pod or service account is gone, or it is for another audience: the \
                 API server's own is `audience: \"\"` in tokenRequests of the CSIDriver object"
                    .to_owned(),
            ),
            ErrorKind::NotFound => Some(format!("create it in namespace {namespace}, or correct `secret`")),
            ErrorKind::Unavailable if matches!(self.status, 300..=404) => {
                Some("is --kubernetes-api-server the address of an API server?".to_owned())
            }
            ErrorKind::Unavailable | ErrorKind::Invalid | ErrorKind::Revoked | ErrorKind::NoCredential => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const STATUS: &[u8] = br#"{"kind":"Status","message":"secrets \"web\" is no","details":{"name":"web"}}"#;

    fn refusal(status: u16, body: &[u8]) -> Refusal<'_> {
        Refusal { status, retry_after: None, body, token: "" }
    }

    fn reader() -> Reader {
        Reader::of_account(&provider::Identity::named("shop", "till"))
    }

    #[test]
    fn every_answer_means_what_the_table_says() {
        for (status, body, kind) in [
            (301, &b""[..], ErrorKind::Unavailable),
            (307, b"", ErrorKind::Unavailable),
            (400, STATUS, ErrorKind::Invalid),
            (401, STATUS, ErrorKind::Unauthenticated),
            (403, STATUS, ErrorKind::Denied),
            (404, STATUS, ErrorKind::NotFound),
            (404, b"404 page not found", ErrorKind::Unavailable),
            (404, br#"{"kind":"Other"}"#, ErrorKind::Unavailable),
            (405, STATUS, ErrorKind::Invalid),
            (406, STATUS, ErrorKind::Invalid),
            (408, STATUS, ErrorKind::Unavailable),
            (409, STATUS, ErrorKind::Unavailable),
            (410, STATUS, ErrorKind::Unavailable),
            (415, STATUS, ErrorKind::Invalid),
            (422, STATUS, ErrorKind::Invalid),
            (425, b"", ErrorKind::Unavailable),
            (429, b"", ErrorKind::Unavailable),
            (500, STATUS, ErrorKind::Unavailable),
            (502, b"", ErrorKind::Unavailable),
            (503, STATUS, ErrorKind::Unavailable),
            (504, STATUS, ErrorKind::Unavailable),
        ] {
            assert_eq!(refusal(status, body).kind(), kind, "{status}");
        }
    }

    #[test]
    fn a_refusal_names_the_identity_and_the_rule_that_would_allow_it() {
        let told = refusal(403, STATUS).error(&reader(), "web", NOW).to_string();

        for part in [
            "Secret shop/web as system:serviceaccount:shop:till: the API server answered 403 (secrets \"web\" is no)",
            "resourceNames: [web], verbs: [get, watch]",
            "Role in namespace shop",
            "ServiceAccount till",
        ] {
            assert!(told.contains(part), "{part:?} is not in {told}");
        }
    }

    #[test]
    fn the_api_server_may_say_how_long_to_wait_in_three_ways() {
        let header = |raw| Refusal { retry_after: Some(raw), ..refusal(429, b"") }.wait(NOW);
        assert_eq!(header("7"), Some(Span::from_secs(7)));
        assert_eq!(header("Thu, 01 Jan 1970 00:02:00 GMT"), Some(Span::from_secs(120)));
        assert_eq!(header("soon"), None);
        let body = br#"{"kind":"Status","details":{"retryAfterSeconds":3}}"#;
        assert_eq!(refusal(504, body).wait(NOW), Some(Span::from_secs(3)));
        assert_eq!(refusal(504, STATUS).wait(NOW), None);
    }

    #[test]
    fn a_page_is_not_repeated() {
        let told = refusal(502, b"<html>hunter2</html>").error(&reader(), "web", NOW).to_string();
        assert!(told.ends_with("the API server answered 502"), "{told}");
    }
}
