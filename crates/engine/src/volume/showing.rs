//! What a volume shows, for whoever asks without waiting for its task.

use std::sync::Arc;

use tokio::sync::watch;

use crate::snapshot::Snapshot;

/// The snapshot that a volume shows, for its task, for the one after it and for who makes something else of its files.
#[derive(Debug, Clone)]
pub(super) struct Showing(watch::Sender<Arc<Snapshot>>);

impl Showing {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self(watch::Sender::new(Arc::new(snapshot)))
    }

    /// It is shown from now on.
    pub(super) fn set(&self, snapshot: &Arc<Snapshot>) {
        drop(self.0.send_replace(Arc::clone(snapshot)));
    }

    /// What is shown.
    pub(super) fn get(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.borrow())
    }
}
