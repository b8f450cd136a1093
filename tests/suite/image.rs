//! The container image that `hack/image` makes from this program.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use serde_json::Value;

use crate::support::Told;

/// Every file in the image.
const FILES: [&str; 9] = [
    "etc/group",
    "etc/nsswitch.conf",
    "etc/passwd",
    "etc/ssl/certs/ca-certificates.crt",
    "usr/bin/secretfs",
    "usr/bin/secretfs-mounter",
    "usr/share/doc/secretfs/LICENSE",
    "usr/share/doc/secretfs/THIRD-PARTY",
    "usr/share/doc/secretfs/secretfs.cdx.json",
];

const PROGRAM: &str = env!("CARGO_BIN_EXE_secretfs");

/// The mounter that belongs to the program.
static MOUNTER: LazyLock<PathBuf> = LazyLock::new(|| testing::mounter(PROGRAM.as_ref()).get_program().into());

/// An unpacked image: its layout, and the files of its only layer.
struct Image {
    directory: &'static Path,
}

// In a directory that the next run reuses, because static values are never dropped.
static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let image = Image { directory: Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/image")) };
    run(Command::new("rm").arg("-rf").arg(image.directory));
    fs::create_dir_all(image.directory).unwrap();
    let packed = pack(Path::new(PROGRAM), &image.archive());
    assert_eq!(packed.code, Some(0), "{packed:?}");
    unpack(&image.archive(), &image.layout());
    unpack(&image.blob(&image.manifest()["layers"][0]), &image.root());
    image
});

impl Image {
    fn archive(&self) -> PathBuf {
        self.directory.join("image.tar")
    }

    fn layout(&self) -> PathBuf {
        self.directory.join("layout")
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn index(&self) -> Value {
        json(&self.layout().join("index.json"))
    }

    fn manifest(&self) -> Value {
        json(&self.blob(&self.index()["manifests"][0]))
    }

    /// The file that a descriptor names.
    fn blob(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap();
        self.layout().join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    }
}

fn hack_image(binary: &Path, out: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/hack/image"));
    command.arg("--binary").arg(binary).arg("--mounter").arg(&*MOUNTER).arg("--out").arg(out);
    command
}

fn pack(binary: &Path, out: &Path) -> Told {
    Told::from(hack_image(binary, out).output().unwrap())
}

fn unpack(archive: &Path, directory: &Path) {
    fs::create_dir(directory).unwrap();
    let tar = Command::new("tar").arg("-C").arg(directory).arg("-xf").arg(archive).status().unwrap();
    assert!(tar.success(), "{}", archive.display());
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// Everything below `directory` except directories.
fn files_below(directory: &Path) -> BTreeSet<String> {
    let found = Command::new("find").arg(directory).args(["!", "-type", "d", "-printf", "%P\n"]).output();
    String::from_utf8(found.unwrap().stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn an_image_packed_elsewhere_at_another_time_by_a_stricter_user_has_the_same_bytes() {
    let elsewhere = tempfile::tempdir().unwrap();
    let binary = elsewhere.path().join("another-name");
    fs::copy(PROGRAM, &binary).unwrap();
    run(Command::new("touch").args(["-d", "@0"]).arg(&binary));
    let again = elsewhere.path().join("again.tar");

    let hack_image = hack_image(&binary, &again);
    let told = Command::new("sh")
        .args(["-c", r#"umask 077; exec "$@""#, "sh"])
        .arg(hack_image.get_program())
        .args(hack_image.get_args())
        .current_dir("/")
        .env("TMPDIR", elsewhere.path())
        .env("TZ", "Asia/Tokyo")
        .output();

    let told = Told::from(told.unwrap());
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(fs::read(again).unwrap() == fs::read(IMAGE.archive()).unwrap(), "two packings differ");
}

#[test]
fn every_digest_in_an_image_is_that_of_its_blob() {
    let manifest = IMAGE.manifest();
    let descriptors = [&IMAGE.index()["manifests"][0], &manifest["config"], &manifest["layers"][0]];

    let blobs = files_below(&IMAGE.layout().join("blobs/sha256"));

    assert_eq!(blobs.len(), descriptors.len());
    for descriptor in descriptors {
        let blob = fs::read(IMAGE.blob(descriptor)).unwrap();
        assert_eq!(descriptor["digest"], format!("sha256:{}", sha256(&blob)));
        assert_eq!(descriptor["size"], blob.len());
    }
}

#[test]
fn an_image_starts_the_program_and_names_the_layer_that_it_is_in() {
    let config = json(&IMAGE.blob(&IMAGE.manifest()["config"]));
    let layer = Command::new("gzip").arg("-dc").stdin(layer_file()).output().unwrap().stdout;

    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/bin/secretfs"]));
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&layer)));
}

fn layer_file() -> File {
    File::open(IMAGE.blob(&IMAGE.manifest()["layers"][0])).unwrap()
}

#[test]
fn an_image_holds_the_program_its_trust_and_its_licences_and_no_shell() {
    let files = files_below(&IMAGE.root());

    assert_eq!(files, FILES.map(str::to_owned).into());
    assert!(fs::read(IMAGE.root().join("usr/bin/secretfs")).unwrap() == fs::read(PROGRAM).unwrap());
    assert!(fs::read(IMAGE.root().join("usr/bin/secretfs-mounter")).unwrap() == fs::read(&*MOUNTER).unwrap());
    let roots = fs::read_to_string(IMAGE.root().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(roots.matches("BEGIN CERTIFICATE").count() > 50, "{}", roots.len());
    let notices = fs::read_to_string(IMAGE.root().join("usr/share/doc/secretfs/THIRD-PARTY")).unwrap();
    assert!(notices.contains("Permission is hereby granted, free of charge"));
}

#[test]
fn the_programs_run_with_nothing_but_the_image_around_them() {
    for program in ["secretfs", "secretfs-mounter"] {
        let told = Command::new("chroot")
            .arg(IMAGE.root())
            .args([format!("/usr/bin/{program}").as_str(), "--version"])
            .output();

        let told = Told::from(told.unwrap());
        assert_eq!(told.out, format!("{program} {}\n", env!("CARGO_PKG_VERSION")), "{told:?}");
    }
}

#[test]
fn the_bill_of_materials_names_what_is_linked_and_not_what_only_builds_or_tests() {
    let bill = json(&IMAGE.root().join("usr/share/doc/secretfs/secretfs.cdx.json"));
    let components = bill["components"].as_array().unwrap();
    let names: BTreeSet<_> = components.iter().filter_map(|component| component["name"].as_str()).collect();

    assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], sha256(&fs::read(PROGRAM).unwrap()));
    let mounter = components.iter().find(|component| component["name"] == "secretfs-mounter").unwrap();
    assert_eq!(mounter["hashes"][0]["content"], sha256(&fs::read(&*MOUNTER).unwrap()));
    for linked in ["aws-lc", "ca-certificates", "lexopt", "libc6-dev", "rust-std", "sqlite", "tokio", "tonic"]
    {
        assert!(names.contains(linked), "{linked}");
    }
    for apart in ["cc", "proptest", "protox", "serde_derive", "testing"] {
        assert!(!names.contains(apart), "{apart}");
    }
}

#[test]
fn a_binary_that_needs_more_than_itself_gets_no_image() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("image.tar");

    let told = pack(Path::new("/bin/sh"), &out);

    assert!(
        told.err.contains("/bin/sh wants a loader") || told.err.contains("dash wants a loader"),
        "{told:?}"
    );
    assert_eq!((told.code, out.exists()), (Some(1), false));
}

#[test]
fn a_release_is_built_from_what_is_tagged_and_never_packed_from_a_test_binary() {
    let directory = tempfile::tempdir().unwrap();
    let release = directory.path().join("release");

    let told = hack_image(Path::new(PROGRAM), &directory.path().join("image.tar"))
        .arg("--release")
        .arg(&release)
        .output()
        .map(Told::from)
        .unwrap();

    assert!(told.err.contains("a release is built, not packed from --binary"), "{told:?}");
    assert_eq!((told.code, release.exists()), (Some(1), false));
}

/// A cargo that writes down how it was asked to build, and builds nothing.
const CARGO: &str = r#"#!/bin/sh
case $1 in
    pkgid) echo "path+file:///secretfs#secretfs@0.0.1" ;;
    build) echo "$@" >"$ASKED"; exit 3 ;;
esac
"#;

#[test]
fn an_image_is_built_in_the_profile_of_tests_and_a_release_in_that_of_releases() {
    let directory = tempfile::tempdir().unwrap();
    let (checkout, asked) = (directory.path().join("checkout"), directory.path().join("asked"));
    fs::create_dir_all(checkout.join("hack")).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/image"), checkout.join("hack/image")).unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        run(Command::new("git").arg("-C").arg(&checkout).args(identity).args(arguments));
    };
    git(&["init", "-q"]);
    git(&["add", "hack"]);
    git(&["commit", "-q", "-m", "test"]);
    git(&["tag", "v0.0.1"]);
    let cargo = directory.path().join("cargo");
    fs::write(&cargo, CARGO).unwrap();
    run(Command::new("chmod").arg("755").arg(&cargo));
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let profile = |arguments: &[&str]| {
        let mut image = Command::new(checkout.join("hack/image"));
        image.args(arguments).env("PATH", &path).env("ASKED", &asked);
        let told = Told::from(image.output().unwrap());
        assert_eq!(told.code, Some(3), "{told:?}");
        let asked = fs::read_to_string(&asked).unwrap();
        asked.split(" --profile ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };

    assert_eq!(profile(&[]), "ci");
    assert_eq!(profile(&["--release", directory.path().join("release").to_str().unwrap()]), "release");
}
