//! `secretfs healthz`, for kubelet's exec probes.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::output::print;
use crate::admin::probe::{self, Question};
use crate::exit::Outcome;

/// Ask a running `secretfs node` whether it lives or is ready: for exec probes
///
/// Exit code 0 means yes. 1 means no, and the reason is printed. It asks over a socket in the node's state directory,
/// which no pod can reach. `/livez` and `/readyz` of the HTTP address say the same.
#[derive(Debug, clap::Args)]
pub struct HealthzArgs {
    /// The question: does it live, or is it ready?
    #[arg(default_value = "live")]
    question: Question,

    /// The node's health socket: `health.sock` in its state directory
    #[arg(
        long,
        env = "SECRETFS_HEALTH_SOCKET",
        default_value = "/run/secretfs/health.sock",
        value_name = "PATH"
    )]
    socket: PathBuf,
}

/// Runs `secretfs healthz`.
///
/// # Errors
///
/// The answer is no, or there is no answer within four seconds.
pub async fn run(args: HealthzArgs) -> Outcome {
    let answer = probe::ask(&args.socket, args.question)
        .await
        .with_context(|| format!("no secretfs node answers at {}", args.socket.display()))?;
    if answer.yes { Ok(print(&format!("{}\n", answer.told))?) } else { Err(anyhow!(answer.told).into()) }
}
