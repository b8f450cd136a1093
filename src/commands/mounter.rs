//! `secretfs mounter`: does the same as the program `secretfs-mounter`, under its earlier name.

use std::path::PathBuf;

use mounter::{DRIVER, PODS, SOCKET};
use secretfs_mounter::{Process, Settings};

use crate::exit::Outcome;

/// Mount for a `secretfs node` in another process, and keep its sockets and sealed notes over its restarts
///
/// The program `secretfs-mounter` does the same, and is smaller.
#[derive(Debug, clap::Args)]
pub struct MounterArgs {
    /// Where to listen
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,

    /// Mount below this directory only: kubelet's `pods`
    #[arg(long, value_name = "DIR", default_value = PODS)]
    pods: PathBuf,

    /// Serve this CSI driver alone: the name that `secretfs node` goes by. It mounts where kubelet says
    /// that the volume is this driver's, in the file vol_data.json beside it, and takes away nothing else
    #[arg(long, value_name = "NAME", default_value = DRIVER)]
    driver_name: String,

    /// CSI socket to make, and no other; by default KUBELET_ROOT/plugins/DRIVER/csi.sock, beside the directory of --pods
    #[arg(long, value_name = "PATH", value_parser = mounter::endpoint)]
    csi_endpoint: Option<PathBuf>,

    /// Kubelet's directory of registration sockets, to make the driver's in; by default KUBELET_ROOT/plugins_registry
    #[arg(long, value_name = "DIR")]
    registration_dir: Option<PathBuf>,

    /// As earlier versions had it: make the same sockets also below this directory; may be given again
    #[arg(long = "sockets", value_name = "DIR")]
    sockets: Vec<PathBuf>,

    /// Connect to providers that listen in this directory, for a `secretfs node` that may not; may be given again
    #[arg(long = "providers-dir", value_name = "DIR")]
    providers: Vec<PathBuf>,

    /// Serve processes of this user as well as root's; may be given again
    #[arg(long = "allow-uid", value_name = "UID")]
    uids: Vec<u32>,

    /// Mount even where the kernel (before 6.4) cannot keep secrets out of swap and swap is on
    #[arg(long)]
    allow_swap: bool,
}

impl From<MounterArgs> for Settings {
    fn from(args: MounterArgs) -> Self {
        let MounterArgs {
            socket,
            pods,
            driver_name,
            csi_endpoint,
            registration_dir,
            sockets,
            providers,
            uids,
            allow_swap,
        } = args;
        Self {
            socket,
            pods,
            driver_name,
            csi_endpoint,
            registry: registration_dir,
            sockets,
            providers,
            uids,
            allow_swap,
        }
    }
}

impl MounterArgs {
    /// Makes this process one that mounts and does nothing else: to be called while there is one thread.
    ///
    /// # Errors
    ///
    /// The kernel refuses, which it has no reason to.
    pub fn begin(&self) -> std::io::Result<Process> {
        Process::begin(&self.uids)
    }
}

/// Serves until SIGTERM or SIGINT. From the command line, `begun` was made before logging started.
///
/// # Errors
///
/// It cannot listen, or its socket was removed.
pub fn run(args: MounterArgs, begun: Option<Process>) -> Outcome {
    let process = begun.map_or_else(|| args.begin(), Ok)?;
    Ok(process.serve(&args.into())?)
}
