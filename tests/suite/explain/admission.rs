//! Compares the chart's admission policy with the declared settings. The tests of the cluster show what the policy
//! does.

use std::collections::BTreeMap;
use std::fs;

use manifest::PREFIX;
use manifest::declaration::SETTINGS;
use provider::{Holds, Key};
use serde::de::DeserializeOwned;

use super::root;

const TEMPLATE: &str = "deploy/charts/secretfs/templates/admission.yaml";

/// The expression of one variable of the policy, on one line.
fn expression(variable: &str) -> String {
    let template = fs::read_to_string(root().join(TEMPLATE)).unwrap();
    let begin = format!("- name: {variable}\n      expression: >-\n");
    let rest = template.split_once(&begin).unwrap_or_else(|| panic!("there is no variable {variable}")).1;
    let lines = rest.lines().take_while(|line| line.starts_with("        "));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// A list or map of texts in CEL, which differs from JSON only in its quotes.
fn literal<T: DeserializeOwned>(cel: &str) -> T {
    let json = cel.replace('"', "\\\"").replace('\'', "\"");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// The result of `of` for each setting for which it has one, by the setting's name.
fn settings<T>(of: impl Fn(&Key) -> Option<T>) -> BTreeMap<String, T> {
    SETTINGS.iter().filter_map(|key| Some((key.name.to_owned(), of(key)?))).collect()
}

#[test]
fn the_policy_lists_the_settings_that_are_declared() {
    let known = expression("known");
    let list = known.split_once(".map(").unwrap().0;

    let names = literal::<Vec<String>>(list);

    let declared: Vec<_> = SETTINGS.iter().filter_map(|key| key.name.strip_prefix(PREFIX)).collect();
    assert_eq!(names, declared);
}

#[test]
fn the_policy_lets_choose_among_the_words_that_are_declared() {
    let choices: BTreeMap<String, Vec<String>> = literal(&expression("choices"));

    let declared: BTreeMap<String, Vec<String>> = settings(|key| match key.holds {
        Holds::Choice(words) => Some(words.iter().map(|word| (*word).to_owned()).collect()),
        _ => None,
    });
    assert_eq!(choices, declared);
}

#[test]
fn the_policy_asks_for_the_forms_that_are_declared_and_names_them_alike() {
    let patterns: BTreeMap<String, String> = literal(&expression("patterns"));
    let examples: BTreeMap<String, String> = literal(&expression("examples"));

    let form = |key: &Key| match key.holds {
        Holds::Form { pattern, words } => Some((pattern.to_owned(), words.to_owned())),
        _ => None,
    };
    assert_eq!(patterns, settings(|key| form(key).map(|(pattern, _)| pattern)));
    assert_eq!(examples, settings(|key| form(key).map(|(_, words)| words)));
}
