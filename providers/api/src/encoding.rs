//! How a store holds a value: plain or encoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::SecretBytes;

/// The encoding in which somebody put the value into the store: an object's `encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Encoding {
    /// The store holds the value itself.
    #[default]
    None,
    /// Base64 with padding, in one line or in several.
    Base64,
    /// Two hexadecimal digits for each byte.
    Hex,
}

impl Encoding {
    /// The one that a class calls `name`, in any case; an empty name is that of none.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "" | "none" | "utf-8" => Some(Self::None),
            "base64" => Some(Self::Base64),
            "hex" => Some(Self::Hex),
            _ => None,
        }
    }

    /// The name that messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Base64 => "base64",
            Self::Hex => "hex",
        }
    }

    /// Decodes `stored`. White space around it is ignored. `None` if it is not in this encoding.
    pub fn decode(self, stored: &SecretBytes) -> Option<SecretBytes> {
        let text = stored.expose().trim_ascii();
        match self {
            Self::None => Some(stored.clone()),
            Self::Base64 => {
                let lines = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n'));
                let text = Zeroizing::new(lines.collect::<Vec<_>>());
                let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
                let length = STANDARD.decode_slice(&*text, &mut bytes).ok()?;
                bytes.truncate(length);
                Some(SecretBytes::new(std::mem::take(&mut *bytes)))
            }
            Self::Hex => {
                let digits = text.chunks(2).map(byte);
                let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
                for digit in digits {
                    bytes.push(digit?);
                }
                Some(SecretBytes::new(std::mem::take(&mut *bytes)))
            }
        }
    }
}

fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
        encoding.decode(&text.to_owned().into()).map(|bytes| bytes.expose().to_vec())
    }

    #[test]
    fn each_encoding_reads_its_own_and_nothing_else() {
        assert_eq!(decode(Encoding::None, " a\n").unwrap(), b" a\n");
        assert_eq!(decode(Encoding::Base64, "aGk=\n").unwrap(), b"hi");
        assert_eq!(decode(Encoding::Base64, "aG\r\nk=").unwrap(), b"hi");
        assert_eq!(decode(Encoding::Hex, "68Ff00\n").unwrap(), [0x68, 0xff, 0]);
        assert_eq!(decode(Encoding::Hex, "").unwrap(), b"");
        for (encoding, text) in
            [(Encoding::Base64, "aGk"), (Encoding::Base64, "é"), (Encoding::Hex, "6"), (Encoding::Hex, "zz")]
        {
            assert_eq!(decode(encoding, text), None, "{text:?}");
        }
    }

    #[test]
    fn an_encoding_is_known_by_its_name_in_any_case() {
        for (name, encoding) in [
            ("", Encoding::None),
            ("UTF-8", Encoding::None),
            ("Base64", Encoding::Base64),
            ("HEX", Encoding::Hex),
        ] {
            assert_eq!(Encoding::named(name), Some(encoding), "{name}");
        }
        assert_eq!(Encoding::named("rot13"), None);
    }
}
