//! What a running process reports, and what it can be asked to do: by machines over HTTP, by probes and the admin over
//! sockets. The [`Admin`] trait is all that it knows of volumes.

pub mod client;
pub mod http;
mod line;
mod peers;
pub mod probe;
pub mod socket;
mod status;

#[cfg(test)]
pub(crate) use status::samples;
pub use status::{ObjectState, ObjectStatus, VolumeStatus, WaitingStatus};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// What an admin may ask of the volumes of a running process.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Every volume, in the order of their ids.
    async fn status(&self) -> Vec<VolumeStatus>;

    /// Every volume that was asked for lately and is not mounted, in the order of their ids.
    async fn waiting(&self) -> Vec<WaitingStatus>;

    /// Asks the stores again, now, for what `which` shows, and waits until the volumes show it.
    /// Objects that reading creates (certificates, leased logins) are created again.
    /// What the stores say is taken for an ordered answer: it is not confirmed by a second one.
    async fn refresh(&self, which: &Which) -> Vec<Refreshed>;
}

/// Which volumes are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// All of the process.
    All,
    /// The one of that id.
    Volume(String),
    /// Those of one class.
    Class {
        /// Namespace of the class.
        namespace: String,
        /// Name of the class.
        name: String,
    },
}

/// What came of refreshing one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// Id of the volume, as kubelet or `mount` gave it.
    pub volume: String,
    /// Where it is mounted.
    pub target: String,
    /// Paths that show something new, or nothing any more.
    pub changed: Vec<String>,
    /// Why not everything is as the store has it now.
    pub error: Option<String>,
}

/// One line to the admin socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Tell of every volume.
    Status,
    /// Tell of every volume that is not mounted.
    Waiting,
    /// Ask the stores of these volumes now, and answer when they show the result.
    Refresh(Which),
}

/// One line from the admin socket. An answer is any number of `Volume`, `Waiting` or `Refreshed`, then `End` or `Error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// A volume that is mounted.
    Volume(Box<VolumeStatus>),
    /// A volume that is not mounted.
    Waiting(WaitingStatus),
    /// A volume that was refreshed.
    Refreshed(Refreshed),
    /// The answer is complete.
    End,
    /// The request was not understood, or took too long.
    Error(String),
}
