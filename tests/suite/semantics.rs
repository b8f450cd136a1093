//! Checks that every sentence of SEMANTICS.md, and every row of SECURITY.md's table, names tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_sentence_of_the_semantics_names_tests_that_exist() {
    let (tests, text) = (tests(), read("SEMANTICS.md"));
    let sentences: Vec<_> = text.split("\n- ").skip(1).collect();
    assert!(sentences.len() > 30);

    for sentence in sentences {
        let own = sentence.split("\n## ").next().unwrap();
        assert_eq!(unproven(own, &tests), None);
    }
}

#[test]
fn every_row_of_what_is_defended_names_tests_that_exist() {
    let (tests, text) = (tests(), read("SECURITY.md"));
    let table = text.split("\n## What is defended").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 7, "{rows:?}");

    for row in rows {
        let tried_by = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        assert_eq!(unproven(tried_by, &tests), None, "{row}");
    }
}

#[test]
fn every_store_has_a_row_and_every_cell_of_it_names_tests_that_exist_or_is_empty() {
    let (tests, text) = (tests(), read("README.md"));
    let table = text.split("\n## Stores").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<Vec<_>> = table
        .lines()
        .filter(|line| line.starts_with("| ["))
        .map(|line| line.trim_matches([' ', '|']).split(" | ").collect())
        .collect();

    for declaration in secretfs::providers::DECLARATIONS {
        let named = |row: &Vec<&str>| row[0].contains(&format!("`{}`", declaration.label()));
        assert_eq!(rows.iter().filter(|row| named(row)).count(), 1, "{}", declaration.title);
    }
    for row in &rows {
        assert_eq!(row.len(), 7, "{row:?}");
        for cell in row[1..].iter().filter(|cell| **cell != "–") {
            assert_eq!(unproven(cell, &tests), None, "{}", row[0]);
        }
    }
}

#[test]
fn a_claim_without_a_test_or_with_one_that_is_gone_is_found() {
    let tests = BTreeSet::from(["a_pod_reads_its_own".to_owned()]);

    assert_eq!(unproven("It reads. `a_pod_reads_its_own`", &tests), None);
    assert!(unproven("It reads `on-revoked`.", &tests).unwrap().contains("no test is named"));
    assert!(unproven("It reads. `a_pod_reads_its_owm`", &tests).unwrap().contains("a_pod_reads_its_owm"));
}

/// Why a claim is not proven: it names no test, or a test that does not exist.
fn unproven(claim: &str, tests: &BTreeSet<String>) -> Option<String> {
    let named: Vec<_> = claim.split('`').skip(1).step_by(2).filter(|name| is_test(name)).collect();
    if named.is_empty() {
        return Some(format!("no test is named behind: {claim}"));
    }
    named.iter().find(|name| !tests.contains(**name)).map(|name| format!("there is no test {name}"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all tests of the project.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for directory in ["src", "tests", "crates", "providers"] {
        collect(&root().join(directory), &mut tests);
    }
    tests
}

/// Whether a quoted word is the name of a test: a sentence with underscores between its words.
fn is_test(word: &str) -> bool {
    word.matches('_').count() >= 3 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn collect(directory: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests.extend(tests_in(&fs::read_to_string(path).unwrap()));
        }
    }
}

/// The tests in a source file: functions with a test attribute.
fn tests_in(text: &str) -> Vec<String> {
    let (mut names, mut is_marked) = (Vec::new(), false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_marked |= line.contains("test");
        } else if let Some(name) = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next()) {
            names.extend(is_marked.then(|| name.to_owned()));
            is_marked = false;
        }
    }
    names
}
