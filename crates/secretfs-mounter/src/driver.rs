//! Which targets and sockets are those of one CSI driver.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::ResolveFlags;

use crate::kubelet;
use crate::place::{Ground, Place, Reach, refused};

/// The one CSI driver that a mounter serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// As the CSIDriver object is called, and as kubelet writes it beside each target.
    pub name: String,
    /// Kubelet's `pods`: the only directory below which anything is mounted.
    pub pods: PathBuf,
    /// The only sockets that are made.
    pub sockets: Vec<PathBuf>,
    /// The only directories where providers listen that are connected to.
    pub providers: Vec<PathBuf>,
}

impl Ground for Driver {
    fn target(&self, path: &Path) -> io::Result<Place> {
        let place = Place::below(&self.pods, path, ResolveFlags::NO_XDEV, Reach::Ours)?;
        if !is_csi_target(&self.pods, path) {
            return Err(refused(
                "it is no target of a CSI volume, POD/volumes/kubernetes.io~csi/VOLUME/mount",
            ));
        }
        let is_its_own = kubelet::made_for(&self.name, &place.parent)?;
        Ok(Place { reach: if is_its_own { Reach::Volume } else { Reach::Ours }, ..place })
    }

    fn socket(&self, path: &Path) -> io::Result<Place> {
        match path.parent() {
            Some(directory) if self.sockets.iter().any(|own| own == path) => {
                Place::below(directory, path, ResolveFlags::empty(), Reach::Mounts)
            }
            _ => Err(refused(format!(
                "it is none of the sockets of this driver, {} (--driver-name, --csi-endpoint, --registration-dir)",
                self.name
            ))),
        }
    }

    fn provider(&self, path: &Path) -> io::Result<Place> {
        let directory = self.providers.iter().find(|directory| path.parent() == Some(directory));
        let stranger = || refused("it is in none of the directories of providers (--providers-dir)");
        Place::below(directory.ok_or_else(stranger)?, path, ResolveFlags::empty(), Reach::Mounts)
    }
}

/// Whether `path` is POD/volumes/kubernetes.io~csi/VOLUME/mount below `pods`: then what is there is a driver's, and
/// nobody's data.
pub fn is_csi_target(pods: &Path, path: &Path) -> bool {
    let names: Vec<_> = path.strip_prefix(pods).unwrap_or(path).iter().collect();
    matches!(names.as_slice(), [_, volumes, csi, _, mount]
        if *volumes == "volumes" && *csi == "kubernetes.io~csi" && *mount == "mount")
}
