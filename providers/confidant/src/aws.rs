//! The two calls to AWS: keys of a role for the pod's token, and a token of kmsauth for keys. AWS is called without its
//! SDK, as everywhere in secretfs.

use aws_signing::Signer;
use jiff::Timestamp;
use provider::{Error, ErrorKind, Result, SecretBytes};
use provider_client::{Connection, SecretText};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;

use crate::kmsauth;
use crate::meaning::{Asked, between};
use crate::parameters::Account;
use crate::servers::{refusal, service};

const JSON: &str = "application/x-amz-json-1.1";
const TARGET: &str = "TrentService.Encrypt";

/// Keys to sign with.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: SecretBytes,
    pub(crate) token: Option<SecretBytes>,
}

/// The keys of `role` for the token of a service account.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
///
/// # Errors
///
/// `Unauthenticated` if STS refuses it.
pub(crate) async fn keys_of_role(
    connection: &Connection,
    what: &str,
    role: &str,
    session: &str,
    token: &SecretBytes,
) -> Result<Keys> {
    let unfit = || Error::new(ErrorKind::NoCredential, format!("{what}: the token is no text"));
    let jwt = token.expose_str().ok_or_else(unfit)?;
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", session),
        ("WebIdentityToken", jwt),
    ];
    let form = encoded(&fields);
    let request = connection.request(Method::POST, connection.url([])?);
    let request = request.header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let answer = connection.call(what, request.body(form.expose().to_vec())).await?;
    if !answer.is_success() {
        return Err(refusal(&answer, Asked::Sts, what, &[token]));
    }
    keys(&answer.body).ok_or_else(|| nonsense(what))
}

/// A form. It is whole at once, because what grows leaves copies behind.
fn encoded(fields: &[(&str, &str)]) -> SecretBytes {
    let longest = fields.iter().map(|(key, value)| key.len() + 3 * value.len() + 2).sum();
    let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(longest));
    form.extend_pairs(fields).finish().into()
}

fn keys(body: &SecretBytes) -> Option<Keys> {
    let xml = body.expose_str()?;
    let id = between(xml, "AccessKeyId")?;
    let secret = SecretBytes::from(between(xml, "SecretAccessKey")?);
    let token = SecretBytes::from(between(xml, "SessionToken")?);
    Some(Keys { id, secret, token: Some(token) })
}

/// A token of kmsauth for `account`.
/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html>
///
/// # Errors
///
/// `Denied` if the keys may not make tokens of this service, `Unauthenticated` if they are none.
pub(crate) async fn token_of_service(
    connection: &Connection,
    what: &str,
    account: &Account,
    keys: &Keys,
) -> Result<SecretBytes> {
    let unsigned = || {
        Error::new(
            ErrorKind::Unauthenticated,
            format!("{what}: the call to KMS cannot be signed with these keys"),
        )
        .remedy("check access-key-id, secret-access-key and session-token")
    };
    let now = Timestamp::now();
    let body = kmsauth::encrypt(account, now).ok_or_else(unsigned)?.to_string();
    let request = signed(connection, &body, account, keys, now)?.ok_or_else(unsigned)?;
    let answer = connection.call(what, request.body(body)).await?;
    if !answer.is_success() {
        let secrets: Vec<_> = std::iter::once(&keys.secret).chain(&keys.token).collect();
        return Err(refusal(&answer, Asked::Kms, what, &secrets));
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Encrypted {
        ciphertext_blob: SecretText,
    }
    let encrypted = serde_json::from_slice::<Encrypted>(answer.body.expose());
    encrypted.map(|found| found.ciphertext_blob.0).map_err(|_| nonsense(what))
}

/// The signed request without its body; `None` if the keys are not such that one can sign with them.
fn signed(
    connection: &Connection,
    body: &str,
    account: &Account,
    keys: &Keys,
    now: Timestamp,
) -> Result<Option<RequestBuilder>> {
    let url = connection.url([])?;
    let address = url.to_string();
    let headers = [("content-type", JSON), ("x-amz-target", TARGET)];
    let mut request = connection.request(Method::POST, url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let signer = Signer {
        id: &keys.id,
        secret: &keys.secret,
        token: keys.token.as_ref(),
        region: &account.region,
        service: service(Asked::Kms),
        now,
    };
    Ok(signer.sign(request, &address, &headers, body.as_bytes()))
}

fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the answer is none of AWS's"))
        .remedy("is --confidant-aws-endpoint right?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_role_are_taken_from_what_sts_answers() {
        let xml = "<R><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                   <SessionToken>t</SessionToken></Credentials></R>";
        let found = keys(&xml.to_owned().into()).unwrap();
        assert_eq!(
            (&*found.id, found.secret.expose(), found.token.unwrap().expose()),
            ("ASIA", &b"s"[..], &b"t"[..])
        );
        assert!(keys(&"<html>".to_owned().into()).is_none());
    }
}
