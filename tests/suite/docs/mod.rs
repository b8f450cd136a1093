//! Runs every command in README.md, docs/ and examples/, word for word.

pub(crate) mod blocks;
mod pages;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use testing::Authority;

use crate::support::Told;
use blocks::{Block, Place, all, files, of, read, top};

/// Programs: a line that begins with one of their names is a command.
const PROGRAMS: [&str; 10] = [
    "secretfs ",
    "secretfs-mounter",
    "kubectl ",
    "helm ",
    "hack/",
    "cargo ",
    "bao ",
    "systemctl ",
    "printf ",
    "skopeo ",
];

/// Runs blocks on a host of their own, one after the other.
fn run(blocks: &[Block]) -> Told {
    let work = tempfile::Builder::new().prefix("secretfs-docs-").tempdir().unwrap();
    let authority = Authority::new();
    fs::write(work.path().join("ca.pem"), authority.pem()).unwrap();
    authority.server(&["vault.example.com"]).save(work.path(), "server");
    let mut command = Command::new(top().join("tests/docs/sandbox"));
    let program = Path::new(env!("CARGO_BIN_EXE_secretfs"));
    command.current_dir(top()).arg(work.path()).arg(program).arg(testing::mounter(program).get_program());
    let tools = top().join(".cache/tools").canonicalize().unwrap_or_default();
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:/usr/local/bin:{path}", tools.display()));
    for (number, block) in blocks.iter().enumerate() {
        let file = work.path().join(format!("{number}.sh"));
        fs::write(&file, format!("# {block}\n{}", block.text)).unwrap();
        command.arg(file);
    }
    Told::from(command.output().unwrap())
}

/// The blocks of each file that are run on a host, after the blocks of other files that they need.
fn on_hosts() -> BTreeMap<String, Vec<Block>> {
    let mut hosts: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    for block in all() {
        let Place::Host(before) = &block.place else { continue };
        let blocks = hosts.entry(block.file.clone()).or_default();
        blocks.extend(before.iter().flat_map(|file| of(file)));
        blocks.push(block);
    }
    hosts
}

/// The commands of a block, a line each, without comments.
fn commands(block: &Block) -> impl Iterator<Item = &str> {
    let lines = block.text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split("  #").next()).map(str::trim).filter(|command| !command.is_empty())
}

#[test]
fn every_command_block_for_a_host_works_word_for_word() {
    let hosts = on_hosts();
    assert!(hosts.values().flatten().count() >= 4, "{hosts:?}");

    for (file, blocks) in hosts {
        let told = run(&blocks);
        assert_eq!(told.code, Some(0), "{file}:\n{}\n{}", told.out, told.err);
        println!("{file}:\n{}", told.out);
    }
}

#[test]
fn a_block_that_is_run_elsewhere_stands_there_word_for_word() {
    for block in all() {
        let Place::By(file) = &block.place else { continue };
        let there = read(file);
        for command in commands(&block) {
            assert!(there.contains(command), "{block}: {file} does not run {command:?}");
        }
        println!("{block}: run by {file}");
    }
}

#[test]
fn a_block_that_a_test_runs_names_one_that_exists_and_reads_its_file() {
    for block in all() {
        let Place::Test(name) = &block.place else { continue };
        let tests: Vec<String> = fs::read_dir(top().join("tests/suite"))
            .unwrap()
            .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
            .collect();
        let runs = |test: &&String| test.contains(&format!("fn {name}(")) && test.contains(&block.file);
        assert!(tests.iter().any(|test| runs(&test)), "{block}: no test {name} reads {}", block.file);
    }
}

#[test]
fn a_block_that_nobody_runs_says_what_it_needs() {
    let blocks = all();
    for block in &blocks {
        let Place::Needs(reason) = &block.place else { continue };
        assert!(reason.split(' ').count() >= 5, "{block}: say what is missing here, and why");
        println!("{block}: not run; it needs {reason}");
    }
    let unrun = blocks.iter().filter(|block| matches!(block.place, Place::Needs(_))).count();
    assert!(unrun * 2 < blocks.len(), "{unrun} of {} blocks are run by nobody", blocks.len());
}

#[test]
fn no_command_stands_outside_a_block() {
    for file in files().iter().filter(|file| file.ends_with(".md")) {
        for (number, line) in read(file).lines().enumerate() {
            let command = line.strip_prefix("    ").unwrap_or_default();
            let is_command = PROGRAMS.iter().any(|program| command.starts_with(program));
            let continues = line.starts_with("    --");
            assert!(
                !is_command || continues || inside(file, number),
                "{file}:{}: put it into a block that begins with ```sh",
                number + 1
            );
        }
    }
}

/// Whether a line of a file is part of a block.
fn inside(file: &str, number: usize) -> bool {
    let lines_of = |block: &Block| block.line - 1..block.line - 1 + block.text.lines().count();
    of(file).iter().any(|block| lines_of(block).contains(&number))
}
