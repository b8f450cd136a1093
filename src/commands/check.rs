//! `secretfs check`: checks manifests offline.

mod helm;
pub(super) mod inputs;
mod report;
mod rules;

use std::path::PathBuf;

use super::output::OutputArgs;
use crate::exit::{Failure, Outcome};
use crate::providers;

pub use inputs::Input;
pub use report::{Finding, Report, Severity};
pub use rules::check;

/// Check manifests offline: classes, and the pods that mount them
///
/// Exits with 0 if there are no errors (warnings do not count, unless --strict is given), 1 if there are, and 2 if
/// a file cannot be read.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// YAML or JSON files, directories of them, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `secretfs check`.
///
/// # Errors
///
/// A manifest has an error, or a file cannot be read.
pub fn run(args: &CheckArgs) -> Outcome {
    let inputs = inputs::read(&args.files).map_err(Failure::usage)?;
    let report = check(&inputs, &providers::offline());
    let report = if args.strict { report.strictly() } else { report };
    args.output.print(&report, Report::text)?;
    if report.errors > 0 { Err(Failure::Told) } else { Ok(()) }
}
