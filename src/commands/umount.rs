//! `secretfs umount`: unmounts what `secretfs mount` left or still serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use engine::audit::{Actor, Audit, Destination, Operation, Record};
use engine::volume::record::{self, Records};
use mounter::MountId;
use provider::Moment as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};

use super::output::print;
use super::running::SocketArgs;
use crate::admin::{client, socket};
use crate::directories;
use crate::exit::{Failure, Outcome};
use crate::host::{self, Left, NotOwned, Owner};

/// How long a process may take to unmount after it was told to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);
/// How long a process of an earlier version may take to answer. Only its socket identifies it.
const ANSWER: Duration = Duration::from_secs(2);

/// Unmount what `secretfs mount` mounted, and end the process that serves it
///
/// Unmounts only the mount that secretfs made, and nothing that others mounted at TARGET, over it or
/// below it. It does not wait for a process that is stopped or hangs.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct UmountArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// State directory of the mount, if `secretfs mount` was given one
    #[arg(long, env = "SECRETFS_STATE_DIR", default_value_os_t = directories::state(), value_name = "DIR")]
    state_dir: PathBuf,
    #[command(flatten)]
    socket: SocketArgs,
    /// Append an audit record to this file, or to standard output (`-`), beside that of the process which is ended
    #[arg(long, env = "SECRETFS_AUDIT_LOG", value_name = "FILE")]
    audit_log: Vec<Destination>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// Where it is mounted
    target: Option<PathBuf>,
    /// Everything that secretfs mounted on this host, except volumes of pods
    #[arg(long)]
    all: bool,
}

/// A mount to remove.
#[derive(Debug)]
struct Mounted {
    target: PathBuf,
    mount: MountId,
    /// The directory with everything that survives the process.
    state: PathBuf,
}

/// Runs `secretfs umount`.
///
/// # Errors
///
/// No mount of secretfs is there, it belongs to a pod, something hides it, or the kernel refuses.
pub async fn run(args: UmountArgs) -> Outcome {
    directories::trust(&args.state_dir).map_err(anyhow::Error::from)?;
    directories::trust(&args.socket.socket).map_err(anyhow::Error::from)?;
    let audit = Audit::to(args.audit_log.iter().cloned()).context("the audit log")?;
    let found = match &args.which.target {
        Some(target) => vec![one(target, &args.state_dir)],
        None => all(&args.state_dir)?,
    };
    let mut failure = Ok(());
    for mounted in found {
        let unmounted = match mounted {
            Ok(mounted) => {
                let unmounted = unmount(&mounted, &args.socket).await;
                audit.record(&told(&mounted.target, &unmounted));
                unmounted.map(|()| mounted.target)
            }
            Err(error) => Err(error),
        };
        match unmounted {
            Ok(target) => print(&format!("unmounted {}\n", target.display()))?,
            Err(error) => failure = failure.and(Err(error)),
        }
    }
    failure
}

fn told(target: &Path, unmounted: &Outcome) -> Record {
    let record = Record::new(Operation::Umount, Actor::person()).volume(target.display());
    match unmounted {
        Ok(()) => record,
        Err(failure) => record.failed(failure),
    }
}

/// The mounts at all of our targets. Mounts of others that have our name are skipped.
fn all(state: &Path) -> Result<Vec<Result<Mounted, Failure>>, Failure> {
    let mut targets = mounter::mounted().context("the mount table")?;
    targets.retain(|target| !is_pods(target));
    targets.sort_unstable();
    targets.dedup();
    let found = targets.iter().map(|target| find(target, state));
    Ok(found.filter_map(Result::transpose).collect())
}

fn one(target: &Path, state: &Path) -> Result<Mounted, Failure> {
    let target = host::resolve(target).with_context(|| target.display().to_string())?;
    if is_pods(&target) {
        return Err(Failure::usage(format!(
            "{} is a pod's volume, which kubelet takes away; delete the pod instead",
            target.display()
        )));
    }
    let not_ours = || anyhow!("nothing of secretfs is mounted at {}", target.display()).context("umount");
    find(&target, state)?.ok_or_else(|| not_ours().into())
}

fn find(target: &Path, state: &Path) -> Result<Option<Mounted>, Failure> {
    let state = host::state_of(state, target);
    let left = Left::of(&state).filter(|left| left.record.target == target);
    if let Some(mount) =
        left.map(|left| left.mount).map_or_else(|| mounter::ours_at(target), |mount| Ok(Some(mount)))?
    {
        return Ok(Some(Mounted { target: target.to_owned(), mount, state }));
    }
    host::none_hidden(target, &state)?;
    Ok(None)
}

/// Whether kubelet made the target.
fn is_pods(target: &Path) -> bool {
    target.components().any(|component| component.as_os_str() == "kubernetes.io~csi")
}

async fn unmount(mounted: &Mounted, sockets: &SocketArgs) -> Outcome {
    // Held until the end, so that no process mounts there meanwhile.
    let _owner = match Owner::hold(&mounted.state) {
        Ok(owner) => {
            if let Some(process) = earlier_server(&mounted.target, sockets).await {
                end(process, mounted).await?;
            }
            Some(owner)
        }
        Err(NotOwned::Taken(process)) => {
            if let Some(process) = process {
                end(process, mounted).await?;
            }
            None
        }
        Err(NotOwned::Io(error)) => {
            return Err(error).with_context(|| mounted.state.display().to_string())?;
        }
    };
    host::mounter().unmount(&mounted.target, &mounted.mount)?;
    forget(mounted)
}

/// Makes the process that serves a mount end and unmount. If it does not, the error says so after a short wait.
async fn end(process: Pid, mounted: &Mounted) -> Outcome {
    // The process may have ended by itself meanwhile.
    let _ = kill_process(process, Signal::TERM);
    let deadline = Instant::now().later(PATIENCE);
    while MountId::at(&mounted.target)?.as_ref() == Some(&mounted.mount) {
        if answers_no_more(process) || Instant::now() > deadline {
            let target = mounted.target.display();
            tracing::warn!(mounted_at = %target, %process, "its process does not answer, so this one unmounts it");
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether the process has ended, or is stopped (`T` in proc_pid_stat(5)). A stopped process answers only when somebody
/// continues it.
fn answers_no_more(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(") ").next().is_some_and(|state| state.starts_with(['T', 'Z']))
}

/// The process of an earlier version that serves `target`. Such a process holds no lock.
async fn earlier_server(target: &Path, sockets: &SocketArgs) -> Option<Pid> {
    let socket = sockets.socket.join(format!("{}{}.sock", socket::MOUNT, host::name_of(target)));
    let process = timeout(ANSWER, client::process(&socket)).await;
    process.ok()?.ok()?.and_then(Pid::from_raw)
}

/// Removes the record of a mount that is gone. Its process has ended, or does not answer.
fn forget(mounted: &Mounted) -> Outcome {
    let records = Records::open(&mounted.state)?;
    for record in record::all_of(&mounted.state).iter().filter(|record| record.target == mounted.target) {
        records.remove(&record.id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_volume_is_left_to_kubelet() {
        let pods = Path::new("/var/lib/kubelet/pods/77/volumes/kubernetes.io~csi/secrets/mount");

        let refused = one(pods, Path::new("/run/secretfs"));

        assert!(is_pods(pods));
        assert!(!is_pods(Path::new("/mnt/app")));
        assert!(refused.is_err());
    }
}
