//! `secretfs migrate plan` on the command line, with manifests.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::Told;

const GOLDEN: &str = "tests/golden/migrate.txt";

fn plan(arguments: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.args(["migrate", "plan"]).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().unwrap().into()
}

/// `UPDATE_GOLDEN=1` rewrites the golden file, so that its diff can be reviewed.
#[test]
fn every_difference_is_told_with_its_object_reason_and_remedy() {
    let told = plan(&["--file", "tests/migration/felt"]);

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &told.out).unwrap();
    }
    assert_eq!(told.out, fs::read_to_string(golden).unwrap());
    assert_eq!(told.code, Some(1), "{}", told.err);
}

#[test]
fn where_nothing_breaks_the_answer_is_yes() {
    let told = plan(&["-f", "tests/migration/unfelt"]);

    assert_eq!(told.code, Some(0), "{}", told.out);
    assert!(told.out.ends_with("1 class, 1 volume: 0 will break, 0 will change, 1 note\n"), "{}", told.out);
}

#[test]
fn a_node_that_lets_attributes_override_breaks_no_pod_by_them() {
    let overriding = "volume attribute roleName";
    assert!(plan(&["-f", "tests/migration/felt"]).out.contains(overriding));

    let told = plan(&["-f", "tests/migration/felt", "--legacy-attribute-overrides"]);

    assert!(!told.out.contains(overriding), "{}", told.out);
}

#[test]
fn namespaces_and_drivers_that_are_not_meant_are_passed_over() {
    for arguments in [["-n", "elsewhere"], ["--driver", "other"]] {
        let told = plan(&[&["-f", "tests/migration/felt"][..], &arguments].concat());
        assert!(!told.out.contains("Deployment shop/web"), "{}", told.out);
    }
}

#[test]
fn scripts_read_the_plan_as_json() {
    let told = plan(&["-f", "tests/migration/felt", "-o", "json"]);

    let plan: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    let of_the_secret = |it: &&serde_json::Value| it["object"] == "Secret shop/db";
    let found: Vec<_> = plan["differences"].as_array().unwrap().iter().filter(of_the_secret).collect();
    assert_eq!(found.len(), 1, "{}", told.out);
    assert_eq!(found[0]["effect"], "changes");
    assert!(found[0]["remedy"].as_str().unwrap().contains("managed=true"));
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_in_the_command() {
    let told = plan(&["-f", "missing.yaml"]);

    assert_eq!(told.code, Some(2));
    assert!(told.err.contains("missing.yaml"), "{}", told.err);
}
