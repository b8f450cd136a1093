//! One round for a namespace: whom its pods belong to, and a rollout of each workload that has none for these versions.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use provider::Span;
use tokio::time::{Instant, sleep};

use super::mark::{Judgement, Mark};
use super::queue::{Allowance, Cause};
use super::workloads::{Trouble, Workload, Workloads};

/// How often a workload is tried that others change at the same time.
const TRIES: u32 = 8;
/// Longest pause between two of these tries. Other nodes write at the same moment.
const PAUSE: Duration = Duration::from_millis(200);
/// When a workload is tried again that others change all the time.
const BUSY: Duration = Duration::from_secs(30);

/// The workload of each pod, by uid. While a pod lives, it does not change.
pub(super) type Owners = HashMap<String, Workload>;

/// How a workload, or a pod that belongs to none, was seen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is rolled out, because this node said so.
    RolledOut(Workload),
    /// It was rolled out for these versions before.
    Done,
    /// It is too early, for so long.
    Later(Duration),
    /// It is gone.
    Gone,
    /// It will not be rolled out, for this reason.
    Refused(Option<Workload>, String),
    /// The API server did not answer.
    Away(String),
}

/// What a round needs, and gives back.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) namespace: String,
    pub(super) allowance: Allowance,
    pub(super) owners: Owners,
    /// What became of which causes. Empty before the round.
    pub(super) verdicts: Vec<(Vec<Cause>, Verdict)>,
}

impl Round {
    /// Sees to `causes`, so that no workload is rolled out more often than once in `every`. Once the API server did not
    /// answer, it is asked no more.
    pub(super) async fn run(mut self, client: Client, causes: Vec<Cause>, every: Duration) -> Self {
        let namespace = self.namespace.clone();
        let workloads = Workloads { client: &client, namespace: &namespace };
        for (workload, causes) in self.by_workload(&workloads, causes).await {
            let verdict = match self.away() {
                Some(away) => away,
                None => self.see_to(&workloads, &workload, &causes, every).await,
            };
            self.verdicts.push((causes, verdict));
        }
        self
    }

    /// The verdict on everything else, if the API server does not answer.
    fn away(&self) -> Option<Verdict> {
        let away = |verdict: &&Verdict| matches!(verdict, Verdict::Away(_));
        self.verdicts.iter().map(|(_, verdict)| verdict).find(away).cloned()
    }

    async fn by_workload(
        &mut self,
        workloads: &Workloads<'_>,
        causes: Vec<Cause>,
    ) -> BTreeMap<Workload, Vec<Cause>> {
        let mut found: BTreeMap<Workload, Vec<Cause>> = BTreeMap::new();
        for cause in causes {
            if let Some(away) = self.away() {
                self.verdicts.push((vec![cause], away));
                continue;
            }
            match self.owner(workloads, &cause).await {
                Ok(workload) => found.entry(workload).or_default().push(cause),
                Err(trouble) => self.verdicts.push((vec![cause], verdict(trouble, None))),
            }
        }
        found
    }

    async fn owner(&mut self, workloads: &Workloads<'_>, cause: &Cause) -> Result<Workload, Trouble> {
        if let Some(known) = self.owners.get(&cause.pod.uid) {
            return Ok(known.clone());
        }
        let workload = workloads.of(&cause.pod).await?;
        self.owners.insert(cause.pod.uid.clone(), workload.clone());
        Ok(workload)
    }

    async fn see_to(
        &mut self,
        workloads: &Workloads<'_>,
        workload: &Workload,
        causes: &[Cause],
        every: Duration,
    ) -> Verdict {
        let wanted = causes.iter().flat_map(|cause| cause.digests.clone()).collect();
        for _ in 0..TRIES {
            let read = match workloads.read(workload).await {
                Ok(read) => read,
                Err(trouble) => return verdict(trouble, Some(workload)),
            };
            let mark = match Mark::read(read.mark.as_deref()).judge(&wanted, Timestamp::now(), every) {
                Judgement::Done => return Verdict::Done,
                Judgement::Wait(wait) => return Verdict::Later(wait),
                Judgement::RollOut(mark) => mark,
            };
            let before = self.allowance;
            if let Err(wait) = self.allowance.take(Instant::now()) {
                return Verdict::Later(wait);
            }
            match workloads.write(workload, &read, &mark).await {
                Ok(()) => return Verdict::RolledOut(workload.clone()),
                Err(Trouble::Changed) => self.allowance = before,
                Err(trouble) => return verdict(trouble, Some(workload)),
            }
            sleep(Span::from(PAUSE).times(fastrand::f64()).get()).await;
        }
        Verdict::Later(BUSY)
    }
}

fn verdict(trouble: Trouble, workload: Option<&Workload>) -> Verdict {
    match trouble {
        Trouble::Away(reason) => Verdict::Away(reason),
        Trouble::Changed => Verdict::Later(BUSY),
        Trouble::Gone => Verdict::Gone,
        Trouble::Refused(reason) => Verdict::Refused(workload.cloned(), reason),
    }
}
