//! Setup that several modules share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::process::Output;
use std::sync::Arc;

use engine::mode::{Appearance, Fuse, Mode, Mounted, Tmpfs};
use engine::snapshot::{File, FingerprintKey, Snapshot};
use inotify::{EventMask, Inotify, WatchMask};
use mounter::{HostMounter, Mounter};
use provider::{FileMode, ObjectPath, SecretBytes};
use tempfile::TempDir;
use testing::ShownBy;

/// A snapshot of files with the default mode.
pub(crate) fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    files.iter().map(|(path, contents)| (object_path(path), file(path, contents.as_bytes(), None))).collect()
}

pub(crate) fn object_path(path: &str) -> ObjectPath {
    ObjectPath::try_from(path).unwrap()
}

pub(crate) fn file(path: &str, contents: &[u8], mode: Option<u64>) -> File {
    File {
        contents: SecretBytes::new(contents.to_vec()),
        mode: mode.map(|mode| FileMode::try_from(mode).unwrap()),
        fingerprint: FingerprintKey::new(&[7; 32]).fingerprint(&object_path(path), contents),
        version: None,
    }
}

/// A target, below a directory that everyone may enter.
pub(crate) struct Target {
    parent: TempDir,
    /// The path of the target below that directory.
    below: PathBuf,
}

impl Target {
    pub(crate) fn new() -> Self {
        let parent = tempfile::Builder::new().prefix("secretfs-").tempdir().unwrap();
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(parent.path(), everyone).unwrap();
        Self { parent, below: PathBuf::from("mount") }
    }

    /// A target that kubelet made for a volume of our driver. The directory is kubelet's `pods`.
    pub(crate) fn of_kubelet() -> Self {
        let below = PathBuf::from("pod-uid/volumes/kubernetes.io~csi/secrets/mount");
        let mut target = Self::new();
        target.below = below;
        testing::prepare_target(&target.path(), testing::DRIVER);
        target
    }

    /// Everything in the directory of the target, except kubelet's own file.
    pub(crate) fn beside(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().parent().unwrap()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| !path.ends_with(testing::VOLUME_DATA)).collect()
    }

    pub(crate) fn parent(&self) -> &Path {
        self.parent.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.parent.path().join(&self.below)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Target {
    /// The directory is removed with everything below it. So first every mount below it must go: it may show files that
    /// are elsewhere.
    fn drop(&mut self) {
        for at in mount_points_below(self.parent()).iter().rev() {
            let detach = rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW;
            if let Err(error) = rustix::mount::unmount(at, detach) {
                // Keep the directory if a mount stays. Removing it would delete files through the mount.
                eprintln!("{}: {error}; {} stays", at.display(), self.parent().display());
                self.parent.disable_cleanup(true);
            }
        }
    }
}

/// Copies the program to `path` in another process. If this process had the copy open for writing while a test forks,
/// the copy could not be executed.
pub(crate) fn copy_program(path: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_secretfs")).arg(path).status().unwrap();
    assert!(copied.success());
}

pub(crate) fn local() -> Arc<dyn Mounter> {
    Arc::new(HostMounter::default())
}

pub(crate) fn tmpfs() -> Tmpfs {
    Tmpfs::new(local(), Tmpfs::DEFAULT_MAX_BYTES)
}

/// The mode of this thread's test.
pub(crate) fn mode() -> Box<dyn Mode> {
    match ShownBy::chosen() {
        ShownBy::Tmpfs => Box::new(tmpfs()),
        ShownBy::Fuse => Box::new(Fuse::new(local(), Tmpfs::DEFAULT_MAX_BYTES)),
    }
}

/// Mounts `files` at `target` with the default appearance.
pub(crate) fn mount(target: &Target, files: &[(&str, &str)]) -> Box<dyn Mounted> {
    mode().mount(&target.path(), &snapshot(files), &Appearance::default()).unwrap()
}

/// A program that watches the directory of a volume, and its file `key`.
pub(crate) struct Watcher(Inotify);

/// What it was told, in this order: what happened, and to which name.
pub(crate) struct Events(Vec<(EventMask, String)>);

impl Watcher {
    pub(crate) fn of(target: &Target) -> Self {
        let inotify = Inotify::init().unwrap();
        let changes = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM;
        inotify.watches().add(target.path(), changes).unwrap();
        inotify.watches().add(target.file("key"), WatchMask::DELETE_SELF).unwrap();
        Self(inotify)
    }

    /// What it is told of a rotation. The old file is removed last, together with its version.
    pub(crate) fn told(mut self) -> Events {
        let (mut buffer, mut seen) = ([0; 8192], Vec::<(EventMask, String)>::new());
        testing::until(
            || {
                let events = self.0.read_events(&mut buffer).into_iter().flatten();
                seen.extend(events.map(|event| {
                    (event.mask, event.name.unwrap_or_default().to_string_lossy().into_owned())
                }));
                seen.iter().any(|(mask, _)| mask.contains(EventMask::DELETE_SELF))
            },
            || "the old file stays".to_owned(),
        );
        Events(seen)
    }
}

impl Events {
    /// Which of the events is this one.
    pub(crate) fn position(&self, mask: EventMask, name: &str) -> usize {
        let found = self.0.iter().position(|(seen, of)| seen.contains(mask) && of == name);
        found.unwrap_or_else(|| panic!("{mask:?} {name} in {:?}", self.0))
    }
}

/// Waits until the volume holds only `..data`, the directory to which it leads, and the names of files.
pub(crate) fn settle(target: &Target) {
    let own = || {
        let names = fs::read_dir(target.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().is_some_and(|name| name.starts_with(".."))).collect::<Vec<_>>()
    };
    testing::until(|| own().len() == 2, || format!("old versions stay: {:?}", own()));
}

/// The lines of this thread's mount table about mounts at or below `directory`.
pub(crate) fn mounts_below(directory: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let below = |line: &&str| line.split(' ').nth(4).is_some_and(|at| Path::new(at).starts_with(directory));
    table.lines().filter(below).map(str::to_owned).collect()
}

/// The mount points at or below `directory`, in the order of the table.
pub(crate) fn mount_points_below(directory: &Path) -> Vec<PathBuf> {
    let table = fs::read("/proc/thread-self/mountinfo").unwrap();
    mountinfo::mounts(&table).map(|mount| mount.point).filter(|at| at.starts_with(directory)).collect()
}

/// This test program again, to run only the test called `name`.
pub(crate) fn again(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command
}

/// Builds the Go program in `tests/NAME` and returns its path.
pub(crate) fn go_program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name))
        .output()
        .expect("Go is installed (https://go.dev/dl)");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

/// The exit code and the output of a command.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The class `app` of namespace `shop` with these parameters: lines of YAML, indented by four.
pub(crate) fn class(provider: &str, parameters: &str) -> String {
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {{name: app, namespace: shop}}
spec:
  provider: {provider}
  parameters:
{parameters}"
    )
}

/// The same with these objects of the embedded store: one line each, as in YAML's `{…}`.
pub(crate) fn store_class(objects: &[impl AsRef<str>]) -> String {
    let lines = objects.iter().map(|object| format!("      - {{{}}}\n", object.as_ref()));
    class("secretfs", &format!("    objects: |\n{}", lines.collect::<String>()))
}

/// The program of the commit in `tests/upgrade/commit`, from which upgrades are tested.
pub(crate) fn earlier() -> PathBuf {
    let commit = include_str!("../upgrade/commit").trim();
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/tools");
    let tools = std::env::var_os("SECRETFS_TOOLS").map_or(installed, PathBuf::from);
    let program = tools.join("secretfs-earlier");
    assert!(program.exists(), "the program of commit {commit} is not built: run hack/tools earlier");
    program
}
