//! `secretfs audit verify`.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;
use audit_chain::{Checkpoint, Key, Report, Verifier};
use zeroize::Zeroizing;

use super::{open, small};
use crate::commands::output::OutputArgs;
use crate::exit::{Failure, Outcome};

const KEY_MAX: u64 = 4096;
const CHECKPOINTS_MAX: u64 = 256 << 20;

/// See whether an audit trail is what was written: no record changed, removed or moved
///
/// Exit code 0: nobody changed it. What a crash lost is told and is no change. 1: somebody did, or it cannot be read.
/// Without a checkpoint that was kept elsewhere, it is not seen if the last records were cut off.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The files of the trail, the oldest first
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// File with the key that `secretfs audit init` printed
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// File with checkpoints that was kept elsewhere, such as a log of the node; other lines in it do not matter. May be
    /// given several times
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,

    /// Older files of the trail were deleted on purpose: it may begin with any record
    #[arg(long)]
    begins_later: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &VerifyArgs) -> Outcome {
    let text = Zeroizing::new(small(&args.key, KEY_MAX)?);
    let key = Key::parse(&text).ok_or_else(|| anyhow!("{} holds no verification key", args.key.display()))?;
    let mut known = Vec::new();
    for path in &args.checkpoints {
        known.extend(small(path, CHECKPOINTS_MAX)?.lines().filter_map(Checkpoint::parse));
    }
    let verifier = Verifier::new(key, known, args.begins_later);
    let report = audit_chain::verify(verifier, open(&args.files)?)?;
    args.output.print(&report, |report| told(report, !args.checkpoints.is_empty()))?;
    let has_checkpoint = args.checkpoints.is_empty() || report.checkpoint.is_some();
    if report.is_intact() && has_checkpoint { Ok(()) } else { Err(Failure::Told) }
}

fn told(report: &Report, asked_for_checkpoints: bool) -> String {
    let mut told = match (report.first, report.last) {
        (Some(first), Some(last)) if report.is_intact() => {
            format!("intact: {} records, {first} to {last}\n", report.verified)
        }
        (Some(_), Some(_)) => format!("CHANGED: {} faults\n", report.fault_count),
        _ => "no record of this key's chain is there\n".to_owned(),
    };
    let mut line = |text: String| {
        let _ = writeln!(told, "{text}");
    };
    report.faults.iter().for_each(|fault| line(format!("  {fault}")));
    for gap in &report.gaps {
        line(format!("a crash lost records {} to {} (before line {})", gap.from, gap.to, gap.line));
    }
    match report.checkpoint {
        Some(seq) => line(format!("the newest checkpoint knows record {seq}")),
        None if asked_for_checkpoints => {
            line("NO checkpoint of this chain is in what --checkpoint names".to_owned())
        }
        None => {
            line("no checkpoint was given: if the last records were cut off, that is not seen".to_owned())
        }
    }
    for (count, what) in [
        (report.torn, "lines were cut short by crashes"),
        (report.before, "lines stand before the chain; nothing is known of them"),
        (report.others, "lines are of other chains, and need their own key"),
    ] {
        if count > 0 {
            line(format!("{count} {what}"));
        }
    }
    told
}
