//! Finds containers that mount single files of a volume by `subPath`. They never see a rotation.
//!
//! When kubelet makes a container, it binds the file that `subPath` names to
//! `<pods>/<uid>/volume-subpaths/<volume>/<container>/<n>`, and the container keeps that very file. A program that may
//! not read pods can learn of this only from the mount table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mounter::MountTable;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::volume::table::Entry;
use crate::volume::{Volumes, blocking};

/// kubelet's name for the directory of such mounts, below the directory of a pod.
const DIRECTORY: &str = "volume-subpaths";
/// How often the kernel is asked whether the mount table changed.
const TICK: Duration = Duration::from_secs(3);

impl Volumes {
    /// Reports each container that mounts a served volume by `subPath`, once. Runs until `stop`.
    pub async fn watch_sub_paths(self: Arc<Self>, stop: CancellationToken) {
        let table = match MountTable::open() {
            Ok(table) => table,
            Err(error) => {
                tracing::warn!(%error, "subPath mounts are not looked for");
                return stop.cancelled().await;
            }
        };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            changed |= table.changed();
            if changed && self.note_sub_paths().await {
                changed = false;
            }
        }
    }

    fn rotates_through_sub_path(&self, entry: &Entry) -> bool {
        let mode = self.parts().modes.get(entry.remains.mounted.mode());
        mode.is_ok_and(|mode| mode.abilities().rotates_through_sub_path)
    }

    /// Looks for such containers. `false` if there are no volumes or the mount table could not be read.
    async fn note_sub_paths(&self) -> bool {
        if self.lock().is_empty() {
            return false;
        }
        let table = blocking(|| Ok(MountTable::read()?)).await;
        table.map(|table| self.note(&users(&table))).is_ok()
    }

    /// Reports new containers among `users`. Leaves out volumes whose mode shows rotations through `subPath`.
    pub(super) fn note(&self, users: &BTreeMap<PathBuf, BTreeSet<String>>) {
        for entry in self.lock().values().filter(|entry| !self.rotates_through_sub_path(entry)) {
            let found = directory(&entry.remains.publish.target).and_then(|directory| users.get(&directory));
            let mut known = entry.sub_paths.lock().unwrap_or_else(PoisonError::into_inner);
            let new: Vec<String> =
                found.into_iter().flatten().filter(|it| !known.contains(*it)).cloned().collect();
            known.extend(new.iter().cloned());
            if !new.is_empty() {
                self.parts().reporter.sub_paths(&entry.remains.publish, new);
            }
        }
    }
}

/// Where kubelet mounts single files of the volume at `target`. `None` if kubelet did not make the target.
fn directory(target: &Path) -> Option<PathBuf> {
    let volume = target.parent()?;
    let volumes = volume.parent()?.parent()?;
    let is_kubelets = target.ends_with("mount") && volumes.ends_with("volumes");
    is_kubelets.then(|| Some(volumes.with_file_name(DIRECTORY).join(volume.file_name()?)))?
}

/// The containers that mount single files, by the directory of each volume's mounts.
fn users(table: &[u8]) -> BTreeMap<PathBuf, BTreeSet<String>> {
    let mut users: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for mount in mountinfo::mounts(table) {
        if let Some((directory, container)) = user(&mount.point) {
            users.entry(directory.to_owned()).or_default().insert(container.to_owned());
        }
    }
    users
}

fn user(point: &Path) -> Option<(&Path, &str)> {
    let container = point.parent()?;
    let directory = container.parent()?;
    let is_kubelets = directory.parent()?.ends_with(DIRECTORY);
    is_kubelets.then(|| Some((directory, container.file_name()?.to_str()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "/var/lib/kubelet/pods/77";

    #[test]
    fn containers_are_found_by_the_volume_they_mount() {
        let line = |point: &str| format!("41 35 0:32 /..2/password {POD}/{point} ro - tmpfs secretfs rw\n");
        let table = [
            "volumes/kubernetes.io~csi/db/mount",
            "volume-subpaths/db/web/0",
            "volume-subpaths/db/web/3",
            "volume-subpaths/db/side/1",
            "volume-subpaths/other/web/2",
        ]
        .map(line)
        .concat();

        let users = users(table.as_bytes());
        let of_db = directory(&Path::new(POD).join("volumes/kubernetes.io~csi/db/mount")).unwrap();

        assert_eq!(users.len(), 2);
        assert_eq!(users[&of_db].iter().collect::<Vec<_>>(), ["side", "web"]);
    }

    #[test]
    fn a_target_that_kubelet_did_not_make_has_no_such_mounts() {
        for target in ["/run/shop/secrets", "/mount", "/a/volumes/x/y/elsewhere"] {
            assert_eq!(directory(Path::new(target)), None, "{target}");
        }
    }
}
