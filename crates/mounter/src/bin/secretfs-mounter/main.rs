//! The program that mounts for `secretfs node`: reads the command line, serves until it is told to end.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod arguments;
mod log;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use mounter::Process;
use program::outlet;
use program::visible::visible;

use self::arguments::{Arguments, Asked, HELP, Mistyped};

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
    match Asked::of_this_process() {
        Ok(Asked::Help) => print(HELP),
        Ok(Asked::Version) => print(concat!("secretfs-mounter ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Asked::Serve(arguments)) => serve(&arguments),
        Err(mistyped) => refuse(&mistyped),
    }
}

fn serve(arguments: &Arguments) -> ExitCode {
    let outcome = begin(arguments).map_err(|error| error.to_string());
    match outcome.and_then(|process| process.serve(&arguments.settings).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => tell(format_args!("secretfs-mounter: {}\n", visible(&reason)), FAILED),
    }
}

fn begin(arguments: &Arguments) -> io::Result<Process> {
    // First of all: what writes the log is a second thread.
    let process = Process::begin()?;
    log::start(arguments.log_format, arguments.log)?;
    Ok(process)
}

/// Prints an answer. Nobody may be reading any more; the exit code tells all the same.
fn print(answer: &str) -> ExitCode {
    let _ = io::stdout().write_all(answer.as_bytes());
    ExitCode::SUCCESS
}

fn refuse(mistyped: &Mistyped) -> ExitCode {
    let words = format_args!(
        "error: {mistyped}\n\nUsage: secretfs-mounter [OPTIONS]\n\nFor more information, try '--help'.\n"
    );
    tell(words, TYPED_WRONG)
}

fn tell(words: fmt::Arguments<'_>, code: u8) -> ExitCode {
    outlet::complain(&words.to_string());
    ExitCode::from(code)
}

/// Has what was told written before the process ends, also when a panic ends it.
struct LastWords;

impl Drop for LastWords {
    fn drop(&mut self) {
        outlet::flush(outlet::LAST_WORDS);
    }
}
