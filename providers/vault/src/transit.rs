//! Keys of transit engines, which encrypt and decrypt and never leave the server.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use provider::{Ciphertext, Context, Encoding, Invalid, ObjectRef};
use serde_json::Value;

use crate::call::Call;
use crate::objects::Part;
use crate::parameters::Listed;

const REMEDY: &str = "write the engine's mount and the key's name, such as transit/shop";

/// What the server does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Encrypt,
    Decrypt,
}

/// The path that does `verb` with `key`, which is written `MOUNT/NAME`.
///
/// # Errors
///
/// The key is none.
pub(crate) fn path(verb: Verb, key: &str) -> Result<String, Invalid> {
    let refuse = |reason: &str| Invalid::new("kmsKey", reason, REMEDY);
    let (mount, name) = key.rsplit_once('/').ok_or_else(|| refuse("it names no mount"))?;
    let verb = if verb == Verb::Encrypt { "encrypt" } else { "decrypt" };
    let call = Call::new("POST", &format!("{mount}/{verb}/{name}")).map_err(refuse)?;
    let odd = mount.is_empty() || name.is_empty() || !call.query.is_empty();
    if odd { Err(refuse("it is no path of a key")) } else { Ok(call.path) }
}

/// The additional data that a ciphertext is bound to: `context` as a JSON object with sorted names, in base64 as the API
/// takes it. None if the context is empty.
pub(crate) fn associated_data(context: &Context) -> Option<String> {
    let pairs = context.pairs();
    let json = serde_json::to_vec(pairs).unwrap_or_default();
    (!pairs.is_empty()).then(|| BASE64_STANDARD.encode(json))
}

/// One object for each of `ciphertexts`: its contents are the plaintext in base64.
///
/// # Errors
///
/// Every key that is none.
pub(crate) fn objects(ciphertexts: &[Ciphertext]) -> Result<Listed, Vec<Invalid>> {
    let objects = provider::decrypted(ciphertexts, |ciphertext| Ok(call(ciphertext)?.request()))?;
    let encoded = |object| ObjectRef { encoding: Encoding::Base64, ..object };
    let parts = vec![Part { key: Some("plaintext".to_owned()) }; objects.len()];
    Ok((objects.into_iter().map(encoded).collect(), parts))
}

fn call(Ciphertext { key, text, context }: &Ciphertext) -> Result<Call, Invalid> {
    let path = path(Verb::Decrypt, key)?;
    let refuse = |reason: &str| Invalid::new("kmsKey", reason, REMEDY);
    let data = associated_data(context).map(|data| ("associated_data".to_owned(), Value::String(data)));
    let args = std::iter::once(("ciphertext".to_owned(), Value::String(text.clone()))).chain(data);
    Ok(Call {
        args: Some(args.collect::<BTreeMap<_, _>>()),
        makes_nothing: true,
        ..Call::new("POST", &path).map_err(refuse)?
    })
}

#[cfg(test)]
mod tests {
    use provider::Ownership;

    use super::*;

    #[test]
    fn a_key_is_a_mount_and_a_name() {
        assert_eq!(path(Verb::Decrypt, "transit/shop").unwrap(), "transit/decrypt/shop");
        assert_eq!(path(Verb::Encrypt, "team/a/keys/shop").unwrap(), "team/a/keys/encrypt/shop");
        for odd in ["shop", "", "transit/", "/shop", "transit/shop?x=1", "a//b", "../sys/shop", "a/b\n"] {
            assert!(path(Verb::Decrypt, odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn decrypting_makes_nothing_so_volumes_of_one_identity_share_it() {
        let context = Context::default().with("namespace", "shop").with("class", "till");
        let one = Ciphertext { key: "transit/shop".to_owned(), text: "vault:v1:AA==".to_owned(), context };

        let (objects, _) = objects(&[one]).unwrap();

        assert_eq!(objects[0].request.ownership, Ownership::Shared);
        let data = BASE64_STANDARD.encode(r#"{"class":"till","namespace":"shop"}"#);
        let text = format!(
            r#"{{"method":"POST","path":"transit/decrypt/shop","args":{{"associated_data":"{data}","ciphertext":"vault:v1:AA=="}},"makes_nothing":true}}"#
        );
        assert_eq!(*objects[0].request.text, *text);
    }
}
