//! Compares the keys of one object of `objects` with the declared keys. Serde reports only the line of something that
//! it cannot read. This module finds which key it is, and which key the author probably meant.

use provider::{Holds, Invalid, Key};

use crate::declaration::OBJECT;
use crate::listing::{Listed, Listing};
use crate::text::{nearest, shorten};
use crate::tree::{self, Kind, Node, Scalar, Value};
use crate::yaml::{self, NumericMode};

/// All keys that an object may have: the provider's `own` keys and those that every provider accepts.
pub fn declared(own: &'static [Key]) -> impl Iterator<Item = &'static Key> + Clone {
    own.iter().chain(OBJECT)
}

/// The text of a key, if there is one. An empty text is the same as none.
pub fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// Whether the value in `node` is of the type that the key holds.
fn fits(holds: Holds, node: &Node) -> bool {
    match (holds, &node.value) {
        (_, Value::Scalar(scalar)) if scalar.kind == Kind::Null => true,
        (Holds::Map, value) => matches!(value, Value::Map(_)),
        (Holds::List | Holds::Objects, value) => matches!(value, Value::List(_)),
        (Holds::TextOrList, Value::List(_)) => true,
        (_, Value::List(_) | Value::Map(_)) => false,
        (Holds::TextOnly | Holds::TextOrList, Value::Scalar(scalar)) => {
            scalar.kind != Kind::Number && !is_boolean(scalar)
        }
        (Holds::Boolean, Value::Scalar(scalar)) => is_boolean(scalar),
        (Holds::Number, Value::Scalar(scalar)) => {
            scalar.kind == Kind::Number && scalar.text.parse::<u64>().is_ok()
        }
        (Holds::Mode, Value::Scalar(scalar)) => {
            scalar.kind == Kind::Number && yaml::read::<NumericMode>("", &scalar.text).is_ok()
        }
        // Only the provider knows which texts are valid.
        (
            Holds::Text | Holds::Choice(_) | Holds::Form { .. } | Holds::Authorities | Holds::ClientFile,
            Value::Scalar(_),
        ) => true,
    }
}

fn is_boolean(scalar: &Scalar) -> bool {
    scalar.kind == Kind::Bool && matches!(scalar.text.as_str(), "true" | "false")
}

/// A hint for an unknown key: the most similar known key, or a list of all known keys.
pub fn meant(key: &str, known: impl IntoIterator<Item = &'static str> + Clone) -> String {
    match nearest(key, known.clone()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the keys are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// Unknown keys of the objects in `text`, each with its line and with a hint. If `text` cannot be parsed, the list is
/// empty.
pub fn unknown(text: &str, own: &'static [Key]) -> Vec<Invalid> {
    unknown_in(&Listing::OBJECTS, text, own)
}

/// As [`unknown`], for objects that are listed in another shape.
pub fn unknown_in(listing: &Listing, text: &str, own: &'static [Key]) -> Vec<Invalid> {
    let names = || declared(own).map(|key| key.name);
    let of_object = |object: Listed| -> Vec<Invalid> {
        let unknown = object.node.pairs().iter().filter(|(key, _)| names().all(|name| name != key.text));
        let tell = |(key, _): &(tree::Key, Node)| {
            invalid(&object, key, "an object has no such key", &meant(&key.text, names()))
        };
        unknown.map(tell).collect()
    };
    listing.nodes(text, own).into_iter().flat_map(of_object).collect()
}

/// Values of the objects in `text` that are not of the type that their keys hold.
pub(crate) fn misfits(listing: &Listing, text: &str, own: &'static [Key]) -> Vec<Invalid> {
    let of_object = |object: Listed| -> Vec<Invalid> {
        let misfit = |(key, node): &(tree::Key, Node)| {
            let holds = declared(own).find(|declared| declared.name == key.text)?.holds;
            let reason = format!("found {}, expected {}", found(node), expected(holds));
            (!fits(holds, node)).then(|| invalid(&object, key, &reason, "correct the value"))
        };
        object.node.pairs().iter().filter_map(misfit).collect()
    };
    listing.nodes(text, own).into_iter().flat_map(of_object).collect()
}

/// What a key holds, in words. For a key that accepts any text this is "text".
fn expected(holds: Holds) -> String {
    match holds {
        Holds::Choice(_) | Holds::Form { .. } => Holds::Text.words(),
        other => other.words(),
    }
}

/// The value as the author wrote it, so that missing or superfluous quotes are visible.
fn found(node: &Node) -> String {
    match (&node.value, node.text()) {
        (_, Some(text)) => format!("{:?}", shorten(text)),
        _ => node.describe(),
    }
}

fn invalid(object: &Listed, key: &tree::Key, reason: &str, remedy: &str) -> Invalid {
    Invalid {
        key: format!("{}.{}", object.name, shorten(&key.text)),
        line: object.line.or(Some(key.line)),
        reason: shorten(reason),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[Key] = &[
        Key::new("objectName", Holds::Text, "", ""),
        Key::new("item", Holds::Choice(&["x"]), "", ""),
        Key::new("filePermission", Holds::Mode, "", ""),
        Key::new("args", Holds::Map, "", ""),
    ];

    fn told(faults: &[Invalid]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_wrong_type_is_told_with_its_key_and_its_line() {
        let text = "- objectName: a\n  item: [x]\n- {objectName: 0123, filePermission: \"0400\",\n   optional: yes}\n\
                    - objectName: b\n  filePermission: 01000\n  default: 7\n  args: x\n";

        let told = told(&misfits(&Listing::OBJECTS, text, OWN));

        let begun = [
            "parameter objects[0].item (line 2): found a list, expected text",
            "parameter objects[1].filePermission (line 3): found \"0400\", expected a file mode",
            "parameter objects[1].optional (line 4): found the boolean yes, expected true or false",
            "parameter objects[2].filePermission (line 6): found the number 01000",
            "parameter objects[2].default (line 7): found the number 7, expected text, in quotes",
            "parameter objects[2].args (line 8): found \"x\", expected a map",
        ];
        assert_eq!(told.len(), begun.len(), "{told:#?}");
        for (told, begun) in told.iter().zip(begun) {
            assert!(told.starts_with(begun), "{told}");
        }
    }

    #[test]
    fn what_fits_and_what_is_empty_is_no_misfit() {
        let text = "- {objectName: on, item: 12, filePermission: 0400, args: {a: 1}, optional: true, default: yes}\n\
                    - {objectName: , item: , filePermission: , args: , optional: , other: [1]}";

        assert_eq!(misfits(&Listing::OBJECTS, text, OWN), []);
        assert_eq!(misfits(&Listing::OBJECTS, "- [", OWN), []);
        assert_eq!(misfits(&Listing::OBJECTS, "{a: b}", OWN), []);
    }

    #[test]
    fn a_key_that_nobody_reads_is_told_with_the_one_that_was_meant() {
        let text = "- objectName: a\n  itme: x\n- {objectName: b, jmespath: x, colour: red}\n";

        let told = told(&unknown(text, OWN));

        assert_eq!(
            told[0],
            "parameter objects[0].itme (line 2): an object has no such key; did you mean item?"
        );
        assert!(told[1].ends_with("did you mean jmesPath?"), "{}", told[1]);
        assert!(
            told[2].contains("the keys are objectName, item, filePermission, args, optional"),
            "{}",
            told[2]
        );
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn a_hostile_text_is_bounded() {
        let bomb = format!("- &a {{x: {}}}\n{}", "[".repeat(60), "- *a\n".repeat(100));
        assert_eq!(unknown(&bomb, OWN), []);
        assert_eq!(unknown(&"#".repeat(yaml::MAX_BYTES + 1), OWN), []);
        let told = unknown(&format!("- {{{}: 1}}", "k".repeat(900)), OWN);
        assert!(told[0].key.len() < 500, "{}", told[0].key.len());
    }
}
