use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Control groups of a test, which are taken away on drop. Needs root, and control groups of version 2.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
    made: Vec<PathBuf>,
}

impl Cgroups {
    /// One that nobody else has.
    ///
    /// # Panics
    ///
    /// There are no control groups of version 2, or this process may not make any.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let is_v2 = |path: &&&Path| path.join("cgroup.controllers").exists();
        let hierarchy = hierarchy.iter().find(is_v2).expect("cgroups of version 2");
        let name = format!("secretfs-test-{}-{:x}", std::process::id(), fastrand::u64(..));
        let mut made = Self { root: hierarchy.join(name), made: Vec::new() };
        made.make("");
        made
    }

    /// Where a group at `path` below the test's own is.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Makes a group below the test's own, with all that are above it.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    pub fn make(&mut self, path: &str) -> PathBuf {
        let mut at = self.root.clone();
        for name in std::iter::once("").chain(path.split('/')) {
            at = if name.is_empty() { at } else { at.join(name) };
            if !self.made.contains(&at) {
                fs::create_dir(&at).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
                self.made.push(at.clone());
            }
        }
        at
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for cgroup in self.made.iter().rev() {
            // Its last process may not be gone yet.
            let until = Instant::now() + Duration::from_secs(5);
            while fs::remove_dir(cgroup).is_err() && cgroup.exists() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Makes what kubelet makes for a container of the pod whose directory is `pod`: the file for its last words.
///
/// # Panics
///
/// It cannot be made.
pub fn prepare_last_words(pod: &Path, container: &str) -> PathBuf {
    let directory = pod.join("containers").join(container);
    fs::create_dir_all(&directory).unwrap();
    let words = directory.join("0a1b2c3d");
    fs::write(&words, "").unwrap();
    words
}

/// A command that runs `program` in mounts of its own, once its shell has done `enter`.
pub fn in_own_mounts(enter: &str, program: &str) -> Command {
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "--propagation", "private", "sh", "-c", &format!("{enter} && exec {program}")]);
    shell
}

/// What a shell does to become a process of a container: its control group, and the mount of its last words at `place`,
/// a file that is there.
pub fn enter_container(words: &Path, place: &Path, cgroup: &Path) -> String {
    let [words, place, cgroup] = [words, place, cgroup].map(Path::display);
    format!("mount --bind {words} {place} && echo $$ >{cgroup}/cgroup.procs")
}
