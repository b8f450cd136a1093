//! How a store holds a value: plain or encoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::SecretBytes;
use serde::Deserialize;
use zeroize::Zeroizing;

/// The encoding in which somebody put the value into the store: an object's `encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// The store holds the value itself.
    #[default]
    #[serde(alias = "utf-8")]
    None,
    /// Base64 with padding.
    Base64,
    /// Two hexadecimal digits for each byte.
    Hex,
}

impl Encoding {
    /// The name that messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "text",
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
                let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
                let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
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
        assert_eq!(decode(Encoding::Hex, "68Ff00\n").unwrap(), [0x68, 0xff, 0]);
        assert_eq!(decode(Encoding::Hex, "").unwrap(), b"");
        for (encoding, text) in
            [(Encoding::Base64, "aGk"), (Encoding::Base64, "é"), (Encoding::Hex, "6"), (Encoding::Hex, "zz")]
        {
            assert_eq!(decode(encoding, text), None, "{text:?}");
        }
    }
}
