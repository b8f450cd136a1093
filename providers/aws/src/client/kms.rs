//! Keys of one region, by the API of KMS.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use provider::{Context, Encrypted, Error, ErrorKind, Found, Reading, Result, SecretBytes};
use provider_client::SecretText;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::answer::of_json;
use crate::call::Wanted;
use crate::client::session::Asker;
use crate::client::wire::{nonsense, refusal};
use crate::meaning::Asked;
use crate::opened;

/// What `Decrypt` brings.
/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted {
    plaintext: SecretText,
    key_id: String,
}

/// What `Encrypt` brings.
/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    ciphertext_blob: String,
    key_id: String,
}

/// What `ciphertext` holds, which is bound to `context`. If `wanted` names a key, a ciphertext of another one is refused.
pub(crate) async fn decrypt(
    asker: Asker<'_>,
    wanted: &Wanted,
    ciphertext: &str,
    context: &BTreeMap<String, String>,
) -> Result<Found> {
    let what = format!("decrypting with key {:?} in {} as {}", wanted.id, asker.way.region(), asker.identity);
    let mut body = json!({"CiphertextBlob": ciphertext, "EncryptionContext": context});
    if !wanted.id.is_empty() {
        body["KeyId"] = json!(wanted.id);
    }
    let answer = asker.way.json(&what, "Decrypt", &body, asker.keys).await?;
    if !answer.is_success() {
        return Err(refusal(&answer, Asked::Read, &what, &[]));
    }
    let Decrypted { plaintext, key_id } = of_json(&answer.body).ok_or_else(|| nonsense(&what))?;
    // KMS refuses it already. What only resembles KMS may not.
    if !wanted.id.is_empty() && !opened::is_key(&wanted.id, &key_id) {
        let error = Error::new(ErrorKind::Invalid, format!("{what}: it was encrypted with another key"));
        return Err(error.remedy("correct kmsKey, or encrypt it again"));
    }
    let plain = decoded(&plaintext.0).ok_or_else(|| nonsense(&what))?;
    Ok(Found::New(Reading::new(plain)))
}

/// Encrypts `plain` with `key`. KMS tells no version of a key: what it encrypted, it decrypts.
pub(crate) async fn encrypt(
    asker: Asker<'_>,
    key: &str,
    plain: &SecretBytes,
    context: &Context,
) -> Result<Encrypted> {
    let what = format!("encrypting with key {key:?} in {} as {}", asker.way.region(), asker.identity);
    let around = json!({"KeyId": key, "EncryptionContext": context.pairs()}).to_string();
    let text = Zeroizing::new(BASE64_STANDARD.encode(plain.expose()));
    // Written so that no copy of the plaintext stays.
    let open = around.strip_suffix('}').unwrap_or_default();
    let parts: [&[u8]; 4] = [open.as_bytes(), b",\"Plaintext\":\"", text.as_bytes(), b"\"}"];
    let body = SecretBytes::new(parts.concat());
    let answer = asker.way.json_of(&what, "Encrypt", body.expose(), asker.keys).await?;
    if !answer.is_success() {
        return Err(refusal(&answer, Asked::Read, &what, &[]));
    }
    let Made { ciphertext_blob: text, key_id } = of_json(&answer.body).ok_or_else(|| nonsense(&what))?;
    // It goes into manifests, and its key's name into what the API server keeps.
    let is_sound = opened::is_ciphertext(&text)
        && opened::key(&key_id, asker.way.region().as_str()).is_ok()
        && opened::is_key(key, &key_id);
    if is_sound { Ok(Encrypted { text, version: Some(key_id) }) } else { Err(nonsense(&what)) }
}

fn decoded(text: &SecretBytes) -> Option<SecretBytes> {
    let text = text.expose();
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = BASE64_STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(SecretBytes::new(std::mem::take(&mut *bytes)))
}
