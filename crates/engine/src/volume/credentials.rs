//! The tokens and credentials of a volume. They are kept in one place, separate from the request for the volume, and
//! only the newest ones are kept.

use std::collections::BTreeMap;

use provider::{Identity, SecretBytes, Workload};
use tokio::sync::watch;

/// What comes with a publish to prove the identity of the workload. Wiped when the last holder drops it.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Bound service account tokens by audience, as kubelet passed them.
    pub tokens: BTreeMap<String, SecretBytes>,
    /// Credentials that are not the pod's token, by key: from `nodePublishSecretRef`, or from `--credential KEY=FILE`.
    pub named: BTreeMap<String, SecretBytes>,
}

/// A volume's workload with its newest tokens and credentials. The volume's task uses it, and so does the task that
/// replaces it.
///
/// Between readings nobody else holds the tokens, except logins that go on using them in the background. Newer tokens
/// replace the old ones and are passed on to such logins. The old ones are wiped at once, or when the reading that uses
/// them ends.
#[derive(Debug, Clone)]
pub(super) struct Newest(watch::Sender<Workload>);

impl Newest {
    pub(super) fn new(workload: Workload) -> Self {
        Self(watch::Sender::new(workload))
    }

    /// Replaces the tokens and credentials by newer ones, and notifies the receivers of [`listen`](Self::listen).
    pub(super) fn set(&self, workload: Workload) {
        drop(self.0.send_replace(workload));
    }

    /// A receiver that is notified when there are newer ones.
    pub(super) fn listen(&self) -> watch::Receiver<Workload> {
        self.0.subscribe()
    }

    /// The workload. Callers hold it for one reading only.
    pub(super) fn get(&self) -> Workload {
        self.0.borrow().clone()
    }

    /// The identity that the newest tokens name.
    pub(super) fn identity(&self) -> Identity {
        self.0.borrow().identity.clone()
    }

    /// Whether there are any tokens or credentials.
    pub(super) fn has_credentials(&self) -> bool {
        self.0.borrow().has_credentials()
    }
}
