use std::fmt;

use provider::SecretBytes;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A secret text inside an answer. It is parsed directly into secret bytes.
#[derive(Debug)]
pub struct SecretText(pub SecretBytes);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretText, E> {
        Ok(SecretText(SecretBytes::new(text.as_bytes().to_vec())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<SecretText, E> {
        Ok(SecretText(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, U8Deserializer};

    use super::*;

    #[test]
    fn text_is_secret_however_it_comes_and_nothing_else_is_taken_for_it() {
        let lent: Result<SecretText, Error> = SecretText::deserialize("hunter2".into_deserializer());
        let given: Result<SecretText, Error> =
            SecretText::deserialize("hunter2".to_owned().into_deserializer());
        let number: U8Deserializer<Error> = 2u8.into_deserializer();

        for text in [lent.unwrap(), given.unwrap()] {
            assert_eq!(text.0.expose(), b"hunter2");
            assert!(!format!("{text:?}").contains("hunter2"));
        }
        assert!(!SecretText::deserialize(number).unwrap_err().to_string().contains("hunter2"));
    }
}
