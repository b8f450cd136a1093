//! Why a volume is not shown as it should be, in whatever mode.

/// What happened, in the mode's own words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a volume is not shown as it should be: what that means is the same in every mode, what happened is the mode's
/// own to say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The set is larger than the volume may be.
    #[error("{0}")]
    TooLarge(Cause),

    /// Who makes mounts could not be asked, or did not answer: what became of the volume is not known.
    #[error("{0}")]
    MounterAway(Cause),

    /// The system refuses, or what is there is not what should be.
    #[error("{0}")]
    Failed(Cause),

    /// Who opens a file may not have it, by the class or by the word of its store: `EACCES`.
    #[error("{0}")]
    Refused(Cause),

    /// There is no such file, now that it is opened: `ENOENT`.
    #[error("{0}")]
    Missing(Cause),

    /// What an opened file holds did not come in time: `ETIMEDOUT`.
    #[error("{0}")]
    TooLate(Cause),

    /// What an opened file holds could not be had: `EIO`.
    #[error("{0}")]
    Unread(Cause),
}

impl Error {
    /// Whether a set of files is larger than its volume may be.
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
