//! What a volume shows, for callers that do not wait for its task.

use std::sync::Arc;

use tokio::sync::watch;

use crate::snapshot::Snapshot;

/// The snapshot that a volume shows. The volume's task sets it, and the task that replaces it; the code that makes
/// Secrets of the files reads it.
#[derive(Debug, Clone)]
pub(super) struct Showing(watch::Sender<Arc<Snapshot>>);

impl Showing {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self(watch::Sender::new(Arc::new(snapshot)))
    }

    /// Records that the volume shows `snapshot` from now on.
    pub(super) fn set(&self, snapshot: &Arc<Snapshot>) {
        drop(self.0.send_replace(Arc::clone(snapshot)));
    }

    /// The snapshot that the volume shows.
    pub(super) fn get(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.borrow())
    }
}
