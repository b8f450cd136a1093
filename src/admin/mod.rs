//! The interface of a running process for people and machines: HTTP for machines, sockets for probes and for the admin.
//! All that this module knows of volumes is the trait [`Admin`].

pub mod client;
pub mod http;
mod line;
mod peers;
pub mod probe;
pub mod socket;
mod status;

#[cfg(test)]
pub(crate) use status::samples;
pub use status::{ObjectState, ObjectStatus, OpenedStatus, VolumeStatus, WaitingStatus};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Requests of an admin about the volumes of a running process.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Every volume, in the order of their ids.
    async fn status(&self) -> Vec<VolumeStatus>;

    /// Every volume that was asked for lately and is not mounted, in the order of their ids.
    async fn waiting(&self) -> Vec<WaitingStatus>;

    /// Reads the values of `which` from their stores now, and waits until the volumes show them. Objects that a read
    /// creates (certificates, leased logins) are created again. The answer of a store counts at once, without a second
    /// answer that confirms it.
    async fn refresh(&self, which: &Which) -> Vec<Refreshed>;

    /// Reads again which secrets are revoked on this host, and waits until the volumes follow that. Returns the volumes
    /// that lost files by it.
    ///
    /// # Errors
    ///
    /// It cannot be read or trusted, for this reason. What was revoked before stays so.
    async fn revoked(&self) -> Result<Vec<Revoked>, String>;

    /// Somebody orders a refresh of `which`: for the audit trail.
    fn refresh_ordered(&self, _which: &Which, _by: Asker) {}
}

/// The process that asks, as the kernel vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Its user.
    pub uid: u32,
    /// Its id; 0 if it is in another pid namespace.
    pub pid: u32,
}

/// Which volumes a request is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// All volumes of the process.
    All,
    /// The volume with this id.
    Volume(String),
    /// The volumes of one class.
    Class {
        /// Namespace of the class.
        namespace: String,
        /// Name of the class.
        name: String,
    },
}

/// The result of the refresh of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// Id of the volume, as kubelet or `mount` gave it.
    pub volume: String,
    /// Where it is mounted.
    pub target: String,
    /// Paths that show a new value, or that do not exist any more.
    pub changed: Vec<String>,
    /// Why some files do not show what the store has now.
    pub error: Option<String>,
}

/// What orders to revoke took from one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Id of the volume, as kubelet or `mount` gave it.
    pub volume: String,
    /// Where it is mounted.
    pub target: String,
    /// Paths of the files that were taken back.
    pub withdrawn: Vec<String>,
    /// Why some of them are still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A request: one line to the admin socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Report every volume.
    Status,
    /// Report every volume that is not mounted.
    Waiting,
    /// Read these volumes from their stores now, and answer when they show the result.
    Refresh(Which),
    /// Read again what is revoked on this host, and answer when the volumes follow it.
    Revocations,
}

/// One line from the admin socket. An answer is any number of `Volume`, `Waiting` or `Refreshed` lines, then `End` or
/// `Error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// A volume that is mounted.
    Volume(Box<VolumeStatus>),
    /// A volume that is not mounted.
    Waiting(WaitingStatus),
    /// A volume that was refreshed.
    Refreshed(Refreshed),
    /// A volume that lost files.
    Revoked(Revoked),
    /// The answer is complete.
    End,
    /// The request was not understood, or took too long.
    Error(String),
}
