//! The closed sets that labels are taken from.

use provider::ErrorKind;

/// Providers that are told apart, beside those with a variant of their own.
const KNOWN: [&str; 7] = ["akeyless", "aws", "azure", "conjur", "e2e-provider", "gcp", "infisical"];

/// Which kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// HashiCorp Vault and OpenBao.
    Vault,
    /// The embedded store.
    Secretfs,
    /// Native Secrets.
    Kubernetes,
    /// An external provider that many clusters use.
    Known(&'static str),
    /// Any other external provider, so that labels stay few.
    Other,
}

impl Provider {
    /// The label of the provider that goes by `name` in classes.
    pub fn of(name: &str) -> Self {
        match name {
            "vault" | "openbao" => Self::Vault,
            "secretfs" => Self::Secretfs,
            "kubernetes" => Self::Kubernetes,
            _ => KNOWN.iter().find(|known| **known == name).map_or(Self::Other, |known| Self::Known(known)),
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Secretfs => "secretfs",
            Self::Kubernetes => "kubernetes",
            Self::Known(name) => name,
            Self::Other => "other",
        }
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
