//! Turns our errors into gRPC codes. No other module does.

use engine::volume;
use metrics::ErrorType;
use program::visible::visible;
use provider::ErrorKind;
use tonic::{Code, Status};

use super::request::Refusal;

/// The longest message, in bytes. Kubelet cuts an Event at 1 KiB; logs take more.
const MAX_MESSAGE: usize = 4096;

/// What a caller is told of `error`.
pub(crate) fn status_of(error: &volume::Error) -> Status {
    Status::new(code(error), bounded(error.to_string()))
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Invalid(_) => Code::InvalidArgument,
            Refusal::NoPodInfo(_) => Code::FailedPrecondition,
        };
        Self::new(code, bounded(refusal.to_string()))
    }
}

/// Why a publish failed.
#[derive(Debug)]
pub(super) enum Refused {
    /// The request breaks a rule.
    Request(Refusal),
    /// The publish was tried. The text is the pod's `namespace/name`.
    Volume(volume::Error, String),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Request(refusal)
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Request(refusal) => refusal.into(),
            Refused::Volume(error, pod) if is_of_store(&error) => {
                // Users of the upstream driver search for these words in the events of a pod.
                let told = format!("failed to mount secrets store objects for pod {pod}: {error}");
                Self::new(code(&error), bounded(told))
            }
            Refused::Volume(error, _) => status_of(&error),
        }
    }
}

impl Refused {
    /// The type of the failure, as the upstream driver counts it.
    pub(super) fn error_type(&self) -> ErrorType {
        use volume::Error as E;
        match self {
            Self::Volume(E::ClassNotFound(_) | E::ClassNotYet(_), _) => {
                ErrorType::SecretProviderClassNotFound
            }
            Self::Volume(error, _) if is_of_store(error) => ErrorType::GrpcProviderError,
            Self::Volume(E::TooLarge(_) | E::Mount(_) | E::MounterAway(_), _) => ErrorType::FileWriteError,
            Self::Volume(..) | Self::Request(_) => ErrorType::FailedToMount,
        }
    }
}

/// Whether the store failed, and not secretfs.
fn is_of_store(error: &volume::Error) -> bool {
    matches!(error, volume::Error::Provider { .. } | volume::Error::Deadline { .. })
}

/// The code that kubelet should get.
///
/// Kubelet takes most codes as *final*: nothing is mounted, and it never calls `NodeUnpublishVolume` for the volume.
/// The others are `Unavailable`, `DeadlineExceeded`, `ResourceExhausted`, `Aborted` and `Canceled`: something may be
/// mounted, so kubelet repeats the call, or unpublishes when the pod goes. A republish of a served volume is answered
/// with `Ok` or `Busy`, and never with a final code.
fn code(error: &volume::Error) -> Code {
    use volume::Error as E;
    match error {
        E::Invalid(_) => Code::InvalidArgument,
        E::ClassNotFound(_) | E::NotPublished(..) => Code::NotFound,
        E::NoToken(_) | E::Published { elsewhere: true, .. } => Code::FailedPrecondition,
        E::Published { elsewhere: false, .. } => Code::AlreadyExists,
        E::Busy(_) => Code::Aborted,
        E::Deadline { .. } => Code::DeadlineExceeded,
        E::TooLarge(_) => Code::ResourceExhausted,
        E::ClassNotYet(_) | E::Stopping | E::Unfinished | E::NotTakenOver(_) | E::MounterAway(_) => {
            Code::Unavailable
        }
        E::Mount(_) => Code::Internal,
        E::Provider { source, .. } => store_code(source.kind()),
    }
}

fn store_code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        // For a volume that was never served, a revoked object and a missing one are the same.
        ErrorKind::NotFound | ErrorKind::Revoked => Code::NotFound,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Unauthenticated | ErrorKind::NoCredential => Code::Unauthenticated,
        ErrorKind::Unavailable => Code::Unavailable,
    }
}

/// The metric label for the outcome of a call.
pub(super) fn label<T>(outcome: &Result<T, Status>) -> metrics::Code {
    use metrics::Code as Label;
    match outcome.as_ref().map_or_else(Status::code, |_| Code::Ok) {
        Code::Ok => Label::Ok,
        Code::InvalidArgument => Label::InvalidArgument,
        Code::NotFound => Label::NotFound,
        Code::AlreadyExists => Label::AlreadyExists,
        Code::PermissionDenied => Label::PermissionDenied,
        Code::Unauthenticated => Label::Unauthenticated,
        Code::ResourceExhausted => Label::ResourceExhausted,
        Code::FailedPrecondition => Label::FailedPrecondition,
        Code::Aborted => Label::Aborted,
        Code::DeadlineExceeded => Label::DeadlineExceeded,
        Code::Unavailable => Label::Unavailable,
        // This module returns none of these codes.
        Code::Internal
        | Code::Cancelled
        | Code::Unknown
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => Label::Internal,
    }
}

/// The message on one line, cut to [`MAX_MESSAGE`].
fn bounded(message: impl AsRef<str>) -> String {
    let mut message = visible(message.as_ref()).into_owned();
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE - "…".len()));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::time::Duration;

    use class::ClassName;
    use volume::{Error, VolumeId};

    use super::*;
    use mounter::Mounter as _;

    fn store(kind: ErrorKind) -> Error {
        Error::Provider { provider: "vault".to_owned(), source: provider::Error::new(kind, "it said so") }
    }

    fn published(elsewhere: bool) -> Error {
        Error::Published { id: id(), how: "otherwise".to_owned(), elsewhere }
    }

    fn id() -> VolumeId {
        VolumeId("csi-1".to_owned())
    }

    fn kernel(kind: io::ErrorKind) -> Error {
        mounter::Error { action: "mount", target: PathBuf::from("/target"), source: kind.into() }.into()
    }

    /// The error of a call while no mounter listens, after five seconds of waiting.
    fn mounter_away() -> Error {
        let socket = tempfile::tempdir().unwrap().path().join("mounter.sock");
        mounter::RemoteMounter::new(socket).kept().unwrap_err().into()
    }

    fn deadline() -> Error {
        Error::Deadline {
            provider: "vault".to_owned(),
            waited: Duration::from_secs(30),
            waiting_for: "db/password".to_owned(),
        }
    }

    #[test]
    fn every_failure_has_the_code_of_the_table() {
        let class = ClassName { namespace: "shop".to_owned(), name: "web".to_owned() };
        for (error, expected) in [
            (Error::Invalid("bad".to_owned()), Code::InvalidArgument),
            (Error::ClassNotFound(class), Code::NotFound),
            (Error::ClassNotYet("away".to_owned()), Code::Unavailable),
            (Error::NoToken("vault".to_owned()), Code::FailedPrecondition),
            (Error::Busy(id()), Code::Aborted),
            (published(true), Code::FailedPrecondition),
            (published(false), Code::AlreadyExists),
            (Error::NotPublished(id(), String::new()), Code::NotFound),
            (store(ErrorKind::Invalid), Code::InvalidArgument),
            (store(ErrorKind::NotFound), Code::NotFound),
            (store(ErrorKind::Revoked), Code::NotFound),
            (store(ErrorKind::Denied), Code::PermissionDenied),
            (store(ErrorKind::Unauthenticated), Code::Unauthenticated),
            (store(ErrorKind::NoCredential), Code::Unauthenticated),
            (store(ErrorKind::Unavailable), Code::Unavailable),
            (deadline(), Code::DeadlineExceeded),
            (kernel(io::ErrorKind::FileTooLarge), Code::ResourceExhausted),
            (Error::Stopping, Code::Unavailable),
            (Error::NotTakenOver(Box::new(store(ErrorKind::Denied))), Code::Unavailable),
            (Error::Unfinished, Code::Unavailable),
            (mounter_away(), Code::Unavailable),
            (kernel(io::ErrorKind::StorageFull), Code::ResourceExhausted),
            (kernel(io::ErrorKind::PermissionDenied), Code::Internal),
            (kernel(io::ErrorKind::Other), Code::Internal),
        ] {
            let (text, status) = (error.to_string(), status_of(&error));
            assert_eq!(status.code(), expected, "{text}");
            assert_eq!(status.message(), text);
            assert!(status.details().is_empty(), "the specification wants no details");
        }
    }

    #[test]
    fn a_missing_class_is_told_in_words_that_the_upstream_drivers_users_search_for() {
        let class = ClassName { namespace: "shop".to_owned(), name: "web".to_owned() };
        let status = status_of(&Error::ClassNotFound(class));
        assert!(
            status.message().starts_with("failed to get secretproviderclass shop/web: not found; create it")
        );
    }

    #[test]
    fn what_a_store_did_not_give_is_told_with_the_pod_in_the_upstream_drivers_words() {
        let status = Status::from(Refused::Volume(store(ErrorKind::Denied), "shop/web".to_owned()));
        let words = "failed to mount secrets store objects for pod shop/web: provider ";
        assert!(status.message().starts_with(words), "{}", status.message());
        assert_eq!(status.code(), Code::PermissionDenied);

        let other = Refused::Volume(Error::Stopping, "shop/web".to_owned());
        assert_eq!(Status::from(other).message(), Error::Stopping.to_string());
    }

    #[test]
    fn a_request_that_breaks_a_rule_is_invalid_and_one_without_pod_info_waits_for_the_admin() {
        assert_eq!(Status::from(Refusal::Invalid("x".to_owned())).code(), Code::InvalidArgument);
        assert_eq!(Status::from(Refusal::NoPodInfo("x".to_owned())).code(), Code::FailedPrecondition);
    }

    #[test]
    fn a_missing_token_names_what_the_admin_has_to_change() {
        let status = status_of(&Error::NoToken("vault".to_owned()));
        assert!(status.message().contains("tokenRequests") && status.message().contains("vault"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = status_of(&Error::Invalid("é".repeat(4000)));
        assert!(status.message().len() <= MAX_MESSAGE && status.message().ends_with("é…"));
    }
}
