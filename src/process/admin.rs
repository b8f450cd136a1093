//! The volumes as their admin sees them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::audit::{Actor, Operation, Process, Record};
use engine::volume::coverage::Opened;
use engine::volume::freshness::Condition;
use engine::volume::refusals::Refusal;
use engine::volume::status::{ObjectState, VolumeState};
use engine::volume::{RefreshOutcome, Volumes};
use jiff::Timestamp;
use program::visible::visible;
use tokio::time::{Instant, sleep};

use super::host_orders::HostOrders;
use crate::admin::{
    self, Admin, Asker, ObjectStatus, OpenedStatus, Refreshed, Revoked, VolumeStatus, WaitingStatus, Which,
};

/// How long to wait until the volumes follow new orders.
const FOLLOWED: Duration = Duration::from_secs(5);
/// How often to look whether they do.
const LOOK: Duration = Duration::from_millis(20);

/// The volumes, and the orders of this host.
#[derive(Debug)]
pub(super) struct Administered {
    pub(super) volumes: Arc<Volumes>,
    pub(super) host: Arc<HostOrders>,
}

#[async_trait]
impl Admin for Administered {
    async fn status(&self) -> Vec<VolumeStatus> {
        let now = Instant::now();
        let remarked = |state: VolumeState| {
            let remarks = self.volumes.remarks(&state.id);
            VolumeStatus { remarks, ..status(state, now) }
        };
        self.volumes.states().into_values().map(remarked).collect()
    }

    async fn waiting(&self) -> Vec<WaitingStatus> {
        let now = Instant::now();
        self.volumes.refusals().into_iter().map(|refusal| waiting(refusal, now)).collect()
    }

    async fn refresh(&self, which: &Which) -> Vec<Refreshed> {
        let meant = |state: &VolumeState| match which {
            Which::All => true,
            Which::Volume(id) => state.id.0 == *id,
            Which::Class { namespace, name } => {
                state.class.namespace == *namespace && state.class.name == *name
            }
        };
        let ordered = Instant::now();
        let meant = self.volumes.states().into_values().filter(meant);
        let refreshes = meant.map(|state| async move {
            let outcome = self.volumes.refresh(&state.id, ordered).await;
            refreshed(&state, outcome)
        });
        futures::future::join_all(refreshes).await
    }

    async fn revoked(&self) -> Result<Vec<Revoked>, String> {
        self.host.read_again().map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let meant = self.volumes.covered();
        let mut left = meant.clone();
        while !left.is_empty() && begun.elapsed() < FOLLOWED {
            sleep(LOOK).await;
            left = self.volumes.covered();
        }
        let states = self.volumes.states();
        let told = meant.into_iter().map(|(id, files)| Revoked {
            target: states.get(&id).map(|state| state.target.display().to_string()).unwrap_or_default(),
            withdrawn: files.iter().map(ToString::to_string).collect(),
            error: left.contains_key(&id).then(|| "not yet; the log tells why".to_owned()),
            volume: id.to_string(),
        });
        Ok(told.collect())
    }

    fn refresh_ordered(&self, which: &Which, by: Asker) {
        self.volumes.parts().reporter.audit().later(&order(which, by));
    }
}

fn order(which: &Which, by: Asker) -> Record {
    let record = Record::new(Operation::Refresh, Actor::person_of(Process { uid: by.uid, pid: by.pid }));
    match which {
        Which::All => record,
        Which::Volume(id) => record.volume(id),
        Which::Class { namespace, name } => record.class(format!("{namespace}/{name}")),
    }
}

fn refreshed(state: &VolumeState, outcome: Option<RefreshOutcome>) -> Refreshed {
    let (changed, error) = match outcome {
        Some(RefreshOutcome::Refreshed(changed)) => (changed, None),
        Some(RefreshOutcome::Failed(error)) => (Vec::new(), Some(error)),
        None => (Vec::new(), Some("the volume was taken away".to_owned())),
    };
    Refreshed {
        volume: state.id.to_string(),
        target: state.target.display().to_string(),
        changed: changed.iter().map(ToString::to_string).collect(),
        error,
    }
}

fn status(state: VolumeState, now: Instant) -> VolumeStatus {
    VolumeStatus {
        volume: state.id.to_string(),
        target: state.target,
        class: state.class.to_string(),
        namespace: state.namespace,
        service_account: state.service_account,
        pod: state.pod,
        provider: state.provider,
        store: state.store,
        identity: state.identity.as_deref().map(on_one_line),
        files: state.files as u64,
        bytes: state.bytes,
        confirmed_seconds_ago: state.confirmed.map(|at| now.saturating_duration_since(at).as_secs()),
        next_try_in_seconds: state.next_try.map(|at| at.saturating_duration_since(now).as_secs()),
        awaits_credentials: state.awaits_credentials,
        sub_paths: state.sub_paths,
        last_error: state.failure.map(|(_, error)| on_one_line(&error)),
        remarks: Vec::new(),
        objects: state.objects.into_iter().map(|object| object_status(object, now)).collect(),
        opened: state.opened.map(|opened| opened.into_iter().map(opened_status).collect()),
    }
}

fn waiting(refusal: Refusal, now: Instant) -> WaitingStatus {
    let ago = |at| now.saturating_duration_since(at).as_secs();
    WaitingStatus {
        volume: refusal.id.to_string(),
        class: refusal.class.to_string(),
        namespace: refusal.namespace,
        service_account: refusal.service_account,
        pod: refusal.pod,
        times: refusal.times,
        first_seconds_ago: ago(refusal.first),
        last_seconds_ago: ago(refusal.last),
        reason: on_one_line(&refusal.reason),
    }
}

fn opened_status(opened: Opened) -> OpenedStatus {
    let Opened { container, object, version, last, count } = opened;
    let seconds = Timestamp::now().as_second().saturating_sub(last.as_second());
    let last_seconds_ago = u64::try_from(seconds).unwrap_or_default();
    OpenedStatus { container, object, version, last_seconds_ago, count }
}

fn object_status(object: ObjectState, now: Instant) -> ObjectStatus {
    ObjectStatus {
        state: word(&object),
        name: object.name,
        path: object.path,
        request: Some(object.request),
        secret: object.origin.as_ref().map(|origin| origin.path.clone()),
        key: object.origin.and_then(|origin| origin.key),
        composed: object.composed,
        version: object.version,
        fingerprint: object.fingerprint.map(|fingerprint| fingerprint.to_string()),
        confirmed_seconds_ago: object.confirmed.map(|at| now.saturating_duration_since(at).as_secs()),
        last_error: object.error.as_deref().map(on_one_line),
    }
}

/// What a store or a class said, fit for a terminal.
fn on_one_line(said: &str) -> String {
    visible(said).into_owned()
}

fn word(object: &ObjectState) -> admin::ObjectState {
    match object.condition {
        _ if object.withdrawn => admin::ObjectState::Withdrawn,
        Condition::Fresh => admin::ObjectState::Fresh,
        Condition::Stale => admin::ObjectState::Stale,
        Condition::Denied => admin::ObjectState::Denied,
        Condition::Revoked => admin::ObjectState::Revoked,
        Condition::Missing => admin::ObjectState::Missing,
    }
}
