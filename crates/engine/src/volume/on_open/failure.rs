//! Why a process that opens a file does not get its contents.

use std::time::Duration;

use provider::ErrorKind;

use crate::mode;
use crate::volume::Error;
use crate::volume::report::is_denial;

/// Why a process that opens a file does not get its contents. All processes that wait for one reading get the same
/// failure.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    /// The caller may not open the file.
    #[error("{0}")]
    NotAllowed(String),

    /// The class lists no such file.
    #[error("the class lists no such file")]
    NotListed,

    /// The store cannot be asked: the class is unknown or wrong, or kubelet sent no token for it.
    #[error("{0}")]
    Unasked(String),

    /// The store did not return the object, or could not be asked without a token.
    #[error("provider {provider}: {source}")]
    Store {
        /// The provider that the class names.
        provider: String,
        /// The provider's error.
        source: provider::Error,
    },

    /// The answer did not come in time.
    #[error("it did not come within {:.0} s: {waiting_for}", waited.as_secs_f32())]
    Late {
        /// What was still missing.
        waiting_for: String,
        /// How long the caller waited.
        waited: Duration,
    },

    /// The store has no such object, and the class allows that.
    #[error("the store has none, and the class says that it may be missing")]
    NothingThere,

    /// The object has a lease, which would end together with the reading.
    #[error("it hangs on a lease, which would end before its user does; write secretfs.dev/fetch: eager")]
    Leased,

    /// Too many callers wait for files of this volume, its namespace or this node.
    #[error("too many callers wait for files of this volume, its namespace or this node; try again")]
    Crowded,

    /// The opened files already hold as many bytes as they may.
    #[error(
        "there is no room for it: opened files of this volume, its namespace or this node hold as much as they may"
    )]
    NoRoom,

    /// What was read became invalid while it was read.
    #[error("it was taken back while it was read")]
    Overtaken,

    /// The volume is being unpublished.
    #[error("the volume is being taken away")]
    Gone,

    /// The reading stopped because of a fault in secretfs.
    #[error(
        "the reading stopped before its end, which is a fault of secretfs; please report it with the log"
    )]
    Unfinished,
}

impl Failure {
    /// Whether the access rules or the store decided that the caller, or its volume, may not have the file.
    pub(super) fn is_denial(&self) -> bool {
        match self {
            Self::NotAllowed(_) => true,
            Self::Store { source, .. } => is_denial(source.kind()),
            _ => false,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Provider { provider, source } => Self::Store { provider, source },
            Error::Deadline { waited, waiting_for, .. } => Self::Late { waiting_for, waited },
            other => Self::Unasked(other.to_string()),
        }
    }
}

impl From<Failure> for mode::Error {
    fn from(failure: Failure) -> Self {
        let kind: fn(mode::Cause) -> Self = match &failure {
            Failure::NotAllowed(_) => Self::Refused,
            Failure::Store { source, .. } => match source.kind() {
                kind if is_denial(kind) => Self::Refused,
                ErrorKind::NotFound | ErrorKind::Revoked => Self::Missing,
                _ => Self::Unread,
            },
            Failure::NotListed | Failure::NothingThere | Failure::Gone => Self::Missing,
            Failure::Late { .. } => Self::TooLate,
            Failure::NoRoom => Self::TooLarge,
            Failure::Unasked(_)
            | Failure::Leased
            | Failure::Crowded
            | Failure::Overtaken
            | Failure::Unfinished => Self::Unread,
        };
        kind(failure.into())
    }
}
