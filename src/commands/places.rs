//! Where the things of a node are.

use std::path::PathBuf;

/// Where things are on this node.
#[derive(Debug, Clone)]
pub struct Places {
    /// The `secretfs node` whose settings these are, if one runs here.
    pub told_to: Option<u32>,
    /// Name of the driver, as the CSIDriver object has it.
    pub driver: String,
    /// kubelet's root directory (`--root-dir`).
    pub kubelet_root: PathBuf,
    /// Where kubelet looks for drivers.
    pub registration_dir: PathBuf,
    /// Socket at which kubelet calls the driver.
    pub csi: PathBuf,
    /// The mounter's socket, if there is a mounter.
    pub mounter: Option<PathBuf>,
    /// What survives a restart.
    pub state_dir: PathBuf,
    /// Where admin sockets are.
    pub admin_dir: PathBuf,
    /// Where sockets of external providers are.
    pub provider_dirs: Vec<PathBuf>,
    /// The namespaces in which Secrets are made of files, all if it names none; `None` if they are not.
    pub sync: Option<Vec<String>>,
    /// The namespaces of whose service accounts the API server is asked.
    pub annotations: Vec<String>,
    /// What names the API server.
    pub kubeconfig: Option<PathBuf>,
}
