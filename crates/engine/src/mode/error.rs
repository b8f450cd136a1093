//! Errors of all modes.

/// The cause of an error, in the words of the mode.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a mode could not show a volume as it should. The variants are the same for every mode, because callers handle
/// them in the same way. The cause is the mode's own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files are larger than the volume may be.
    #[error("{0}")]
    TooLarge(Cause),

    /// The mounter could not be reached or did not answer, so the state of the mount is unknown.
    #[error("{0}")]
    MounterAway(Cause),

    /// The system refuses, or something unexpected is at the target.
    #[error("{0}")]
    Failed(Cause),

    /// The caller may not have the file that it opens, by the access rules or because the store refused: `EACCES`.
    #[error("{0}")]
    Refused(Cause),

    /// The opened file does not exist any more: `ENOENT`.
    #[error("{0}")]
    Missing(Cause),

    /// The contents of an opened file did not come in time: `ETIMEDOUT`.
    #[error("{0}")]
    TooLate(Cause),

    /// The contents of an opened file could not be read for another reason: `EIO`.
    #[error("{0}")]
    Unread(Cause),
}

impl Error {
    /// Whether the files are larger than their volume may be.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge(_))
    }
}

impl From<mounter::Error> for Error {
    fn from(error: mounter::Error) -> Self {
        match error {
            error if error.is_mounter_away() => Self::MounterAway(error.into()),
            error if error.is_too_large() => Self::TooLarge(error.into()),
            error => Self::Failed(error.into()),
        }
    }
}
