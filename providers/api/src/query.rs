use crate::{Reading, Request};

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

impl From<Request> for Query {
    fn from(request: Request) -> Self {
        Self { request, held: None }
    }
}
