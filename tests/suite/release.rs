//! The archive for hosts that `hack/release` makes from this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Told;

const PROGRAM: &str = env!("CARGO_BIN_EXE_secretfs");

/// Other files of an installation.
const FILES: [&str; 10] = [
    "share/bash-completion/completions/secretfs",
    "share/zsh/site-functions/_secretfs",
    "share/fish/vendor_completions.d/secretfs.fish",
    "share/man/man1/secretfs-mounter.1",
    "share/man/man1/secretfs-store-put.1",
    "share/doc/secretfs/LICENSE",
    "share/doc/secretfs/THIRD-PARTY",
    "share/doc/secretfs/docs/host.md",
    "share/doc/secretfs/deploy/mount.secretfs",
    "share/doc/secretfs/deploy/systemd/secretfs@.service",
];

/// Packs an archive into `directory`.
fn pack(directory: &Path) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/release");
    let mut release = Command::new(script);
    release.args(["--binary", PROGRAM, "--mounter"]).arg(testing::mounter(PROGRAM.as_ref()).get_program());
    let told = Told::from(release.arg(directory).output().unwrap());
    assert_eq!(told.code, Some(0), "{told:?}");
    PathBuf::from(told.out.trim())
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

#[test]
fn an_archive_installs_both_programs_with_their_manual_and_has_the_same_bytes_when_it_is_packed_again() {
    let work = tempfile::tempdir().unwrap();
    let [first, again, root] = ["first", "again", "root"].map(|name| work.path().join(name));

    let archive = pack(&first);
    let same = pack(&again);

    run(Command::new("sha256sum").args(["--quiet", "--check", "SHA256SUMS"]).current_dir(&first));
    let sums = |directory: &Path| fs::read(directory.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&first), sums(&again), "{} {}", archive.display(), same.display());
    fs::create_dir(&root).unwrap();
    run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&root).args(["--strip-components", "1"]));
    run(Command::new(root.join("bin/secretfs")).arg("--version"));
    run(Command::new(root.join("bin/secretfs-mounter")).arg("--version"));
    for file in FILES {
        assert!(fs::metadata(root.join(file)).unwrap().len() > 0, "{file}");
    }
}
