//! Makes the certificates and private keys of `kubernetes.io/tls` Secrets from what stores hold.
//!
//! A store returns one file: PEM blocks, or a PKCS#12 archive (PFX). Readers of such Secrets expect two files: the
//! certificates, and the key in the oldest form of its kind (PKCS#1 for RSA, SEC1 for elliptic curves, PKCS#8 for all
//! others).
//!
//! The functions are pure and safe with any input. Key material is kept in buffers that are wiped.

mod blocks;
mod form;
mod key;
mod pfx;

use zeroize::Zeroizing;

use form::Form;

/// Why a file cannot be used. The message holds nothing of the file's contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The file is neither PEM nor PKCS#12.
    #[error("it is neither PEM nor PKCS#12 (PFX)")]
    Form,
    /// A PEM block is cut off, or is not valid base64.
    #[error("one of its PEM blocks is malformed")]
    Pem,
    /// A PKCS#12 archive cannot be opened.
    #[error("it is a PKCS#12 file (PFX) that cannot be opened{0}")]
    Pfx(&'static str),
    /// There is no certificate.
    #[error("it holds no certificate")]
    NoCertificate,
    /// There is no private key.
    #[error("it holds no private key")]
    NoKey,
    /// The private key is encrypted.
    #[error("its private key is encrypted; store it unencrypted, or as PKCS#12 (PFX) with its password")]
    Encrypted,
    /// The private key is damaged.
    #[error("its private key is no valid {0} key")]
    Key(&'static str),
    /// The key does not name its elliptic curve, so no reader could use it.
    #[error("its private key does not name its curve; store it as PKCS#8 (PRIVATE KEY)")]
    Curve,
}

/// Every certificate in `file`, as PEM: in the order of the file, but for a PFX the key's own certificate comes first.
///
/// `password` opens a PFX; it is empty for a PFX without a password.
///
/// # Errors
///
/// The file has no certificate, or cannot be read.
pub fn certificates(file: &[u8], password: &str) -> Result<String, Unusable> {
    match Form::of(file)? {
        Form::Pem => blocks::certificates(file),
        Form::Pfx => pfx::certificates(file, password),
    }
}

/// The private key in `file`, as PEM. If there are several, the last one.
///
/// `password` opens a PFX; it is empty for a PFX without a password.
///
/// # Errors
///
/// The file has no private key, or the key cannot be read.
pub fn private_key(file: &[u8], password: &str) -> Result<Zeroizing<String>, Unusable> {
    match Form::of(file)? {
        Form::Pem => blocks::private_key(file),
        Form::Pfx => pfx::private_key(file, password),
    }
}

/// `file` as PEM: the private key first, then the certificates.
///
/// A PEM file is returned unchanged. The key of a PFX becomes PKCS#8. Its certificates follow in the order of the
/// chain, from the key's own up to the root, and then those outside the chain, in the order of the archive. `password`
/// is as in [`certificates`].
///
/// # Errors
///
/// The file has no key, or cannot be read.
pub fn bundle(file: &[u8], password: &str) -> Result<Zeroizing<String>, Unusable> {
    match Form::of(file)? {
        Form::Pem => {
            std::str::from_utf8(file).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| Unusable::Pem)
        }
        Form::Pfx => pfx::bundle(file, password),
    }
}

/// The private key of a [`bundle`], in the form that it has there. If there are several, the last one.
///
/// # Errors
///
/// There is no private key, or it is encrypted.
pub fn key_of_bundle(pem: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    blocks::private_key_as_it_is(pem)
}
