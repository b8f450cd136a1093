//! The credentials of a workload, and fingerprints that distinguish credentials without revealing them.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use provider::{Error, ErrorKind, Result, SecretBytes, Workload};

/// The service account token of `workload` for `audience`. `who` is the caller, for messages.
///
/// # Errors
///
/// `NoCredential` if the token did not come with the volume.
pub fn service_account_token<'a>(
    workload: &'a Workload,
    audience: &str,
    who: &impl fmt::Display,
) -> Result<&'a SecretBytes> {
    workload.tokens.get(audience).ok_or_else(|| {
        let have: Vec<_> = workload.tokens.keys().map(|audience| format!("{audience:?}")).collect();
        let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
        let message = format!("{who}: no service account token for audience {audience:?} (there is: {have})");
        Error::new(ErrorKind::NoCredential, message)
            .remedy("add the audience to tokenRequests of the CSIDriver object, or correct `audience`")
    })
}

/// The credential `key` of `workload`. `who` is the caller, for messages.
///
/// # Errors
///
/// `NoCredential` if the credential did not come with the volume.
pub fn credential<'a>(workload: &'a Workload, key: &str, who: &impl fmt::Display) -> Result<&'a SecretBytes> {
    workload.credentials.get(key).ok_or_else(|| {
        let message = format!("{who}: the credential {key:?} is missing");
        Error::new(ErrorKind::NoCredential, message).remedy(format!(
            "put it into the Secret that nodePublishSecretRef names, or give --credential {key}=FILE"
        ))
    })
}

/// A credential as text, without white space at its ends: files end in line breaks that do not belong to the value.
pub fn text(secret: &SecretBytes) -> Option<&str> {
    secret.expose_str().map(str::trim)
}

/// Distinguishes credentials within this process, and reveals nothing about them.
pub type Fingerprint = [u8; 16];

/// Makes fingerprints with a random key that never leaves this process.
#[derive(Debug)]
pub struct Fingerprints(hmac::Key);

impl Fingerprints {
    /// Makes a new random key.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the system returns no random numbers.
    pub fn new() -> Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let none = |_| Error::new(ErrorKind::Unavailable, "the system gives no random numbers");
        key.map(Self).map_err(none)
    }

    /// The fingerprint of all `secrets`, in this order.
    pub fn of<'a>(&self, secrets: impl IntoIterator<Item = &'a SecretBytes>) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        for secret in secrets {
            context.update(&secret.len().to_le_bytes());
            context.update(secret.expose());
        }
        let tag = context.sign();
        let mut fingerprint = Fingerprint::default();
        fingerprint.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_whole_secrets_in_their_order_and_of_one_process() {
        let [a, b, ab, empty] = ["a", "b", "ab", ""].map(|text| SecretBytes::from(text.to_owned()));
        let ours = Fingerprints::new().unwrap();
        let fingerprints =
            [vec![&a, &b], vec![&b, &a], vec![&ab], vec![&ab, &empty]].map(|secrets| ours.of(secrets));

        assert!(fingerprints.iter().enumerate().all(|(at, one)| !fingerprints[..at].contains(one)));
        assert_eq!(ours.of([&a, &b]), fingerprints[0]);
        assert_ne!(Fingerprints::new().unwrap().of([&a, &b]), fingerprints[0]);
    }
}
