//! A value under a data key of its own, bound to everything that its sealed text says.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use provider::{Error, ErrorKind, Result, SecretBytes, padding};
use zeroize::Zeroizing;

use crate::place::Place;

/// The longest value that is sealed, in bytes.
pub const MAX_VALUE: usize = 256 << 10;
/// The size of a data key, in bytes.
const KEY: usize = 32;
/// Values are padded to a multiple of this, so that their ciphertext does not tell how long a password is.
const BUCKET: usize = 64;

/// What a value is bound to beside its data key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) place: &'a Place,
    pub(crate) kms: &'a str,
    pub(crate) key: &'a str,
}

impl Binding<'_> {
    /// A JSON list: no two bindings have the same.
    fn bytes(&self) -> Vec<u8> {
        let Self { place: Place { environment, namespace, class, object }, kms, key } = self;
        let parts: [&str; 7] = ["SFS1", environment, namespace, class, object, kms, key];
        serde_json::to_vec(&parts).unwrap_or_default()
    }
}

/// A new random data key.
///
/// # Errors
///
/// The system gives no random numbers.
pub(crate) fn new_key() -> Result<SecretBytes> {
    let mut key = Zeroizing::new([0; KEY]);
    aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| failed("make random numbers"))?;
    Ok(SecretBytes::new(key.to_vec()))
}

/// Encrypts `value`.
///
/// # Errors
///
/// It is too long, or the system gives no random numbers.
pub(crate) fn seal(binding: Binding<'_>, key: &SecretBytes, value: &SecretBytes) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| failed("make random numbers"))?;
    let mut body = padded(value.expose())?;
    cipher(key)
        .and_then(|cipher| {
            let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(binding.bytes()));
            cipher.seal_in_place_append_tag(nonce, aad, &mut *body).ok()
        })
        .ok_or_else(|| failed("encrypt"))?;
    Ok([nonce.as_slice(), body.as_slice()].concat())
}

/// Decrypts `sealed`. None: it was not sealed with this key for this place, or it is not what was sealed.
pub(crate) fn open(binding: Binding<'_>, key: &SecretBytes, sealed: &[u8]) -> Option<SecretBytes> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = Zeroizing::new(body.to_vec());
    let plain = cipher(key)?.open_in_place(nonce, Aad::from(binding.bytes()), &mut body).ok()?;
    let length = padding::unpadded(plain)?;
    body.truncate(length);
    Some(SecretBytes::new(std::mem::take(&mut *body)))
}

fn cipher(key: &SecretBytes) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key.expose()).ok().map(LessSafeKey::new)
}

fn padded(value: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let fits = Some(value).filter(|value| value.len() <= MAX_VALUE);
    fits.and_then(|value| padding::padded(value, BUCKET, AES_256_GCM.tag_len())).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("the value is longer than {} KiB", MAX_VALUE / 1024))
    })
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("this machine could not {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::SealedText;
    use crate::text::tests::sample;

    /// A sealed text with the data key that opens it.
    type Whole = (SealedText, SecretBytes);

    fn binding(text: &SealedText) -> Binding<'_> {
        Binding { place: &text.place, kms: &text.kms, key: &text.key }
    }

    fn sealed(mut text: SealedText, value: &[u8]) -> Whole {
        let key = new_key().unwrap();
        text.value = seal(binding(&text), &key, &SecretBytes::new(value.to_vec())).unwrap();
        (text, key)
    }

    fn opened((text, key): &Whole) -> Option<Vec<u8>> {
        open(binding(text), key, &text.value).map(|value| value.expose().to_vec())
    }

    fn text() -> impl Strategy<Value = SealedText> {
        let words = || prop::sample::select(vec!["a", "b", "ab", "a\",\"b"]);
        (words(), words(), words(), words(), words(), words()).prop_map(|(e, n, c, o, kms, key)| {
            let mut text = sample(o, b"");
            text.place = Place {
                environment: e.to_owned(),
                namespace: n.to_owned(),
                class: c.to_owned(),
                object: o.to_owned(),
            };
            SealedText { kms: kms.to_owned(), key: key.to_owned(), ..text }
        })
    }

    /// `one` with those fields of `other` that `which` names by its bits.
    fn with_fields_of(one: &Whole, other: &Whole, which: u8) -> Whole {
        let (mut text, mut key) = one.clone();
        let has = |bit: u8| which & (1 << bit) != 0;
        let from = &other.0;
        let pairs = [
            (&mut text.place.environment, &from.place.environment),
            (&mut text.place.namespace, &from.place.namespace),
            (&mut text.place.class, &from.place.class),
            (&mut text.place.object, &from.place.object),
            (&mut text.kms, &from.kms),
            (&mut text.key, &from.key),
        ];
        for ((to, from), bit) in pairs.into_iter().zip(0..) {
            if has(bit) {
                to.clone_from(from);
            }
        }
        if has(6) {
            key = other.1.clone();
        }
        if has(7) {
            text.value.clone_from(&from.value);
        }
        (text, key)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn of_all_swaps_of_fields_between_two_texts_only_those_open_that_changed_nothing(one in text(), other in text()) {
            let (one, other) = (sealed(one, b"first"), sealed(other, b"second"));
            for which in 0..=u8::MAX {
                let mixed = with_fields_of(&one, &other, which);
                // The same words in both texts are no change.
                let expected = [(&one, "first"), (&other, "second")].into_iter().find(|(whole, _)| {
                    whole.0 == mixed.0 && whole.1.expose() == mixed.1.expose()
                });
                prop_assert_eq!(
                    opened(&mixed),
                    expected.map(|(_, value)| value.as_bytes().to_vec()),
                    "{:08b}", which
                );
            }
        }

        #[test]
        fn one_altered_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let (mut text, key) = sealed(sample("a", b""), b"value");
            let at = at.index(text.value.len());
            text.value[at] ^= 1 << bit;
            prop_assert_eq!(opened(&(text, key)), None);
        }

        #[test]
        fn values_are_kept_to_the_byte_and_do_not_tell_how_long_they_are(value in prop::collection::vec(any::<u8>(), 0..300)) {
            let whole = sealed(sample("a", b""), &value);
            prop_assert_eq!((whole.0.value.len() - NONCE_LEN - 16) % BUCKET, 0);
            prop_assert_eq!(opened(&whole), Some(value));
        }
    }

    #[test]
    fn a_value_that_is_too_long_is_refused_and_one_of_64_kib_is_not() {
        let big = vec![7; 64 << 10];
        assert_eq!(opened(&sealed(sample("a", b""), &big)), Some(big));
        let refused = padded(&vec![0; MAX_VALUE + 1]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
}
