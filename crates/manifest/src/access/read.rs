//! Parses the text of `secretfs.dev/access`.

use provider::Invalid;
use serde::Deserialize;

use super::{AccessRule, AccessRules, Pattern};
use crate::text::shorten;
use crate::yaml::{self, Spanned};

/// The longest name of a container (RFC 1123 label).
const NAME_MAX: usize = 63;
/// Most names and patterns of one rule.
const LISTED_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    containers: Vec<String>,
    paths: Vec<String>,
}

/// The rules that `text` describes, under the parameter `key`.
pub(crate) fn read(key: &str, text: &str) -> Result<AccessRules, Vec<Invalid>> {
    let written: Vec<Spanned<Written>> = yaml::read_objects(key, text).map_err(|invalid| vec![invalid])?;
    let (mut rules, mut faults) = (Vec::new(), Vec::new());
    for (index, rule) in written.iter().enumerate() {
        let refuse = |field: &str, reason: &str, remedy: &str| Invalid {
            key: format!("{key}[{index}].{field}"),
            line: yaml::line(rule),
            reason: shorten(reason),
            remedy: remedy.to_owned(),
        };
        match understand(&rule.value, refuse) {
            Ok(rule) => rules.push(rule),
            Err(invalid) => faults.push(invalid),
        }
    }
    if faults.is_empty() { Ok(AccessRules::new(rules)) } else { Err(faults) }
}

fn understand(
    written: &Written,
    refuse: impl Fn(&str, &str, &str) -> Invalid,
) -> Result<AccessRule, Invalid> {
    let Written { containers, paths } = written;
    for (field, listed, example) in [
        ("containers", containers, "write one such as [web]"),
        ("paths", paths, "write one such as [\"db/**\"]"),
    ] {
        if listed.is_empty() || listed.len() > LISTED_MAX {
            return Err(refuse(field, "it lists none, or more than 1000", example));
        }
    }
    if let Some(odd) = containers.iter().find(|name| !is_name(name)) {
        let reason = format!("{odd:?} is not the name of a container");
        return Err(refuse("containers", &reason, "use lower-case letters, digits and -"));
    }
    let pattern = |text: &String| {
        let refused =
            |why| refuse("paths", &format!("{text:?}: {why}"), "write one such as \"db/user\" or \"db/**\"");
        Pattern::new(text).map_err(refused)
    };
    let paths = paths.iter().map(pattern).collect::<Result<_, _>>()?;
    Ok(AccessRule { containers: containers.iter().cloned().collect(), paths })
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "secretfs.dev/access";

    fn refusal(text: &str) -> String {
        read(KEY, text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_no_rule_allows_is_denied() {
        let rules = read(
            KEY,
            "- {containers: [web, init-db], paths: [\"db/**\", tls.crt]}\n- containers: [helper]\n  paths:\n    - tls.*\n",
        )
        .unwrap();

        for (container, path, expected) in [
            ("web", "db/user", true),
            ("init-db", "tls.crt", true),
            ("web", "tls.key", false),
            ("helper", "tls.key", true),
            ("helper", "db/user", false),
            ("other", "tls.crt", false),
        ] {
            assert_eq!(rules.allow(container, path), expected, "{container} {path}");
        }
        assert!(!rules.is_empty() && AccessRules::default().is_empty());
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_named_with_its_place() {
        for (text, told) in [
            ("[]", "it lists no objects"),
            ("- {containers: [web]}", "paths is missing"),
            ("- {containers: [], paths: [a]}", "access[0].containers"),
            ("- {containers: [web], paths: []}", "access[0].paths"),
            ("- {containers: [Web], paths: [a]}", "\"Web\" is not the name"),
            (
                "- {containers: [web], paths: [a]}\n- {containers: [web], paths: [/a]}",
                "access[1].paths (line 2)",
            ),
            ("- {containers: [web], path: [a]}", "unknown key \"path\""),
            ("web", "list"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(told), "{text}: {refusal}");
        }
    }
}
