//! Makes by hand what the Secrets Store CSI driver and its providers leave on a node.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags};
use testing::{PodVolume, RunningNode};

use crate::embedded::Store;
use crate::support::store_class;

/// The name of upstream's driver.
const UPSTREAM: &str = "secrets-store.csi.k8s.io";

/// A directory name that upstream gives to a version.
const VERSION: &str = "..2026_11_23_03_55_21.3516647175";

/// The names in a volume of the class.
const NAMES: [&str; 4] = ["..data", "..version", "db", "password"];

/// A node under upstream's driver name. Its class shows two files of the embedded store.
pub(super) struct World {
    pub(super) node: RunningNode,
    store: Store,
    pub(super) pod: PodVolume,
    /// The directory in which the pod's container sees the volume.
    container: PathBuf,
}

impl World {
    /// A world whose node does not run yet.
    pub(super) fn new(flags: &[&str]) -> Self {
        let store = Store::init();
        let flags = [flags, &["--driver-name", UPSTREAM]].concat();
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &flags);
        node.flag("--store", store.path());
        let objects =
            ["objectName: password, item: app, key: password", "objectName: db/user, item: app, key: user"];
        node.class("app", &store_class(&objects));
        let (pod, container) = (PodVolume::new("web", "app"), node.path("container"));
        let world = Self { node, store, pod, container };
        fs::create_dir_all(world.target()).unwrap();
        fs::set_permissions(world.target(), fs::Permissions::from_mode(0o750)).unwrap();
        testing::prepare_target(&world.target(), UPSTREAM);
        world
    }

    /// Puts a new version of both secrets.
    pub(super) fn put(&self, version: &str) {
        let keys =
            serde_json::json!({ "password": format!("pass-{version}"), "user": format!("user-{version}") });
        self.store.put_json("shop", "app", &keys);
    }

    pub(super) fn target(&self) -> PathBuf {
        self.node.target(&self.pod)
    }

    /// Mounts as upstream does, without any option.
    pub(super) fn mount(&self) {
        rustix::mount::mount("tmpfs", self.target(), "tmpfs", MountFlags::empty(), None).unwrap();
    }

    /// Mounts, and writes `version` as upstream's driver does.
    pub(super) fn mount_and_write(&self, version: &str) {
        self.mount();
        self.write_version(version);
        symlink(VERSION, self.target().join("..data")).unwrap();
        for top in ["password", "db"] {
            symlink(Path::new("..data").join(top), self.target().join(top)).unwrap();
        }
    }

    /// Mounts, and writes `version` as providers do that write their files themselves.
    pub(super) fn mount_and_write_plainly(&self, version: &str) {
        self.mount();
        write(&self.target(), version);
    }

    /// Writes the files of `version` into a directory to which no link leads.
    pub(super) fn write_version(&self, version: &str) {
        fs::create_dir(self.target().join(VERSION)).unwrap();
        write(&self.target().join(VERSION), version);
    }

    /// Makes `..data` lead to the version that was written last.
    pub(super) fn point_data_at_the_version(&self) {
        symlink(VERSION, self.target().join("..data_tmp")).unwrap();
        fs::rename(self.target().join("..data_tmp"), self.target().join("..data")).unwrap();
    }

    /// `mount -o remount,bind,rw`.
    pub(super) fn make_writable(&self) {
        rustix::mount::mount_remount(self.target(), MountFlags::BIND, "").unwrap();
    }

    /// Removes a file or directory of the volume, as upstream does.
    pub(super) fn remove(&self, path: &Path) {
        assert!(path.starts_with(self.target()));
        assert!(Command::new("rm").arg("-r").arg(path).status().unwrap().success());
    }

    pub(super) fn unmount(&self) {
        rustix::mount::unmount(self.target(), UnmountFlags::empty()).unwrap();
    }

    /// Starts a container: it gets a mount of the volume that later changes at the target do not reach.
    pub(super) fn start_container(&self) {
        fs::create_dir(&self.container).unwrap();
        rustix::mount::mount_bind(self.target(), &self.container).unwrap();
        let read_only = MountFlags::BIND | MountFlags::RDONLY;
        rustix::mount::mount_remount(&self.container, read_only, "").unwrap();
    }

    pub(super) fn stop_container(&self) {
        rustix::mount::unmount(&self.container, UnmountFlags::empty()).unwrap();
    }

    /// A file as the container reads it.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.container.join(file)).ok()
    }

    /// Whether the container reads all of `version`.
    pub(super) fn shows(&self, version: &str) -> bool {
        self.read("password") == Some(format!("pass-{version}"))
            && self.read("db/user") == Some(format!("user-{version}"))
    }

    pub(super) async fn comes_to_show(&self, version: &str) {
        let started = std::time::Instant::now();
        while !self.shows(version) {
            let late = started.elapsed() > std::time::Duration::from_secs(30);
            assert!(!late, "{version} is not shown\n{}", self.node.log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Waits until the rotation has removed the old version, which it does after it shows the new one.
    pub(super) async fn comes_to_be_tidy(&self) {
        let started = std::time::Instant::now();
        while self.names() != NAMES {
            let late = started.elapsed() > std::time::Duration::from_secs(30);
            assert!(!late, "{:?}\n{}", self.names(), self.node.log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Names in the volume's root. The directory of the version appears as `..version`.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.target()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let plain = |name: String| if name.starts_with("..2") { "..version".to_owned() } else { name };
        let mut names: Vec<String> = names.map(plain).collect();
        names.sort();
        names
    }

    /// Unpublishes, and fails if anything is left except kubelet's own file.
    pub(super) async fn unpublish_leaves_nothing(&self) {
        self.node.unpublish(&self.pod).await.unwrap();
        assert_eq!(self.node.left_behind(&self.pod), Vec::<PathBuf>::new());
        assert!(!self.node.mounts().contains(&self.target()));
    }
}

fn write(directory: &Path, version: &str) {
    fs::create_dir(directory.join("db")).unwrap();
    for (path, contents) in [("password", format!("pass-{version}")), ("db/user", format!("user-{version}"))]
    {
        fs::write(directory.join(path), contents).unwrap();
        fs::set_permissions(directory.join(path), fs::Permissions::from_mode(0o644)).unwrap();
    }
}
