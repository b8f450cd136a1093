//! Classes by name, wherever they are kept.
//!
//! Who needs a class asks [`Classes`], which answers from memory. Here is the one that reads files, [`WatchedClasses`];
//! the one that asks an API server is in the crate `kubernetes`. Neither knows of the volumes that use a class.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod regular;
mod scan;
mod watched;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use manifest::Class;
use tokio::sync::watch;

pub use scan::Problem;
pub use watched::{Watch, WatchedClasses};

/// A class by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ClassName {
    /// Its namespace.
    pub namespace: String,
    /// Its `metadata.name`.
    pub name: String,
}

impl From<&Class> for ClassName {
    fn from(class: &Class) -> Self {
        Self { namespace: class.namespace.clone(), name: class.name.clone() }
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Why there is no class to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No class has that name.
    #[error("SecretProviderClass {0} does not exist")]
    NotFound(ClassName),
    /// There is one, but it could never work as written. The text says what is wrong with it.
    #[error("{0}")]
    Invalid(String),
    /// Nobody knows yet: where classes are kept could not be asked. The text says why.
    #[error("{0}")]
    NotYet(String),
}

/// Where classes are kept. Answers from memory: a lookup waits for no file and no server.
#[async_trait]
pub trait Classes: fmt::Debug + Send + Sync {
    /// The class of that name, as it is now.
    ///
    /// # Errors
    ///
    /// There is no such class, it could never work as written, or it is not known yet.
    async fn get(&self, name: &ClassName) -> Result<Arc<Class>, Error>;

    /// Counts up whenever some class changed, came or went.
    fn changes(&self) -> watch::Receiver<u64>;
}
