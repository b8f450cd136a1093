//! Keys of Cloud KMS.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use provider::{Context, Encrypted, Error, ErrorKind, Reading, Result, SecretBytes};
use serde_json::json;
use zeroize::Zeroizing;

use crate::answer;
use crate::client::servers::{Body, Message};
use crate::client::session::GcpSession;
use crate::endpoints::Api;
use crate::meaning::Asked;
use crate::opened::{self, Blob, Opened};

impl GcpSession {
    /// What Cloud KMS decrypts of `opened`.
    pub(super) async fn open(&self, opened: &Opened) -> Result<Reading> {
        let ciphertext = match &opened.ciphertext {
            Blob::Written(text) => text.clone(),
            Blob::In(_) => self.held_ciphertext(opened).await?,
        };
        let mut body = json!({"ciphertext": ciphertext});
        if !opened.data.is_empty() {
            body["additionalAuthenticatedData"] = json!(opened.data);
        }
        let what = format!("decrypting with {} as {}", opened.key, self.identity);
        let answer = self.kms(&what, &opened.key, "decrypt", SecretBytes::from(body.to_string())).await?;
        answer::decrypted(&answer).map(Reading::new).map_err(|why| nonsense(&what, why))
    }

    async fn held_ciphertext(&self, opened: &Opened) -> Result<String> {
        let foreign = || Error::new(ErrorKind::Invalid, "the request is none of this provider's");
        let holder = opened.holder().ok_or_else(foreign)?;
        let held = self.value(&holder).await?;
        opened::ciphertext_of(held.body.expose()).ok_or_else(|| {
            let text = format!("{holder}: what it holds is no ciphertext of Cloud KMS");
            Error::new(ErrorKind::Invalid, text).remedy("put the ciphertext there, as bytes or in base64")
        })
    }

    /// Encrypts `plain` with `key`, which is a key's name.
    pub(super) async fn encrypt(
        &self,
        key: &str,
        plain: &SecretBytes,
        context: &Context,
    ) -> Result<Encrypted> {
        let what = format!("encrypting with {key} as {}", self.identity);
        let text = Zeroizing::new(BASE64_STANDARD.encode(plain.expose()));
        let data = opened::data(context);
        // Written so that no copy of the plaintext stays.
        let parts: [&[u8]; 5] = [
            b"{\"additionalAuthenticatedData\":\"",
            data.as_bytes(),
            b"\",\"plaintext\":\"",
            text.as_bytes(),
            b"\"}",
        ];
        let answer = self.kms(&what, key, "encrypt", SecretBytes::new(parts.concat())).await?;
        let made =
            answer::encrypted(&answer).ok_or_else(|| nonsense(&what, "the answer is none of this API's"))?;
        // A version of the key that was named, and of no other.
        let version = made.name.strip_prefix(key).and_then(|rest| rest.strip_prefix("/cryptoKeyVersions/"));
        let version = version
            .filter(|version| version.len() <= 20 && version.bytes().all(|byte| byte.is_ascii_digit()));
        let version = version.ok_or_else(|| nonsense(&what, "another key encrypted it"))?;
        // It goes into manifests.
        if !opened::is_ciphertext(&made.ciphertext) {
            return Err(nonsense(&what, "what it encrypted is not in base64"));
        }
        Ok(Encrypted { version: Some(format!("v{version}")), text: made.ciphertext })
    }

    async fn kms(&self, what: &str, key: &str, verb: &str, body: SecretBytes) -> Result<SecretBytes> {
        let path = format!("v1/{key}:{verb}");
        let message = Message::post(what, Asked::Read, &path, Body::Json(body)).token(&self.token);
        self.servers.ask(&self.tenant, &self.endpoints, &Api::Kms, message, &[&self.token]).await
    }
}

fn nonsense(what: &str, why: &str) -> Error {
    let remedy = "it is asked again later; if it stays so: is endpoint right, and what is on the way there?";
    Error::new(ErrorKind::Unavailable, format!("{what}: {why}")).remedy(remedy)
}
