//! `secretfs mounter`: the privileged verbs, for a `secretfs node` that has no privileges.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Outcome;
use crate::hygiene;
use crate::mounter::{LocalMounter, Roots, Server};
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

    /// Make sockets below this directory; may be given again. Without it, nowhere
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
    tracing::info!(socket = %args.socket.display(), pods = %args.pods.display(), "the mounter serves");
    systemd::ready();
    serve(server).await?;
    tracing::info!("the mounter has stopped");
    Ok(())
}

fn bind(args: &MounterArgs) -> anyhow::Result<Server> {
    if let Some(directory) = args.socket.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let roots = Roots { pods: Some(args.pods.clone()), sockets: args.sockets.clone() };
    let mounter = LocalMounter::new(roots).allow_swap(args.allow_swap);
    let uids: BTreeSet<u32> = args.uids.iter().copied().collect();
    Ok(Server::bind(&args.socket, mounter, uids)?)
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
