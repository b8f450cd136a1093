//! `secretfs mounter`: the privileged verbs, for a `secretfs node` that has no privileges.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::node::DRIVER;
use crate::confinement;
use crate::csi;
use crate::exit::Outcome;
use crate::hygiene;
use crate::mounter::{Driver, LocalMounter, Roots, Server};
use crate::systemd;
use crate::unfinished::Unfinished;

/// Where the mounter listens unless told otherwise.
pub const SOCKET: &str = "/run/secretfs/mounter.sock";

/// Mount for a `secretfs node` in another process, and keep its sockets and sealed notes over its restarts
#[derive(Debug, clap::Args)]
pub struct MounterArgs {
    /// Where to listen
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,

    /// Mount below this directory only: kubelet's `pods`
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet/pods")]
    pods: PathBuf,

    /// Serve this CSI driver alone: the name that `secretfs node` goes by. It mounts where kubelet says
    /// that the volume is this driver's, in the file vol_data.json beside it, and takes away nothing else
    #[arg(long, value_name = "NAME", default_value = DRIVER)]
    driver_name: String,

    /// CSI socket to make, and no other; by default KUBELET_ROOT/plugins/DRIVER/csi.sock, beside the directory of --pods
    #[arg(long, value_name = "PATH", value_parser = super::socket_path)]
    csi_endpoint: Option<PathBuf>,

    /// Kubelet's directory of registration sockets, to make the driver's in; by default KUBELET_ROOT/plugins_registry
    #[arg(long, value_name = "DIR")]
    registration_dir: Option<PathBuf>,

    /// As earlier versions had it: make the same sockets also below this directory; may be given again
    #[arg(long = "sockets", value_name = "DIR")]
    sockets: Vec<PathBuf>,

    /// Serve processes of this user as well as root's; may be given again
    #[arg(long = "allow-uid", value_name = "UID")]
    uids: Vec<u32>,

    /// Mount even where the kernel (before 6.4) cannot keep secrets out of swap and swap is on
    #[arg(long)]
    allow_swap: bool,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// It cannot listen, or loses its socket.
pub async fn run(args: MounterArgs) -> Outcome {
    hygiene::seal().context("keep this process's memory to itself")?;
    let server = bind(&args)?;
    confinement::filter_calls()?;
    tracing::info!(
        socket = %args.socket.display(), pods = %args.pods.display(), driver = args.driver_name, "the mounter serves"
    );
    systemd::ready();
    hygiene::settle();
    serve(server).await?;
    tracing::info!("the mounter has stopped");
    Ok(())
}

fn bind(args: &MounterArgs) -> anyhow::Result<Server> {
    if let Some(directory) = args.socket.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let driver = Driver { name: args.driver_name.clone(), sockets: sockets(args)? };
    let roots = Roots { pods: Some(args.pods.clone()), driver: Some(driver), ..Roots::default() };
    let mounter = LocalMounter::new(roots).allow_swap(args.allow_swap);
    let uids: BTreeSet<u32> = args.uids.iter().copied().collect();
    Ok(Server::bind(&args.socket, mounter, uids)?)
}

/// What `secretfs node` listens at: the CSI socket, and the driver's registration socket of this boot.
fn sockets(args: &MounterArgs) -> anyhow::Result<Vec<PathBuf>> {
    let boot_id = fs::read_to_string(csi::BOOT_ID).context("the boot id")?;
    let registration = csi::registration_socket(&args.driver_name, &boot_id);
    let kubelet = args.pods.parent().unwrap_or(&args.pods);
    let plugin = |directory: &Path| directory.join(&args.driver_name).join("csi.sock");
    let endpoint = args.csi_endpoint.clone().unwrap_or_else(|| plugin(&kubelet.join("plugins")));
    let registry = args.registration_dir.clone().unwrap_or_else(|| kubelet.join("plugins_registry"));
    let earlier = args
        .sockets
        .iter()
        .flat_map(|directory| [directory.join("csi.sock"), plugin(directory), directory.join(&registration)]);
    Ok([endpoint, registry.join(&registration)].into_iter().chain(earlier).collect())
}

async fn serve(server: Server) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, running) = UnixStream::pair()?;
    let stop = OwnedFd::from(stop);
    let mut serving = tokio::task::spawn_blocking(move || server.run(stop.as_fd()));
    tokio::select! {
        ended = &mut serving => return Ok(ended.map_err(Unfinished::from)??),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(running);
    Ok(serving.await.map_err(Unfinished::from)??)
}
