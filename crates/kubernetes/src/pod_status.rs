//! SecretProviderClassPodStatus: what each pod has mounted, for people and for tools of the upstream driver.
//!
//! Needs `create` and `patch` on `secretproviderclasspodstatuses`. Reads nothing back. The content follows from the
//! state of volumes. A write that failed is repeated from that state, so there is no queue of writes.

pub(super) mod object;
pub(super) mod opened;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::volume::report::{Happening, What};
use engine::volume::{VolumeId, Volumes};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use metrics::{Metrics, Telling};
use provider::Moment as _;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use object::{Name, PodStatus};

use crate::backoff::Backoff;
use crate::connection::ANSWER;

/// The field manager of the fields that we write.
const FIELD_MANAGER: &str = "secretfs";
/// How long happenings are gathered before a write, because the pods of one rollout start together.
const GATHER: Duration = Duration::from_millis(100);
/// How often statuses are checked without a happening: a volume that was taken over learns its class without one.
const LOOK: Duration = Duration::from_secs(30);
/// How long the task sleeps if nothing waits.
const IDLE: Duration = Duration::from_secs(3600);

/// Writes the statuses while it runs.
pub struct PodStatuses {
    volumes: Arc<Volumes>,
    client: Client,
    resource: ApiResource,
    node: String,
    /// When this task began.
    since: String,
    /// The statuses that the API server accepted, or refused finally.
    written: BTreeMap<Name, PodStatus>,
    /// Volumes that were unmounted and whose status does not say so yet.
    gone: Vec<VolumeId>,
    backoff: Backoff,
    metrics: Metrics,
}

impl std::fmt::Debug for PodStatuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodStatuses").field("written", &self.written.len()).finish_non_exhaustive()
    }
}

/// Why a write failed.
enum Failure {
    /// The API server would refuse any other status too, or does not answer.
    Away(String),
    /// The API server refuses this status.
    Refused(String),
}

impl PodStatuses {
    /// The task for the statuses of `volumes` on `node`.
    pub fn new(volumes: Arc<Volumes>, client: Client, node: String, metrics: Metrics) -> Self {
        Self {
            volumes,
            client,
            resource: object::resource(),
            node,
            since: jiff::Timestamp::now().to_string(),
            written: BTreeMap::new(),
            gone: Vec::new(),
            backoff: Backoff::default(),
            metrics,
        }
    }

    /// Writes statuses until `stop`. The next process writes what is missing then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut happenings = self.volumes.listen();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = Instant::now().later(IDLE);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                happening = happenings.recv() => if !self.gather(happening, &mut happenings).await {
                    return;
                },
                _ = looks.tick(), if !self.backoff.is_failing() => {}
                () = sleep_until(again) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                pause = self.write() => again = Instant::now().later(pause.unwrap_or(IDLE)),
            }
        }
    }

    /// Notes a happening, and those that follow within a moment. `false` if there will be no more happenings.
    async fn gather(
        &mut self,
        first: Result<Happening, RecvError>,
        happenings: &mut broadcast::Receiver<Happening>,
    ) -> bool {
        let open = !matches!(first, Err(RecvError::Closed));
        self.note(first.ok());
        sleep(GATHER).await;
        while let Ok(happening) = happenings.try_recv() {
            self.note(Some(happening));
        }
        open
    }

    fn note(&mut self, happening: Option<Happening>) {
        match happening {
            Some(Happening { what: What::Unpublished, volume, .. }) => self.gone.push(volume),
            Some(Happening { what: What::Published, volume, .. }) => self.gone.retain(|gone| *gone != volume),
            _ => {}
        }
    }

    /// Writes the statuses that changed. Returns the pause before the next try if the API server did not accept all.
    async fn write(&mut self) -> Option<Duration> {
        let wanted = object::wanted(&self.volumes.states(), &self.since);
        for (name, status) in wanted {
            if self.written.get(&name) != Some(&status) {
                let applied = Patch::Apply(status.manifest(&name, &self.node, &self.resource));
                let outcome = self.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &applied).await;
                if self.took(&name, outcome) {
                    self.written.insert(name, status);
                } else {
                    return Some(self.backoff.failed());
                }
            }
        }
        self.write_gone().await
    }

    /// Writes that unmounted volumes are not mounted any more. The status itself is deleted together with its pod.
    async fn write_gone(&mut self) -> Option<Duration> {
        while let Some(volume) = self.gone.last().cloned() {
            let name = self.written.iter().find(|(_, status)| status.volume == volume);
            if let Some(name) = name.map(|(name, _)| name.clone()) {
                let outcome =
                    self.patch(&name, &PatchParams::default(), &Patch::Merge(object::unmounted())).await;
                if !self.took(&name, outcome) {
                    return Some(self.backoff.failed());
                }
                self.written.remove(&name);
            }
            self.gone.pop();
        }
        None
    }

    async fn patch(
        &self,
        name: &Name,
        parameters: &PatchParams,
        patch: &Patch<Value>,
    ) -> Result<(), Failure> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &name.namespace, &self.resource);
        match timeout(ANSWER, api.patch(&name.name, parameters, patch)).await {
            Ok(Ok(_)) => Ok(()),
            // The status was deleted together with its pod.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && matches!(patch, Patch::Merge(_)) => {
                Ok(())
            }
            Ok(Err(kube::Error::Api(status))) if is_about_this_one(status.code, &status.message) => {
                Err(Failure::Refused(status.message.clone()))
            }
            Ok(Err(error)) => Err(Failure::Away(crate::refusal::told(
                &error,
                "create and patch secretproviderclasspodstatuses",
            ))),
            Err(_) => Err(Failure::Away("it does not answer".to_owned())),
        }
    }

    /// Counts a write, logs a failure, and returns whether to go on with the next status.
    fn took(&mut self, name: &Name, outcome: Result<(), Failure>) -> bool {
        match outcome {
            Ok(()) => {
                self.metrics.pod_status(Telling::Told);
                self.backoff.succeeded();
                true
            }
            Err(Failure::Refused(reason)) => {
                self.metrics.pod_status(Telling::Failed);
                tracing::warn!(%name, reason, "the API server refuses a SecretProviderClassPodStatus");
                true
            }
            Err(Failure::Away(reason)) => {
                self.metrics.pod_status(Telling::Failed);
                if !self.backoff.is_failing() {
                    tracing::warn!(reason, "the API server takes no SecretProviderClassPodStatus");
                }
                false
            }
        }
    }
}

/// Whether a refusal is about this object only, so that the API server may accept others.
fn is_about_this_one(code: u16, message: &str) -> bool {
    match code {
        404 => message.contains("namespaces"),
        403 => message.contains("being terminated"),
        408 | 429 => false,
        _ => (400..500).contains(&code),
    }
}

#[cfg(test)]
mod tests;
