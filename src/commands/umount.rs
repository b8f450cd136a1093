//! `secretfs umount`: take away what `secretfs mount` left or still serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use provider::Moment as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::output::print;
use super::running::SocketArgs;
use crate::admin::{client, socket};
use crate::exit::{Failure, Outcome};
use crate::mounter::{self, LocalMounter, Mounter as _};

/// How long a process may take to end its leases and unmount.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Unmount what `secretfs mount` mounted; a process that still serves it is told to end
#[derive(Debug, clap::Args)]
pub struct UmountArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    socket: SocketArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// Where it is mounted
    target: Option<PathBuf>,
    /// Everything that secretfs mounted on this host, but for the volumes of pods
    #[arg(long)]
    all: bool,
}

/// Runs it.
///
/// # Errors
///
/// Nothing of ours is mounted there, it is a pod's, or the kernel refuses.
pub async fn run(args: UmountArgs) -> Outcome {
    let mounted = mounter::mounted().context("the mount table")?;
    let targets = match &args.which.target {
        Some(target) => vec![one(target, &mounted)?],
        None => mounted.into_iter().filter(|target| !is_pods(target)).collect(),
    };
    let mut failure = Ok(());
    for target in targets {
        match unmount(&target, &args.socket).await {
            Ok(()) => print(&format!("unmounted {}\n", target.display()))?,
            Err(error) => failure = failure.and(Err(error)),
        }
    }
    failure
}

fn one(target: &Path, mounted: &[PathBuf]) -> Result<PathBuf, Failure> {
    let target = target.canonicalize().with_context(|| target.display().to_string())?;
    if !mounted.contains(&target) {
        return Err(not_ours(&target));
    }
    if is_pods(&target) {
        return Err(Failure::usage(format!(
            "{} is a pod's volume, which kubelet takes away; delete the pod instead",
            target.display()
        )));
    }
    Ok(target)
}

fn not_ours(target: &Path) -> Failure {
    let told = anyhow::anyhow!("nothing of secretfs is mounted at {}", target.display());
    told.context("umount").into()
}

/// Whether kubelet put it there.
fn is_pods(target: &Path) -> bool {
    target.components().any(|component| component.as_os_str() == "kubernetes.io~csi")
}

async fn unmount(target: &Path, sockets: &SocketArgs) -> Outcome {
    if let Some(process) = server_of(target, sockets).await? {
        // It may have ended by itself in the meantime.
        let _ = kill_process(process, Signal::TERM);
        if is_gone(target).await? {
            return Ok(());
        }
        tracing::warn!(mounted_at = %target.display(), "its process does not unmount it, so this one does");
    }
    let Some(mount) = mounter::ours_at(target)? else { return Err(not_ours(target)) };
    Ok(LocalMounter::default().unmount(target, &mount)?)
}

/// The `secretfs mount` that serves `target`.
async fn server_of(target: &Path, sockets: &SocketArgs) -> Result<Option<Pid>, Failure> {
    for path in sockets.sockets()?.iter().filter(|path| socket::is_of_mount(path)) {
        let Ok(volumes) = client::status(path).await else { continue };
        if volumes.iter().any(|volume| volume.target == target) {
            return Ok(client::process(path).await?.and_then(Pid::from_raw));
        }
    }
    Ok(None)
}

async fn is_gone(target: &Path) -> Result<bool, Failure> {
    let deadline = Instant::now().later(PATIENCE);
    loop {
        if !mounter::mounted().context("the mount table")?.iter().any(|mounted| mounted == target) {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_volume_is_left_to_kubelet() {
        let pods = Path::new("/var/lib/kubelet/pods/77/volumes/kubernetes.io~csi/secrets/mount");

        let refused = one(pods, &[]);

        assert!(is_pods(pods));
        assert!(!is_pods(Path::new("/mnt/app")));
        assert!(refused.is_err());
    }
}
