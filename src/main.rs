//! Reads the command line, runs one command, turns its outcome into an exit code.

use std::process::ExitCode;

use secretfs::commands::Cli;

/// Wipes every buffer that any library gives back, so that secrets do not outlive their use.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    Cli::run_typed()
}
