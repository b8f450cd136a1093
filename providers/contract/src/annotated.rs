use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use provider::{Accounts, Error, ErrorKind, Identity, Result};

/// A cluster whose service accounts have annotations, by the account's name; one that says nothing is away.
#[derive(Debug, Default)]
pub struct Annotated {
    accounts: Mutex<BTreeMap<String, String>>,
    asked: AtomicUsize,
}

impl Annotated {
    /// A cluster where the service account `name` has `text` in the annotation that it is asked for.
    pub fn with(name: &str, text: &str) -> Self {
        let annotated = Self::default();
        annotated.write(name, text);
        annotated
    }

    /// Changes an annotation. An empty text removes it.
    pub fn write(&self, name: &str, text: &str) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.insert(name.to_owned(), text.to_owned());
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Accounts for Annotated {
    async fn annotation(&self, of: &Identity, _name: &'static str) -> Result<Option<String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let away = || Error::new(ErrorKind::Unavailable, "the API server is away").unasked();
        accounts.get(&of.name).cloned().map(Some).ok_or_else(away)
    }
}
