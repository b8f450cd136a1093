use jiff::Timestamp;
use provider::{Error, ErrorKind};
use provider_client::{is_outage, retry_after, words};
use serde::Deserialize;

use crate::answer::between;

/// An answer without success.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// The status code.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The body: JSON, or XML of STS.
    pub body: &'a [u8],
}

/// What was asked for when AWS refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Credentials.
    Login,
    /// Anything else.
    Read,
}

/// What AWS says of a failure.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// Such as `AccessDeniedException`; empty where nobody of AWS spoke.
    pub(crate) code: String,
    pub(crate) message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JsonWords {
    #[serde(rename = "__type", alias = "code", alias = "Code")]
    code: String,
    #[serde(alias = "Message")]
    message: String,
}

const SHED: [&str; 9] = [
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ProvisionedThroughputExceededException",
    "SlowDown",
    "LimitExceededException",
];
const OUT: [&str; 10] = [
    "InternalServiceError",
    "InternalServiceErrorException",
    "InternalServerError",
    "InternalFailure",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "IDPCommunicationError",
    "KMSInternalException",
    "KeyUnavailableException",
    "DependencyTimeoutException",
];
const ABSENT: [&str; 4] =
    ["ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound", "NotFoundException"];
/// A key of KMS that was switched off, or waits for its end.
const SWITCHED_OFF: [&str; 2] = ["DisabledException", "KMSInvalidStateException"];
/// A key of KMS that cannot be used is the store's refusal too.
const DENIED: [&str; 6] = [
    "AccessDeniedException",
    "AccessDenied",
    "UnauthorizedOperation",
    "DecryptionFailure",
    "DecryptionFailureException",
    "InvalidKeyId",
];
const UNKNOWN_TO_IT: [&str; 11] = [
    "ExpiredTokenException",
    "ExpiredToken",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
];

impl Words {
    /// Those of a body. A type may stand behind a namespace, and before a URL.
    pub(crate) fn of(body: &[u8]) -> Self {
        let told: JsonWords = serde_json::from_slice(body).unwrap_or_else(|_| JsonWords {
            code: between(body, "Code").unwrap_or_default().to_owned(),
            message: between(body, "Message").unwrap_or_default().to_owned(),
        });
        let JsonWords { code, message } = told;
        Self { code: plain_code(&code).to_owned(), message }
    }

    /// What they mean to a read; the table in the crate's description.
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        let is = |codes: &[&str]| codes.contains(&self.code.as_str());
        match self.code.as_str() {
            "" => None,
            _ if is(&SHED) || is(&OUT) => Some(ErrorKind::Unavailable),
            _ if is(&ABSENT) => Some(ErrorKind::NotFound),
            _ if is(&DENIED) => Some(ErrorKind::Denied),
            _ if is(&SWITCHED_OFF) => Some(ErrorKind::Revoked),
            _ if is(&UNKNOWN_TO_IT) => Some(ErrorKind::Unauthenticated),
            "InvalidRequestException" if self.tells_of_deletion() => Some(ErrorKind::Revoked),
            _ => Some(ErrorKind::Invalid),
        }
    }

    /// AWS says it in words only: "…because it was marked for deletion".
    fn tells_of_deletion(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        message.contains("deletion") || message.contains("deleted")
    }

    /// The error, with `what` was asked for.
    pub(crate) fn error(&self, kind: ErrorKind, what: &str, secrets: &[&str]) -> Error {
        let said = format!("{}: {}", self.code, self.message);
        let message = match words(said.trim_end_matches(": "), secrets) {
            Some(said) => format!("{what}: AWS answered {said}"),
            None => format!("{what}: AWS answered without a reason"),
        };
        Error::new(kind, message)
    }
}

fn plain_code(raw: &str) -> &str {
    let behind = raw.rsplit('#').next().unwrap_or(raw);
    let code = behind.split(':').next().unwrap_or(behind);
    let is_code = code.len() <= 100 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    if is_code { code } else { "" }
}

impl Refusal<'_> {
    /// What the answer means; the table in the crate's description.
    pub fn kind(&self, asked: Asked) -> ErrorKind {
        let of_words = Words::of(self.body).kind();
        match (self.status, of_words, asked) {
            (status, ..) if is_outage(status) => ErrorKind::Unavailable,
            (_, None | Some(ErrorKind::Unavailable), _) => ErrorKind::Unavailable,
            (_, Some(_), Asked::Login) => ErrorKind::Unauthenticated,
            (_, Some(kind), Asked::Read) => kind,
        }
    }

    /// The error, with `what` was asked for, in AWS's words without any of `secrets`.
    pub fn error(&self, asked: Asked, what: &str, secrets: &[&str], now: Timestamp) -> Error {
        let (kind, words) = (self.kind(asked), Words::of(self.body));
        let error = match words.code.as_str() {
            "" => {
                Error::new(kind, format!("{what}: the endpoint answered {} in no words of AWS", self.status))
            }
            _ => words.error(kind, what, secrets),
        };
        let error = error.retry_after(self.retry_after.and_then(|raw| retry_after(raw, now)));
        match advice(asked, kind, &words) {
            Some(advice) => error.remedy(advice),
            None => error,
        }
    }
}

/// What the reader can do about it.
pub(crate) fn advice(asked: Asked, kind: ErrorKind, words: &Words) -> Option<&'static str> {
    match (kind, words.code.as_str(), asked) {
        (ErrorKind::Unavailable, "", _) => Some("is the endpoint right, and is no proxy in the way?"),
        (ErrorKind::Unavailable, code, _) if SHED.contains(&code) => {
            Some("AWS sheds load: it is asked again later; a longer secretfs.dev/refresh asks less often")
        }
        (_, "RequestExpired" | "InvalidSignatureException" | "SignatureDoesNotMatch", _) => {
            Some("check the clock of the node, and the access key")
        }
        (ErrorKind::Unauthenticated, "AccessDenied", Asked::Login) => Some(
            "have the role's trust policy name this service account and the audience sts.amazonaws.com; a second role has to trust the first",
        ),
        (ErrorKind::Unauthenticated, _, Asked::Login) => Some(
            "check roleArn, assumeRoleArn, the trust policies and the OIDC provider of the cluster in IAM",
        ),
        (ErrorKind::Unauthenticated, _, Asked::Read) => {
            Some("the credentials have ended or are not known to AWS")
        }
        (ErrorKind::Denied, "DecryptionFailure" | "DecryptionFailureException" | "InvalidKeyId", _) => {
            Some("allow kms:Decrypt on the secret's key, and see that the key is enabled")
        }
        (ErrorKind::Invalid, "InvalidCiphertextException" | "IncorrectKeyException", _) => {
            Some("it was altered, encrypted with another key, or for another encryption context")
        }
        (ErrorKind::NotFound, "NotFoundException", _) => Some("correct kmsKey and the region"),
        (ErrorKind::Revoked, code, _) if SWITCHED_OFF.contains(&code) => {
            Some("enable the key, or encrypt with another one")
        }
        (ErrorKind::Denied, ..) => Some(
            "allow the action in the policy of the role, and kms:Decrypt where the secret has a key of its own",
        ),
        (ErrorKind::NotFound, ..) => Some("correct objectName, its version and the region, or create it"),
        (ErrorKind::Revoked, ..) => {
            Some("it was deleted in the store; restore it, or remove it from the class")
        }
        (ErrorKind::Invalid, ..) => Some("correct objectName and its version"),
        (ErrorKind::Unavailable | ErrorKind::NoCredential, ..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn refusal(status: u16, body: &str) -> Refusal<'_> {
        Refusal { status, retry_after: None, body: body.as_bytes() }
    }

    fn json(code: &str, message: &str) -> String {
        format!(r#"{{"__type":"com.amazonaws.x#{code}","Message":"{message}"}}"#)
    }

    #[test]
    fn every_code_means_what_the_table_says() {
        use ErrorKind::{Denied, Invalid, NotFound, Revoked, Unauthenticated, Unavailable};
        for (status, code, message, kind) in [
            (400, "ResourceNotFoundException", "", NotFound),
            (400, "ParameterNotFound", "", NotFound),
            (400, "InvalidRequestException", "because it was marked for deletion", Revoked),
            (400, "InvalidRequestException", "no such stage", Invalid),
            (400, "AccessDeniedException", "", Denied),
            (400, "DecryptionFailure", "", Denied),
            (400, "InvalidKeyId", "", Denied),
            (400, "ExpiredTokenException", "", Unauthenticated),
            (400, "UnrecognizedClientException", "", Unauthenticated),
            (400, "InvalidSignatureException", "", Unauthenticated),
            (400, "ValidationException", "", Invalid),
            (400, "InvalidCiphertextException", "", Invalid),
            (400, "IncorrectKeyException", "", Invalid),
            (400, "NotFoundException", "", NotFound),
            (400, "DisabledException", "", Revoked),
            (400, "KMSInvalidStateException", "", Revoked),
            (400, "KMSInternalException", "", Unavailable),
            (400, "DependencyTimeoutException", "", Unavailable),
            (400, "ThrottlingException", "", Unavailable),
            (429, "ResourceNotFoundException", "", Unavailable),
            (500, "AccessDeniedException", "", Unavailable),
            (503, "ServiceUnavailable", "", Unavailable),
        ] {
            assert_eq!(refusal(status, &json(code, message)).kind(Asked::Read), kind, "{status} {code}");
            let to_a_login = if kind == Unavailable { Unavailable } else { Unauthenticated };
            assert_eq!(
                refusal(status, &json(code, message)).kind(Asked::Login),
                to_a_login,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn what_is_in_no_words_of_aws_is_no_answer_of_aws() {
        for status in [301, 400, 403, 404, 502] {
            for body in ["", "<html>denied</html>", "{}", r#"{"__type":"a b"}"#, r#"{"__type":7}"#] {
                assert_eq!(
                    refusal(status, body).kind(Asked::Read),
                    ErrorKind::Unavailable,
                    "{status} {body}"
                );
            }
        }
        let told = refusal(403, "<html>hunter2</html>").error(Asked::Read, "shop/db", &[], NOW).to_string();
        assert!(told.starts_with("shop/db: the endpoint answered 403 in no words of AWS; is the"), "{told}");
    }

    #[test]
    fn sts_answers_in_xml() {
        let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                    <Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>";

        let told = refusal(403, body).error(Asked::Login, "login of shop/web", &[], NOW);

        assert_eq!(told.kind(), ErrorKind::Unauthenticated);
        assert!(told.to_string().contains("AccessDenied: Not authorized"), "{told}");
        assert!(told.to_string().contains("trust policy"), "{told}");
    }

    #[test]
    fn aws_words_are_repeated_without_our_secrets_and_a_wait_is_kept() {
        let body = json("ThrottlingException", "slow down TOKEN");
        let refusal = Refusal { retry_after: Some("7"), ..refusal(400, &body) };

        let told = refusal.error(Asked::Read, "shop/db", &["TOKEN"], NOW);

        assert_eq!(told.wait(), Some(std::time::Duration::from_secs(7)));
        assert!(
            told.to_string().starts_with("shop/db: AWS answered ThrottlingException: slow down …; "),
            "{told}"
        );
    }
}
