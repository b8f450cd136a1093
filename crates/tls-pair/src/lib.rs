//! Certificates and private keys of `kubernetes.io/tls` Secrets, from what stores hold.
//!
//! A store's answer is one file: PEM blocks, or a PKCS#12 archive (PFX). Readers of
//! such Secrets want two: the certificates, and the key in the form that its kind has had
//! longest (PKCS#1 for RSA, SEC1 for elliptic curves, PKCS#8 for all others).
//!
//! Pure functions, safe to feed with anything; key material is kept in buffers that are wiped.

mod blocks;
mod form;
mod key;
mod pfx;

use zeroize::Zeroizing;

use form::Form;

/// Why a file does not give what was asked for. Tells nothing of what the file holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is of another kind.
    #[error("it is neither PEM nor PKCS#12 (PFX)")]
    Form,
    /// A PEM block is cut off or no base64.
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
    /// The elliptic curve is not named, so that no reader could use the key.
    #[error("its private key does not name its curve; store it as PKCS#8 (PRIVATE KEY)")]
    Curve,
}

/// Every certificate in `file`, as PEM: in the file's order, of a PFX the key's own first.
///
/// `password` opens a PFX; it is empty for one that has none.
///
/// # Errors
///
/// There is none, or the file cannot be read.
pub fn certificates(file: &[u8], password: &str) -> Result<String, Unusable> {
    match Form::of(file)? {
        Form::Pem => blocks::certificates(file),
        Form::Pfx => pfx::certificates(file, password),
    }
}

/// The private key in `file`, as PEM; the last one, if there are several.
///
/// `password` opens a PFX; it is empty for one that has none.
///
/// # Errors
///
/// There is none, or it cannot be read.
pub fn private_key(file: &[u8], password: &str) -> Result<Zeroizing<String>, Unusable> {
    match Form::of(file)? {
        Form::Pem => blocks::private_key(file),
        Form::Pfx => pfx::private_key(file, password),
    }
}

/// `file` as PEM: the private key first, then the certificates.
///
/// PEM is left as it is. Of a PFX the key becomes PKCS#8, and the certificates stand from the key's own up to the root;
/// those that do not belong to that chain follow as they stand. `password` is as in [`certificates`].
///
/// # Errors
///
/// There is no key, or the file cannot be read.
pub fn bundle(file: &[u8], password: &str) -> Result<Zeroizing<String>, Unusable> {
    match Form::of(file)? {
        Form::Pem => {
            std::str::from_utf8(file).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| Unusable::Pem)
        }
        Form::Pfx => pfx::bundle(file, password),
    }
}

/// The private key of a [`bundle`], as it stands there; the last one, if there are several.
///
/// # Errors
///
/// There is none, or it is encrypted.
pub fn key_of_bundle(pem: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    blocks::private_key_as_it_is(pem)
}
