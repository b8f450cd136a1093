use std::fmt;
use std::time::Duration;

use crate::Span;

/// The longest wait that a store can cause, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Result of a provider call.
pub type Result<T> = std::result::Result<T, Error>;

/// What a store's answer means to the caller. The set is closed, so it is safe as a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The request could never succeed as written.
    Invalid,
    /// The store has no such object. If the store says that it removed the object, that is [`Revoked`](Self::Revoked).
    NotFound,
    /// The store says that the object was deleted, disabled or destroyed.
    Revoked,
    /// The store knows the workload and refuses it.
    Denied,
    /// The store does not accept the workload's identity.
    Unauthenticated,
    /// The provider did not ask the store, because the token or credential that the store would check is missing. The
    /// store said nothing, so no file is removed.
    NoCredential,
    /// The store cannot be reached, is slow, sheds load, or gives an answer that makes no sense.
    Unavailable,
}

/// Why a store did not give a secret.
///
/// The message names the object, the identity that asked, and what the store said. It is shown in Events, logs and gRPC
/// status texts, so it never holds a value or a token.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    remedy: Option<String>,
    retry_after: Option<Duration>,
    unasked: bool,
}

impl Error {
    /// An error with a message that says what happened.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None, retry_after: None, unasked: false }
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds how long the store asked us to wait. A wait of more than ten minutes becomes ten minutes.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Span>) -> Self {
        self.retry_after = wait.map(|wait| wait.get().min(LONGEST_WAIT));
        self
    }

    /// Adds that the store was not asked at all.
    #[must_use]
    pub fn unasked(mut self) -> Self {
        self.unasked = true;
        self
    }

    /// Puts the object's name before the message.
    #[must_use]
    pub fn of(mut self, object: impl fmt::Display) -> Self {
        self.message = format!("object {object}: {}", self.message);
        self
    }

    /// What the store's answer means.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, without the remedy.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the store was not asked at all.
    pub fn is_unasked(&self) -> bool {
        self.unasked
    }

    /// How long the store asked us to wait, if it did. At most ten minutes.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
