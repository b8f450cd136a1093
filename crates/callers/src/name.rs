//! The container's name, from `/proc/TID/mountinfo`.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use mountinfo::{Mount, mounts};

/// The longest name of a container (RFC 1123 label).
const NAME_MAX: usize = 63;
/// The directory of a pod in which kubelet keeps one directory for each container.
const CONTAINERS: &str = "containers";

/// The name of a container in its pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(Arc<str>);

impl ContainerName {
    /// As the pod's manifest has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    fn new(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        fits.then(|| Self(Arc::from(text)))
    }
}

/// Where kubelet keeps the files of one pod: a directory of one file system, however many mounts show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDirectory {
    device: String,
    path: PathBuf,
}

impl PodDirectory {
    /// What `directory` is, by the table of mounts of who sees it at this path. `None` if no mount shows it.
    pub fn find(table: &[u8], directory: &Path) -> Option<Self> {
        let shows = |mount: &Mount| directory.starts_with(&mount.point);
        // Of mounts at one place the last one is on top.
        let mount = mounts(table).filter(shows).max_by_key(|mount| mount.point.components().count())?;
        let below = directory.strip_prefix(&mount.point).ok()?;
        let path = mount.root.join(below);
        let is_plain =
            path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        is_plain.then_some(Self { device: mount.device, path })
    }

    /// The name of the container whose table of mounts this is. `None` if it shows no container's file, or those of several.
    pub fn container(&self, table: &[u8]) -> Option<ContainerName> {
        let mut names = mounts(table).filter_map(|mount| self.named_by(&mount));
        let name = names.next()?;
        names.all(|other| other == name).then_some(name)
    }

    /// The container for which kubelet made the file that is mounted.
    fn named_by(&self, mount: &Mount) -> Option<ContainerName> {
        if mount.device != self.device {
            return None;
        }
        let below = mount.root.strip_prefix(&self.path).ok()?.to_str()?;
        let mut parts = below.split('/');
        let (directory, name, file) = (parts.next()?, parts.next()?, parts.next()?);
        let is_kubelets = directory == CONTAINERS && !file.is_empty() && parts.next().is_none();
        ContainerName::new(name).filter(|_| is_kubelets)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a test arranges has to fail it loudly")]

    use proptest::prelude::*;

    use super::*;

    const OWN: &[u8] = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
        5 1 0:9 / /var/lib rw - tmpfs hidden rw\n\
        6 1 8:2 /kubelet/pods /var/lib/kubelet/pods rw - ext4 /dev/sdb1 rw\n";

    fn directory() -> PodDirectory {
        PodDirectory::find(OWN, Path::new("/var/lib/kubelet/pods/uid-1")).unwrap()
    }

    fn line(device: &str, root: &str) -> String {
        format!("7 1 {device} {root} /dev/termination-log rw - ext4 /dev/sdb1 rw\n")
    }

    fn name(table: &str) -> Option<String> {
        directory().container(table.as_bytes()).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn the_name_is_in_the_path_of_the_file_for_last_words_wherever_that_is_mounted() {
        let web = line("8:2", "/kubelet/pods/uid-1/containers/web/0a1b2c3d");
        let elsewhere = web.replace("/dev/termination-log", "/tmp/x");

        assert_eq!(name(&web), Some("web".to_owned()));
        assert_eq!(
            name(&format!("1 0 0:30 / / rw - overlay overlay rw\n{elsewhere}")),
            Some("web".to_owned())
        );
        assert_eq!(name(&format!("{web}{elsewhere}")), Some("web".to_owned()));
    }

    #[test]
    fn a_path_that_only_looks_like_it_names_no_container() {
        for (device, root) in [
            ("0:77", "/kubelet/pods/uid-1/containers/web/0a1b2c3d"),
            ("8:2", "/pods/uid-1/containers/web/0a1b2c3d"),
            ("8:2", "/kubelet/pods/uid-2/containers/web/0a1b2c3d"),
            ("8:2", "/kubelet/pods/uid-1/containers/web"),
            ("8:2", "/kubelet/pods/uid-1/containers/web/x/y"),
            ("8:2", "/kubelet/pods/uid-1/containers/web/x//deleted"),
            ("8:2", "/kubelet/pods/uid-1/containers/../x"),
            ("8:2", "/kubelet/pods/uid-1/volumes/kubernetes.io~empty-dir/e/containers/web/x"),
            ("8:2", "/kubelet/pods/uid-1/volumes/kubernetes.io~empty-dir/e/pods/uid-1/containers/web/x"),
        ] {
            assert_eq!(name(&line(device, root)), None, "{root}");
        }
    }

    #[test]
    fn a_table_that_names_two_containers_names_none() {
        let both =
            ["web", "helper"].map(|name| line("8:2", &format!("/kubelet/pods/uid-1/containers/{name}/x")));

        assert_eq!(name(&both.concat()), None);
    }

    #[test]
    fn a_directory_is_found_by_the_mount_that_shows_it() {
        let here = PodDirectory { device: "8:2".to_owned(), path: "/kubelet/pods/uid-1".into() };
        assert_eq!(directory(), here);

        let on_top = [OWN, b"8 6 8:3 / /var/lib/kubelet/pods rw - xfs /dev/sdc rw\n"].concat();
        let there = PodDirectory { device: "8:3".to_owned(), path: "/uid-1".into() };
        assert_eq!(PodDirectory::find(&on_top, Path::new("/var/lib/kubelet/pods/uid-1")), Some(there));
        assert_eq!(PodDirectory::find(OWN, Path::new("/var/lib/kubelet/pods/../x")), None);
        assert_eq!(PodDirectory::find(b"", Path::new("/a")), None);
    }

    proptest! {
        #[test]
        fn garbage_names_no_container(table in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(directory().container(&table), None);
        }
    }
}
