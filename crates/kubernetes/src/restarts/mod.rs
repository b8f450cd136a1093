//! Has workloads rolled out after their volumes showed new versions, as `secretfs.dev/on-rotate: restart-workload` asks.
//!
//! No volume waits for this: it listens to what happens to volumes. A workload gets one annotation on its pod template,
//! which names the versions, so that of all nodes one is the first and the others find that it is done. Work is done
//! namespace by namespace, in those that the administrator named: each has at most one round at a time, and a round of
//! one holds nothing that another needs.
//!
//! ```text
//! mark   the annotation, and what it says about a version     queue      what waits in a namespace, and how much it may
//! round  one round for a namespace                            workloads  the calls; whom a pod belongs to
//! ```

mod mark;
mod queue;
mod round;
mod telling;
#[cfg(test)]
mod tests;
mod workloads;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use engine::volume::Volumes;
use engine::volume::report::{Happening, Rotated, What};
use kube::Client;
use manifest::OnRotate;
use provider::{Moment as _, Pod, Span};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::events::Teller;
use mark::{Digest, bounded};
use queue::{Cause, Queue};
use round::{Owners, Round, Verdict};
use telling::Telling;

/// How long causes are gathered before a round begins, because objects and volumes of a pod rotate together. Up to twice
/// as long, by chance, so that not all nodes write at once.
const GATHER: Duration = Duration::from_millis(500);
/// How long the task sleeps if nothing waits.
const IDLE: Duration = Duration::from_secs(3600);

/// Where workloads may be rolled out, and how often.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The namespaces. The API server has to grant the same.
    pub namespaces: BTreeSet<String>,
    /// The shortest time between two rollouts of one workload, over all nodes.
    pub every: Duration,
}

/// Has workloads rolled out while it runs.
pub(crate) struct Restarts {
    volumes: Arc<Volumes>,
    client: Client,
    grant: Grant,
    happenings: broadcast::Receiver<Happening>,
    telling: Telling,
    queues: BTreeMap<String, Queue>,
    /// What is known of the pods of each namespace. A round has it while it works.
    owners: HashMap<String, Owners>,
    working: HashMap<Id, String>,
    rounds: JoinSet<Round>,
}

impl Restarts {
    /// Follows what happens to `volumes` from now on.
    pub(crate) fn new(volumes: Arc<Volumes>, client: Client, grant: Grant, teller: Teller) -> Self {
        Self {
            happenings: volumes.listen(),
            telling: Telling::new(Arc::clone(&volumes), teller),
            volumes,
            client,
            grant,
            queues: BTreeMap::new(),
            owners: HashMap::new(),
            working: HashMap::new(),
            rounds: JoinSet::new(),
        }
    }

    /// Runs until `stop`. What waits then is lost; another node that serves the workload sees to it.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.begin_rounds();
            let next = self.next_due();
            tokio::select! {
                () = stop.cancelled() => break,
                happening = self.happenings.recv() => match happening {
                    Ok(happening) => self.note(&happening).await,
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "what happened to volumes was not heard; no workload is rolled out for it");
                    }
                    Err(RecvError::Closed) => break,
                },
                Some(ended) = self.rounds.join_next_with_id() => self.end_round(ended),
                () = sleep_until(next) => {}
            }
        }
        self.rounds.shutdown().await;
    }

    async fn note(&mut self, happening: &Happening) {
        match (&happening.what, &happening.pod) {
            (What::Rotated(rotated), Some(pod)) if !rotated.objects.is_empty() => {
                self.rotated(happening, rotated, pod).await;
            }
            (What::Unpublished, _) => {
                self.telling.forget(&happening.volume);
                if let Some(queue) = self.queues.get_mut(&happening.namespace) {
                    queue.forget(&happening.volume);
                }
            }
            _ => {}
        }
    }

    /// Notes a rotation, if its class asks for a rollout and the administrator granted it.
    async fn rotated(&mut self, happening: &Happening, rotated: &Rotated, pod: &Pod) {
        let Ok(class) = self.volumes.parts().classes.get(&happening.class).await else { return };
        if class.settings.on_rotate != OnRotate::RestartWorkload {
            return;
        }
        let cause = cause(happening, pod, &class.provider, rotated);
        if !self.grant.namespaces.contains(&happening.namespace) {
            let reason = format!(
                "the administrator granted no rollouts in namespace {}: restartWorkloads.namespaces of the chart names none such",
                happening.namespace
            );
            return self.telling.refused(&cause, &happening.namespace, None, &reason);
        }
        if let Some(nameless) = nameless(rotated) {
            let reason = format!(
                "the store has no name for the version of {nameless}, by which nodes could tell whether it was rolled out for it"
            );
            self.telling.refused(&cause, &happening.namespace, None, &reason);
        }
        if cause.digests.is_empty() {
            return;
        }
        let at = Instant::now().later(Span::from(GATHER).times(1.0 + fastrand::f64()));
        self.wait(&happening.namespace, cause, at);
    }

    fn begin_rounds(&mut self) {
        let now = Instant::now();
        let is_free = |namespace: &str| !self.working.values().any(|working| working == namespace);
        let due = self
            .queues
            .iter_mut()
            .filter(|(namespace, queue)| queue.due().is_some_and(|due| due <= now) && is_free(namespace));
        let mut begun = Vec::new();
        for (namespace, queue) in due {
            let round = Round {
                namespace: namespace.clone(),
                allowance: queue.allowance,
                owners: self.owners.remove(namespace).unwrap_or_default(),
                verdicts: Vec::new(),
            };
            let round = round.run(self.client.clone(), queue.take(), self.grant.every);
            begun.push((self.rounds.spawn(round).id(), namespace.clone()));
        }
        self.working.extend(begun);
    }

    fn end_round(&mut self, ended: Result<(Id, Round), JoinError>) {
        let (id, round) = match ended {
            Ok((id, round)) => (id, Some(round)),
            Err(error) => (error.id(), None),
        };
        let Some(namespace) = self.working.remove(&id) else { return };
        match round {
            Some(round) => self.settle(round),
            None => tracing::error!(
                namespace,
                "a round stopped before its end, which is a fault of secretfs; workloads are not rolled out for it"
            ),
        }
    }

    fn settle(&mut self, round: Round) {
        let Round { namespace, allowance, mut owners, verdicts } = round;
        let served = self.volumes.states();
        let pods: BTreeSet<&str> = served.values().filter_map(|state| state.pod_uid.as_deref()).collect();
        owners.retain(|pod, _| pods.contains(pod.as_str()));
        self.owners.insert(namespace.clone(), owners);
        if let Some(queue) = self.queues.get_mut(&namespace) {
            queue.allowance = allowance;
        }
        let mut waiting = Vec::new();
        for (mut causes, verdict) in verdicts {
            causes.retain(|cause| served.contains_key(&cause.volume));
            match verdict {
                Verdict::RolledOut(workload) => self.telling.rolled_out(&causes, &namespace, &workload),
                Verdict::Done => causes.iter().for_each(|cause| self.telling.done_before(cause)),
                Verdict::Later(wait) => {
                    let at = Instant::now().later(wait);
                    causes.into_iter().for_each(|cause| self.wait(&namespace, cause, at));
                }
                Verdict::Refused(workload, reason) => causes.iter().for_each(|cause| {
                    self.telling.refused(cause, &namespace, workload.as_ref(), &reason);
                }),
                Verdict::Away(reason) => {
                    tracing::warn!(namespace, reason, "workloads are not rolled out yet");
                    waiting.extend(causes);
                }
                Verdict::Gone => {}
            }
        }
        self.try_again(&namespace, waiting);
    }

    /// Has `causes` wait because the API server did not answer; if there are none, it did.
    fn try_again(&mut self, namespace: &str, causes: Vec<Cause>) {
        let Some(queue) = self.queues.get_mut(namespace) else { return };
        if causes.is_empty() {
            return queue.answered();
        }
        let at = queue.failed(Instant::now());
        causes.into_iter().for_each(|cause| self.wait(namespace, cause, at));
    }

    /// Has a cause wait, to be seen to at `at` or earlier.
    fn wait(&mut self, namespace: &str, cause: Cause, at: Instant) {
        let fresh = || Queue::new(Instant::now());
        let queue = self.queues.entry(namespace.to_owned()).or_insert_with(fresh);
        if let Some(cause) = queue.note(cause, at) {
            let reason = "too many volumes of its namespace wait for a rollout on this node";
            self.telling.refused(&cause, namespace, None, reason);
        }
    }

    fn next_due(&self) -> Instant {
        let is_free = |namespace: &String| !self.working.values().any(|working| working == namespace);
        let due = self.queues.iter().filter(|(namespace, _)| is_free(namespace));
        due.filter_map(|(_, queue)| queue.due()).min().unwrap_or_else(|| Instant::now().later(IDLE))
    }
}

/// The cause that a rotation is.
fn cause(happening: &Happening, pod: &Pod, provider: &str, rotated: &Rotated) -> Cause {
    let versioned = || rotated.objects.iter().filter_map(|made| Some((made, made.version.clone()?)));
    Cause {
        volume: happening.volume.clone(),
        class: happening.class.clone(),
        pod: pod.clone(),
        provider: provider.to_owned(),
        versions: versioned().map(|(made, version)| (made.asked.name.clone(), version)).collect(),
        digests: bounded(
            versioned().map(|(made, version)| Digest::of(provider, &made.asked.origin, &version)).collect(),
        ),
    }
}

/// The first object whose version has no name.
fn nameless(rotated: &Rotated) -> Option<&str> {
    let nameless = rotated.objects.iter().find(|made| made.version.is_none());
    nameless.map(|made| made.asked.name.as_str())
}
