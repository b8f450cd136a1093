use crate::{Error, ErrorKind, Reading, Request, Result};

const UNHELD: &str = "the store says that nothing changed of what it has not been asked before";

/// One request of a call, and what is held of it already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What is asked.
    pub request: Request,
    /// [`Reading::version`] of the reading that the caller goes on with if it is [`Found::Unchanged`]; `None` where it
    /// has none.
    pub held: Option<String>,
}

/// What a call brought for one of its requests.
#[derive(Debug, Clone)]
pub enum Found {
    /// A reading.
    New(Reading),
    /// The store vouches that what the caller [holds](Query::held) is what a reading would bring now, and that this
    /// session may still read it.
    Unchanged,
}

impl Found {
    /// The reading, where the caller holds `held` of it.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store says that nothing changed of what the caller has not told that it holds.
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
