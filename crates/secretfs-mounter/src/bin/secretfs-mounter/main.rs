//! The program that mounts for `secretfs node`: reads the command line, serves until it is told to end.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod arguments;

use std::io::{self, Write as _};
use std::process::ExitCode;

use lexopt::Parser;
use program::log::{self, Format};
use program::outlet;
use program::visible::visible;
use secretfs_mounter::{Process, Settings};
use tracing::level_filters::LevelFilter;

use self::arguments::{Asked, HELP, Mistyped};

/// Wipes every buffer that any library gives back: what it keeps for others is sealed, and does not outlive its use.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// It was tried and failed.
const FAILED: u8 = 1;
/// What was typed can never work: nothing was tried.
const TYPED_WRONG: u8 = 2;

fn main() -> ExitCode {
    let _last = LastWords;
    match Asked::read(Parser::from_env(), |name| std::env::var_os(name)) {
        Ok(Asked::Help) => print(HELP),
        Ok(Asked::Version) => print(concat!("secretfs-mounter ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Asked::Serve(settings, format, most)) => match serve(&settings, format, most) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => tell(&format!("secretfs-mounter: {}\n", visible(&error.to_string())), FAILED),
        },
        Err(Mistyped(reason)) => tell(
            &format!(
                "error: {reason}\n\nUsage: secretfs-mounter [OPTIONS]\n\nFor more information, try '--help'.\n"
            ),
            TYPED_WRONG,
        ),
    }
}

fn serve(settings: &Settings, format: Format, most: LevelFilter) -> io::Result<()> {
    // First of all: what writes the log is a second thread.
    let process = Process::begin(&settings.uids)?;
    log::start(format, most)?;
    process.serve(settings)
}

/// Prints an answer. Nobody may be reading any more; the exit code tells all the same.
fn print(answer: &str) -> ExitCode {
    let _ = io::stdout().write_all(answer.as_bytes());
    ExitCode::SUCCESS
}

fn tell(words: &str, code: u8) -> ExitCode {
    outlet::complain(words);
    ExitCode::from(code)
}

/// Has what was told written before the process ends, also when a panic ends it.
struct LastWords;

impl Drop for LastWords {
    fn drop(&mut self) {
        outlet::flush(outlet::LAST_WORDS);
    }
}
