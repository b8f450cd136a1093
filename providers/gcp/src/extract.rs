//! The part of a value that a file shows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use manifest::yaml;
use provider::{Error, ErrorKind, Object, Reading, Result, SecretBytes};
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::objects::{Extract, Part};
use crate::parameters::{self, Plan};

/// The file that object `index` of `plan` makes of `reading`.
///
/// # Errors
///
/// `NotFound` if the value has no such key; `Invalid` if it is in another form than the class says.
pub fn extract(plan: &Plan, index: usize, reading: &Reading) -> Result<Object> {
    let (Some(object), Some(wanted)) = (plan.objects.get(index), plan.parts.get(index)) else {
        return Err(Error::new(ErrorKind::Invalid, "the class has no such object"));
    };
    let contents = part(wanted, &parameters::name(&object.request), &reading.body)?;
    Ok(Object { contents, significant: None, version: reading.version.clone() })
}

/// What `part` takes of `value`, which is of `name`.
///
/// # Errors
///
/// `NotFound` if there is no such key; `Invalid` if the value is no map, or what the key has is no text. No message
/// repeats anything of the value.
fn part(part: &Part, name: &str, value: &SecretBytes) -> Result<SecretBytes> {
    let found = match &part.extract {
        Extract::Whole => Ok(value.clone()),
        Extract::Json(key) => of_json(key, value),
        Extract::Yaml(key) => of_yaml(key, value),
    };
    found.map_err(|missing| missing.error(&part.extract, name))
}

/// What a value lacks.
enum Missing {
    /// It is not in that form at all.
    Map(&'static str),
    Key,
    /// There is something else under the key.
    Text,
}

impl Missing {
    fn error(&self, extract: &Extract, name: &str) -> Error {
        let key = extract.key().unwrap_or_default();
        match self {
            Self::Map(form) => Error::new(ErrorKind::Invalid, format!("{name}: the value is no {form}"))
                .remedy(format!("put one there, or take the key {key:?} out of the class")),
            Self::Key => Error::new(ErrorKind::NotFound, format!("{name}: the value has no key {key:?}"))
                .remedy("put it there, or correct the class"),
            Self::Text => {
                let what = format!("{name}: unsupported value type for key {key:?}: it is no text");
                Error::new(ErrorKind::Invalid, what).remedy("write it as text, or take it by jmesPath")
            }
        }
    }
}

fn of_json(key: &str, value: &SecretBytes) -> std::result::Result<SecretBytes, Missing> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let fields: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(value.expose()).map_err(|_| Missing::Map("JSON object"))?;
    let raw = fields.get(key).ok_or(Missing::Key)?;
    let text: Text<'_> = serde_json::from_str(raw.get()).map_err(|_| Missing::Text)?;
    Ok(SecretBytes::from(text.0.into_owned()))
}

fn of_yaml(key: &str, value: &SecretBytes) -> std::result::Result<SecretBytes, Missing> {
    const FORM: &str = "YAML map of at most 256 KiB";
    let text = value.expose_str().ok_or(Missing::Map(FORM))?;
    // What the reader says has pieces of the value in it.
    let mut map: BTreeMap<String, Node> = yaml::read("", text).map_err(|_| Missing::Map(FORM))?;
    match map.remove(key) {
        Some(Node::Text(mut text)) => Ok(SecretBytes::from(std::mem::take(&mut *text))),
        Some(Node::Other) => Err(Missing::Text),
        None => Err(Missing::Key),
    }
}

/// A value in a YAML map.
enum Node {
    Text(Zeroizing<String>),
    /// A number, a boolean, nothing, a list or a map.
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Node, E> {
        Ok(Node::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> std::result::Result<Node, E> {
        Ok(Node::Text(Zeroizing::new(text)))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> std::result::Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> std::result::Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> std::result::Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> std::result::Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E: de::Error>(self) -> std::result::Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Node, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Node, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Node::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(extract: Extract, value: &str) -> Result<String> {
        let part =
            super::part(&Part { extract }, "projects/p/secrets/s/versions/1", &value.to_owned().into())?;
        Ok(part.expose_str().unwrap().to_owned())
    }

    fn json(key: &str, value: &str) -> Result<String> {
        take(Extract::Json(key.to_owned()), value)
    }

    fn yaml(key: &str, value: &str) -> Result<String> {
        take(Extract::Yaml(key.to_owned()), value)
    }

    #[test]
    fn a_key_of_json_is_the_text_it_has() {
        assert_eq!(json("user", r#"{"user":"u\n\"","pass":"p"}"#).unwrap(), "u\n\"");
        assert_eq!(json("a.b", r#"{"a":{"b":"no"},"a.b":"yes"}"#).unwrap(), "yes");
        for (value, kind) in [
            (r#"{"other":"x"}"#, ErrorKind::NotFound),
            (r#"{"user":7}"#, ErrorKind::Invalid),
            (r#"{"user":null}"#, ErrorKind::Invalid),
            (r#"{"user":{"a":"b"}}"#, ErrorKind::Invalid),
            ("[]", ErrorKind::Invalid),
            ("hunter2", ErrorKind::Invalid),
        ] {
            let error = json("user", value).unwrap_err();
            assert_eq!(error.kind(), kind, "{value}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_key_of_yaml_is_the_text_it_has() {
        let value = "host: h\nport: 80\nquoted: \"80\"\non: yes\nlist: [a]\nmap: {a: b}\nnone:\nfloat: 1.5\nflag: true\n";
        for (key, text) in [("host", "h"), ("quoted", "80"), ("on", "yes")] {
            assert_eq!(yaml(key, value).unwrap(), text);
        }
        for key in ["port", "list", "map", "none", "float", "flag"] {
            assert_eq!(yaml(key, value).unwrap_err().kind(), ErrorKind::Invalid, "{key}");
        }
        assert_eq!(yaml("other", value).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(yaml("host", r#"{"host": "json is yaml"}"#).unwrap(), "json is yaml");
    }

    #[test]
    fn what_cannot_be_read_is_not_repeated() {
        for value in ["hunter2", "- hunter2", "hunter2: [", "a: *hunter2", &"#".repeat(300_000)] {
            let error = yaml("a", value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
