//! Keys of transit engines as a keyring.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use provider::{
    Ciphertext, Context, Encrypted, Error, ErrorKind, Invalid, Keyring, Keys, Parameters, Result,
    SecretBytes, Tenure, Workload,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::client::connection::Message;
use crate::client::{Vault, VaultSource};
use crate::parameters::Plan;
use crate::transit::{self, Verb};

impl Keys for Vault {
    fn keyring(
        &self,
        namespace: &str,
        parameters: &Parameters,
        ciphertexts: &[Ciphertext],
    ) -> std::result::Result<Arc<dyn Keyring>, Vec<Invalid>> {
        let plan = Plan::of_keys(namespace, parameters, self.0.servers.config(), ciphertexts)?;
        Ok(Arc::new(VaultSource::new(plan, &self.0)))
    }
}

#[async_trait]
impl Keyring for VaultSource {
    async fn encrypt(
        &self,
        workload: &Workload,
        key: &str,
        plain: &SecretBytes,
        context: &Context,
    ) -> Result<Encrypted> {
        let path = transit::path(Verb::Encrypt, key)
            .map_err(|fault| Error::new(ErrorKind::Invalid, fault.to_string()))?;
        let what = format!("POST {path}");
        let session = self.login(workload, Tenure::Shared).await?;
        let message = Message::post(&what, &path).body(body(plain, context));
        let answer = session.send(message).await?;
        if !answer.is_success() {
            return Err(session.refusal(&answer, &what));
        }
        encrypted(answer.body.expose()).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, format!("{what}: the answer is none of a transit engine"))
        })
    }
}

/// The arguments of an encryption, written so that no copy of `plain` stays.
fn body(plain: &SecretBytes, context: &Context) -> SecretBytes {
    let data = transit::associated_data(context).map(|data| format!(",\"associated_data\":\"{data}\""));
    let text = Zeroizing::new(BASE64_STANDARD.encode(plain.expose()));
    let parts: [&[u8]; 5] =
        [b"{\"plaintext\":\"", text.as_bytes(), b"\"", data.as_deref().unwrap_or_default().as_bytes(), b"}"];
    SecretBytes::new(parts.concat())
}

/// The ciphertext of an answer, with the version of its key: `vault:v2:…`.
fn encrypted(answer: &[u8]) -> Option<Encrypted> {
    #[derive(Deserialize)]
    struct Answer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        ciphertext: String,
    }
    let Answer { data: Data { ciphertext } } = serde_json::from_slice(answer).ok()?;
    let version = ciphertext.strip_prefix("vault:")?.split_once(':')?.0.to_owned();
    Some(Encrypted { version: Some(version), text: ciphertext })
}
