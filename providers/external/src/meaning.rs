//! What a failure of an external provider means.

use provider::{Error, ErrorKind};
use tonic::{Code, Status};

/// The most bytes of a provider's own words that a message repeats.
const MAX_WORDS: usize = 2048;

/// The error for a call to `provider` that ended with `status`.
pub(crate) fn failure(provider: &str, status: &Status) -> Error {
    let kind = kind(status.code());
    let words = shortened(status.message());
    let error =
        Error::new(kind, format!("external provider {provider} answered {:?}: {words}", status.code()));
    match status.code() {
        Code::OutOfRange => error
            .remedy("if its answer is too large, read less in one class, or raise --max-call-recv-msg-size"),
        Code::Unimplemented => error.remedy("does it speak v1alpha1 of the provider protocol?"),
        _ => error,
    }
}

/// Most providers answer `Unknown` to everything that fails. That says nothing about the secret, so no file is removed
/// because of it.
fn kind(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented | Code::AlreadyExists => {
            ErrorKind::Invalid
        }
        Code::NotFound => ErrorKind::NotFound,
        Code::PermissionDenied => ErrorKind::Denied,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => ErrorKind::Unavailable,
    }
}

/// The provider's words, shortened, without characters that a log or a terminal would interpret.
pub(crate) fn shortened(words: &str) -> String {
    let end = words.floor_char_boundary(MAX_WORDS);
    words.get(..end).unwrap_or_default().replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_kind_of_the_table() {
        for (code, expected) in [
            (Code::InvalidArgument, ErrorKind::Invalid),
            (Code::OutOfRange, ErrorKind::Invalid),
            (Code::Unimplemented, ErrorKind::Invalid),
            (Code::AlreadyExists, ErrorKind::Invalid),
            (Code::NotFound, ErrorKind::NotFound),
            (Code::PermissionDenied, ErrorKind::Denied),
            (Code::Unauthenticated, ErrorKind::Unauthenticated),
            (Code::Unknown, ErrorKind::Unavailable),
            (Code::Unavailable, ErrorKind::Unavailable),
            (Code::DeadlineExceeded, ErrorKind::Unavailable),
            (Code::ResourceExhausted, ErrorKind::Unavailable),
            (Code::FailedPrecondition, ErrorKind::Unavailable),
            (Code::Internal, ErrorKind::Unavailable),
        ] {
            let error = failure("azure", &Status::new(code, "it said\nso"));
            assert_eq!(error.kind(), expected, "{code:?}");
            let text = error.to_string();
            assert!(text.contains("azure") && text.contains("it said so"), "{text}");
        }
    }
}
