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

/// The program `secretfs-mounter`. Its page has the name that the page of `secretfs mounter` would have, and takes its
/// place: both have the same options.
fn mounter() -> clap::Command {
    const PROGRAM: &str = "secretfs-mounter";
    let mut all = Cli::command();
    all.build();
    let command = all.find_subcommand("mounter").cloned().unwrap_or_default();
    command.name(PROGRAM).bin_name(PROGRAM).display_name(PROGRAM).version(env!("CARGO_PKG_VERSION")).long_about(
        "Mounts for a `secretfs node` in another process, and keeps its sockets and sealed notes over its restarts.\n\n\
         It takes `node`, which speaks to stores and strangers, for hostile. So it acts on targets and sockets of one \
         CSI driver alone, and gives up all capabilities and system calls that mounting does not take. It never sees \
         a secret. It needs root, ends at SIGTERM or SIGINT, and leaves every mount in place.\n\n\
         `secretfs mounter` does the same, with the same options.",
    )
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
        clap_mangen::generate_to(mounter(), directory)?;
        clap_mangen::generate_to(KubectlCli::command().name("kubectl-secretfs"), directory)
    });
    written.with_context(|| format!("write man pages into {}", directory.display()))?;
    Ok(())
}
