//! The keys of one object of `objects`: those that a provider knows, and what each holds. Serde tells the line of
//! what it cannot read; which key that is, and which key was meant, is found here.

use provider::Invalid;

use crate::listing::{Listed, Listing};
use crate::text::{nearest, shorten};
use crate::tree::{Key, Kind, Node, Scalar, Value};
use crate::yaml::{self, NumericMode};

/// A key that an object may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// As it is written.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
}

/// What a key holds. An empty value is as good as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Text; a number is taken for its digits.
    Text,
    /// Text, and no number or boolean in its place.
    TextOnly,
    /// The same, or a list.
    TextOrList,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Number,
    /// A file mode.
    Mode,
    /// A map.
    Map,
}

/// The keys that objects of every provider may have; see [`ObjectExtras`](crate::objects::ObjectExtras).
pub const EXTRAS: [Field; 4] = [
    Field::new("optional", Holds::Boolean),
    Field::new("default", Holds::TextOnly),
    Field::new("jmesPath", Holds::TextOrList),
    Field::new("file", Holds::Boolean),
];

impl Field {
    /// A key and what it holds.
    pub const fn new(name: &'static str, holds: Holds) -> Self {
        Self { name, holds }
    }
}

impl Holds {
    fn fits(self, node: &Node) -> bool {
        match (self, &node.value) {
            (_, Value::Scalar(scalar)) if scalar.kind == Kind::Null => true,
            (Self::Map, value) => matches!(value, Value::Map(_)),
            (Self::TextOrList, Value::List(_)) => true,
            (_, Value::List(_) | Value::Map(_)) => false,
            (Self::Text, Value::Scalar(_)) => true,
            (Self::TextOnly | Self::TextOrList, Value::Scalar(scalar)) => {
                scalar.kind != Kind::Number && !is_boolean(scalar)
            }
            (Self::Boolean, Value::Scalar(scalar)) => is_boolean(scalar),
            (Self::Number, Value::Scalar(scalar)) => {
                scalar.kind == Kind::Number && scalar.text.parse::<u64>().is_ok()
            }
            (Self::Mode, Value::Scalar(scalar)) => {
                scalar.kind == Kind::Number && yaml::read::<NumericMode>("", &scalar.text).is_ok()
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::TextOnly => "text, in quotes where it looks like something else",
            Self::TextOrList => "text, in quotes where it looks like something else, or a list",
            Self::Boolean => "true or false, without quotes",
            Self::Number => "a whole number",
            Self::Mode => "a file mode as an unquoted number between 0000 and 0777, such as 0400",
            Self::Map => "a map",
        }
    }
}

fn is_boolean(scalar: &Scalar) -> bool {
    scalar.kind == Kind::Bool && matches!(scalar.text.as_str(), "true" | "false")
}

/// What is known of a key that nobody reads: the one that was meant, or all that there are.
pub fn meant(key: &str, known: impl IntoIterator<Item = &'static str> + Clone) -> String {
    match nearest(key, known.clone()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the keys are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// Keys of the objects in `text` that nobody reads, each with its line and what was meant. A text that
/// cannot be read has none.
pub fn unknown(text: &str, own: &[Field]) -> Vec<Invalid> {
    unknown_in(&Listing::OBJECTS, text, own)
}

/// As [`unknown`], of objects that are listed otherwise.
pub fn unknown_in(listing: &Listing, text: &str, own: &[Field]) -> Vec<Invalid> {
    let names = || own.iter().chain(&EXTRAS).map(|field| field.name);
    let of_object = |object: Listed| -> Vec<Invalid> {
        let unknown = object.node.pairs().iter().filter(|(key, _)| names().all(|name| name != key.text));
        let tell = |(key, _): &(Key, Node)| {
            let remedy = meant(&key.text, own.iter().chain(&EXTRAS).map(|field| field.name));
            invalid(&object, key, "an object has no such key", &remedy)
        };
        unknown.map(tell).collect()
    };
    listing.nodes(text).into_iter().flat_map(of_object).collect()
}

/// Values of the objects in `text` that are not what their keys hold.
pub(crate) fn misfits(listing: &Listing, text: &str, own: &[Field]) -> Vec<Invalid> {
    let of_object = |object: Listed| -> Vec<Invalid> {
        let field = |key: &Key| own.iter().chain(&EXTRAS).find(|field| field.name == key.text);
        let misfit = |(key, node): &(Key, Node)| {
            let holds = field(key)?.holds;
            let reason = format!("found {}, expected {}", found(node), holds.name());
            (!holds.fits(node)).then(|| invalid(&object, key, &reason, "correct the value"))
        };
        object.node.pairs().iter().filter_map(misfit).collect()
    };
    listing.nodes(text).into_iter().flat_map(of_object).collect()
}

/// Text as it is written, so that it is seen where quotes are too many or too few.
fn found(node: &Node) -> String {
    match (&node.value, node.text()) {
        (_, Some(text)) => format!("{:?}", shorten(text)),
        _ => node.describe(),
    }
}

fn invalid(object: &Listed, key: &Key, reason: &str, remedy: &str) -> Invalid {
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

    const OWN: [Field; 4] = [
        Field::new("objectName", Holds::Text),
        Field::new("item", Holds::Text),
        Field::new("filePermission", Holds::Mode),
        Field::new("args", Holds::Map),
    ];

    fn told(faults: &[Invalid]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_wrong_type_is_told_with_its_key_and_its_line() {
        let text = "- objectName: a\n  item: [x]\n- {objectName: 0123, filePermission: \"0400\",\n   optional: yes}\n\
                    - objectName: b\n  filePermission: 01000\n  default: 7\n  args: x\n";

        let told = told(&misfits(&Listing::OBJECTS, text, &OWN));

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

        assert_eq!(misfits(&Listing::OBJECTS, text, &OWN), []);
        assert_eq!(misfits(&Listing::OBJECTS, "- [", &OWN), []);
        assert_eq!(misfits(&Listing::OBJECTS, "{a: b}", &OWN), []);
    }

    #[test]
    fn a_key_that_nobody_reads_is_told_with_the_one_that_was_meant() {
        let text = "- objectName: a\n  itme: x\n- {objectName: b, jmespath: x, colour: red}\n";

        let told = told(&unknown(text, &OWN));

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
        assert_eq!(unknown(&bomb, &OWN), []);
        assert_eq!(unknown(&"#".repeat(yaml::MAX_BYTES + 1), &OWN), []);
        let told = unknown(&format!("- {{{}: 1}}", "k".repeat(900)), &OWN);
        assert!(told[0].key.len() < 500, "{}", told[0].key.len());
    }
}
