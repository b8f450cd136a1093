//! Published volumes: the node's table of who is served what.

pub mod freshness;
pub mod store_health;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use provider::{ErrorKind, Workload};

use crate::mode::{Appearance, Usage};
use crate::mounter;

/// Identifies one published volume on this node; kubelet makes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct VolumeId(pub String);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A class by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ClassName {
    /// Its namespace.
    pub namespace: String,
    /// Its `metadata.name`.
    pub name: String,
}

impl fmt::Display for ClassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A valid wish for a volume.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Which volume.
    pub id: VolumeId,
    /// Where to mount it.
    pub target: PathBuf,
    /// What it shows.
    pub class: ClassName,
    /// For whom.
    pub workload: Workload,
    /// The pod author's own volume attributes, without `secretProviderClass` and kubelet's.
    pub attributes: BTreeMap<String, String>,
    /// Owner and label of its files.
    pub appearance: Appearance,
    /// How long the caller waits.
    pub timeout: Duration,
}

/// Why a volume was not published or unpublished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume attributes or the class could never work as written.
    #[error("{0}")]
    Invalid(String),

    /// The class does not exist.
    #[error(
        "SecretProviderClass {0} does not exist; create it, or correct secretProviderClass in the pod's volume"
    )]
    ClassNotFound(ClassName),

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
    #[error("provider {provider} did not answer within {} s: {waiting_for}", waited.as_secs_f32())]
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
    TooLarge(String),

    /// The process is stopping.
    #[error("secretfs is stopping; the call will be repeated")]
    Stopping,

    /// The kernel refused.
    #[error("{0}")]
    Mount(#[from] mounter::Error),
}

impl Error {
    /// What the store's answer means, where a store is the cause.
    pub fn provider_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Provider { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Every volume of this process.
#[derive(Debug)]
pub struct Volumes {}

impl Volumes {
    /// Mounts a volume, or takes the new token of one that is mounted.
    ///
    /// # Errors
    ///
    /// Nothing is mounted that was not before.
    pub async fn publish(&self, publish: Publish) -> Result<(), Error> {
        Err(Error::Busy(publish.id))
    }

    /// Takes a volume away. One that was never heard of is fine.
    ///
    /// # Errors
    ///
    /// `Busy`, or the kernel refuses; calling again is safe.
    pub async fn unpublish(&self, id: &VolumeId, _target: &Path) -> Result<(), Error> {
        Err(Error::Busy(id.clone()))
    }

    /// What the volume published at `path` takes.
    ///
    /// # Errors
    ///
    /// `NotPublished` if it is not published there.
    pub fn usage(&self, id: &VolumeId, _path: &Path) -> Result<Usage, Error> {
        Err(Error::Busy(id.clone()))
    }
}
