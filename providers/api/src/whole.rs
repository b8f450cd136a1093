use std::sync::Arc;

use async_trait::async_trait;

use crate::{Reading, Request, Result, Session, Site, Source, Workload};

/// A source whose store's answer decides which objects exist.
#[async_trait]
pub trait Whole: Send + Sync {
    /// The one request that reads everything.
    fn request(&self) -> &Request;

    /// A session for the volume at `site` alone. It replaces [`Source::session`]. Instead of answering with files, the
    /// store may write them into the directory that the site lends. When a reading has ended, nothing is lent any more.
    ///
    /// # Errors
    ///
    /// As [`Source::session`].
    async fn session(&self, workload: &Workload, site: Arc<dyn Site>) -> Result<Arc<dyn Session>>;

    /// A source of the objects in a reading of [`request`](Self::request). Each of them has that request.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is not such a reading.
    fn unpack(&self, reading: &Reading) -> Result<Arc<dyn Source>>;
}
