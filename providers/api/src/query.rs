use crate::{Error, ErrorKind, Reading, Request, Result};

const UNHELD: &str = "the store says that nothing changed of what it has not been asked before";

/// One request of a call, and the version that the caller already has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The request.
    pub request: Request,
    /// [`Reading::version`] of the reading that the caller keeps if the answer is [`Found::Unchanged`]; `None` if it
    /// has no reading.
    pub held: Option<String>,
}

/// The answer to one request of a call.
#[derive(Debug, Clone)]
pub enum Found {
    /// A new reading.
    New(Reading),
    /// The store confirms that a new reading would equal what the caller [holds](Query::held), and that this session
    /// may still read it.
    Unchanged,
}

impl Found {
    /// The reading: a new one, or `held`, the one that the caller already has.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store answers "unchanged" to a caller that holds no reading.
    pub fn reading(self, held: Option<&Reading>) -> Result<Reading> {
        let unheld = || Error::new(ErrorKind::Unavailable, UNHELD);
        match self {
            Self::New(reading) => Ok(reading),
            Self::Unchanged => held.cloned().ok_or_else(unheld),
        }
    }
}

impl From<Request> for Query {
    fn from(request: Request) -> Self {
        Self { request, held: None }
    }
}
