//! Finds the paths of a node: from the command line, from the options of a running `secretfs node`, or from its
//! defaults.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::DoctorArgs;
use super::host;
use crate::commands::Cli;
use crate::commands::node::NodeArgs;
use crate::commands::places::Places;

impl Places {
    /// The paths of the node that runs here, changed by the doctor's own options.
    ///
    /// # Errors
    ///
    /// The defaults cannot be parsed, which would be a bug.
    pub(super) fn of(args: &DoctorArgs) -> anyhow::Result<Self> {
        let places = match running(&args.proc) {
            Some(running) => running,
            None => Self::by_default()?,
        };
        Ok(places.changed(args))
    }

    fn by_default() -> anyhow::Result<Self> {
        let typed = ["secretfs", "node", "--node-name", "doctor"];
        let args = Cli::try_parse_from(typed)?.node();
        let places = args.map(NodeArgs::places);
        let mut places = places.ok_or_else(|| anyhow::anyhow!("`secretfs node` has no defaults"))?;
        places.csi = places.plugin();
        Ok(places)
    }

    /// The path of the CSI socket in kubelet's file system.
    fn plugin(&self) -> PathBuf {
        self.kubelet_root.join("plugins").join(&self.driver).join("csi.sock")
    }

    fn changed(mut self, args: &DoctorArgs) -> Self {
        let is_at_plugin = self.csi == self.plugin();
        if let Some(driver) = &args.driver_name {
            self.driver.clone_from(driver);
        }
        if let Some(root) = &args.kubelet_root {
            self.kubelet_root.clone_from(root);
            self.registration_dir = root.join("plugins_registry");
        }
        if is_at_plugin {
            self.csi = self.plugin();
        }
        let set = |place: &mut PathBuf, typed: &Option<PathBuf>| {
            if let Some(typed) = typed {
                place.clone_from(typed);
            }
        };
        set(&mut self.csi, &args.csi_endpoint);
        set(&mut self.state_dir, &args.state_dir);
        set(&mut self.admin_dir, &args.admin_dir);
        if !args.providers_dir.is_empty() {
            self.provider_dirs.clone_from(&args.providers_dir);
        }
        if !args.sync_namespaces.is_empty() {
            self.sync = Some(args.sync_namespaces.clone());
        }
        self.mounter = args.mounter.clone().or(self.mounter);
        self.kubeconfig = args.kubeconfig.clone().or(self.kubeconfig);
        self
    }
}

/// The paths in the options of the `secretfs node` that runs here.
fn running(proc: &Path) -> Option<Places> {
    host::commands(proc).into_iter().find_map(|(pid, command)| {
        let mut places = node(&command)?.places();
        places.told_to = Some(pid);
        let root = proc.join(pid.to_string()).join("root");
        if is_elsewhere(proc, pid) {
            let fixed = [&mut places.state_dir, &mut places.admin_dir].into_iter();
            for place in fixed.chain(&mut places.mounter).chain(&mut places.chain) {
                *place = root.join(place.strip_prefix("/").unwrap_or(place));
            }
        }
        Some(places)
    })
}

fn node(command: &[OsString]) -> Option<NodeArgs> {
    let program = Path::new(command.first()?).file_name()?;
    (program == "secretfs").then(|| Cli::try_parse_from(command).ok()?.node())?
}

/// Whether the process has a mount namespace of its own, as in a container.
fn is_elsewhere(proc: &Path, pid: u32) -> bool {
    let of = |process: PathBuf| std::fs::read_link(process.join("ns/mnt")).ok();
    let theirs = of(proc.join(pid.to_string()));
    theirs.is_some() && theirs != of("/proc/self".into())
}
