//! The closed sets that labels are taken from.

use prometheus_client::encoding::EncodeLabelSet;
use provider::{Declaration, ErrorKind};

/// Providers from outside that many clusters have. Those that are built in are told apart as well.
const KNOWN: [&str; 8] = ["akeyless", "aws", "azure", "conjur", "e2e-provider", "gcp", "infisical", "vault"];

/// Which kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Provider(&'static str);

impl Provider {
    /// Any other external provider, so that labels stay few.
    pub const OTHER: Self = Self("other");

    pub(super) fn of(name: &str, built_in: &[&'static Declaration]) -> Self {
        let declared = built_in.iter().find(|declaration| declaration.is_called(name));
        let known = || KNOWN.into_iter().find(|known| *known == name);
        declared.map(|declaration| declaration.label()).or_else(known).map_or(Self::OTHER, Self)
    }

    pub(super) fn label(self) -> &'static str {
        self.0
    }
}

/// How a gRPC call ended, in the names of gRPC's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Code {
    Ok,
    InvalidArgument,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    Unauthenticated,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    DeadlineExceeded,
    Unavailable,
    Internal,
}

impl Code {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::Unauthenticated => "unauthenticated",
            Self::ResourceExhausted => "resource_exhausted",
            Self::FailedPrecondition => "failed_precondition",
            Self::Aborted => "aborted",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// What a refresh of a volume came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresh {
    /// Every object is what it was.
    Unchanged,
    /// The volume shows something new.
    Rotated,
    /// The store's answer was an error, of this kind.
    Failed(ErrorKind),
    /// The store's answer could not be shown: too large, or the kernel refused.
    NotShown,
}

impl Refresh {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Rotated => "rotated",
            Self::Failed(kind) => kind_label(kind),
            Self::NotShown => "not_shown",
        }
    }
}

/// Why files were withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Withdrawal {
    /// The store took the object back.
    Revoked,
    /// The store refuses it, and the class says `on-denied: remove`.
    Denied,
    /// The store was away for longer than `max-stale`, and the class says `on-stale: remove`.
    Stale,
}

impl Withdrawal {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Denied => "denied",
            Self::Stale => "stale",
        }
    }
}

pub(super) fn kind_label(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Revoked => "revoked",
        ErrorKind::Denied => "denied",
        ErrorKind::Unauthenticated => "unauthenticated",
        ErrorKind::NoCredential => "no_credential",
        ErrorKind::Unavailable => "unavailable",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByState {
    pub(super) state: &'static str,
}

pub(super) fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
