//! Keys of KMS, which encrypt and decrypt and never leave it.

use provider::{Ciphertext, Invalid, ObjectRef};

use crate::arn::is_arn;
use crate::call::{Blob, Call, Opened, Wanted};
use crate::region::Service;

const REMEDY: &str = "write its ARN, its id, or an alias such as alias/shop";
/// The longest ARN of a key.
const LONGEST: usize = 2048;
/// The longest ciphertext that KMS takes, in bytes, before base64.
const MAX_CIPHERTEXT: usize = 6144;

/// The key `raw` of `region`: an ARN, an id, or `alias/NAME`.
///
/// # Errors
///
/// It is none, or one of another region, which KMS of this one does not have.
pub(crate) fn key(raw: &str, region: &str) -> Result<String, Invalid> {
    let refuse = |reason: &str| Invalid::new("kmsKey", reason, REMEDY);
    let name = if is_arn(raw) {
        let parts: Vec<_> = raw.splitn(6, ':').collect();
        let [_, _, "kms", of, account, name] = parts.as_slice() else {
            return Err(refuse("it is an ARN of no key"));
        };
        if *of != region {
            return Err(refuse(&format!("its ARN is of another region than {region}")));
        }
        if account.is_empty() {
            return Err(refuse("its ARN names no account"));
        }
        name.strip_prefix("key/").or_else(|| name.strip_prefix("alias/")).unwrap_or_default()
    } else {
        raw.strip_prefix("alias/").unwrap_or(raw)
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    let fits = !name.is_empty() && name.bytes().all(is_plain) && raw.len() <= LONGEST;
    if fits { Ok(raw.to_owned()) } else { Err(refuse("it is no key of KMS")) }
}

/// Whether `told`, which KMS calls the key that it used, is what a class calls `wanted`. Which key an alias stands for
/// only KMS knows.
pub(crate) fn is_key(wanted: &str, told: &str) -> bool {
    let id = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    let is_alias = wanted.starts_with("alias/") || wanted.contains(":alias/");
    is_alias || wanted == told || (!(is_arn(wanted) && is_arn(told)) && id(wanted) == id(told))
}

/// The ciphertext that a service holds, as [`provider::held_ciphertext`] reads it.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client reads one"))]
pub(crate) fn ciphertext_of(held: &[u8]) -> Option<String> {
    provider::held_ciphertext(held, MAX_CIPHERTEXT)
}

/// One object for each of `ciphertexts` of keys in `region`: its contents are the plaintext.
///
/// # Errors
///
/// Every key and every ciphertext that is none.
pub(crate) fn objects(ciphertexts: &[Ciphertext], region: &str) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
    provider::decrypted(ciphertexts, |Ciphertext { key: named, text, context }| {
        if !text.is_empty() && !is_ciphertext(text) {
            let reason = "it is no ciphertext of KMS in base64";
            return Err(Invalid::new("ciphertext", reason, "seal the value again"));
        }
        let opened = Opened { ciphertext: Blob::Written(text.clone()), context: context.pairs().clone() };
        Ok(call(Some(key(named, region)?), opened).request())
    })
}

/// Whether `text` may be a ciphertext.
pub(crate) fn is_ciphertext(text: &str) -> bool {
    provider::is_ciphertext(text, MAX_CIPHERTEXT)
}

/// The call that decrypts `opened`. Without `key` KMS finds the key by itself.
pub(crate) fn call(key: Option<String>, opened: Opened) -> Call {
    let first = Wanted { id: key.unwrap_or_default(), version: None, label: None };
    Call { service: Service::Kms, first, failover: None, probe: false, sought: None, opened: Some(opened) }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use provider::{Context, Ownership};

    use super::*;

    #[test]
    fn a_key_is_an_id_an_alias_or_an_arn_of_this_region() {
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/mrk-12ab";
        for sound in ["12ab-34", "alias/shop/db_1", arn, &arn.replace("key/", "alias/")] {
            assert_eq!(key(sound, "eu-west-1").unwrap(), sound);
        }
        let odd = ["", "alias/", "a b", "a\n", "ü", "arn:aws:kms:eu-west-1", "arn:aws:kms:eu-west-1::key/a"];
        let long = "a".repeat(LONGEST + 1);
        let elsewhere =
            [arn.replace("west-1", "west-2"), arn.replace(":kms:", ":ssm:"), arn.replace("key", "x"), long];
        for odd in odd.into_iter().chain(elsewhere.iter().map(String::as_str)) {
            assert!(key(odd, "eu-west-1").is_err(), "{odd:?}");
        }
    }

    #[test]
    fn the_key_that_kms_used_is_the_one_that_was_named() {
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/12ab";
        assert!(is_key("12ab", arn) && is_key(arn, arn) && is_key("alias/shop", arn) && is_key(arn, "12ab"));
        assert!(!is_key("34cd", arn) && !is_key(arn, &arn.replace("1111", "9999")));
    }

    #[test]
    fn a_held_ciphertext_is_bytes_or_their_base64() {
        assert_eq!(ciphertext_of(b"AQID\n").as_deref(), Some("AQID"));
        assert_eq!(ciphertext_of(&[1, 2, 3]).as_deref(), Some("AQID"));
        assert_eq!(ciphertext_of(b""), None);
        assert_eq!(ciphertext_of(&vec![1; MAX_CIPHERTEXT + 1]), None);
        assert!(!is_ciphertext(&BASE64_STANDARD.encode(vec![1; MAX_CIPHERTEXT + 1])));
    }

    #[test]
    fn decrypting_makes_nothing_so_volumes_of_one_identity_share_it() {
        let context = Context::default().with("namespace", "shop");
        let one = Ciphertext { key: "alias/shop".to_owned(), text: "AQID".to_owned(), context };

        let objects = objects(&[one], "eu-west-1").unwrap();

        assert_eq!(objects[0].request.ownership, Ownership::Shared);
        assert_eq!(
            &*objects[0].request.text,
            r#"{"service":"kms","first":{"id":"alias/shop"},"opened":{"ciphertext":{"written":"AQID"},"context":{"namespace":"shop"}}}"#
        );
    }
}
