//! Serialises public bytes and ciphertext as base64 in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))
}

/// For byte arrays of a fixed length.
pub(crate) mod array {
    use serde::{Serialize as _, Serializer};

    use super::*;

    pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], s: S) -> Result<S::Ok, S::Error> {
        STANDARD.encode(bytes).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<[u8; N], D::Error> {
        decode(d)?.try_into().map_err(|_| D::Error::custom(format!("not {N} bytes")))
    }
}

/// For byte strings of any length.
pub(crate) mod vec {
    use serde::{Serialize as _, Serializer};

    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        STANDARD.encode(bytes).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        decode(d)
    }
}

/// For maps from names to byte strings.
pub(crate) mod map {
    use std::collections::BTreeMap;

    use serde::{Serialize, Serializer};

    use super::*;
    use crate::name::Name;

    #[derive(Serialize, Deserialize)]
    struct Bytes(#[serde(with = "super::vec")] Vec<u8>);

    pub(crate) fn serialize<S: Serializer>(map: &BTreeMap<Name, Vec<u8>>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(name, bytes)| (name, STANDARD.encode(bytes))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<Name, Vec<u8>>, D::Error> {
        let map = BTreeMap::<Name, Bytes>::deserialize(d)?;
        Ok(map.into_iter().map(|(name, Bytes(bytes))| (name, bytes)).collect())
    }
}
