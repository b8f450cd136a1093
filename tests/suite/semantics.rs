//! Every sentence of SEMANTICS.md names tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_sentence_of_the_semantics_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for directory in ["src", "tests", "manifest", "providers", "authority", "tls-pair"] {
        collect(&root.join(directory), &mut tests);
    }
    let text = fs::read_to_string(root.join("SEMANTICS.md")).unwrap();
    let sentences: Vec<_> = text.split("\n- ").skip(1).collect();
    assert!(sentences.len() > 30);

    for sentence in sentences {
        let own = sentence.split("\n## ").next().unwrap();
        let named: Vec<_> = own.split('`').skip(1).step_by(2).filter(|name| is_test(name)).collect();
        assert!(!named.is_empty(), "no test is named behind: {own}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name}");
        }
    }
}

/// Whether a quoted word is a test's name: a sentence, with underscores between its words.
fn is_test(word: &str) -> bool {
    word.matches('_').count() >= 3 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn collect(directory: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let names =
                text.lines().filter_map(|line| line.trim_start().split("fn ").nth(1)?.split('(').next());
            tests.extend(names.map(str::to_owned));
        }
    }
}
