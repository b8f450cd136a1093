//! Finds the program `secretfs-mounter` that belongs to the `secretfs` under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The crates of this workspace that `secretfs-mounter` is built from.
const CRATES: [&str; 5] = ["mounter-protocol", "mountinfo", "program", "secretfs-mounter", "sys"];

/// The mounter that belongs to the `secretfs` at `binary`, without arguments: the program `secretfs-mounter` beside it.
/// In versions before that program it is a command of `secretfs` itself.
pub fn mounter(binary: &Path) -> Command {
    let program = binary.with_file_name("secretfs-mounter");
    if is_of_this_build(binary) {
        static BUILT: OnceLock<()> = OnceLock::new();
        BUILT.get_or_init(|| build(&program));
    }
    if program.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(binary);
    command.arg("mounter");
    command
}

/// Whether `binary` was built together with the running test.
fn is_of_this_build(binary: &Path) -> bool {
    let test = std::env::current_exe().unwrap();
    // Cargo puts test programs into `deps`, one directory below the binaries.
    test.ancestors().nth(2) == binary.parent()
}

/// Cargo builds the programs of the packages whose tests it runs; with `--workspace` those of all packages. If only
/// this package's tests were asked for, this function builds the mounter, with the features that tests need, unless it
/// is newer than its source.
fn build(program: &Path) {
    if is_newer_than_its_source(program) {
        return;
    }
    let directory = program.parent().unwrap().file_name().unwrap();
    let profile = match directory.to_str().unwrap() {
        "debug" => "dev",
        profile => profile,
    };
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--locked", "--offline", "--profile", profile])
        .args(["--package", "secretfs-mounter", "--all-features"])
        .current_dir(top())
        .status()
        .unwrap();
    assert!(built.success(), "cargo build --package secretfs-mounter --profile {profile}: {built}");
}

fn is_newer_than_its_source(program: &Path) -> bool {
    let Ok(built) = fs::metadata(program).and_then(|found| found.modified()) else { return false };
    let mut left: Vec<PathBuf> = CRATES.map(|name| top().join("crates").join(name).join("src")).into();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::metadata(&path).unwrap().modified().unwrap() > built {
            return false;
        }
    }
    true
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
