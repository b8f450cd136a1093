//! The command blocks of README.md, docs/ and examples/, and what is said of where they are run.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Words after the fence of a block that hold commands.
const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];

/// A block of commands.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Its file, from the top of the repository.
    pub(crate) file: String,
    /// The line of its first command.
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// Where it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a host of its own, after the blocks of these other files.
    Host(Vec<String>),
    /// In a cluster, which all such blocks of the file share.
    Cluster,
    /// In a cluster of its own.
    NewCluster,
    /// By this file, which holds each of its commands.
    By(String),
    /// By the test of that name, which takes it from the file.
    Test(String),
    /// Nowhere, for this reason.
    Needs(String),
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Every block of the files that newcomers copy commands from.
pub(crate) fn all() -> Vec<Block> {
    files().iter().flat_map(|file| of(file)).collect()
}

/// README.md, the pages of docs/ and examples/*.yaml, from the top of the repository.
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

/// Fenced blocks; the line before the fence may say where they are run.
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

/// Comment lines that are indented by three or more, one after the other.
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

/// What a comment before a block says of where it is run.
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
