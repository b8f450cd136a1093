use std::fmt;
use std::time::Duration;

use crate::Span;

/// Longest wait that a store's word brings about, whatever it asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Result of a provider call.
pub type Result<T> = std::result::Result<T, Error>;

/// What a store's answer means to the caller: a closed set, safe as a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The request could never succeed as written.
    Invalid,
    /// The store has no such object. Not its word that it took one away: that is [`Revoked`](Self::Revoked).
    NotFound,
    /// The store's positive word that the object was taken back: deleted, disabled, destroyed.
    Revoked,
    /// The store knows the workload and refuses it.
    Denied,
    /// The store does not accept the workload's identity.
    Unauthenticated,
    /// The store was not asked: the token or credential that it would judge is not there. That is no word of the
    /// store's, and nothing is taken back for it.
    NoCredential,
    /// The store is away, slow, shedding load or not making sense.
    Unavailable,
}

/// Why a store did not give a secret.
///
/// The message names the object, what the store said and as whom it was asked;
/// it reaches Events, logs and gRPC status texts, so it holds no value and no token.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    remedy: Option<String>,
    retry_after: Option<Duration>,
    unasked: bool,
}

impl Error {
    /// An error that says what happened.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None, retry_after: None, unasked: false }
    }

    /// The same, saying also what the reader can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same, with how long the store asked us to wait; of more than ten minutes, ten minutes are kept.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Span>) -> Self {
        self.retry_after = wait.map(|wait| wait.get().min(LONGEST_WAIT));
        self
    }

    /// The same, saying that the store was not asked at all.
    #[must_use]
    pub fn unasked(mut self) -> Self {
        self.unasked = true;
        self
    }

    /// The same, with the object's name before the message.
    #[must_use]
    pub fn of(mut self, object: impl fmt::Display) -> Self {
        self.message = format!("object {object}: {}", self.message);
        self
    }

    /// What the answer means.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, without what can be done about it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the store was not asked at all.
    pub fn is_unasked(&self) -> bool {
        self.unasked
    }

    /// How long the store asked us to wait, where it said. Ten minutes at most.
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
