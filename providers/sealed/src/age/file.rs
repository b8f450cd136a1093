//! The format of age, as far as it is written here: one recipient of X25519 and a payload of one chunk.
//! <https://github.com/C2SP/C2SP/blob/main/age.md>
//!
//! ```text
//! age-encryption.org/v1
//! -> X25519 <ephemeral share>
//! <file key, wrapped>
//! --- <MAC of all above>
//! <nonce><payload>
//! ```

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use provider::SecretBytes;
use zeroize::Zeroizing;

const VERSION: &str = "age-encryption.org/v1";
const STANZA: &str = "-> X25519 ";
/// What ends the header. Behind it stands its MAC.
const END: &str = "\n---";
/// The size of keys of X25519, and of all keys that are derived here, in bytes.
const KEY: usize = 32;
const FILE_KEY: usize = 16;
const NONCE: usize = 16;
const TAG: usize = 16;
/// The longest payload that is opened, in bytes: no data key is longer.
const MAX_PAYLOAD: usize = 4096;

/// Whom something is sealed to: `age1…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient([u8; KEY]);

/// What opens that: `AGE-SECRET-KEY-1…`.
pub(crate) struct Identity {
    key: Zeroizing<[u8; KEY]>,
    recipient: Recipient,
}

impl Recipient {
    /// None if `text` is no recipient of X25519.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // Only the lower-case form: one key has one name.
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        key(text, "age").filter(|_| is_lower).map(|key| Self(*key))
    }

    /// How a class names it.
    pub(crate) fn text(self) -> Option<String> {
        bech32::encode::<Bech32>(Hrp::parse("age").ok()?, &self.0).ok()
    }
}

impl Identity {
    /// The identity in `text`: its first line that is no comment. None if that is none of X25519.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let key = key(lines.next()?, "age-secret-key-")?;
        let public = PrivateKey::from_private_key(&X25519, &*key).ok()?.compute_public_key().ok()?;
        let recipient = Recipient(public.as_ref().try_into().ok()?);
        Some(Self { key, recipient })
    }

    /// Whom its values are sealed to.
    pub(crate) fn recipient(&self) -> Recipient {
        self.recipient
    }
}

/// The key in a text of Bech32 with the human-readable part `part`.
fn key(text: &str, part: &str) -> Option<Zeroizing<[u8; KEY]>> {
    let parsed = CheckedHrpstring::new::<Bech32>(text).ok()?;
    let is_whole = parsed.hrp().to_lowercase() == part && parsed.byte_iter().len() == KEY;
    let mut key = Zeroizing::new([0; KEY]);
    key.iter_mut().zip(parsed.byte_iter()).for_each(|(to, from)| *to = from);
    is_whole.then_some(key)
}

/// Seals `plain`, which has at most 4 KiB, to `recipient`. None: the system gives no random numbers.
pub(crate) fn seal(recipient: Recipient, plain: &SecretBytes) -> Option<Vec<u8>> {
    let mut file_key = Zeroizing::new([0; FILE_KEY]);
    aws_lc_rs::rand::fill(&mut *file_key).ok()?;
    let ephemeral = PrivateKey::generate(&X25519).ok()?;
    let share: [u8; KEY] = ephemeral.compute_public_key().ok()?.as_ref().try_into().ok()?;
    let wrapping = wrapping_key(&ephemeral, recipient, &share, recipient)?;
    let mut wrapped = file_key.to_vec();
    chacha(&wrapping)?.seal_in_place_append_tag(zero(), Aad::empty(), &mut wrapped).ok()?;
    let [share, wrapped] = [&share[..], &wrapped].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
    let header = format!("{VERSION}\n{STANZA}{share}\n{wrapped}{END}");
    let mac = hmac::sign(&mac_key(&file_key)?, header.as_bytes());
    let mut nonce = [0; NONCE];
    aws_lc_rs::rand::fill(&mut nonce).ok()?;
    let mut body = plain.expose().to_vec();
    payload(&file_key, &nonce)?.seal_in_place_append_tag(last(), Aad::empty(), &mut body).ok()?;
    let mac = BASE64_STANDARD_NO_PAD.encode(mac.as_ref());
    Some([header.as_bytes(), b" ", mac.as_bytes(), b"\n", &nonce, &body].concat())
}

/// Opens what was sealed to `identity`, perhaps beside others. None: it was not, or it was altered.
pub(crate) fn open(identity: &Identity, sealed: &[u8]) -> Option<SecretBytes> {
    let end = sealed.windows(END.len()).position(|window| window == END.as_bytes())?;
    let (header, rest) = sealed.split_at_checked(end.checked_add(END.len())?)?;
    let text = std::str::from_utf8(header).ok()?.strip_suffix(END)?;
    let lines = text.strip_prefix(VERSION)?.strip_prefix('\n')?.split('\n');
    let file_key =
        lines.clone().zip(lines.skip(1)).find_map(|(line, body)| unwrapped(identity, line, body))?;
    let (mac, rest) = line(rest.strip_prefix(b" ")?)?;
    hmac::verify(&mac_key(&file_key)?, header, &bytes::<KEY>(mac)?).ok()?;
    let (nonce, body) = rest.split_at_checked(NONCE).filter(|(_, body)| body.len() <= MAX_PAYLOAD + TAG)?;
    let mut body = Zeroizing::new(body.to_vec());
    let plain = payload(&file_key, nonce)?.open_in_place(last(), Aad::empty(), &mut body).ok()?;
    let length = plain.len();
    body.truncate(length);
    Some(SecretBytes::new(std::mem::take(&mut *body)))
}

/// The file key that `line` wraps in the line below it, if it is for `identity`.
fn unwrapped(identity: &Identity, line: &str, body: &str) -> Option<Zeroizing<[u8; FILE_KEY]>> {
    let share = bytes::<KEY>(line.strip_prefix(STANZA)?)?;
    let mut wrapped = Zeroizing::new(bytes::<{ FILE_KEY + TAG }>(body)?);
    let private = PrivateKey::from_private_key(&X25519, &*identity.key).ok()?;
    let wrapping = wrapping_key(&private, Recipient(share), &share, identity.recipient)?;
    let plain = chacha(&wrapping)?.open_in_place(zero(), Aad::empty(), &mut *wrapped).ok()?;
    Some(Zeroizing::new((&*plain).try_into().ok()?))
}

/// The first line of `text`, and what is behind it.
fn line(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = text.split_at_checked(end)?;
    Some((std::str::from_utf8(line).ok()?, rest.get(1..)?))
}

/// Exactly `N` bytes in base64, in the one way in which they are written.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// What wraps the file key: only who has one of the two private keys can derive it.
fn wrapping_key(
    private: &PrivateKey,
    theirs: Recipient,
    share: &[u8; KEY],
    recipient: Recipient,
) -> Option<Zeroizing<[u8; KEY]>> {
    let salt = [&share[..], &recipient.0].concat();
    let theirs = UnparsedPublicKey::new(&X25519, theirs.0);
    agreement::agree(private, theirs, (), |shared| {
        derived(&salt, shared, b"age-encryption.org/v1/X25519").ok_or(())
    })
    .ok()
}

fn mac_key(file_key: &[u8; FILE_KEY]) -> Option<hmac::Key> {
    derived(&[], file_key, b"header").map(|key| hmac::Key::new(hmac::HMAC_SHA256, &*key))
}

fn payload(file_key: &[u8; FILE_KEY], nonce: &[u8]) -> Option<LessSafeKey> {
    chacha(&*derived(nonce, file_key, b"payload")?)
}

fn derived(salt: &[u8], secret: &[u8], info: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    let mut key = Zeroizing::new([0; KEY]);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[info], hkdf::HKDF_SHA256).ok()?.fill(&mut *key).ok()?;
    Some(key)
}

fn chacha(key: &[u8; KEY]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

/// The nonce of a file key: each key that wraps one does so once.
fn zero() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// The nonce of a first chunk that is the last one.
fn last() -> Nonce {
    Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "AGE-SECRET-KEY-10UPJW04EWVJFK3G79390AD04DFNR3JC4UZD3MX359D3JSWYMJEPS3TH8PX";
    const OTHER: &str = "AGE-SECRET-KEY-1X3D56J4WLQVD9V8RGD9GLD8MG8R7FAHQH9YV839NS5HPZPRWVHJSJPHFTM";
    /// `hello`, sealed to the first one by the crate `age` 0.11.5, in base64.
    const MADE_BY_AGE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBYUDF0THp6aTNJUlVUc0xiRHRJUjJCdWJOeXcvSFVuK0paRVhRQXcrV2h3CmlGSGpVd0xzYzV1OEF4RHZyL3NvYjVLdnpHSWVtM2FBQ0REL3IvK05YT3cKLT4gQypuR2tuLWdyZWFzZSBKNVRPWyBoQyA7CjNOQiszTDhuU205LyszMnFhc1gvalp0UgotLS0gUGxoTVRxeDErQ1g4Y0NlWm9JbWh0RUo0ZUM3QkZ0SVlWQm8yOGpNWThOQQoGB6KY+UF892yVQO1NVHNOuXEtCc+8jgyoK248G1gjFr6CFOiN";

    fn identity() -> Identity {
        Identity::parse(IDENTITY).unwrap()
    }

    /// It has a second recipient of a kind that nobody knows, which readers have to pass over.
    #[test]
    fn what_the_crate_age_sealed_is_opened() {
        let file = base64::prelude::BASE64_STANDARD.decode(MADE_BY_AGE).unwrap();
        assert_eq!(open(&identity(), &file).unwrap().expose(), b"hello");
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_identity_and_no_other() {
        let plain = SecretBytes::new(vec![7; 32]);
        let sealed = seal(identity().recipient(), &plain).unwrap();

        assert_eq!(open(&identity(), &sealed).unwrap().expose(), plain.expose());
        assert!(open(&Identity::parse(OTHER).unwrap(), &sealed).is_none());
    }

    #[test]
    fn one_altered_cut_or_added_byte_is_noticed() {
        let sealed = seal(identity().recipient(), &SecretBytes::new(vec![7; 32])).unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open(&identity(), &altered).is_none(), "byte {at}");
            assert!(open(&identity(), &sealed[..at]).is_none(), "cut at {at}");
        }
        assert!(open(&identity(), &[&sealed[..], b"x"].concat()).is_none());
        assert!(open(&identity(), &vec![b'a'; 1 << 20]).is_none());
    }

    #[test]
    fn a_recipient_has_one_name_and_an_identity_may_have_comments_above() {
        let name = identity().recipient().text().unwrap();
        assert_eq!(Recipient::parse(&name), Some(identity().recipient()));
        assert!(
            Identity::parse(&format!("# created: today\n\n# public key: {name}\n{IDENTITY}\n")).is_some()
        );
        for odd in
            ["", "age1", &name.to_uppercase(), &name.replace("age1", "bge1"), &format!("{name}q"), IDENTITY]
        {
            assert!(Recipient::parse(odd).is_none(), "{odd}");
        }
        for odd in ["", "# AGE", &name, "AGE-SECRET-KEY-1QQ"] {
            assert!(Identity::parse(odd).is_none(), "{odd}");
        }
    }
}
