//! CI does less often what takes long. What that is, one table says.

use std::fs;
use std::path::{Path, PathBuf};

use testing::counted;

/// The source of all tests, and of what starts them.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut directories: Vec<_> =
        ["tests", "crates", "providers", "testing"].map(|name| root.join(name)).into();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                directories.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push((entry.clone(), fs::read_to_string(entry).unwrap()));
            }
        }
    }
    let script = root.join("hack/test");
    let text = fs::read_to_string(&script).unwrap();
    found.push((script, text));
    found
}

#[test]
fn what_ci_does_less_often_than_it_could_is_in_one_table_and_tests_read_it_there() {
    let sources = sources();
    for counted in counted() {
        let [asked, told] = [format!("count(\"{}\")", counted.name), format!("how_often {}", counted.name)];
        let users = sources.iter().filter(|(_, text)| text.contains(&asked) || text.contains(&told));
        assert_ne!(users.count(), 0, "nobody reads {} from testing/counts", counted.name);
        let own = format!("SECRETFS_{}", counted.name);
        let others = sources.iter().filter(|(_, text)| text.contains(&own)).map(|(path, _)| path);
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "{own} is read there");
    }
}
