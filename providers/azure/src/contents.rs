//! What a file holds of an object.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pem::{EncodeConfig, LineEnding, Pem};
use pkcs1::{RsaPublicKey, UintRef};
use pkcs8::der::asn1::{AnyRef, BitStringRef};
use pkcs8::der::{Encode as _, asn1::Null};
use pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};
use provider::{Encoding, ErrorKind, SecretBytes};
use tls_pair::Unusable;
use zeroize::Zeroizing;

use crate::answer::{Bundle, PublicKey};
use crate::call::Kind;
use crate::objects::{Part, Piece};

const PKCS12: &str = "application/x-pkcs12";
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The curves that public keys are written with, by their name and the bytes of a coordinate.
const CURVES: [(&str, usize, ObjectIdentifier); 3] = [
    ("P-256", 32, ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7")),
    ("P-384", 48, ObjectIdentifier::new_unwrap("1.3.132.0.34")),
    ("P-521", 66, ObjectIdentifier::new_unwrap("1.3.132.0.35")),
];

/// Why an object cannot be shown as the class wants it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) kind: ErrorKind,
    pub(crate) reason: String,
    pub(crate) remedy: &'static str,
}

/// What a file of that part holds.
pub(crate) fn of(part: Part, bundle: &Bundle) -> Result<SecretBytes, Unfit> {
    match (part.kind, bundle) {
        (Kind::Secret, Bundle { value: Some(value), .. }) => secret(part, &value.0, bundle),
        (Kind::Key, Bundle { key: Some(key), .. }) => public_key(key),
        (Kind::Cert, Bundle { cer: Some(cer), .. }) => certificate(cer),
        (Kind::Secret | Kind::Key | Kind::Cert, _) => {
            Err(unfit("the answer lacks what an object of its type has", "correct objectType"))
        }
    }
}

fn secret(part: Part, value: &SecretBytes, bundle: &Bundle) -> Result<SecretBytes, Unfit> {
    let is_certificate = bundle.kid.is_some();
    match part.piece {
        Piece::Certificates | Piece::Key if !is_certificate => Err(Unfit {
            kind: ErrorKind::NotFound,
            reason: "the secret backs no certificate".to_owned(),
            remedy: "it has no certificate and no key to show",
        }),
        Piece::Certificates => certificates(&bundled(value, bundle)?),
        Piece::Key => {
            let mut key =
                tls_pair::key_of_bundle(bundled(value, bundle)?.expose()).map_err(|why| unusable(&why))?;
            Ok(SecretBytes::from(std::mem::take(&mut *key)))
        }
        Piece::Pem if is_certificate => bundled(value, bundle),
        Piece::Pem | Piece::AsStored => Ok(value.clone()),
    }
}

/// A certificate with its key as PEM: as it is stored, or made from a PFX.
fn bundled(value: &SecretBytes, bundle: &Bundle) -> Result<SecretBytes, Unfit> {
    if bundle.content_type.as_deref() != Some(PKCS12) {
        return Ok(value.clone());
    }
    let pfx = Encoding::Base64.decode(value);
    let pfx = pfx.ok_or_else(|| unfit("its PFX is no base64", "import the certificate again"))?;
    let mut text = tls_pair::bundle(pfx.expose(), "").map_err(|why| unusable(&why))?;
    Ok(SecretBytes::from(std::mem::take(&mut *text)))
}

fn certificates(pem: &SecretBytes) -> Result<SecretBytes, Unfit> {
    tls_pair::certificates(pem.expose(), "").map(SecretBytes::from).map_err(|why| unusable(&why))
}

fn public_key(key: &PublicKey) -> Result<SecretBytes, Unfit> {
    let der = match key.kty.as_str() {
        "RSA" | "RSA-HSM" => rsa(key),
        "EC" | "EC-HSM" => elliptic(key)?,
        _ => {
            return Err(unfit(
                "only RSA keys and keys of elliptic curves have a public key",
                "remove the object",
            ));
        }
    };
    let der =
        der.ok_or_else(|| unfit("the answer is no public key", "read the key with the tools of Azure"))?;
    Ok(in_pem("PUBLIC KEY", &der))
}

fn rsa(key: &PublicKey) -> Option<Zeroizing<Vec<u8>>> {
    let (n, e) = (number(&key.n)?, number(&key.e)?);
    let public = RsaPublicKey { modulus: UintRef::new(&n).ok()?, public_exponent: UintRef::new(&e).ok()? };
    let bits = public.to_der().ok()?;
    info(RSA, Null.into(), &bits)
}

fn elliptic(key: &PublicKey) -> Result<Option<Zeroizing<Vec<u8>>>, Unfit> {
    let curve = CURVES.iter().find(|(name, ..)| *name == key.crv);
    let Some((_, size, curve)) = curve else {
        return Err(unfit(
            "of elliptic curves only P-256, P-384 and P-521 can be shown",
            "use a key on one of these",
        ));
    };
    Ok(point(key, *size).and_then(|point| info(EC, curve.into(), &point)))
}

/// An uncompressed point: 4, then both coordinates, each as long as the curve has it.
fn point(key: &PublicKey, size: usize) -> Option<Vec<u8>> {
    let mut point = vec![4];
    for coordinate in [&key.x, &key.y] {
        let bytes = number(coordinate)?;
        let missing = size.checked_sub(bytes.len())?;
        point.extend(std::iter::repeat_n(0, missing));
        point.extend(bytes);
    }
    Some(point)
}

fn number(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok().filter(|bytes| !bytes.is_empty())
}

fn info(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters: Some(parameters) };
    let info = SubjectPublicKeyInfoRef { algorithm, subject_public_key: BitStringRef::from_bytes(key).ok()? };
    info.to_der().ok().map(Zeroizing::new)
}

fn certificate(cer: &str) -> Result<SecretBytes, Unfit> {
    let der = STANDARD.decode(cer).ok().filter(|der| !der.is_empty());
    let der = der.ok_or_else(|| unfit("the answer is no certificate", "import the certificate again"))?;
    Ok(in_pem("CERTIFICATE", &der))
}

fn in_pem(label: &str, der: &[u8]) -> SecretBytes {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label, der), config).into()
}

fn unfit(reason: &str, remedy: &'static str) -> Unfit {
    Unfit { kind: ErrorKind::Invalid, reason: reason.to_owned(), remedy }
}

fn unusable(why: &Unusable) -> Unfit {
    unfit(&why.to_string(), "import the certificate again, or write objectFormat: pfx to have it as it is")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(kind: Kind, piece: Piece, body: &Value) -> Result<Vec<u8>, Unfit> {
        let bundle: Bundle = serde_json::from_value(body.clone()).unwrap();
        of(Part { kind, piece }, &bundle).map(|contents| contents.expose().to_vec())
    }

    fn secret_of(value: &str) -> Value {
        json!({"value": value})
    }

    #[test]
    fn a_secret_is_its_value_whatever_its_content_type_says_unless_it_backs_a_certificate() {
        let body = json!({"value": "AQI=", "contentType": PKCS12});

        assert_eq!(shown(Kind::Secret, Piece::Pem, &body).unwrap(), b"AQI=");
        assert_eq!(shown(Kind::Secret, Piece::Pem, &secret_of("")).unwrap(), b"");
    }

    #[test]
    fn a_secret_that_backs_no_certificate_has_no_parts_of_one() {
        for piece in [Piece::Certificates, Piece::Key] {
            let unfit = shown(Kind::Secret, piece, &secret_of("v")).unwrap_err();
            assert_eq!(unfit.kind, ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_damaged_pfx_is_told_and_shown_as_it_is_where_a_class_wants_that() {
        let body = json!({"value": "AQI=", "contentType": PKCS12, "kid": "k"});

        assert_eq!(shown(Kind::Secret, Piece::Pem, &body).unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(shown(Kind::Secret, Piece::AsStored, &body).unwrap(), b"AQI=");
    }

    /// RFC 7515, A.3.1, and the same key as OpenSSL writes it.
    #[test]
    fn a_public_key_of_an_elliptic_curve_is_pem() {
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                         "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});

        let pem = shown(Kind::Key, Piece::Pem, &json!({"key": jwk})).unwrap();

        assert_eq!(
            String::from_utf8(pem).unwrap(),
            "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
             6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END PUBLIC KEY-----\n"
        );
    }

    #[test]
    fn a_coordinate_that_lost_its_leading_zero_gets_it_back() {
        let key = PublicKey {
            x: URL_SAFE_NO_PAD.encode([1]),
            y: URL_SAFE_NO_PAD.encode([2; 32]),
            ..PublicKey::default()
        };

        let point = point(&key, 32).unwrap();

        assert_eq!((point.len(), point[1], point[32], point[33]), (65, 0, 1, 2));
    }

    #[test]
    fn keys_that_cannot_be_shown_are_told() {
        for jwk in [
            json!({"kty": "oct"}),
            json!({"kty": "EC", "crv": "P-256K", "x": "AQ", "y": "AQ"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AQ"}),
            json!({"kty": "RSA", "n": "!", "e": "AQAB"}),
        ] {
            let unfit = shown(Kind::Key, Piece::Pem, &json!({"key": jwk.clone()})).unwrap_err();
            assert_eq!(unfit.kind, ErrorKind::Invalid, "{jwk}");
        }
    }
}
