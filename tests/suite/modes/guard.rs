//! Every test of suite and cluster runs in both modes, or stands here with the reason why not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::one_mode::ONE_MODE;

/// Where a list of tests that run again begins.
const AGAIN: &str = "again_in_mode_fuse! {\n";

/// The tests below `tests`, as `suite::module::name`, and those of them that run in both modes.
#[derive(Default)]
struct Tests {
    all: BTreeSet<String>,
    in_both: BTreeSet<String>,
}

impl Tests {
    fn read() -> Self {
        let (mut tests, root) = (Self::default(), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
        ["suite", "cluster"].iter().for_each(|name| tests.below(&root.join(name), name));
        tests
    }

    fn below(&mut self, directory: &Path, module: &str) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                self.below(&path, &format!("{module}::{name}"));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let module = if name == "mod" { module.to_owned() } else { format!("{module}::{name}") };
                self.all.extend(marked(&text).map(|test| format!("{module}::{test}")));
                self.in_both.extend(again(&text).map(|test| format!("{module}::{test}")));
            }
        }
    }
}

/// The functions that are tests. Those that a macro makes have no name of their own.
fn marked(text: &str) -> impl Iterator<Item = &str> {
    let mut is_marked = false;
    text.lines().map(str::trim_start).filter_map(move |line| {
        if line.starts_with("#[") {
            is_marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            return None;
        }
        let name = line.split_once("fn ")?.1.split('(').next()?;
        (std::mem::take(&mut is_marked) && !name.starts_with('$')).then_some(name)
    })
}

fn again(text: &str) -> impl Iterator<Item = &str> {
    let list = text.split_once(AGAIN).map_or("", |(_, list)| list);
    list.split('}').next().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty())
}

fn is_of(test: &str, row: &str) -> bool {
    test.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn every_test_runs_in_both_modes_or_its_row_says_why_not() {
    let tests = Tests::read();
    let rows: Vec<&str> = ONE_MODE.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
    println!("{} tests, {} of them in both modes", tests.all.len(), tests.in_both.len());
    assert!(tests.all.len() > 400 && tests.in_both.is_subset(&tests.all));

    let has_row = |test: &String| rows.iter().any(|row| is_of(test, row));
    let in_neither: Vec<_> =
        tests.all.iter().filter(|test| !has_row(test) && !tests.in_both.contains(*test)).collect();
    let in_two: Vec<_> = tests.in_both.iter().filter(|test| has_row(test)).collect();
    let of_nothing: Vec<_> =
        rows.iter().filter(|row| !tests.all.iter().any(|test| is_of(test, row))).collect();

    assert!(in_neither.is_empty(), "list them in again_in_mode_fuse!, or in one_mode.rs: {in_neither:#?}");
    assert!(in_two.is_empty(), "they run in both modes, so take them out of one_mode.rs: {in_two:#?}");
    assert!(of_nothing.is_empty(), "there are no such tests any more: {of_nothing:#?}");
}

#[test]
fn lists_and_tests_are_found_in_a_source_file() {
    let text = "#[tokio::test(flavor = \"multi_thread\")]\nasync fn a() {}\n#[test]\nfn b() {}\nfn c() {}\n\
                crate::modes::again_in_mode_fuse! {\n    a,\n}\n";
    assert_eq!(marked(text).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(again(text).collect::<Vec<_>>(), ["a"]);
    assert!(is_of("suite::a::b", "suite::a") && !is_of("suite::ab", "suite::a"));
}
