//! PKCS#12 archives.

use p12_keystore::{Certificate, Pkcs12Archive};
use zeroize::Zeroizing;

use crate::{Unusable, blocks, key};

/// The longest archive that is opened, in bytes. A Kubernetes Secret cannot be larger.
const MAX_BYTES: usize = 1 << 20;
/// The object identifier of scrypt, in DER. An archive with scrypt is refused, because scrypt may demand a gigabyte of
/// memory, and no common program makes such archives.
const SCRYPT: &[u8] = &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b];

pub(crate) fn certificates(file: &[u8], password: &str) -> Result<String, Unusable> {
    let archive = open(file, password)?;
    let text: String = in_order(&archive).map(|own| blocks::certificate(own.as_der())).collect();
    if text.is_empty() { Err(Unusable::NoCertificate) } else { Ok(text) }
}

pub(crate) fn private_key(file: &[u8], password: &str) -> Result<Zeroizing<String>, Unusable> {
    let archive = open(file, password)?;
    key::pkcs8(archive.keys.last().ok_or(Unusable::NoKey)?.key.as_der())
}

/// The key as PKCS#8, then the certificates in the order of the chain, from the key's own up to the root, then those
/// outside the chain, in the order of the archive.
pub(crate) fn bundle(file: &[u8], password: &str) -> Result<Zeroizing<String>, Unusable> {
    let archive = open(file, password)?;
    let own = archive.keys.last().ok_or(Unusable::NoKey)?;
    let mut text = key::keep("PRIVATE KEY", own.key.as_der())?;
    for certificate in in_chain(in_order(&archive).collect()) {
        text.push_str(&blocks::certificate(certificate.as_der()));
    }
    Ok(text)
}

/// The first certificate, the one of its issuer, and so on; then the rest.
fn in_chain(mut left: Vec<&Certificate>) -> Vec<&Certificate> {
    let mut chain = Vec::with_capacity(left.len());
    let mut next = (!left.is_empty()).then_some(0);
    while let Some(at) = next {
        let issued = left.remove(at);
        chain.push(issued);
        next = left.iter().position(|above| above.subject() == issued.issuer());
    }
    chain.extend(left);
    chain
}

fn open(file: &[u8], password: &str) -> Result<Pkcs12Archive, Unusable> {
    if file.len() > MAX_BYTES || file.windows(SCRYPT.len()).any(|window| window == SCRYPT) {
        return Err(Unusable::Pfx(": it is too large, or protected in a way that is not supported"));
    }
    Pkcs12Archive::from_pkcs12(file, password).map_err(|_| Unusable::Pfx(reason(password)))
}

fn reason(password: &str) -> &'static str {
    if password.is_empty() {
        "; if it has a password, name the file that holds it"
    } else {
        "; it is damaged, or the password is not its own"
    }
}

/// The certificate of the chosen key first, then the others in the order of the archive.
fn in_order(archive: &Pkcs12Archive) -> impl Iterator<Item = &Certificate> {
    let id = archive.keys.last().and_then(|own| own.local_key_id.as_ref());
    let is_own = move |bag: &&p12_keystore::CertificateBag| {
        bag.local_key_id.as_deref().is_some_and(|own| id.is_some_and(|id| id.as_ref() == own))
    };
    let own = archive.certs.iter().filter(is_own);
    let others = archive.certs.iter().filter(move |bag| !is_own(bag));
    own.chain(others).map(|bag| &bag.cert)
}
