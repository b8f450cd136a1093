//! Published volumes: which pod is served which class, and how each volume stays up to date.

mod about;
pub mod access;
pub mod admission;
mod adoption;
pub mod boundary;
mod call;
pub mod content;
pub mod coverage;
mod covered;
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
pub mod requested;
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
use provider::{ErrorKind, Workload, for_current_tenant};

use crate::mode::{self, Appearance, Cause};
use crate::subject::Subject;
use crate::unfinished::Unfinished;

/// Identifies one published volume on this node. kubelet chooses the id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct VolumeId(pub String);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A valid request for a volume. It lives as long as the volume and is shown to people, so it does not contain the
/// [`Credentials`] that came with it.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The volume that is requested.
    pub id: VolumeId,
    /// The path where it is to be mounted.
    pub target: PathBuf,
    /// The class whose objects it shows.
    pub class: ClassName,
    /// The service account and the pod that it is for.
    pub subject: Subject,
    /// The pod author's own volume attributes, without `secretProviderClass` and kubelet's.
    pub attributes: BTreeMap<String, String>,
    /// Owner, group and SELinux label of its files.
    pub appearance: Appearance,
    /// How long the caller waits for the answer.
    pub timeout: Duration,
}

impl Publish {
    /// The workload that the store judges, with the credentials that prove its identity.
    fn workload(&self, credentials: Credentials) -> Workload {
        let Subject { identity, pod } = self.subject.clone();
        let Credentials { tokens, named } = credentials;
        Workload { identity, pod, volume: self.id.0.clone(), tokens, credentials: named }
    }

    /// How its files look, and whose share of what modes keep they take.
    fn appearance_of_tenant(&self) -> Appearance {
        Appearance { tenant: self.subject.identity.namespace.clone(), ..self.appearance.clone() }
    }
}

/// The result of a successful publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// This call mounted the volume.
    Mounted,
    /// The volume was mounted before. It has the new tokens now.
    Already,
}

/// Why a volume was not published or unpublished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume attributes or the class are wrong, and no retry will help.
    #[error("{0}")]
    Invalid(String),

    /// The class does not exist. The upstream driver's message begins with the same words, and people's tools look for
    /// them.
    #[error(
        "failed to get secretproviderclass {0}: not found; create it in the pod's namespace, \
         or correct secretProviderClass in the pod's volume"
    )]
    ClassNotFound(ClassName),

    /// It is not known yet whether the class exists.
    #[error("{0}; the call will be repeated")]
    ClassNotYet(String),

    /// kubelet passed no token for the audience that the class needs.
    #[error(
        "no service account token of the pod for audience {0:?} came with the call; add it to tokenRequests of the CSIDriver object"
    )]
    NoToken(String),

    /// Another call is working on this volume.
    #[error("volume {0} is busy with another call")]
    Busy(VolumeId),

    /// The volume is published, but in another way than this call asks for.
    #[error("volume {id} is already published {how}")]
    Published {
        /// The volume.
        id: VolumeId,
        /// What differs, for people.
        how: String,
        /// Whether the target path differs.
        elsewhere: bool,
    },

    /// No such volume is published at this path. The second text says where it is, if it is published elsewhere.
    #[error("volume {0} is not published{1}")]
    NotPublished(VolumeId, String),

    /// The store did not give the secrets.
    #[error("provider {provider}: {source}")]
    Provider {
        /// The provider's name.
        provider: String,
        /// The provider's error.
        source: provider::Error,
    },

    /// The store did not answer in time.
    #[error("provider {provider} did not answer within {:.0} s: {waiting_for}", waited.as_secs_f32())]
    Deadline {
        /// The provider's name.
        provider: String,
        /// How long the call waited.
        waited: Duration,
        /// What was missing when the time was over.
        waiting_for: String,
    },

    /// The files are larger than the volume may be.
    #[error("{0}")]
    TooLarge(Cause),

    /// The process is stopping.
    #[error("secretfs is stopping; the call will be repeated")]
    Stopping,

    /// The call stopped in the middle. The next call finds what it left.
    #[error("the call stopped before its end; it will be repeated")]
    Unfinished,

    /// The files cannot be shown: the kernel refused, or something unexpected is mounted at the target.
    #[error("{0}")]
    Mount(Cause),

    /// The mounter could not be reached or did not answer, so the state of the mount is unknown.
    #[error("{0}")]
    MounterAway(Cause),

    /// The inner error happened to a volume that another driver had mounted. It stays mounted.
    #[error("{0}; what is mounted there stays as it is")]
    NotTakenOver(Box<Self>),
}

impl Error {
    /// The kind of the store's error, if a store is the cause.
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

/// Runs system calls on a thread where they do not block other tasks, for the tenant of the caller.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let failed = |error| mounter::Error {
        action: "run system calls for",
        target: PathBuf::from("a volume"),
        source: io::Error::other(Unfinished::from(error)),
    };
    tokio::task::spawn_blocking(for_current_tenant(work)).await.map_err(failed)?
}
