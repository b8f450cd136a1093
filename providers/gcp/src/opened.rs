//! Keys of Cloud KMS, which encrypt and decrypt and never leave it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use manifest::objects::Read;
use provider::{Ciphertext, Context, Invalid, Request};
use serde::{Deserialize, Serialize};

use crate::objects::{Extract, Part};
use crate::resource::{Resource, is_id, is_location};

/// What full resource names have before them.
const SERVICE: &str = "//cloudkms.googleapis.com/";
pub(crate) const REMEDY: &str = "write projects/P/locations/L/keyRings/R/cryptoKeys/K";
/// The longest ciphertext that is sent, in bytes, before base64: Cloud KMS takes 64 KiB of plaintext.
const MAX_CIPHERTEXT: usize = 72 << 10;

/// What Cloud KMS decrypts, in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// The key's name.
    pub(crate) key: String,
    pub(crate) ciphertext: Blob,
    /// The additional authenticated data that it is bound to, in base64; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) data: String,
}

/// Where a ciphertext stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Blob {
    /// In the class, in base64.
    Written(String),
    /// In the secret of this name: its bytes, or their base64.
    In(String),
}

impl Opened {
    pub(crate) fn request(&self) -> Request {
        Request::shared(serde_json::to_string(self).unwrap_or_default())
    }

    /// What a [request](Self::request) told of.
    pub(crate) fn of_request(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The secret that holds the ciphertext, if one does.
    pub(crate) fn holder(&self) -> Option<Resource> {
        match &self.ciphertext {
            Blob::Written(_) => None,
            Blob::In(name) => Resource::parse(name).ok(),
        }
    }
}

/// The plain form of a key's name.
///
/// # Errors
///
/// Why it is none, in one clause.
pub(crate) fn key(raw: &str) -> Result<String, &'static str> {
    let name = raw.strip_prefix(SERVICE).unwrap_or(raw);
    let parts: Vec<&str> = name.split('/').collect();
    let ["projects", project, "locations", location, "keyRings", ring, "cryptoKeys", key] = parts.as_slice()
    else {
        return Err("it is no key of Cloud KMS");
    };
    let fits = is_id(project, ".:-") && is_location(location) && is_id(ring, "_-") && is_id(key, "_-");
    if fits { Ok(name.to_owned()) } else { Err("a part of it is empty, too long or has an odd character") }
}

/// The additional authenticated data for `context`: a JSON object with sorted names, in base64.
pub(crate) fn data(context: &Context) -> String {
    let pairs = context.pairs();
    let json = serde_json::to_vec(pairs).unwrap_or_default();
    if pairs.is_empty() { String::new() } else { BASE64_STANDARD.encode(json) }
}

/// Whether `text` may be a ciphertext, in base64.
pub(crate) fn is_ciphertext(text: &str) -> bool {
    provider::is_ciphertext(text, MAX_CIPHERTEXT)
}

/// The ciphertext that a secret holds, as [`provider::held_ciphertext`] reads it.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client reads one"))]
pub(crate) fn ciphertext_of(held: &[u8]) -> Option<String> {
    provider::held_ciphertext(held, MAX_CIPHERTEXT)
}

/// One object for each of `ciphertexts`: its contents are the plaintext.
///
/// # Errors
///
/// Every key and every ciphertext that is none.
pub(crate) fn objects(ciphertexts: &[Ciphertext]) -> Result<Read<Part>, Vec<Invalid>> {
    let objects = provider::decrypted(ciphertexts, |Ciphertext { key: named, text, context }| {
        let key = key(named).map_err(|why| Invalid::new("kmsKey", why, REMEDY))?;
        if !text.is_empty() && !is_ciphertext(text) {
            let reason = "it is no ciphertext of Cloud KMS in base64";
            return Err(Invalid::new("ciphertext", reason, "seal the value again"));
        }
        Ok(Opened { key, ciphertext: Blob::Written(text.clone()), data: data(context) }.request())
    })?;
    let kept = vec![Part { extract: Extract::Whole }; objects.len()];
    Ok(Read { objects, kept, trees: Vec::new() })
}

#[cfg(test)]
mod tests {
    use provider::Ownership;

    use super::*;

    const KEY: &str = "projects/p1/locations/europe-west3/keyRings/r/cryptoKeys/shop";

    #[test]
    fn a_key_is_named_whole() {
        assert_eq!(key(KEY), Ok(KEY.to_owned()));
        assert_eq!(key(&format!("{SERVICE}{KEY}")), Ok(KEY.to_owned()));
        let version = format!("{KEY}/cryptoKeyVersions/1");
        for odd in [
            "",
            "shop",
            &KEY.replace("p1", ".."),
            &KEY.replace("europe", "EU"),
            &KEY.replace("shop", "a:b"),
            &version,
        ] {
            assert!(key(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_ciphertext_is_bound_to_its_context_and_shared_by_who_has_one_identity() {
        let context = Context::default().with("namespace", "shop").with("class", "till");
        let one = Ciphertext { key: KEY.to_owned(), text: "AQID".to_owned(), context };

        let request = objects(&[one]).unwrap().objects.remove(0).request;

        assert_eq!(request.ownership, Ownership::Shared);
        let opened = Opened::of_request(&request.text).unwrap();
        assert_eq!(opened.data, BASE64_STANDARD.encode(r#"{"class":"till","namespace":"shop"}"#));
        assert_eq!(opened.ciphertext, Blob::Written("AQID".to_owned()));
        assert!(crate::listed::Sought::of_request(&request.text).is_none());
    }

    #[test]
    fn what_is_too_long_or_empty_is_no_ciphertext() {
        assert_eq!(ciphertext_of(b"AQID\n").as_deref(), Some("AQID"));
        assert_eq!(ciphertext_of(&[1, 2, 3]).as_deref(), Some("AQID"));
        assert_eq!(ciphertext_of(&vec![1; MAX_CIPHERTEXT + 1]), None);
        assert!(!is_ciphertext("") && !is_ciphertext("*"));
    }
}
