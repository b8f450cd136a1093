//! What `--on-change` runs.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use engine::volume::report::{Happening, What};
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::MountArgs;

/// How long the command may take.
const ON_CHANGE: Duration = Duration::from_secs(60);

/// Runs the command of `--on-change` after each change, until the process is told to stop.
pub(super) async fn follow(
    args: &MountArgs,
    mut happenings: broadcast::Receiver<Happening>,
    stop: &CancellationToken,
) {
    loop {
        let happening = tokio::select! {
            () = stop.cancelled() => return,
            happening = happenings.recv() => happening,
        };
        let changed = match happening {
            Ok(Happening { what: What::Rotated(rotated), .. }) => rotated.files,
            Ok(Happening { what: What::Withdrawn(withdrawn), .. }) => withdrawn.files,
            Ok(_) => continue,
            // Some events were missed, so something has certainly changed.
            Err(broadcast::error::RecvError::Lagged(_)) => Vec::new(),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let names: Vec<_> = changed.iter().map(ToString::to_string).collect();
        if let Err(error) = run_on_change(args, &names, stop).await {
            tracing::warn!(error = format!("{error:#}"), "--on-change");
        }
    }
}

async fn run_on_change(args: &MountArgs, files: &[String], stop: &CancellationToken) -> anyhow::Result<()> {
    let Some((program, words)) = args.on_change.split_first() else { return Ok(()) };
    let mut child = tokio::process::Command::new(program)
        .args(words)
        .env("SECRETFS_TARGET", &args.target)
        .env("SECRETFS_CHANGED", files.join("\n"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {program}"))?;
    let status = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        status = timeout(ON_CHANGE, child.wait()) => status,
    };
    let status = status.map_err(|_| anyhow!("{program} did not end within {} s", ON_CHANGE.as_secs()))??;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}
