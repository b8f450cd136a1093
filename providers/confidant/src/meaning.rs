//! What an answer without success means.

use jiff::Timestamp;
use provider::{Error, ErrorKind};
use provider_client::{is_outage, reason, retry_after, words};
use serde::Deserialize;

/// Names of AWS's errors that mean that it sheds load or fails itself
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html>).
const OUT: [&str; 11] = [
    "DependencyTimeoutException",
    "InternalFailure",
    "KMSInternalException",
    "KeyUnavailableException",
    "LimitExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];
/// Those that mean that the class names a wrong key.
const WRONG: [&str; 6] = [
    "DisabledException",
    "InvalidArnException",
    "InvalidKeyUsageException",
    "KMSInvalidStateException",
    "NotFoundException",
    "ValidationException",
];

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

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// Confidant, for credentials.
    Confidant,
    /// KMS, for a token.
    Kms,
    /// STS, for the keys of a role.
    Sts,
}

/// Whose words a body is.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    /// Of the API: a name of an error, which Confidant's have not, and a text.
    Api { name: String, text: String },
    /// A page of the library that Confidant is made of. It refuses a token so.
    Page,
    /// Anything else.
    Others,
}

#[derive(Deserialize)]
struct OfConfidant {
    error: Option<String>,
}

#[derive(Deserialize)]
struct OfKms {
    #[serde(rename = "__type", alias = "code", alias = "Code")]
    name: String,
    #[serde(default, alias = "Message")]
    message: String,
}

impl Refusal<'_> {
    /// What the answer means; the table in the crate's description.
    pub(crate) fn kind(&self, asked: Asked) -> ErrorKind {
        match (asked, self.words(asked), self.status) {
            (_, _, status) if is_outage(status) => ErrorKind::Unavailable,
            (_, Words::Others, _) => ErrorKind::Unavailable,
            (Asked::Confidant, _, 401) | (Asked::Confidant, Words::Page, 403) => ErrorKind::Unauthenticated,
            (Asked::Confidant, Words::Page, _) => ErrorKind::Unavailable,
            (Asked::Confidant, _, 403) => ErrorKind::Denied,
            (Asked::Confidant, _, 404) => ErrorKind::NotFound,
            (Asked::Confidant, ..) => ErrorKind::Invalid,
            (Asked::Kms | Asked::Sts, Words::Api { name, .. }, _) => of_aws(asked, &name),
            (Asked::Kms | Asked::Sts, Words::Page, _) => ErrorKind::Unavailable,
        }
    }

    fn words(&self, asked: Asked) -> Words {
        match asked {
            Asked::Confidant => self.of_confidant(),
            Asked::Kms => self.of_kms(),
            Asked::Sts => self.of_sts(),
        }
    }

    /// JSON, such as `{}`; or a page of Werkzeug.
    fn of_confidant(&self) -> Words {
        if let Ok(OfConfidant { error }) = serde_json::from_slice(self.body) {
            return Words::Api { name: String::new(), text: error.unwrap_or_default() };
        }
        let page = String::from_utf8_lossy(self.body);
        let is_own =
            ["You don't have the permission to access the requested resource", "could not verify that you"]
                .iter()
                // Newer versions write the apostrophe as an entity.
                .any(|words| page.replace("&#39;", "'").contains(words));
        if is_own { Words::Page } else { Words::Others }
    }

    fn of_kms(&self) -> Words {
        match serde_json::from_slice(self.body) {
            // Some answers have the namespace of the error before it.
            Ok(OfKms { name, message }) => {
                Words::Api { name: name.rsplit('#').next().unwrap_or_default().to_owned(), text: message }
            }
            // What stands before KMS may refuse keys in the form of the older services.
            Err(_) => self.of_sts(),
        }
    }

    fn of_sts(&self) -> Words {
        let body = String::from_utf8_lossy(self.body);
        match between(&body, "Code") {
            Some(name) => Words::Api { name, text: between(&body, "Message").unwrap_or_default() },
            None => Words::Others,
        }
    }

    /// The error, with `what` was asked for, in the server's words without any of `secrets`.
    pub(crate) fn error(&self, asked: Asked, what: &str, secrets: &[&str], now: Timestamp) -> Error {
        let kind = self.kind(asked);
        let said = match self.words(asked) {
            Words::Api { name, text } if name.is_empty() => words(&text, secrets),
            Words::Api { name, text } => words(&format!("{name}: {text}"), secrets),
            Words::Page | Words::Others => None,
        };
        let who = match asked {
            Asked::Confidant => "Confidant",
            Asked::Kms => "KMS",
            Asked::Sts => "STS",
        };
        let message = format!("{what}: {who} answered {}{}", self.status, reason(said, self.redirected_to));
        let wait = self.retry_after.and_then(|raw| retry_after(raw, now));
        let error = Error::new(kind, message).retry_after(wait);
        match advice(asked, kind) {
            Some(advice) => error.remedy(advice),
            None => error,
        }
    }
}

fn of_aws(asked: Asked, name: &str) -> ErrorKind {
    match name {
        out if OUT.contains(&out) => ErrorKind::Unavailable,
        denied if denied.starts_with("AccessDenied") && asked == Asked::Kms => ErrorKind::Denied,
        wrong if WRONG.contains(&wrong) && asked == Asked::Kms => ErrorKind::Invalid,
        _ => ErrorKind::Unauthenticated,
    }
}

fn advice(asked: Asked, kind: ErrorKind) -> Option<&'static str> {
    match (asked, kind) {
        (Asked::Confidant, ErrorKind::Unauthenticated) => Some(
            "check authKey, authContext and service: Confidant must know this key for services (AUTH_KEY) and this \
             context (AUTH_CONTEXT)",
        ),
        (Asked::Confidant, ErrorKind::Denied) => Some("correct service, or let Confidant's ACL allow it"),
        (Asked::Confidant, ErrorKind::NotFound) => Some("correct service, or make it in Confidant"),
        (Asked::Kms, ErrorKind::Denied) => Some(
            "allow kms:Encrypt on the key to the role, for the encryption context from=SERVICE, to=CONTEXT",
        ),
        (Asked::Kms, ErrorKind::Invalid) => Some("correct authKey and region"),
        (Asked::Sts, ErrorKind::Unauthenticated) => {
            Some("check roleArn, and whom the role's trust policy accepts (issuer, subject, audience)")
        }
        _ => None,
    }
}

/// The text of the first element `name`, which has no markup in it.
pub(crate) fn between(xml: &str, name: &str) -> Option<String> {
    let rest = xml.split_once(&format!("<{name}>"))?.1;
    Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const PAGE: &[u8] = b"<!DOCTYPE HTML PUBLIC><title>403 Forbidden</title><p>You don't have the permission to access \
                          the requested resource. It is either read-protected or not readable by the server.</p>";

    fn refusal(status: u16, body: &[u8]) -> Refusal<'_> {
        Refusal { status, retry_after: None, redirected_to: None, body }
    }

    #[test]
    fn every_answer_of_confidant_means_what_the_table_says() {
        use ErrorKind::{Denied, Invalid, NotFound, Unauthenticated, Unavailable};
        let error = br#"{"error":"shop does not have access to get service bank","reference":"bank"}"#;
        for (status, body, kind) in [
            (302, &b""[..], Unavailable),
            (400, error, Invalid),
            (401, error, Unauthenticated),
            (401, b"<html>", Unavailable),
            (403, error, Denied),
            (403, PAGE, Unauthenticated),
            (403, b"<html>go away</html>", Unavailable),
            (404, b"{}", NotFound),
            (404, b"<html>", Unavailable),
            (404, PAGE, Unavailable),
            (408, b"{}", Unavailable),
            (429, b"{}", Unavailable),
            (500, error, Unavailable),
            (503, b"", Unavailable),
        ] {
            assert_eq!(refusal(status, body).kind(Asked::Confidant), kind, "{status}");
        }
    }

    #[test]
    fn every_answer_of_aws_means_what_the_table_says() {
        use ErrorKind::{Denied, Invalid, Unauthenticated, Unavailable};
        for (status, name, kms, sts) in [
            (400, "AccessDeniedException", Denied, Unauthenticated),
            (403, "AccessDenied", Denied, Unauthenticated),
            (400, "NotFoundException", Invalid, Unauthenticated),
            (400, "DisabledException", Invalid, Unauthenticated),
            (400, "ThrottlingException", Unavailable, Unavailable),
            (400, "Throttling", Unavailable, Unavailable),
            (400, "KMSInternalException", Unavailable, Unavailable),
            (400, "InvalidIdentityToken", Unauthenticated, Unauthenticated),
            (400, "ExpiredTokenException", Unauthenticated, Unauthenticated),
            (403, "InvalidClientTokenId", Unauthenticated, Unauthenticated),
            (503, "Anything", Unavailable, Unavailable),
        ] {
            let json = format!(r#"{{"__type":"com.amazonaws#{name}","message":"no"}}"#);
            let xml = format!(
                "<ErrorResponse><Error><Code>{name}</Code><Message>no</Message></Error></ErrorResponse>"
            );
            assert_eq!(refusal(status, json.as_bytes()).kind(Asked::Kms), kms, "{name}");
            assert_eq!(refusal(status, xml.as_bytes()).kind(Asked::Sts), sts, "{name}");
        }
        for asked in [Asked::Kms, Asked::Sts] {
            assert_eq!(refusal(403, b"<html>").kind(asked), Unavailable);
        }
    }

    #[test]
    fn an_error_repeats_the_servers_words_and_no_secret() {
        let body =
            br#"{"__type":"AccessDeniedException","message":"User: shop with TOKEN is not authorized"}"#;
        let told = refusal(400, body).error(Asked::Kms, "login", &["TOKEN"], NOW).to_string();
        assert!(
            told.starts_with(
                "login: KMS answered 400 (AccessDeniedException: User: shop with … is not authorized)"
            ),
            "{told}"
        );
        assert!(told.contains("kms:Encrypt"), "{told}");
    }
}
