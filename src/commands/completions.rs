//! `secretfs completions`: prints the completion script for a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::output::print;
use crate::exit::Outcome;

/// Print completions for a shell: source them, or save them where the shell looks for them
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// Name of the shell
    shell: Shell,
}

/// Runs `secretfs completions`.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn run(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "secretfs", &mut script);
    Ok(print(&String::from_utf8(script)?)?)
}
