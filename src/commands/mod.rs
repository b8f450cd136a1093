//! The commands of the binary: one module each, arguments and `run`.

use std::process::ExitCode;

/// Secrets as files: mounted, kept fresh, taken back.
#[derive(Debug, clap::Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {}

impl Cli {
    /// Runs the command that was typed. 0: done; 1: it failed, and said so; 2: it was typed wrong.
    pub fn run(self) -> ExitCode {
        match self.command {}
    }
}
