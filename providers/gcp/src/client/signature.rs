use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use provider::SecretBytes;

use crate::key_file::KeyFile;

/// What a signature by `key` is shown as: a JWT that is good for an hour.
///
/// # Errors
///
/// Why there is none, in one clause.
pub(crate) fn assertion(key: &KeyFile, now: Timestamp) -> Result<SecretBytes, &'static str> {
    let pair = RsaKeyPair::from_pkcs8(key.private_key.expose())
        .map_err(|_| "its private_key is no RSA key of 2048 bits or more")?;
    let claims = key.claims(now.as_second());
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), claims.as_bytes(), &mut signature)
        .map_err(|_| "its private_key cannot sign")?;
    Ok(SecretBytes::from(format!("{claims}.{}", URL_SAFE_NO_PAD.encode(&signature))))
}
