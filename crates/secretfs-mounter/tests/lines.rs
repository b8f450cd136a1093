//! How much code the privileged program is: somebody has to read all of it.
//!
//! The rule: every `.rs` file below `src` of each crate of this workspace that is linked into the program counts, line
//! by line, without blank lines, lines of comments, and items under `#[cfg(test)]`. The program's own crate and its
//! protocol have a limit. The other crates are counted and told: they also have parts that only other programs use, and
//! the linker leaves those out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test arranges has to fail it loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most lines of the program's own crate, and of the protocol.
const OWN: usize = 1500;
const PROTOCOL: usize = 390;

/// Before the item that follows, which only tests have.
const OF_TESTS: &str = "#[cfg(test)]";

#[test]
fn the_program_has_no_more_lines_than_it_says() {
    let crates = linked();
    let lines: BTreeMap<&str, usize> =
        crates.iter().map(|(name, at)| (name.as_str(), lines_of(&at.join("src")))).collect();

    println!("{lines:?}, {} in all", lines.values().sum::<usize>());
    assert!(lines.len() == 5, "{lines:?}");
    assert!(lines["secretfs-mounter"] <= OWN && lines["mounter-protocol"] <= PROTOCOL, "{lines:?}");
    assert!(lines["secretfs-mounter"] + 100 > OWN, "the limit can be lowered: {lines:?}");
}

#[test]
fn the_table_of_the_crate_says_what_the_lines_are_spent_on() {
    let source = crates_directory().join("secretfs-mounter/src");
    let map = fs::read_to_string(source.join("lib.rs")).unwrap();
    let rows: Vec<Vec<&str>> = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect())
        .filter(|row: &Vec<&str>| row[1].starts_with('`'))
        .collect();
    let mut left: Vec<PathBuf> = files(&source);

    for row in &rows {
        let [concern, names, told] = row[..] else { panic!("write concern, `files`, lines: {row:?}") };
        let found: Vec<PathBuf> =
            names.split(' ').map(|name| source.join(name.trim_matches('`')).with_extension("rs")).collect();
        let lines: usize = found.iter().map(|file| code(&fs::read_to_string(file).unwrap())).sum();
        left.retain(|file| !found.contains(file));
        let told: usize = told.parse().unwrap();
        assert!(lines.abs_diff(told) <= 10, "{concern}: {lines} lines, and the table says {told}");
    }
    assert!(left.is_empty() && rows.len() > 5, "in no row: {left:?}");
}

#[test]
fn comments_blank_lines_and_tests_are_no_lines_of_code() {
    assert_eq!(
        code(
            "//! A\n\nfn a() {\n    // b\n    c(); // d\n}\n#[cfg(test)]\nmod tests {\n    fn e() {}\n}\nf!();\n"
        ),
        4
    );
}

/// The crates of this workspace that are linked into the program, with their directories.
fn linked() -> BTreeMap<String, PathBuf> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "secretfs-mounter"])
        .args(["--edges", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let ours = tree.lines().filter_map(|line| line.split_once(" (/"));
    ours.map(|(name, at)| {
        let at = at.split(')').next().unwrap();
        (name.split(' ').next().unwrap().to_owned(), Path::new("/").join(at))
    })
    .collect()
}

fn lines_of(directory: &Path) -> usize {
    files(directory).iter().map(|file| code(&fs::read_to_string(file).unwrap())).sum()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = directories.iter().flat_map(|directory| self::files(directory));
    files.into_iter().filter(|file| file.extension().is_some_and(|name| name == "rs")).chain(below).collect()
}

/// Lines of code of a file, which are as rustfmt leaves them.
fn code(text: &str) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (mut count, mut lines) = (0, text.lines());
    while let Some(line) = lines.next() {
        if line.trim() == OF_TESTS {
            lines.find(|next| indent(next) == indent(line) && next.ends_with([';', '}']));
        } else if !line.trim().is_empty() && !line.trim().starts_with("//") {
            count += 1;
        }
    }
    count
}

fn crates_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
