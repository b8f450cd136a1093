//! Tells of rollouts: Events on pods, remarks on volumes, the audit trail and the log.

use std::collections::HashMap;
use std::sync::Arc;

use engine::audit::{Actor, Operation, Record, Resource};
use engine::subject::Subject;
use engine::volume::{VolumeId, Volumes};
use provider::Identity;

use super::queue::Cause;
use super::workloads::Workload;
use crate::events::{Notice, Reason, Teller};

/// What the remarks on volumes are about that are made here.
const REMARKS: &str = "rollouts";
/// The provider of audit records under which a workload is named, beside the secrets that it is rolled out for.
const WORKLOAD: &str = "workload";

/// Tells of rollouts, and remembers what it told.
pub(super) struct Telling {
    volumes: Arc<Volumes>,
    teller: Teller,
    /// The last refusal that was told of each volume: the same one is told once.
    told: HashMap<VolumeId, String>,
}

impl Telling {
    pub(super) fn new(volumes: Arc<Volumes>, teller: Teller) -> Self {
        Self { volumes, teller, told: HashMap::new() }
    }

    /// A workload is rolled out, because of `causes`.
    pub(super) fn rolled_out(&mut self, causes: &[Cause], namespace: &str, workload: &Workload) {
        for cause in causes {
            self.settled(cause);
            self.audit(&record(&self.actor(cause, namespace), cause, Some((namespace, workload))));
            tracing::info!(volume = %cause.volume, namespace, %workload, objects = ?cause.versions, "rolled out");
            let versions: Vec<_> = cause.versions.keys().map(String::as_str).collect();
            let what = format!("{workload} is rolled out, for new versions of {}", versions.join(", "));
            self.event(cause, namespace, Reason::WorkloadRestarted, &what);
        }
    }

    /// The workload of a volume was rolled out for its versions before: by another node, or for another pod.
    pub(super) fn done_before(&mut self, cause: &Cause) {
        self.settled(cause);
        tracing::info!(volume = %cause.volume, objects = ?cause.versions, "its workload was rolled out for these before");
    }

    /// Nothing is amiss with a volume.
    fn settled(&mut self, cause: &Cause) {
        if self.told.remove(&cause.volume).is_some() {
            self.volumes.remark(&cause.volume, REMARKS, Vec::new());
        }
    }

    /// A workload is not rolled out although a class asks for that. The same refusal of a volume is told once.
    pub(super) fn refused(
        &mut self,
        cause: &Cause,
        namespace: &str,
        workload: Option<&Workload>,
        reason: &str,
    ) {
        if self.told.get(&cause.volume).is_some_and(|told| told == reason) {
            return;
        }
        self.told.insert(cause.volume.clone(), reason.to_owned());
        let named = workload.map(|workload| (namespace, workload));
        self.audit(&record(&self.actor(cause, namespace), cause, named).failed(reason));
        tracing::warn!(volume = %cause.volume, class = %cause.class, reason, "its workload is not rolled out");
        let what = match workload {
            Some(workload) => format!("{workload} is not rolled out: {reason}"),
            None => format!("its workload is not rolled out: {reason}"),
        };
        self.volumes.remark(&cause.volume, REMARKS, vec![what.clone()]);
        self.event(cause, namespace, Reason::FailedToRestartWorkload, &what);
    }

    /// Forgets a volume that is gone.
    pub(super) fn forget(&mut self, volume: &VolumeId) {
        self.told.remove(volume);
    }

    fn event(&self, cause: &Cause, namespace: &str, reason: Reason, what: &str) {
        self.teller.tell(Notice {
            namespace: namespace.to_owned(),
            pod: cause.pod.clone(),
            reason,
            secret: None,
            note: format!("class {}: {what}", cause.class),
        });
    }

    fn audit(&self, record: &Record) {
        self.volumes.parts().reporter.audit().later(record);
    }

    fn actor(&self, cause: &Cause, namespace: &str) -> Actor {
        let account = self.volumes.state(&cause.volume).map(|state| state.service_account);
        let identity = Identity::named(namespace, account.unwrap_or_default());
        Actor::from(&Subject { identity, pod: Some(cause.pod.clone()) })
    }
}

fn record(actor: &Actor, cause: &Cause, workload: Option<(&str, &Workload)>) -> Record {
    let objects = cause
        .versions
        .iter()
        .map(|(name, version)| Resource::new(cause.provider.as_str(), name.as_str()).version(version));
    let workload = workload
        .map(|(namespace, workload)| Resource::new(WORKLOAD, workload.to_string()).namespace(namespace));
    Record::new(Operation::RestartWorkload, actor.clone())
        .class(&cause.class)
        .volume(&cause.volume)
        .resources(workload)
        .resources(objects)
}
