//! Reads objects as Go's `sigs.k8s.io/yaml` does: scalars by YAML 1.1 and by the type of their key, keys in any case.
//!
//! For a key that holds text, a scalar loses its notation: a bare `y` becomes "true" and a bare `0123` becomes "83".

use provider::{Holds, Invalid, Key};
use serde_json::{Map, Number, Value as Json};

use crate::declaration::PART;
use crate::fields::declared;
use crate::text::shorten;
use crate::tree::{self, Kind, Node, Scalar, Value};

/// The same node, with every declared key in the case of its declaration.
pub(crate) fn respelled(mut node: Node, own: &'static [Key]) -> Node {
    node.value = match node.value {
        Value::Scalar(scalar) => Value::Scalar(scalar),
        Value::List(items) => Value::List(items.into_iter().map(|item| respelled(item, own)).collect()),
        Value::Map(pairs) => Value::Map(pairs.into_iter().map(|pair| respelled_pair(pair, own)).collect()),
    };
    node
}

fn respelled_pair((key, node): (tree::Key, Node), own: &'static [Key]) -> (tree::Key, Node) {
    let text = known(&key.text, own).map_or(key.text, |key| key.name.to_owned());
    (tree::Key { text, line: key.line }, respelled(node, own))
}

/// The declared key with this `name`, in any case.
fn known(name: &str, own: &'static [Key]) -> Option<&'static Key> {
    declared(own).chain(PART).find(|key| key.name.eq_ignore_ascii_case(name))
}

/// Converts a [respelled] object to JSON. Empty values are left out, because Go treats null the same way.
///
/// # Errors
///
/// A key is there twice, in different cases.
pub(crate) fn json(name: &str, object: &Node, own: &'static [Key]) -> Result<Json, Invalid> {
    match &object.value {
        Value::Scalar(scalar) => Ok(of_scalar(scalar, Holds::Text)),
        Value::List(items) => items.iter().map(|item| json(name, item, own)).collect(),
        Value::Map(pairs) => {
            let mut map = Map::new();
            for (key, node) in pairs.iter().filter(|(_, node)| !node.is_null()) {
                let holds = known(&key.text, own).map_or(Holds::Text, |key| key.holds);
                let value = match &node.value {
                    Value::Scalar(scalar) => of_scalar(scalar, holds),
                    Value::List(_) | Value::Map(_) => json(name, node, own)?,
                };
                if map.insert(key.text.clone(), value).is_some() {
                    return Err(twice(name, key));
                }
            }
            Ok(Json::Object(map))
        }
    }
}

fn twice(name: &str, key: &tree::Key) -> Invalid {
    Invalid {
        key: name.to_owned(),
        line: Some(key.line),
        reason: format!("key {:?} is there twice: its case does not count", shorten(&key.text)),
        remedy: "keep one of them".to_owned(),
    }
}

/// A key of the type text accepts any scalar and converts it to text. A key that holds only text keeps the scalar's
/// type, so that the later check refuses it.
fn of_scalar(scalar: &Scalar, holds: Holds) -> Json {
    match (holds, scalar.kind) {
        (Holds::Boolean | Holds::TextOnly | Holds::TextOrList, Kind::Bool) => {
            Json::Bool(is_yes(&scalar.text))
        }
        (Holds::TextOnly | Holds::TextOrList, Kind::Number) => Json::Number(Number::from(0)),
        (_, Kind::Null) => Json::Null,
        (_, Kind::Bool) => Json::String(is_yes(&scalar.text).to_string()),
        (_, Kind::Number) => Json::String(number(&scalar.text)),
        (_, Kind::Text) => Json::String(scalar.text.clone()),
    }
}

fn is_yes(word: &str) -> bool {
    ["y", "yes", "on", "true"].iter().any(|yes| yes.eq_ignore_ascii_case(word))
}

/// A number as Go writes it: decimal, without underscores, and as short as it can be.
fn number(written: &str) -> String {
    let plain = written.replace('_', "");
    match integer(&plain) {
        Some(integer) => integer.to_string(),
        None => plain.parse().map_or(plain, float),
    }
}

fn integer(plain: &str) -> Option<i128> {
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.strip_prefix('+').unwrap_or(plain)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, digits.get(2..)?),
        Some("0o" | "0O") => (8, digits.get(2..)?),
        Some("0b" | "0B") => (2, digits.get(2..)?),
        Some(two) if two.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    let integer = i128::from_str_radix(&format!("{sign}{digits}"), radix).ok()?;
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&integer).then_some(integer)
}

/// As `strconv.FormatFloat(number, 'g', -1, 64)`.
fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if exponent < -4 => format!("{digits}e-{:02}", exponent.unsigned_abs()),
        Ok(exponent) if exponent >= 6 => format!("{digits}e+{exponent:02}"),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_go_writes_it() {
        for (written, text) in [
            ("0123", "83"),
            ("-0123", "-83"),
            ("0o17", "15"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("08", "8"),
            ("0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("1.10", "1.1"),
            ("+.5", "0.5"),
            ("1e-7", "1e-07"),
            ("1234567.5", "1.2345675e+06"),
            ("1e30", "1e+30"),
        ] {
            assert_eq!(number(written), text, "{written}");
        }
    }
}
