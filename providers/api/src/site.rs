use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::Result;

/// What the node tells and lends to a store that runs on the node itself, for one volume.
#[async_trait]
pub trait Site: fmt::Debug + Send + Sync {
    /// The volume's attributes as a CSI driver gets them, without tokens and without `secretfs.dev/` keys.
    fn attributes(&self) -> BTreeMap<String, String>;

    /// Lends an empty directory in memory. A directory that was lent before is taken back first.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the node has no directory to lend. Then nothing is lent.
    async fn lend(&self) -> Result<Lent>;

    /// Takes the lent directory back, with everything in it. Does nothing if none is lent.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the directory is still there.
    async fn take_back(&self) -> Result<()>;
}

/// A directory that other processes may write into. Dropping this value does not take the directory back.
#[derive(Debug)]
pub struct Lent {
    /// Its path on the node.
    pub path: PathBuf,
    /// The open directory. While it is open it cannot be taken back at once.
    pub root: OwnedFd,
}
