//! Private keys in the form that readers of `kubernetes.io/tls` expect.

use pkcs1::RsaPrivateKeyRef;
use pkcs8::der::{Decode as _, SecretDocument};
use pkcs8::{LineEnding, ObjectIdentifier, PrivateKeyInfoRef};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use crate::Unusable;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The key in a PEM block with this label, as PEM in the expected form.
pub(crate) fn encode(label: &str, der: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    match label {
        "RSA PRIVATE KEY" => rsa(der),
        "EC PRIVATE KEY" => elliptic(der, None),
        "PRIVATE KEY" => pkcs8(der),
        "ENCRYPTED PRIVATE KEY" => Err(Unusable::Encrypted),
        _ => Err(Unusable::NoKey),
    }
}

/// The key in a PEM block with this label, as PEM in the form that it has already.
pub(crate) fn keep(label: &str, der: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    let label = match label {
        "RSA PRIVATE KEY" => "RSA PRIVATE KEY",
        "EC PRIVATE KEY" => "EC PRIVATE KEY",
        "PRIVATE KEY" => "PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY" => return Err(Unusable::Encrypted),
        _ => return Err(Unusable::NoKey),
    };
    pem(label, &SecretDocument::try_from(der).map_err(|_| Unusable::Key("private"))?)
}

/// A PKCS#8 key in the older form of its kind (PKCS#1, SEC1), if the kind has one.
pub(crate) fn pkcs8(der: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    let invalid = |_| Unusable::Key("PKCS#8");
    let info = PrivateKeyInfoRef::try_from(der).map_err(invalid)?;
    match info.algorithm.oid {
        RSA => rsa(info.private_key.as_bytes()),
        EC => elliptic(info.private_key.as_bytes(), info.algorithm.parameters_oid().ok()),
        _ => pem("PRIVATE KEY", &SecretDocument::try_from(der).map_err(|_| Unusable::Key("PKCS#8"))?),
    }
}

fn rsa(der: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    let invalid = |_| Unusable::Key("RSA");
    RsaPrivateKeyRef::from_der(der).map_err(invalid)?;
    pem("RSA PRIVATE KEY", &SecretDocument::try_from(der).map_err(|_| Unusable::Key("RSA"))?)
}

/// PKCS#8 names the curve beside the key. SEC1 names it inside, so the curve is copied.
fn elliptic(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<Zeroizing<String>, Unusable> {
    let mut key = EcPrivateKey::from_der(der).map_err(|_| Unusable::Key("elliptic curve"))?;
    key.parameters = key.parameters.or(curve.map(EcParameters::NamedCurve));
    if key.parameters.is_none() {
        return Err(Unusable::Curve);
    }
    let document = SecretDocument::encode_msg(&key).map_err(|_| Unusable::Key("elliptic curve"))?;
    pem("EC PRIVATE KEY", &document)
}

fn pem(label: &'static str, document: &SecretDocument) -> Result<Zeroizing<String>, Unusable> {
    document.to_pem(label, LineEnding::LF).map_err(|_| Unusable::Key("PEM-encodable"))
}
