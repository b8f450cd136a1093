use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::Result;

/// What the node tells of one volume, and lends for it, where the store is served on the node itself.
#[async_trait]
pub trait Site: fmt::Debug + Send + Sync {
    /// The volume's attributes as a CSI driver is sent them, without tokens and without keys of ours.
    fn attributes(&self) -> BTreeMap<String, String>;

    /// Lends an empty directory in memory. What was lent before is taken back.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the node has none to lend; nothing is lent.
    async fn lend(&self) -> Result<Lent>;

    /// Takes back what was lent, with all that is in it. Nothing lent is fine.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it is still there.
    async fn take_back(&self) -> Result<()>;
}

/// A directory that others may write into. It stays lent when this is dropped.
#[derive(Debug)]
pub struct Lent {
    /// Its path on the node.
    pub path: PathBuf,
    /// The directory itself. Held open it cannot be taken back at once.
    pub root: OwnedFd,
}
