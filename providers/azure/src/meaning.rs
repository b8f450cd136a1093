use jiff::Timestamp;
use provider::{Error, ErrorKind, Span};
use provider_client::{is_outage, reason, retry_after, words};
use serde::Deserialize;

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

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A vault.
    Vault,
    /// Entra ID, for a token.
    Entra,
    /// The machine, for a token of its managed identity.
    Machine,
}

/// What a vault says, as
/// [its API](https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret#keyvaulterror) has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    error: Problem,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    message: String,
    innererror: Option<Inner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Inner {
    code: String,
}

/// What Entra ID and a machine's endpoint say, as OAuth has it (RFC 6749, 5.2).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

/// What is worth telling of an answer: a word of its own, and a sentence.
#[derive(Debug, Default)]
struct Told {
    code: String,
    sentence: String,
}

impl Refusal<'_> {
    /// What the answer means; the table in the crate's description.
    pub fn kind(&self, asked: Asked) -> ErrorKind {
        let told = self.told(asked);
        match self.status {
            status if is_outage(status) => ErrorKind::Unavailable,
            409 | 410 => ErrorKind::Unavailable,
            404 if asked == Asked::Machine => ErrorKind::Unavailable,
            _ if asked != Asked::Vault => match told.code.as_str() {
                "temporarily_unavailable" | "server_error" => ErrorKind::Unavailable,
                _ => ErrorKind::Unauthenticated,
            },
            401 => ErrorKind::Unauthenticated,
            403 if told.code.ends_with("Disabled") => ErrorKind::Revoked,
            403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    /// The error, with `what` was asked for, in the store's words without any of `secrets`.
    pub fn error(&self, asked: Asked, what: &str, secrets: &[&str], now: Timestamp) -> Error {
        let (kind, told) = (self.kind(asked), self.told(asked));
        let who = match asked {
            Asked::Vault => "the vault",
            Asked::Entra => "Entra ID",
            Asked::Machine => "the machine's token endpoint",
        };
        let reason = match [&told.code, &told.sentence].map(|said| words(said, secrets)) {
            [Some(code), Some(sentence)] => format!(" {code} ({sentence})"),
            [said, None] | [None, said] => reason(said, self.redirected_to),
        };
        let message = format!("{what}: {who} answered {}{reason}", self.status);
        let error = Error::new(kind, message).retry_after(self.wait(now));
        match advice(asked, kind, self.status, &told) {
            Some(advice) => error.remedy(advice),
            None => error,
        }
    }

    fn wait(&self, now: Timestamp) -> Option<Span> {
        retry_after(self.retry_after?, now)
    }

    /// The inner code says why; the outer one repeats the status.
    fn told(&self, asked: Asked) -> Told {
        if asked == Asked::Vault {
            let Said { error: Problem { code, message, innererror } } = self.parsed();
            let code = innererror.map(|inner| inner.code).filter(|code| !code.is_empty()).unwrap_or(code);
            return Told { code, sentence: message };
        }
        let Refused { error, error_description } = self.parsed();
        // What follows names the request: it differs each time.
        let sentence = error_description.split(" Trace ID:").next().unwrap_or_default().to_owned();
        Told { code: error, sentence }
    }

    fn parsed<T: Default + for<'de> Deserialize<'de>>(&self) -> T {
        serde_json::from_slice(self.body).unwrap_or_default()
    }
}

/// What Entra ID's [codes](https://learn.microsoft.com/entra/identity-platform/reference-error-codes) ask for.
const LOGINS: [(&str, &str); 9] = [
    ("AADSTS70021:", FEDERATED),
    ("AADSTS700211:", FEDERATED),
    ("AADSTS700212:", FEDERATED),
    ("AADSTS700213:", FEDERATED),
    ("AADSTS700016:", "correct clientID and tenantID: the tenant has no such application"),
    ("AADSTS90002:", "correct tenantID and cloudName: the cloud has no such tenant"),
    (
        "AADSTS7000215:",
        "put the value of a client secret, and not its id, into the Secret of nodePublishSecretRef",
    ),
    (
        "AADSTS7000222:",
        "the client secret has expired: make a new one and put it into the Secret of nodePublishSecretRef",
    ),
    ("AADSTS700024:", "check the clocks of both sides: the pod's token is not valid at this time"),
];
const FEDERATED: &str = "give the application a federated credential for the cluster's issuer, the service account and the \
                         audience of the token";

fn advice(asked: Asked, kind: ErrorKind, status: u16, told: &Told) -> Option<&'static str> {
    match (asked, kind) {
        (_, ErrorKind::Unavailable) => match status {
            300..=399 => Some("set the address to where the service is; redirects are not followed"),
            409 => Some("the object is being deleted or recovered: it is read again later"),
            429 => Some("the service sheds load: it is asked again later"),
            404 => Some("does this machine have a managed identity?"),
            _ => None,
        },
        (Asked::Entra, _) => {
            let known = LOGINS.iter().find(|(code, _)| told.sentence.contains(code));
            Some(
                known.map_or("check tenantID, clientID and the application's credentials", |(_, advice)| {
                    *advice
                }),
            )
        }
        (Asked::Machine, _) => {
            Some("check userAssignedIdentityID, and that the identity is assigned to this machine")
        }
        (Asked::Vault, ErrorKind::Denied) => Some(match told.code.as_str() {
            "ForbiddenByFirewall" | "ForbiddenByConnection" => {
                "let the node's network through the vault's firewall"
            }
            _ => {
                "give the application the role Key Vault Secrets User (of keys and certs Key Vault Certificate User), or \
                 get, and of a history list, in the vault's access policy"
            }
        }),
        (Asked::Vault, ErrorKind::NotFound) => {
            Some("correct objectName, objectType, objectVersion and keyvaultName, or create it")
        }
        (Asked::Vault, ErrorKind::Revoked) => {
            Some("it is disabled in the vault; enable it, or make a new version")
        }
        (Asked::Vault, ErrorKind::Unauthenticated) => Some(
            "the login has ended, or the vault belongs to another tenant or cloud: check tenantID and cloudName",
        ),
        (Asked::Vault, ErrorKind::Invalid) => Some("correct objectName and objectVersion"),
        (Asked::Vault, ErrorKind::NoCredential) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn refusal(status: u16, body: &[u8]) -> Refusal<'_> {
        Refusal { status, retry_after: None, redirected_to: None, body }
    }

    fn inner(code: &str) -> Vec<u8> {
        format!(r#"{{"error":{{"code":"Forbidden","message":"no","innererror":{{"code":"{code}"}}}}}}"#)
            .into_bytes()
    }

    #[test]
    fn every_answer_means_what_the_table_says() {
        use ErrorKind::{Denied, Invalid, NotFound, Revoked, Unauthenticated, Unavailable};
        let disabled = inner("SecretDisabled");
        for (status, body, vault, entra, machine) in [
            (302, &b""[..], Unavailable, Unavailable, Unavailable),
            (400, b"", Invalid, Unauthenticated, Unauthenticated),
            (401, b"", Unauthenticated, Unauthenticated, Unauthenticated),
            (403, b"", Denied, Unauthenticated, Unauthenticated),
            (403, &disabled, Revoked, Unauthenticated, Unauthenticated),
            (404, b"", NotFound, Unauthenticated, Unavailable),
            (405, b"", Invalid, Unauthenticated, Unauthenticated),
            (408, b"", Unavailable, Unavailable, Unavailable),
            (409, b"", Unavailable, Unavailable, Unavailable),
            (410, b"", Unavailable, Unavailable, Unavailable),
            (429, b"", Unavailable, Unavailable, Unavailable),
            (500, b"", Unavailable, Unavailable, Unavailable),
            (503, b"", Unavailable, Unavailable, Unavailable),
        ] {
            let kinds =
                [Asked::Vault, Asked::Entra, Asked::Machine].map(|asked| refusal(status, body).kind(asked));
            assert_eq!(kinds, [vault, entra, machine], "{status}");
        }
        let busy = br#"{"error":"temporarily_unavailable"}"#;
        assert_eq!(refusal(400, busy).kind(Asked::Entra), Unavailable);
    }

    #[test]
    fn the_vaults_words_are_repeated_with_the_code_that_says_why_and_without_our_secrets() {
        let body = br#"{"error":{"code":"Forbidden","message":"Caller of TOKEN\nmay not.","innererror":{"code":"ForbiddenByRbac"}}}"#;

        let told = refusal(403, body).error(Asked::Vault, "secret a", &["TOKEN"], NOW).to_string();

        let begun = "secret a: the vault answered 403 ForbiddenByRbac (Caller of \u{2026} may not.); give the application the role";
        assert!(told.starts_with(begun), "{told}");
    }

    #[test]
    fn a_refused_login_tells_its_code_and_the_remedy_and_nothing_that_differs_each_time() {
        let body = br#"{"error":"invalid_client","error_description":"AADSTS7000222: The secret has expired. Trace ID: 1 Timestamp: 2"}"#;

        let told = refusal(401, body).error(Asked::Entra, "login", &[], NOW).to_string();

        assert!(told.starts_with("login: Entra ID answered 401 invalid_client (AADSTS7000222: The secret has expired.); the client secret has expired"), "{told}");
    }

    #[test]
    fn a_page_is_not_repeated_and_a_wait_is() {
        let page = Refusal { retry_after: Some("7"), ..refusal(502, b"<html>hunter2</html>") };

        let error = page.error(Asked::Vault, "secret a", &[], NOW);

        assert_eq!(error.to_string(), "secret a: the vault answered 502");
        assert_eq!(error.wait(), Some(std::time::Duration::from_secs(7)));
    }
}
