//! The paths of a node.

use std::path::PathBuf;

/// The paths and names that a node uses.
#[derive(Debug, Clone)]
pub struct Places {
    /// The process id of the `secretfs node` with these settings, if one runs here.
    pub told_to: Option<u32>,
    /// Name of the driver, as in the CSIDriver object.
    pub driver: String,
    /// kubelet's root directory (`--root-dir`).
    pub kubelet_root: PathBuf,
    /// The directory in which kubelet looks for drivers.
    pub registration_dir: PathBuf,
    /// Socket at which kubelet calls the driver.
    pub csi: PathBuf,
    /// The mounter's socket; `None` without a mounter.
    pub mounter: Option<PathBuf>,
    /// The directory with everything that survives a restart.
    pub state_dir: PathBuf,
    /// The directory of admin sockets.
    pub admin_dir: PathBuf,
    /// The directories of external providers' sockets.
    pub provider_dirs: Vec<PathBuf>,
    /// Where the key of the audit trail's chain is, if a chain was begun; `None` without a trail that could have one.
    pub chain: Option<PathBuf>,
    /// The namespaces in which Kubernetes Secrets are made from files. Empty means all; `None` means that none are
    /// made.
    pub sync: Option<Vec<String>>,
    /// The namespaces whose service accounts may be read for their annotations.
    pub annotations: Vec<String>,
    /// The namespaces whose workloads may be rolled out after a rotation.
    pub restarts: Vec<String>,
    /// The kubeconfig that names the API server.
    pub kubeconfig: Option<PathBuf>,
}
