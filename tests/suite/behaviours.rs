//! Checks that the behaviours in the table of ARCHITECTURE.md are in the named modules and items.

use std::fs;
use std::path::Path;

/// The keywords that define an item.
const DEFINES: [&str; 7] = ["fn", "struct", "enum", "trait", "const", "static", "type"];

#[test]
fn each_behaviour_of_the_map_is_defined_where_the_map_says() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = map.split("\n## Where a behaviour is\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<_> = section.lines().filter(|line| line.ends_with("` |")).collect();
    assert!(rows.len() >= 20, "{} behaviours", rows.len());

    for row in rows {
        let [file, item] = quoted(row)[..] else { panic!("write behaviour, `file` and `item`: {row}") };
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(defines(&text, item), "{file} does not define {item}: {row}");
    }
}

#[test]
fn an_item_that_is_only_used_or_named_alike_is_not_defined() {
    assert!(defines("    pub(crate) async fn republish(&self) {", "republish"));
    assert!(defines("const GRACE: Duration = ONE;", "GRACE"));
    assert!(!defines("fn republished() { self.republish() }", "republish"));
    assert!(!defines("/// Why republish is so.", "republish"));
}

/// The last two quoted words of a row.
fn quoted(row: &str) -> Vec<&str> {
    let words: Vec<_> = row.split('`').skip(1).step_by(2).collect();
    words[words.len().saturating_sub(2)..].to_vec()
}

fn defines(text: &str, item: &str) -> bool {
    let is_there = |defines: &&str| {
        let definition = format!("{defines} {item}");
        text.match_indices(&definition).any(|(at, _)| {
            let after = text[at + definition.len()..].chars().next();
            !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    DEFINES.iter().any(is_there)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
