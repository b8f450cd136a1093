//! The YAML inside class parameters, read as the upstream providers read it.
//!
//! `0400`, `0o400` and `256` are the same number, `yes` and `on` are text, and keys are case-sensitive and unique. All
//! limits are counts, not times. So a text is always accepted or always refused, even on a busy machine.

use provider::{FileMode, Invalid};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Visitor};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::DuplicateKeyPolicy;
use serde_yaml::{Error, MessageFormatter, Options, UserMessageFormatter};

use crate::text::shorten;

/// A value and its position. Serde loses positions inside `#[serde(flatten)]`, so wrap the whole object.
pub use serde_yaml::Spanned;

/// The longest text, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// The most scalars, lists and maps in a text.
pub const MAX_NODES: usize = 20_000;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 32;
/// The most uses of `*alias`.
pub const MAX_ALIASES: usize = 64;
/// The most objects of a class. Every parser of a list checks it.
pub const MAX_OBJECTS: usize = 1_000;

/// Reads a parameter's text.
///
/// # Errors
///
/// The text is not valid YAML, exceeds a limit, or is not a `T`. The error has the line, if it is known.
pub fn read<T: DeserializeOwned>(parameter: &str, text: &str) -> Result<T, Invalid> {
    if text.len() > MAX_BYTES {
        return Err(too_long(parameter, text.len()));
    }
    serde_yaml::from_str_with_options(text, options()).map_err(|error| invalid(parameter, &error))
}

/// Parses a parameter's text as a list of at least one and at most [`MAX_OBJECTS`] objects, each with its line.
///
/// # Errors
///
/// As [`read`], or the list is empty or too long.
pub fn read_objects<T: DeserializeOwned>(parameter: &str, text: &str) -> Result<Vec<Spanned<T>>, Invalid> {
    counted(parameter, read::<Option<Vec<Spanned<T>>>>(parameter, text)?.unwrap_or_default())
}

/// Returns `listed` if it has at least one and at most [`MAX_OBJECTS`] objects.
pub(crate) fn counted<T>(parameter: &str, listed: Vec<T>) -> Result<Vec<T>, Invalid> {
    let refuse = |reason: String, remedy: &str| {
        Err(Invalid { key: parameter.to_owned(), line: None, reason, remedy: remedy.to_owned() })
    };
    match listed {
        none if none.is_empty() => refuse("it lists no objects".to_owned(), "list at least one"),
        many if many.len() > MAX_OBJECTS => refuse(
            format!("it lists {} objects, more than {MAX_OBJECTS}", many.len()),
            "spread them over several classes",
        ),
        objects => Ok(objects),
    }
}

/// The line on which a value is written, from 1.
pub fn line<T>(value: &Spanned<T>) -> Option<usize> {
    usize::try_from(value.referenced.line()).ok().filter(|line| *line > 0)
}

fn too_long(parameter: &str, bytes: usize) -> Invalid {
    Invalid {
        key: parameter.to_owned(),
        line: None,
        reason: format!("it is {bytes} bytes long, more than {MAX_BYTES}"),
        remedy: "spread the objects over several classes".to_owned(),
    }
}

fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_merge_keys: MAX_ALIASES,
            max_events: 4 * MAX_NODES,
            max_recorded_anchor_events: 4 * MAX_NODES,
            max_total_scalar_bytes: MAX_BYTES,
            // Larger than our own depth limit, because our message is the better one.
            flow_nesting_limit: 2 * MAX_DEPTH,
            max_documents: 1,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        strict_booleans: true,
        emit_comments: false,
        with_snippet: false,
    }
}

fn invalid(parameter: &str, error: &Error) -> Invalid {
    let error = innermost(error);
    let (reason, remedy) = explain(error);
    let line = error.location().and_then(|at| usize::try_from(at.line()).ok()).filter(|line| *line > 0);
    Invalid { key: parameter.to_owned(), line, reason: shorten(&reason), remedy: remedy.to_owned() }
}

fn innermost(error: &Error) -> &Error {
    match error.without_snippet() {
        Error::AliasError { error, .. } => innermost(error),
        plain => plain,
    }
}

fn explain(error: &Error) -> (String, &'static str) {
    match error {
        Error::DuplicateMappingKey { key, .. } => {
            (format!("key {:?} is there twice", key.as_deref().unwrap_or("?")), "keep one of them")
        }
        Error::SerdeMissingField { field, .. } => (format!("{field} is missing"), "add it"),
        Error::SerdeUnknownField { field, expected, .. } => (
            format!("unknown key {field:?}, expected one of: {}", expected.join(", ")),
            "correct or remove it",
        ),
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            (format!("found {unexpected}, expected {expected}"), "correct the value")
        }
        Error::SerdeInvalidValue { unexpected, expected, .. } => {
            (format!("{unexpected} is not {expected}"), "correct the value")
        }
        Error::Unexpected { expected, .. } => {
            let expected = match *expected {
                "mapping start" => "a map",
                "sequence start" => "a list",
                "string scalar" => "text",
                other => other,
            };
            (format!("found something other than {expected}"), "correct the value")
        }
        Error::InvalidBooleanStrict { .. } => ("found no boolean".to_owned(), "write true or false"),
        Error::NullIntoString { .. } => {
            ("a value is empty where text is expected".to_owned(), "write \"\" or remove the key")
        }
        Error::Budget { breach, .. } => over_budget(breach),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            (format!("its aliases expand to more than {MAX_NODES} values"), "write the values out")
        }
        other => (UserMessageFormatter.format_message(other).into_owned(), "correct the YAML"),
    }
}

fn over_budget(breach: &BudgetBreach) -> (String, &'static str) {
    match breach {
        BudgetBreach::Depth { .. } => (format!("it is nested deeper than {MAX_DEPTH} levels"), "flatten it"),
        BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } | BudgetBreach::MergeKeys { .. } => {
            (format!("it has more than {MAX_ALIASES} anchors, aliases or merge keys"), "write the values out")
        }
        BudgetBreach::Documents { .. } => ("it holds several documents".to_owned(), "remove the `---`"),
        _ => (format!("it has more than {MAX_NODES} values"), "spread the objects over several classes"),
    }
}

/// A file mode written as a bare number: `0400`, `0o400` and `256` are the same.
/// A float, a quoted text, a negative number and one above 0777 are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumericMode(pub FileMode);

impl<'de> Deserialize<'de> for NumericMode {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModeVisitor)
    }
}

struct ModeVisitor;

impl Visitor<'_> for ModeVisitor {
    type Value = NumericMode;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a file mode as an unquoted number between 0000 and 0777, such as 0400")
    }

    fn visit_u64<E: de::Error>(self, bits: u64) -> Result<NumericMode, E> {
        let refused = |_| E::invalid_value(de::Unexpected::Unsigned(bits), &self);
        FileMode::try_from(bits).map(NumericMode).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::objects::ObjectExtras;
    use crate::parts::JmesPath;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Item {
        object_name: String,
        file_permission: Option<NumericMode>,
        #[serde(default)]
        secret_args: BTreeMap<String, Value>,
        #[serde(flatten)]
        extras: ObjectExtras,
    }

    fn items(text: &str) -> Result<Vec<Spanned<Item>>, Invalid> {
        read_objects("objects", text)
    }

    fn refusal(text: &str) -> String {
        items(text).unwrap_err().to_string()
    }

    fn mode(written: &str) -> Result<u32, Invalid> {
        let items = items(&format!("- {{objectName: a, filePermission: {written}}}"))?;
        Ok(items[0].value.file_permission.unwrap().0.bits())
    }

    #[test]
    fn a_mode_is_the_same_in_every_notation() {
        for written in ["0400", "0o400", "256"] {
            assert_eq!(mode(written).unwrap(), 0o400, "{written}");
        }
        assert_eq!(mode("0").unwrap(), 0);
        assert_eq!(mode("0777").unwrap(), 0o777);
    }

    #[test]
    fn a_mode_that_is_no_plain_number_is_refused() {
        for written in
            ["\"0400\"", "'256'", "400.0", "0999", "-256", "01000", "512", "1e2", "true", "[256]", "rw"]
        {
            let refusal = mode(written).unwrap_err().to_string();
            assert!(refusal.contains("between 0000 and 0777"), "{written}: {refusal}");
        }
    }

    #[test]
    fn names_and_arguments_keep_what_upstream_keeps() {
        let items = items(
            "- {objectName: 0123, secretArgs: {a: yes, b: true, n: 1, z: 010, t: 24h}}\n- objectName: on\n",
        )
        .unwrap();
        assert_eq!(items[0].value.object_name, "0123");
        assert_eq!(items[1].value.object_name, "on");
        assert_eq!(
            serde_json::to_string(&items[0].value.secret_args).unwrap(),
            r#"{"a":"yes","b":true,"n":1,"t":"24h","z":8}"#
        );
    }

    #[test]
    fn objects_know_their_line() {
        let items = items("# first\n- objectName: a\n\n- objectName: b\n").unwrap();
        assert_eq!(items.iter().map(line).collect::<Vec<_>>(), [Some(2), Some(4)]);
    }

    #[test]
    fn extras_have_defaults_and_are_never_converted() {
        let plain = items("- objectName: a").unwrap();
        assert_eq!(plain[0].value.extras, ObjectExtras::default());
        let given =
            items("- {objectName: a, optional: true, default: '1', jmesPath: a.b, file: false}").unwrap();
        let expected = ObjectExtras {
            optional: true,
            encoding: None,
            default: Some("1".to_owned()),
            jmes_path: Some(JmesPath::Whole("a.b".to_owned())),
            file: false,
        };
        assert_eq!(given[0].value.extras, expected);
        for wrong in [
            "default: 0123",
            "optional: yes",
            "file: 'false'",
            "jmesPath: [a]",
            "jmesPath: []",
            "jmesPath: 7",
        ] {
            assert!(items(&format!("- {{objectName: a, {wrong}}}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_has_the_line_and_says_what_to_do() {
        assert_eq!(
            refusal("- objectName: a\n- objectName: b\n  objectName: c\n"),
            "parameter objects (line 3): key \"objectName\" is there twice; keep one of them"
        );
        assert!(refusal("- objectName: a\n- secretArgs: {}\n").contains("objectName is missing"));
        assert!(refusal("- objectName: [a\n").contains("line"));
        assert!(refusal("").contains("lists no objects"));
        assert!(refusal("[]").contains("lists no objects"));
    }

    #[test]
    fn budgets_are_counts() {
        let bomb = "- &a {objectName: x, secretArgs: {l: [1,1,1,1,1,1,1,1,1,1]}}\n".to_owned()
            + &"- *a\n".repeat(65);
        assert!(refusal(&bomb).contains("more than 64 anchors"), "{}", refusal(&bomb));

        let deep = format!("- {{objectName: a, secretArgs: {{x: {}{}}}}}", "[".repeat(40), "]".repeat(40));
        assert!(refusal(&deep).contains("deeper than 32 levels"), "{}", refusal(&deep));

        assert!(refusal(&"- {objectName: a}\n".repeat(1_001)).contains("1001 objects"));
        assert!(refusal(&"- {objectName: a}\n".repeat(10_000)).contains("20000 values"));
        assert!(refusal(&"#".repeat(MAX_BYTES + 1)).contains("bytes long"));
        assert_eq!(items(&"- {objectName: a}\n".repeat(1_000)).unwrap().len(), 1_000);
    }

    #[test]
    fn aliases_of_aliases_do_not_multiply() {
        let mut text = String::from("- objectName: a\n  secretArgs:\n    l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..6 {
            let below = vec![format!("*l{}", level - 1); 10].join(",");
            text.push_str(&format!("    l{level}: &l{level} [{below}]\n"));
        }
        assert!(refusal(&text).contains("values"), "{}", refusal(&text));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in r"[-a:{}\[\]&*!|>'\x22#,0-9 \n\t?%@.]{0,200}|\PC{0,200}") {
            let _ = items(&text);
        }
    }
}
