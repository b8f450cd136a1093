//! A node with an external provider.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::mount::OpenTreeFlags;
use serde_json::Value;
use testing::{PodVolume, RunningNode};

use super::provider::Provider;
use crate::support::class;

/// Both of them. The class `app` uses the provider.
pub(crate) struct World {
    pub(crate) node: RunningNode,
    pub(crate) provider: Provider,
}

impl World {
    /// Starts the node with a mounter in a process of its own.
    pub(crate) async fn new(control: &Value) -> Self {
        Self::of("", control).await
    }

    /// The same, with more parameters in the class.
    pub(crate) async fn of(parameters: &str, control: &Value) -> Self {
        let mut world = Self::prepare(control, &[]);
        world.class(parameters);
        world.node.use_mounter();
        world.node.start_node().await;
        world
    }

    /// The same without a mounter. The node is not started yet.
    pub(crate) fn prepare(control: &Value, flags: &[&str]) -> Self {
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), flags);
        let providers = node.path("providers");
        fs::create_dir(&providers).unwrap();
        node.flag("--providers-dir", providers.to_str().unwrap());
        let provider = Provider::start(&providers, control);
        let world = Self { node, provider };
        world.class("");
        world
    }

    /// Writes the class with more parameters.
    pub(crate) fn class(&self, parameters: &str) {
        let parameters = format!("    objects: all of <them>\n    secretfs.dev/refresh: 1s\n{parameters}");
        self.node.class("app", &class("test", &parameters));
    }

    /// A pod of the class. Its volume is published.
    pub(crate) async fn started(&self, name: &str) -> PodVolume {
        let pod = PodVolume::new(name, "app");
        self.node.publish(&pod).await.unwrap_or_else(|status| panic!("{status}\n{}", self.node.log()));
        pod
    }

    /// Unpublishes the volume of `pod`, and fails if anything of it is left.
    pub(crate) async fn ends(&self, pod: &PodVolume) {
        self.node.unpublish(pod).await.unwrap();
        self.has_nothing_of(pod);
    }

    /// Fails if anything of the volume of `pod` is left in kubelet's directory.
    #[track_caller]
    pub(crate) fn has_nothing_of(&self, pod: &PodVolume) {
        assert_eq!(self.node.left_behind(pod), Vec::<PathBuf>::new(), "{}", self.node.log());
        assert_eq!(self.node.mounts(), Vec::<PathBuf>::new(), "{}", self.node.log());
        self.has_nothing_on_disk();
    }

    /// Fails if kubelet's directory of pods has a file on the node's own disk.
    #[track_caller]
    pub(crate) fn has_nothing_on_disk(&self) {
        assert_eq!(self.on_disk(), Vec::<PathBuf>::new());
    }

    /// The files in kubelet's directory of pods that are on the node's own disk, even if a mount hides them.
    pub(crate) fn on_disk(&self) -> Vec<PathBuf> {
        let pods = self.node.path("kubelet/pods");
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        // A clone of the mount, without the mounts below it.
        let bare = rustix::mount::open_tree(rustix::fs::CWD, &pods, flags).unwrap();
        let path = Path::new("/proc/self/fd").join(bare.as_raw_fd().to_string());
        files_below(&path.join("."))
    }
}

/// Everything below `directory` except directories and kubelet's own files.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false if entry.file_name() == testing::VOLUME_DATA => {}
            false => found.push(entry.path()),
        }
    }
    found
}
