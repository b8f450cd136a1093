//! Collects the facts of a node for the doctor.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::commands::places::Places;
use crate::csi;

/// How long the listener of a socket may take to accept.
const ACCEPT: Duration = Duration::from_secs(2);
/// `f_type` of the file systems in memory: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// The facts of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The kernel's version, as `uname -r` prints it.
    pub kernel: String,
    /// Whether swap is on.
    pub swap: bool,
    /// Whether `/dev/fuse` exists.
    pub fuse: bool,
    /// The facts about kubelet.
    pub kubelet: Kubelet,
    /// The state directory, and whether it is in memory; `None` if that cannot be found out.
    pub state: (PathBuf, Option<bool>),
    /// The directory of the audit trail's chain, and whether one was begun there, which is `None` if that cannot be found
    /// out. `None` without a trail that could be a chain.
    pub chain: Option<(PathBuf, Option<bool>)>,
    /// Sockets that should exist, and existing sockets of external providers.
    pub sockets: Vec<Socket>,
}

/// Kubelet's directories on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubelet {
    /// The directory in the settings.
    pub root: PathBuf,
    /// Whether it contains `plugins_registry`, or `pods`.
    pub registry: bool,
    /// The directories in the command lines of the kubelets that run here.
    pub running: Vec<PathBuf>,
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Kubelet calls the driver here.
    Csi,
    /// Kubelet registers the driver here.
    Registration,
    /// `node` calls the mounter here.
    Mounter,
    /// `secretfs status`, `why` and `refresh` ask here.
    Admin,
    /// An external provider listens here.
    Provider,
}

/// What was found out about a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// What it is for.
    pub purpose: Purpose,
    /// Its path, whether it exists or not.
    pub path: PathBuf,
    /// How it is doing.
    pub state: State,
}

/// What was found at the path of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No part of the path is visible, as in a container that does not mount it.
    OutOfSight,
    /// The directory does not exist.
    Nowhere,
    /// The directory exists, and has no such socket.
    Missing,
    /// Something other than a socket is there.
    Other,
    /// No process listens, for this reason.
    Silent(String),
    /// A process listens.
    Answers {
        /// User id that owns the socket.
        owner: u32,
        /// Permission bits of the socket.
        mode: u32,
    },
}

impl Host {
    /// Collects the facts of `places`. `proc` is the host's `/proc`.
    pub async fn look(places: &Places, proc: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(proc.join(name)).unwrap_or_default();
        Self {
            kernel: text("sys/kernel/osrelease").trim().to_owned(),
            swap: text("swaps").lines().count() > 1,
            fuse: Path::new("/dev/fuse").exists(),
            kubelet: Kubelet {
                root: places.kubelet_root.clone(),
                // The container of a node without privileges does not have it: its mounter registers it.
                registry: places.registration_dir.is_dir() || places.kubelet_root.join("pods").is_dir(),
                running: kubelets(proc),
            },
            state: (places.state_dir.clone(), in_memory(&places.state_dir)),
            chain: places.chain.as_ref().map(|path| (path.clone(), path.join("state").try_exists().ok())),
            sockets: sockets(places).await,
        }
    }

    /// Whether this machine is a node.
    pub fn is_node(&self) -> bool {
        let alive =
            |socket: &Socket| !matches!(socket.state, State::OutOfSight | State::Nowhere | State::Missing);
        self.kubelet.registry || !self.kubelet.running.is_empty() || self.sockets.iter().any(alive)
    }
}

async fn sockets(places: &Places) -> Vec<Socket> {
    let default = places.registration_dir.join(format!("{}-reg.sock", places.driver));
    let registration = csi::registration_sockets(&places.registration_dir, &places.driver);
    let registration = registration.unwrap_or_default().pop().unwrap_or(default);
    let mut wanted = vec![(Purpose::Csi, places.csi.clone()), (Purpose::Registration, registration)];
    wanted.extend(places.mounter.iter().map(|path| (Purpose::Mounter, path.clone())));
    wanted.push((Purpose::Admin, places.admin_dir.join("node.sock")));
    for directory in &places.provider_dirs {
        wanted.extend(sockets_in(directory).into_iter().map(|path| (Purpose::Provider, path)));
    }
    let mut found = Vec::new();
    for (purpose, path) in wanted {
        let mut state = state(&path).await;
        // Kubelet's directory of registration sockets is not mounted for a node without privileges: its mounter binds there.
        let is_the_mounters = purpose == Purpose::Registration && !rustix::process::geteuid().is_root();
        if is_the_mounters && state == State::Nowhere {
            state = State::OutOfSight;
        }
        found.push(Socket { purpose, path, state });
    }
    found
}

fn sockets_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "sock")).collect();
    paths.sort();
    paths
}

async fn state(path: &Path) -> State {
    match path.ancestors().skip(1).take(2).position(Path::is_dir) {
        Some(0) => {}
        Some(_) => return State::Nowhere,
        None => return State::OutOfSight,
    }
    let Ok(metadata) = fs::metadata(path) else { return State::Missing };
    if !metadata.file_type().is_socket() {
        return State::Other;
    }
    let answers = State::Answers { owner: metadata.uid(), mode: metadata.mode() & 0o777 };
    match timeout(ACCEPT, UnixStream::connect(path)).await {
        Ok(Ok(_)) => answers,
        // A process listens, but for packets.
        Ok(Err(error)) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => answers,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            State::Silent("nobody listens there".to_owned())
        }
        Ok(Err(error)) => State::Silent(error.to_string()),
        Err(_) => State::Silent(format!("nobody accepts within {} s", ACCEPT.as_secs())),
    }
}

/// Whether `path` is in memory. If `path` does not exist, the nearest existing directory above it counts.
fn in_memory(path: &Path) -> Option<bool> {
    let there = path.ancestors().find(|path| path.exists())?;
    let kind = rustix::fs::statfs(there).ok()?.f_type;
    Some(IN_MEMORY.contains(&u64::try_from(kind).unwrap_or_default()))
}

/// The root directories of the kubelets that run here.
fn kubelets(proc: &Path) -> Vec<PathBuf> {
    let mut roots: Vec<_> = commands(proc).iter().filter_map(|(_, command)| kubelet_root(command)).collect();
    roots.sort();
    roots.dedup();
    roots
}

/// The command lines of all running processes, by process id.
pub(super) fn commands(proc: &Path) -> Vec<(u32, Vec<OsString>)> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let command = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let words = words(&fs::read(entry.path().join("cmdline")).ok()?);
        (!words.is_empty()).then_some((pid, words))
    };
    entries.filter_map(command).collect()
}

fn words(line: &[u8]) -> Vec<OsString> {
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// The root directory of a kubelet with this command line; `None` if it is another program.
fn kubelet_root(command: &[OsString]) -> Option<PathBuf> {
    let (program, words) = command.split_first()?;
    if Path::new(program).file_name()? != "kubelet" {
        return None;
    }
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let joined = words.iter().find_map(|word| word.trim_start_matches('-').strip_prefix("root-dir="));
    let at = words.iter().position(|word| matches!(*word, "--root-dir" | "-root-dir"));
    let apart = at.and_then(|at| words.get(at + 1)).copied();
    Some(joined.or(apart).unwrap_or("/var/lib/kubelet").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_of(line: &str) -> Option<PathBuf> {
        kubelet_root(&words(line.replace(' ', "\0").as_bytes()))
    }

    #[test]
    fn a_kubelet_tells_its_directory_in_each_way_of_writing_flags() {
        for (line, root) in [
            ("/usr/bin/kubelet --root-dir=/data/kubelet --v=2", Some("/data/kubelet")),
            ("kubelet --root-dir /data/kubelet", Some("/data/kubelet")),
            ("/usr/bin/kubelet --config=/etc/kubelet.yaml", Some("/var/lib/kubelet")),
            ("/usr/bin/containerd --root-dir=/x", None),
        ] {
            assert_eq!(root_of(line), root.map(PathBuf::from), "{line}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_found_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let _alive = std::os::unix::net::UnixListener::bind(at("alive")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(at("dead")).unwrap());
        fs::write(at("file"), "").unwrap();

        assert!(matches!(state(&at("alive")).await, State::Answers { .. }));
        assert_eq!(state(&at("dead")).await, State::Silent("nobody listens there".to_owned()));
        assert_eq!(state(&at("file")).await, State::Other);
        assert_eq!(state(&at("missing")).await, State::Missing);
        assert_eq!(state(&at("nowhere/x")).await, State::Nowhere);
        assert_eq!(state(&at("no/where/x")).await, State::OutOfSight);
    }

    #[test]
    fn a_directory_that_is_to_come_is_where_its_parent_is() {
        assert_eq!(in_memory(Path::new("/dev/shm/to/come")), Some(true));
        assert_eq!(in_memory(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/to/come"))), Some(false));
    }
}
