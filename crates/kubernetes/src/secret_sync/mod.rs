//! Makes Kubernetes Secrets of mounted files, as `secretObjects` of classes say. `--sync-secrets` switches it on.
//!
//! It never delays a mount: it listens to what happens to volumes, and checks every Secret from time to time. Work is
//! done class by class: one round does everything that a class needs, however many happenings led to it. A class has at
//! most one round at a time.
//!
//! ```text
//! plan     class + files → Secrets as wanted          live     a Secret as it is, and who wrote which part of it
//! verdict  both → what to do                          memory   what this node may overwrite, and has reported
//! class_secrets  a round for one class                cluster  the calls; owners: the owners of pods
//! ```

mod class_secrets;
mod cluster;
mod live;
mod memory;
mod owners;
mod plan;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use class::ClassName;
use engine::volume::report::{Happening, What};
use engine::volume::status::VolumeState;
use engine::volume::{VolumeId, Volumes};
use kube::Client;
use manifest::Class;
use metrics::Metrics;
use provider::{Moment as _, Pod};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use class_secrets::{ClassSecrets, Outcome};
use cluster::Cluster;
use owners::Owners;

use crate::backoff::Backoff;
use crate::events::{Notice, Reason, Teller};

/// How often every Secret is checked. The upstream driver uses the same time.
const LOOK: Duration = Duration::from_secs(300);
/// When the first check is made, after the volumes of an earlier process were taken over.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How long happenings are gathered before a round begins, because pods of one rollout start together.
const GATHER: Duration = Duration::from_millis(50);
/// Most rounds at the same time.
const ROUNDS: usize = 4;
/// How long the task sleeps if nothing waits.
const IDLE: Duration = Duration::from_secs(3600);

/// Namespaces where Secrets are made. An empty set means all.
pub type SecretNamespaces = BTreeSet<String>;

/// The order in which volumes changed in this process: the higher the number, the later.
type Changes = HashMap<VolumeId, u64>;

/// What every round needs.
#[derive(Debug)]
struct Shared {
    volumes: Arc<Volumes>,
    cluster: Cluster,
    owners: Owners,
    teller: Teller,
    metrics: Metrics,
    namespaces: SecretNamespaces,
}

impl Shared {
    fn may_write_in(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }

    /// Reports a fault, in the log and as an Event on the pod that mounts the volume. `secret` names the Secret that it
    /// is about, if there is one.
    fn tell(&self, volume: &VolumeState, secret: Option<&str>, fault: &str) {
        tracing::warn!(volume = %volume.id, class = %volume.class, secret, reason = fault, "a Secret is not as its class wants it");
        let Some(pod) = pod_of(volume) else { return };
        self.teller.tell(Notice {
            namespace: volume.namespace.clone(),
            pod,
            reason: Reason::FailedToCreateSecret,
            secret: secret.map(str::to_owned),
            note: format!("class {}: {fault}", volume.class),
        });
    }
}

fn pod_of(volume: &VolumeState) -> Option<Pod> {
    Some(Pod { name: volume.pod.clone()?, uid: volume.pod_uid.clone()? })
}

/// Makes Secrets of mounted files while it runs.
#[derive(Debug)]
pub struct SecretSync {
    shared: Arc<Shared>,
    changes: Changes,
    /// Each class as it was at the last edit of any class.
    seen: HashMap<ClassName, Arc<Class>>,
    /// When each class is due next.
    due: BTreeMap<ClassName, Instant>,
    resting: HashMap<ClassName, (ClassSecrets, Backoff)>,
    working: HashMap<Id, ClassName>,
    rounds: JoinSet<Round>,
}

/// The Secrets of a class after a round, and how the round ended.
type Round = (ClassSecrets, Backoff, Outcome);

impl SecretSync {
    /// Makes Secrets of the files that `volumes` show, in these namespaces.
    pub fn new(
        volumes: Arc<Volumes>,
        client: Client,
        namespaces: SecretNamespaces,
        teller: Teller,
        metrics: Metrics,
    ) -> Self {
        let (cluster, owners) = (Cluster::new(client), Owners::default());
        let shared = Shared { volumes, cluster, owners, teller, metrics, namespaces };
        Self {
            shared: Arc::new(shared),
            changes: Changes::new(),
            seen: HashMap::new(),
            due: BTreeMap::new(),
            resting: HashMap::new(),
            working: HashMap::new(),
            rounds: JoinSet::new(),
        }
    }

    /// Runs until `stop`. Then ends rounds that are under way; the next process checks again.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut happenings = self.shared.volumes.listen();
        let mut classes = self.shared.volumes.parts().classes.changes();
        let mut looks = interval_at(Instant::now().later(FIRST_LOOK), LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_rounds();
            let next = self.next_due();
            tokio::select! {
                () = stop.cancelled() => break,
                happening = happenings.recv() => match happening {
                    Ok(happening) => self.note(&happening),
                    Err(RecvError::Lagged(_)) => self.look_at_all(),
                    Err(RecvError::Closed) => break,
                },
                Ok(()) = classes.changed() => self.look_at_edited().await,
                _ = looks.tick() => self.look_at_all(),
                Some(ended) = self.rounds.join_next_with_id() => self.end_round(ended),
                () = sleep_until(next) => {}
            }
        }
        self.rounds.shutdown().await;
    }

    fn note(&mut self, happening: &Happening) {
        match &happening.what {
            What::Published | What::Rotated(_) | What::Withdrawn(_) => {
                let count = self.changes.values().max().map_or(1, |count| count + 1);
                self.changes.insert(happening.volume.clone(), count);
            }
            // Values that were read earlier are not new: another node may have written newer ones.
            What::StartedCached(_) => drop(self.changes.remove(&happening.volume)),
            What::SubPath(_)
            | What::Failed(..)
            | What::BegunAnew(_)
            | What::Expiring(_)
            | What::Recovered
            | What::Lost(_)
            | What::Unpublished => return,
        }
        self.is_due(happening.class.clone(), Instant::now().later(GATHER));
    }

    /// Makes every class due that has a served volume, and forgets volumes and pods that no longer exist.
    fn look_at_all(&mut self) {
        let states = self.shared.volumes.states();
        self.changes.retain(|volume, _| states.contains_key(volume));
        self.shared.owners.retain(&states.values().filter_map(|state| state.pod_uid.clone()).collect());
        for state in states.into_values() {
            self.is_due(state.class, Instant::now().later(GATHER));
        }
    }

    /// Makes classes due that were edited.
    async fn look_at_edited(&mut self) {
        let volumes = Arc::clone(&self.shared.volumes);
        let served: BTreeSet<_> = volumes.states().into_values().map(|state| state.class).collect();
        self.seen.retain(|name, _| served.contains(name));
        for name in served {
            let Ok(class) = volumes.parts().classes.get(&name).await else { continue };
            let seen = self.seen.insert(name.clone(), Arc::clone(&class));
            if seen.is_none_or(|seen| !Arc::ptr_eq(&seen, &class)) {
                self.is_due(name, Instant::now().later(GATHER));
            }
        }
    }

    fn is_due(&mut self, class: ClassName, at: Instant) {
        let due = self.due.entry(class).or_insert(at);
        *due = at.min(*due);
    }

    fn begin_rounds(&mut self) {
        let now = Instant::now();
        let due = self.due.iter().filter(|(class, at)| **at <= now && !self.is_working(class));
        let free = ROUNDS.saturating_sub(self.rounds.len());
        for class in due.map(|(class, _)| class.clone()).take(free).collect::<Vec<_>>() {
            self.due.remove(&class);
            let fresh = || (ClassSecrets::new(class.clone()), Backoff::default());
            let (mut secrets, backoff) = self.resting.remove(&class).unwrap_or_else(fresh);
            let (shared, changes) = (Arc::clone(&self.shared), self.changes.clone());
            let round = self.rounds.spawn(async move {
                let outcome = secrets.round(&shared, &changes).await;
                (secrets, backoff, outcome)
            });
            self.working.insert(round.id(), class);
        }
    }

    fn is_working(&self, class: &ClassName) -> bool {
        self.working.values().any(|working| working == class)
    }

    fn end_round(&mut self, ended: Result<(Id, Round), JoinError>) {
        let (id, round) = match ended {
            Ok((id, round)) => (id, Some(round)),
            Err(error) => (error.id(), None),
        };
        let Some(class) = self.working.remove(&id) else { return };
        let Some((secrets, mut backoff, outcome)) = round else {
            tracing::error!(%class, "a round stopped before its end; the class is checked again later");
            return self.is_due(class, Instant::now().later(LOOK));
        };
        match outcome {
            Outcome::Unserved => return,
            Outcome::Settled => backoff.succeeded(),
            Outcome::Again(after) => {
                backoff.succeeded();
                self.is_due(class.clone(), Instant::now().later(after));
            }
            Outcome::Failed => self.is_due(class.clone(), Instant::now().later(backoff.failed())),
        }
        self.resting.insert(class, (secrets, backoff));
    }

    fn next_due(&self) -> Instant {
        let free = self.rounds.len() < ROUNDS;
        let waiting = self.due.iter().filter(|(class, _)| free && !self.is_working(class));
        waiting.map(|(_, at)| *at).min().unwrap_or_else(|| Instant::now().later(IDLE))
    }
}
