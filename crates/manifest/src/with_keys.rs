//! Reads a map into a type and also returns the map's keys. Serde does not report which keys the type ignored.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What was read from a map, and the map's keys in their order.
#[derive(Debug)]
pub(crate) struct WithKeys<T> {
    pub(crate) keys: Vec<String>,
    pub(crate) value: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for WithKeys<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for MapVisitor<T> {
    type Value = WithKeys<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::new();
        let value = T::deserialize(MapAccessDeserializer::new(Remembering { map, keys: &mut keys }))?;
        Ok(WithKeys { keys, value })
    }
}

struct Remembering<'k, A> {
    map: A,
    keys: &'k mut Vec<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Remembering<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.map.next_key::<String>()? else { return Ok(None) };
        self.keys.push(key.clone());
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[derive(Debug, Deserialize)]
    struct Written {
        name: String,
    }

    #[test]
    fn keys_that_a_type_passes_over_are_remembered() {
        let read: WithKeys<Written> = yaml::read("x", "{b: {c: d}, name: 012, a: 1}").unwrap();

        assert_eq!(
            (read.value.name.as_str(), read.keys),
            ("012", ["b", "name", "a"].map(str::to_owned).into())
        );
    }

    #[test]
    fn what_is_no_map_or_lacks_a_key_is_refused_in_the_same_words() {
        for text in ["x", "[x]", "{other: x}", "{name: [x]}"] {
            let (with, without) =
                (yaml::read::<WithKeys<Written>>("x", text), yaml::read::<Written>("x", text));
            assert_eq!(with.unwrap_err().reason, without.unwrap_err().reason, "{text}");
        }
    }
}
