//! Keys, and the codes that they make.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
/// Bytes of the name of a chain: enough that no two chains of a fleet share one.
const ID_BYTES: usize = 12;
/// How many characters of a code stand in the line after: 132 bits.
const LINK_CHARS: usize = 22;

/// The key for one line. The key of a chain's first line verifies all of it.
///
/// It is a secret: it is wiped, and prints nothing of itself.
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A new random key; `None` if the machine has no random bytes.
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    /// The key that [`reveal`](Self::reveal) wrote. White space around it does not matter.
    pub fn parse(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim()).ok()?);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if decoded.len() != KEY_BYTES {
            return None;
        }
        bytes.copy_from_slice(&decoded);
        Some(Self(bytes))
    }

    /// The key as text, for the one who keeps it.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// The name of the chain that begins with this key.
    pub fn id(&self) -> ChainId {
        let derived = self.derive("secretfs audit: name of the chain");
        ChainId(URL_SAFE_NO_PAD.encode(derived.get(..ID_BYTES).unwrap_or_default()))
    }

    /// The key of the next line. Nothing leads back from it.
    pub(crate) fn next(&self) -> Self {
        Self(self.derive("secretfs audit: next key"))
    }

    /// The code of this key's line, whose text up to the code is `text`.
    pub(crate) fn code(&self, text: &[u8]) -> Code {
        let key = self.derive("secretfs audit: key of the line");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
        Code(URL_SAFE_NO_PAD.encode(hmac::sign(&key, text)))
    }

    /// The same key once more, to look ahead with.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    fn derive(&self, label: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let tag = hmac::sign(&key, label.as_bytes());
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        // HMAC with SHA-256 makes as many bytes as a key has.
        bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// The name of a chain. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainId(pub(crate) String);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The code of one line, as the line has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) String);

impl Code {
    /// What the line after says of it; nothing where there is no line before.
    pub(crate) fn link(code: Option<&Self>) -> &str {
        code.and_then(|code| code.0.get(..LINK_CHARS)).unwrap_or_default()
    }

    /// Whether `text` has the form of a code.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok()?;
        (decoded.len() == KEY_BYTES).then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_what_it_wrote_and_prints_nothing() {
        let key = Key::random().unwrap();
        let text = key.reveal();

        let read = Key::parse(&format!(" {}\n", *text)).unwrap();

        assert_eq!(read.id(), key.id());
        assert_eq!(format!("{key:?}"), "Key(..)");
        assert!(Key::parse(&text[1..]).is_none() && Key::parse("").is_none());
    }

    #[test]
    fn keys_names_and_codes_are_as_the_format_says() {
        let key = Key(Zeroizing::new([7; KEY_BYTES]));

        assert_eq!(key.id().to_string().len(), 16);
        assert_eq!(key.code(b"x").0.len(), 43);
        assert_ne!(key.next().reveal(), key.reveal());
        assert_ne!(key.code(b"x"), key.next().code(b"x"));
    }
}
