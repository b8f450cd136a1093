//! The exit codes, the same for every command.
//!
//! | code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | tried and failed, or the answer is no; the reason is on standard error |
//! | 2 | wrong command line: nothing was tried |

use std::fmt;
use std::process::ExitCode;

use program::outlet;
use program::visible::visible;

/// The result of a command.
pub type Outcome = Result<(), Failure>;

/// Why a command did not do what it was asked to do.
#[derive(Debug)]
pub enum Failure {
    /// It was tried and failed. Exit code 1.
    Failed(anyhow::Error),
    /// The command line can never work. Exit code 2, as for options that do not exist.
    Usage(anyhow::Error),
    /// It failed and has already printed why. Exit code 1.
    Told,
}

impl Failure {
    /// The command line can never work. `reason` says why, and what to write instead.
    pub fn usage(reason: impl fmt::Display) -> Self {
        Self::Usage(anyhow::anyhow!("{reason}"))
    }

    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Told => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    /// The reason with all its causes, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) | Self::Usage(error) => write!(f, "{error:#}"),
            Self::Told => f.write_str("it failed and said so"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Prints a failure on standard error and returns the exit code of the process.
pub fn exit(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    match &failure {
        Failure::Failed(error) | Failure::Usage(error) => tell(&told(error)),
        Failure::Told => {}
    }
    ExitCode::from(failure.code())
}

fn tell(reason: &str) {
    outlet::complain(&format!("secretfs: {}\n", visible(reason)));
}

/// The error and its causes on one line. A cause is left out if the error before it has already stated it.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        before if before.contains(&cause) => told,
        before => format!("{before}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("admin socket: {source}")]
    struct Telling {
        source: io::Error,
    }

    #[test]
    fn each_cause_is_told_once() {
        let telling = Telling { source: io::Error::other("reset") };
        let error = anyhow::Error::from(telling).context("status");

        assert_eq!(told(&error), "status: admin socket: reset");
    }

    #[test]
    fn a_failure_is_1_and_a_mistyped_command_2() {
        assert_eq!(Failure::from(std::io::Error::other("no")).code(), 1);
        assert_eq!(Failure::Told.code(), 1);
        assert_eq!(Failure::usage("give a VOLUME or --all").code(), 2);
    }
}
