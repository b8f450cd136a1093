//! The tokens and credentials that come with a volume: apart from the wish for it, in one place, the newest alone.

use std::collections::BTreeMap;

use provider::{Identity, SecretBytes, Workload};
use tokio::sync::watch;

/// What comes with a volume to prove who asks. Wiped with its last holder.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Bound service account tokens by audience, as kubelet handed them over.
    pub tokens: BTreeMap<String, SecretBytes>,
    /// Credentials that are not the pod's token, by key: `nodePublishSecretRef`'s, or those of `--credential KEY=FILE`.
    pub named: BTreeMap<String, SecretBytes>,
}

/// A volume's workload with the newest tokens and credentials, for its task and for the one after it.
///
/// Nobody else holds them while nothing is read, but for a login that goes on using them by itself and is handed the
/// newer ones. These take the place of those before, which are wiped then, or with the reading that is under way.
#[derive(Debug, Clone)]
pub(super) struct Newest(watch::Sender<Workload>);

impl Newest {
    pub(super) fn new(workload: Workload) -> Self {
        Self(watch::Sender::new(workload))
    }

    /// Puts newer ones in place of those that are held. Who listens is told.
    pub(super) fn set(&self, workload: Workload) {
        drop(self.0.send_replace(workload));
    }

    /// Tells when there are newer ones than now.
    pub(super) fn listen(&self) -> watch::Receiver<Workload> {
        self.0.subscribe()
    }

    /// The workload, for the length of one reading.
    pub(super) fn get(&self) -> Workload {
        self.0.borrow().clone()
    }

    /// Whom the newest tokens tell.
    pub(super) fn identity(&self) -> Identity {
        self.0.borrow().identity.clone()
    }

    /// Whether there are any.
    pub(super) fn has_credentials(&self) -> bool {
        self.0.borrow().has_credentials()
    }
}
