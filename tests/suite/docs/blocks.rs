//! Finds the command blocks in README.md, docs/ and examples/, and where each of them is run.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Languages of fenced blocks that contain commands.
const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];

/// A block of commands.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Its file, relative to the root directory of the repository.
    pub(crate) file: String,
    /// The line of its first command.
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// Where a block is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a host of its own, after the blocks of these files.
    Host(Vec<String>),
    /// In a cluster that all such blocks of the file share.
    Cluster,
    /// In a cluster of its own.
    NewCluster,
    /// This file runs each of its commands.
    By(String),
    /// The test with this name reads the block from the file and runs it.
    Test(String),
    /// It is not run, for this reason.
    Needs(String),
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Every block in the files from which users copy commands.
pub(crate) fn all() -> Vec<Block> {
    files().iter().flat_map(|file| of(file)).collect()
}

/// README.md, the pages of docs/ and examples/*.yaml, relative to the root directory of the repository.
pub(crate) fn files() -> Vec<String> {
    let mut files = vec!["README.md".to_owned()];
    for directory in ["docs", "docs/reference", "examples"] {
        let entries = fs::read_dir(top().join(directory)).unwrap();
        files.extend(entries.map(|entry| format!("{directory}/{}", entry.unwrap().file_name().display())));
    }
    files.retain(|file| top().join(file).is_file());
    files.sort();
    files
}

pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(top().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The blocks of one file.
pub(crate) fn of(file: &str) -> Vec<Block> {
    let text = read(file);
    let is_markdown = PathBuf::from(file).extension().is_some_and(|extension| extension == "md");
    if is_markdown { of_markdown(file, &text) } else { of_comments(file, &text) }
}

/// Fenced blocks. The line before the fence may say where they are run.
fn of_markdown(file: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut before = "";
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
            assert!(!language.is_empty(), "{file}:{}: say after the fence what is in the block", number + 1);
            if SHELLS.contains(&language) {
                let place = place(before, &format!("{file}:{}", number + 1));
                blocks.push(Block {
                    file: file.to_owned(),
                    line: number + 2,
                    text: body.join("\n") + "\n",
                    place,
                });
            }
        }
        before = line;
    }
    blocks
}

/// Blocks of consecutive comment lines that are indented by at least three.
fn of_comments(file: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut place_said = "";
    let mut end = 0;
    for (index, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("#   ") {
            match blocks.last_mut().filter(|_| end == index) {
                Some(block) => block.text += &format!("{command}\n"),
                None => blocks.push(Block {
                    file: file.to_owned(),
                    line: index + 1,
                    text: format!("{command}\n"),
                    place: place(place_said, file),
                }),
            }
            end = index + 1;
        }
        if line.starts_with("# <!--") {
            place_said = line.strip_prefix("# ").unwrap_or_default();
        }
    }
    blocks
}

/// Where a block is run, by the comment before it.
fn place(comment: &str, at: &str) -> Place {
    let Some(said) = comment.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) else {
        return Place::Host(Vec::new());
    };
    let (key, value) = said.split_once(": ").unwrap_or((said, ""));
    match (key, value) {
        ("needs", reason) => Place::Needs(reason.to_owned()),
        ("run by", file) => Place::By(file.to_owned()),
        ("run by the test", name) => Place::Test(name.to_owned()),
        ("run in", "a cluster") => Place::Cluster,
        ("run in", "a new cluster") => Place::NewCluster,
        ("run after", files) => Place::Host(files.split(", ").map(str::to_owned).collect()),
        _ => panic!("{at}: {comment:?} does not say where the block is run"),
    }
}
