use std::fmt;

use provider::FileMode;
use serde::Deserialize;
use serde::de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer};

use crate::yaml::NumericMode;

/// Which part of an object's contents the files show, by JMESPath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JmesPath {
    /// One expression: the object's file shows its result.
    Whole(String),
    /// The whole object's file, and one more file for each of these parts.
    Parts(Vec<JsonPart>),
}

/// A file that shows one part of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JsonPart {
    /// The JMESPath expression that selects the part.
    pub path: String,
    /// The name of the file. Composed files use it too.
    pub object_alias: String,
    /// Permission bits; without them the part has those of the object.
    #[serde(default)]
    pub file_permission: Option<PartMode>,
}

/// Permission bits of a part: a number as in [`NumericMode`], or a text of four octal digits such as `"0400"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartMode(pub FileMode);

/// Most parts of one object.
const MAX_PARTS: usize = 100;

impl<'de> Deserialize<'de> for JmesPath {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JmesPathVisitor)
    }
}

struct JmesPathVisitor;

impl<'de> Visitor<'de> for JmesPathVisitor {
    type Value = JmesPath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JMESPath expression, or a list of parts with path and objectAlias")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<JmesPath, E> {
        Ok(JmesPath::Whole(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<JmesPath, A::Error> {
        let parts: Vec<JsonPart> = Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
        if parts.is_empty() || parts.len() > MAX_PARTS {
            let expected = format!("a list of 1 to {MAX_PARTS} parts");
            return Err(de::Error::invalid_length(parts.len(), &expected.as_str()));
        }
        Ok(JmesPath::Parts(parts))
    }
}

impl<'de> Deserialize<'de> for PartMode {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartModeVisitor)
    }
}

struct PartModeVisitor;

impl Visitor<'_> for PartModeVisitor {
    type Value = PartMode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file mode between 0000 and 0777, as 0400 or \"0400\"")
    }

    fn visit_u64<E: de::Error>(self, bits: u64) -> Result<PartMode, E> {
        let refused = |_| E::invalid_value(de::Unexpected::Unsigned(bits), &self);
        FileMode::try_from(bits).map(PartMode).map_err(refused)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PartMode, E> {
        let is_octal = text.len() == 4 && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let bits = u64::from_str_radix(text, 8).ok().filter(|_| is_octal);
        let mode = bits.and_then(|bits| FileMode::try_from(bits).ok());
        mode.map(PartMode).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl From<PartMode> for NumericMode {
    fn from(PartMode(mode): PartMode) -> Self {
        Self(mode)
    }
}
