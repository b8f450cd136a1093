//! Checks that `check` accepts exactly the keys that `explain` lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use manifest::{Class, Manifests, PREFIX};
use serde_json::Value;

use super::{explained, keys, root, secretfs};

/// The texts of all YAML files below a directory.
fn manifests(directory: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            manifests(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// Every valid class in `examples/` and `tests/`.
fn classes() -> Vec<Class> {
    let mut texts = Vec::new();
    for directory in ["examples", "tests"] {
        manifests(&root().join(directory), &mut texts);
    }
    let located = texts.iter().flat_map(|text| Manifests::read(text).classes);
    located.map(|located| located.class).collect()
}

/// The keys of a class that `check` reports as unknown, such as `objects[0].itme`.
fn refused(class: &str) -> BTreeSet<String> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(file.path(), class).unwrap();
    let report = secretfs(&["check", "-o", "json", file.path().to_str().unwrap()]).out;
    let report: Value = serde_json::from_str(&report).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let unread = findings.filter(|finding| finding["reason"].as_str().unwrap().contains("no such"));
    unread.map(|finding| finding["key"].as_str().unwrap().to_owned()).collect()
}

/// Keys that exclude another key of the same object or class.
const EXCLUSIVE: [&str; 15] = [
    "extractYAMLKey",
    // Of Conjur: objects and caCertPath say the same.
    "secrets",
    "sslCertificate",
    // Of CyberArk: the other keys say the same.
    "query",
    // Of ciphertexts.
    "ciphertext",
    "ciphertextFrom",
    "encryptionContext",
    "additionalAuthenticatedData",
    // Of listings.
    "byPath",
    "byTags",
    "byPrefix",
    "byFilter",
    "parent",
    "directory",
    "maxFiles",
];

/// The parameter that lists the objects of a provider.
fn listing(page: &Value) -> String {
    let sections = page["sections"].as_array().unwrap().iter();
    let mut parameters = sections.flat_map(|section| section["keys"].as_array().unwrap());
    let lists = parameters.find(|entry| entry["holds"] == "a text in YAML that lists maps").unwrap();
    lists["key"].as_str().unwrap().to_owned()
}

/// The keys of each object that a class lists under `listing`. Empty if the text cannot be parsed.
fn objects(class: &Class, listing: &str) -> Vec<Vec<String>> {
    let text = class.parameters.get(listing).map(String::as_str).unwrap_or_default();
    let objects: Option<Vec<BTreeMap<String, Value>>> = serde_yaml::from_str(text).ok();
    objects.into_iter().flatten().map(|object| object.into_keys().collect()).collect()
}

#[test]
fn a_key_of_a_class_here_is_accepted_if_it_is_explained_and_only_then() {
    let pages = explained();
    let settings = keys(pages.last().unwrap(), "Settings, among the parameters");
    let (mut accepted, mut unread) = (0, 0);

    for class in classes() {
        let names_it =
            |page: &&Value| page["names"].as_array().unwrap().contains(&class.provider.clone().into());
        let Some(page) = pages.iter().find(names_it) else { continue };
        let (parameters, of_objects) = (keys(page, "Parameters"), keys(page, "Keys of an object"));
        let (refused, listing) = (refused(&class.manifest()), listing(page));
        let mut judge = |place: String, is_explained: bool| {
            let is_accepted = !refused.contains(&place);
            assert_eq!(is_accepted, is_explained, "{place} of {}/{}", class.namespace, class.name);
            if is_accepted { accepted += 1 } else { unread += 1 }
        };
        for key in class.parameters.keys().chain(class.own.keys()) {
            judge(key.clone(), parameters.contains(key) || settings.contains(key));
        }
        for (index, object) in objects(&class, &listing).iter().enumerate() {
            object
                .iter()
                .for_each(|key| judge(format!("{listing}[{index}].{key}"), of_objects.contains(key)));
        }
    }

    assert!(accepted > 150 && unread >= 2, "{accepted} accepted, {unread} not");
}

/// Whether `key` excludes another one there. A class of sealed values names its key by `kmsKey`; elsewhere that goes with
/// a ciphertext.
fn is_exclusive(page: &Value, key: &str) -> bool {
    EXCLUSIVE.contains(&key) || key == "kmsKey" && page["names"][0] != "sealed"
}

/// A class with every example on a provider's page.
fn class_of_examples(page: &Value) -> String {
    let listing = listing(page);
    let is_apart =
        |key: &Value| *key == listing.as_str() || key.as_str().is_some_and(|key| is_exclusive(page, key));
    let section = |title: &str| {
        let sections = page["sections"].as_array().unwrap().iter();
        let entries =
            sections.filter(|it| it["title"] == title).flat_map(|it| it["keys"].as_array().unwrap());
        let current = entries.filter(|entry| entry["older_than"].is_null() && !is_apart(&entry["key"]));
        current.map(|entry| entry["example"].as_str().unwrap()).collect::<Vec<_>>()
    };
    let parameters: String = section("Parameters").iter().map(|line| format!("    {line}\n")).collect();
    // Azure lists texts. Each text is the YAML of one object.
    let begin = if page["names"][0] == "azure" { "array:\n      - |\n        " } else { "- " };
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: all}}\nspec:\n  \
         provider: {}\n  parameters:\n{parameters}    {listing}: |\n      {begin}{}\n",
        page["names"][0].as_str().unwrap(),
        section("Keys of an object").join("\n        ")
    )
}

#[test]
fn the_examples_of_a_provider_make_a_class_that_is_right() {
    for page in explained().iter().filter(|page| page["names"][0] != "class") {
        let class = class_of_examples(page);
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        fs::write(file.path(), &class).unwrap();

        let told = secretfs(&["check", "--strict", file.path().to_str().unwrap()]);

        assert_eq!(told.code, Some(0), "{class}\n{}", told.out);
    }
}

#[test]
fn what_one_letter_makes_another_key_of_is_accepted_nowhere() {
    for page in explained().iter().filter(|page| page["names"][0] != "class") {
        let names = keys(page, "Keys of an object").into_iter().chain(keys(page, "Parameters"));
        let (class, listing) = (class_of_examples(page), listing(page));
        for key in names.filter(|key| !key.starts_with(PREFIX) && *key != listing) {
            let changed = class.replacen(&format!(" {key}: "), &format!(" {key}x: "), 1);
            let is_shown = !["vaultKubernetesMountPath", "fileName", "tenantId"].contains(&key.as_str())
                && !is_exclusive(page, key.as_str());
            assert!(changed != class || !is_shown, "{key}");
            let told = refused(&changed);
            let is_told = told.iter().any(|place| place.ends_with(&format!("{key}x")));
            assert!(is_told || changed == class, "{key}: {told:?}");
        }
    }
}
