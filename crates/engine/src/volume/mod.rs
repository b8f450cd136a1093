//! Published volumes: the node's table of who is served what.

mod about;
pub mod access;
pub mod admission;
mod adoption;
mod call;
pub mod content;
mod credentials;
pub mod demand;
mod expiry;
mod extent;
mod first;
pub mod freshness;
pub mod known;
mod on_open;
pub mod once;
pub mod pace;
pub mod parts;
pub mod reader;
pub mod record;
pub mod refusals;
mod remains;
pub mod report;
pub mod revocations;
pub mod room;
pub mod served;
mod showing;
mod site;
pub mod status;
pub mod store_health;
pub mod stores;
mod subpath;
mod table;
pub mod tenancy;
mod trees;
mod upkeep;

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;

pub use credentials::Credentials;
pub use table::{RefreshOutcome, Volumes};

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use class::ClassName;
use provider::{ErrorKind, Workload};

use crate::mode::{self, Appearance, Cause};
use crate::subject::Subject;
use crate::unfinished::Unfinished;

/// Identifies one published volume on this node; kubelet makes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct VolumeId(pub String);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A valid wish for a volume. It is kept as long as the volume and told of, so it is without the [`Credentials`] that
/// come with it.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Which volume.
    pub id: VolumeId,
    /// Where to mount it.
    pub target: PathBuf,
    /// What it shows.
    pub class: ClassName,
    /// For whom.
    pub subject: Subject,
    /// The pod author's own volume attributes, without `secretProviderClass` and kubelet's.
    pub attributes: BTreeMap<String, String>,
    /// Owner and label of its files.
    pub appearance: Appearance,
    /// How long the caller waits.
    pub timeout: Duration,
}

impl Publish {
    /// Whom the store is to judge, with what came to prove it.
    fn workload(&self, credentials: Credentials) -> Workload {
        let Subject { identity, pod } = self.subject.clone();
        let Credentials { tokens, named } = credentials;
        Workload { identity, pod, volume: self.id.0.clone(), tokens, credentials: named }
    }
}

/// What a publish came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The volume was mounted by this call.
    Mounted,
    /// It was mounted before, and has the new tokens.
    Already,
}

/// Why a volume was not published or unpublished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume attributes or the class could never work as written.
    #[error("{0}")]
    Invalid(String),

    /// The class does not exist. People and their tools know the first words from the upstream driver.
    #[error(
        "failed to get secretproviderclass {0}: not found; create it in the pod's namespace, \
         or correct secretProviderClass in the pod's volume"
    )]
    ClassNotFound(ClassName),

    /// Whether there is such a class is not known yet.
    #[error("{0}; the call will be repeated")]
    ClassNotYet(String),

    /// Kubelet hands over no token for the audience that the class needs.
    #[error(
        "no service account token of the pod for audience {0:?} came with the call; add it to tokenRequests of the CSIDriver object"
    )]
    NoToken(String),

    /// Another call holds this volume.
    #[error("volume {0} is busy with another call")]
    Busy(VolumeId),

    /// The volume is published, but not like this.
    #[error("volume {id} is already published {how}")]
    Published {
        /// Which.
        id: VolumeId,
        /// What differs.
        how: String,
        /// Whether it is the target path that differs.
        elsewhere: bool,
    },

    /// No such volume is published.
    #[error("volume {0} is not published{1}")]
    NotPublished(VolumeId, String),

    /// The store did not give the secrets.
    #[error("provider {provider}: {source}")]
    Provider {
        /// The provider's name.
        provider: String,
        /// What the provider said.
        source: provider::Error,
    },

    /// The store did not answer in time.
    #[error("provider {provider} did not answer within {:.0} s: {waiting_for}", waited.as_secs_f32())]
    Deadline {
        /// The provider's name.
        provider: String,
        /// How long we waited.
        waited: Duration,
        /// What had not come yet.
        waiting_for: String,
    },

    /// The set is larger than the volume may be.
    #[error("{0}")]
    TooLarge(Cause),

    /// The process is stopping.
    #[error("secretfs is stopping; the call will be repeated")]
    Stopping,

    /// The call broke off: what it left is found by the next.
    #[error("the call did not come to its end; it will be repeated")]
    Unfinished,

    /// It cannot be shown: the kernel refused, or what is there is not what should be.
    #[error("{0}")]
    Mount(Cause),

    /// The mounter could not be asked, or did not answer: what became of the mount is not known.
    #[error("{0}")]
    MounterAway(Cause),

    /// The same of a volume that another driver mounted, which stays mounted.
    #[error("{0}; what is mounted there stays as it is")]
    NotTakenOver(Box<Self>),
}

impl Error {
    /// What the store's answer means, where a store is the cause.
    pub fn provider_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Provider { source, .. } => Some(source.kind()),
            Self::NotTakenOver(error) => error.provider_kind(),
            _ => None,
        }
    }
}

impl From<mode::Error> for Error {
    fn from(error: mode::Error) -> Self {
        match error {
            mode::Error::TooLarge(cause) => Self::TooLarge(cause),
            mode::Error::MounterAway(cause) => Self::MounterAway(cause),
            mode::Error::Failed(cause)
            | mode::Error::Refused(cause)
            | mode::Error::Missing(cause)
            | mode::Error::TooLate(cause)
            | mode::Error::Unread(cause) => Self::Mount(cause),
        }
    }
}

impl From<mounter::Error> for Error {
    fn from(error: mounter::Error) -> Self {
        mode::Error::from(error).into()
    }
}

impl From<class::Error> for Error {
    fn from(error: class::Error) -> Self {
        match error {
            class::Error::NotFound(name) => Self::ClassNotFound(name),
            class::Error::Invalid(reason) => Self::Invalid(reason),
            class::Error::NotYet(reason) => Self::ClassNotYet(reason),
        }
    }
}

/// Runs system calls where they hold up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let failed = |error| mounter::Error {
        action: "run system calls for",
        target: PathBuf::from("a volume"),
        source: io::Error::other(Unfinished::from(error)),
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
