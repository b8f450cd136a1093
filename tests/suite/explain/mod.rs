//! `secretfs explain`, and everything else that is generated from the declarations of providers and classes.

mod admission;
mod keys;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::Told;

const REFERENCE: &str = "docs/reference";
const SCHEMA: &str = "docs/reference/secretproviderclass.schema.json";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn secretfs(arguments: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.args(arguments).current_dir(root()).output().unwrap().into()
}

fn explain(topic: &str) -> Told {
    secretfs(&["explain", topic])
}

fn explained() -> Vec<Value> {
    serde_json::from_str(&secretfs(&["explain", "-o", "json"]).out).unwrap()
}

/// The keys in one section of a page.
fn keys(page: &Value, section: &str) -> BTreeSet<String> {
    let sections = page["sections"].as_array().unwrap().iter();
    let entries = sections.filter(|it| it["title"] == section).flat_map(|it| it["keys"].as_array().unwrap());
    entries.map(|entry| entry["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_a_topic_every_provider_and_every_setting_is_told() {
    let told = secretfs(&["explain"]).out;

    for word in ["vault, openbao", "kubernetes", "secretfs", "secretfs.dev/refresh", "secretfs.dev/timeout"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!told.contains("secretPath"), "{told}");
}

#[test]
fn a_provider_is_told_with_its_parameters_and_the_keys_of_its_objects() {
    let told = explain("openbao").out;

    for word in ["vault, openbao: ", "60s", "role-id", "vaultAddress", "secretPath", "jmesPath", "(required)"]
    {
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[test]
fn a_key_is_told_with_its_type_its_default_its_meaning_and_an_example() {
    let told = explain("vault.secretfs.dev/auth");

    assert_eq!(told.code, Some(0), "{told:?}");
    for word in [
        "The login method.",
        "Type:      kubernetes or jwt or approle or token or cert",
        "Required:  no",
        "Default:   kubernetes",
        "  secretfs.dev/auth: jwt",
    ] {
        assert!(told.out.contains(word), "{word}: {}", told.out);
    }
    assert!(explain("vault.vaultKubernetesMountPath").out.contains("An older name of vaultAuthMountPath"));
}

#[test]
fn a_mistyped_topic_is_a_mistake_in_the_command_and_told_with_what_was_meant() {
    for (asked, meant) in [("vualt", "vault"), ("kubernetes.secert", "kubernetes.secret")] {
        let told = explain(asked);
        assert_eq!(told.code, Some(2), "{told:?}");
        assert!(told.err.contains(&format!("did you mean {meant}?")), "{told:?}");
    }
}

#[test]
fn scripts_read_a_key_as_json() {
    let told = secretfs(&["explain", "secretfs.item", "-o", "json"]);

    let key: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(key["path"], "secretfs.objects.item");
    assert_eq!((key["required"].as_bool(), key["holds"].as_str()), (Some(true), Some("text")));
    assert_eq!(key["example"], "item: shop/api");
}

/// Only options are completed in Fish, a limit of `clap_complete`.
#[test]
fn shells_complete_providers_and_keys() {
    for shell in ["bash", "zsh"] {
        let script = secretfs(&["completions", shell]).out;

        for topic in ["vault.roleName", "secretfs.dev/refresh", "class.spec.provider"] {
            assert!(script.contains(topic), "{topic} for {shell}");
        }
    }
}

/// Files and their contents, by name, without `README.md`, which is written by hand.
fn pages(directory: &Path) -> Vec<(String, String)> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    let mut pages: Vec<_> = named
        .filter(|(name, _)| name != "README.md")
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .collect();
    pages.sort();
    pages
}

/// `UPDATE_GOLDEN=1` rewrites the pages, so that their diff can be reviewed.
#[test]
fn the_reference_is_what_explain_writes() {
    let fresh = tempfile::tempdir().unwrap();
    let mut into = fresh.path().to_owned();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        into = PathBuf::from(REFERENCE);
    }

    let told = secretfs(&["explain", "--reference", into.to_str().unwrap()]);

    assert_eq!(told.code, Some(0), "{told:?}");
    let (committed, written) = (pages(&root().join(REFERENCE)), pages(&root().join(into)));
    let names = |pages: &[(String, String)]| pages.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&written));
    for (committed, written) in committed.iter().zip(&written) {
        assert_eq!(committed, written, "write it anew: secretfs explain --reference {REFERENCE}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let told = secretfs(&["explain", "--reference", "/proc/nowhere"]);

    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("/proc/nowhere"), "{told:?}");
}

#[test]
fn the_schema_has_every_parameter_and_setting_that_explain_tells_and_no_other() {
    let schema: Value = serde_json::from_str(&fs::read_to_string(root().join(SCHEMA)).unwrap()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let names = |definition: &str| {
        let properties = schema["$defs"][definition]["properties"].as_object();
        properties.unwrap_or_else(|| panic!("{definition}")).keys().cloned().collect::<BTreeSet<_>>()
    };
    let pages = explained();
    let class = pages.iter().find(|page| page["names"][0] == "class").unwrap();
    let settings = keys(class, "Settings, among the parameters");

    assert_eq!(names("settings"), settings);
    for page in pages.iter().filter(|page| page["names"][0] != "class") {
        let mut expected = keys(page, "Parameters");
        let is_theirs = |key: &&String| manifest::SHARED_WITH_PROVIDERS.contains(&key.as_str());
        expected.extend(settings.iter().filter(|key| !is_theirs(key)).cloned());
        assert_eq!(names(&format!("parameters-{}", page["names"][0].as_str().unwrap())), expected);
    }
}
