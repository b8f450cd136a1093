//! `secretfs man`: man pages, made from the texts of `--help`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::Cli;
use super::kubectl::KubectlCli;
use crate::exit::Outcome;

/// Write the man pages into a directory: one for each command
///
///   secretfs man /usr/local/share/man/man1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ManArgs {
    /// Directory for the pages; it is made if it is missing
    directory: PathBuf,
}

/// Runs `secretfs man`.
///
/// # Errors
///
/// The directory cannot be made or written.
pub fn run(args: &ManArgs) -> Outcome {
    let directory = &args.directory;
    let written = fs::create_dir_all(directory).and_then(|()| {
        clap_mangen::generate_to(Cli::command(), directory)?;
        clap_mangen::generate_to(KubectlCli::command().name("kubectl-secretfs"), directory)
    });
    written.with_context(|| format!("write man pages into {}", directory.display()))?;
    Ok(())
}
