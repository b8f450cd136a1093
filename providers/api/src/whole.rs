use std::sync::Arc;

use async_trait::async_trait;

use crate::{Reading, Request, Result, Session, Site, Source, Workload};

/// A source whose store tells only by its answer which objects there are.
#[async_trait]
pub trait Whole: Send + Sync {
    /// The one request that brings everything.
    fn request(&self) -> &Request;

    /// A session for the volume at `site` alone, which takes the place of [`Source::session`]. The store may put files
    /// into what the site lends instead of answering with them; nothing is lent any more once a reading has ended.
    ///
    /// # Errors
    ///
    /// As [`Source::session`].
    async fn session(&self, workload: &Workload, site: Arc<dyn Site>) -> Result<Arc<dyn Session>>;

    /// A source of the objects that a reading of [`request`](Self::request) holds; each has that request.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is no such reading.
    fn unpack(&self, reading: &Reading) -> Result<Arc<dyn Source>>;
}
