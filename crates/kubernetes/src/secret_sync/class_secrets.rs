//! The Secrets of one class, on a node that serves the class.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use class::ClassName;
use engine::volume::VolumeId;
use engine::volume::status::VolumeState;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use manifest::Class;
use metrics::Syncing;
use provider::{Pod, Span};
use tokio::time::{Instant, sleep};

use super::cluster::Trouble;
use super::live::Live;
use super::memory::{Memory, fingerprint};
use super::plan::{self, Files, Wanted};
use super::verdict::{self, Judge, MANAGER, Manifest, Step};
use super::{Changes, Shared, pod_of};

/// What the remarks on volumes are about that are made here.
const REMARKS: &str = "Secrets";
/// How often a Secret is tried that others change at the same time.
const TRIES: u32 = 5;
/// Longest pause between two of these tries.
const PAUSE: Duration = Duration::from_millis(200);
/// When a Secret that differs is checked again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How old the answer may be that a pod exists, when a Secret is made for it.
const ALIVE: Duration = Duration::from_secs(5);

/// The Secrets of one class.
#[derive(Debug)]
pub(super) struct ClassSecrets {
    /// The class that wants the Secrets.
    pub(super) name: ClassName,
    manager: String,
    memories: BTreeMap<String, Memory>,
    /// Whether it was reported that no Secrets are made in the namespace of the class.
    told_of_namespace: bool,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No volume of the class is served any more, or it is not known what its volumes show.
    Unserved,
    /// Everything is as the class wants it, or a person must change something.
    Settled,
    /// The class should be checked again after this time.
    Again(Duration),
    /// The API server did not answer, or did not do what was asked.
    Failed,
}

/// What a round works with.
struct Round<'a> {
    shared: &'a Shared,
    class: &'a Class,
    volumes: &'a [VolumeState],
    /// The volume whose files are used: the one that changed last.
    newest: &'a VolumeState,
    /// Whether this process read them, and did not only find them mounted.
    news: bool,
    pods: Vec<Pod>,
    owners: Vec<OwnerReference>,
}

impl ClassSecrets {
    /// The Secrets of class `name`. Nothing is known of them yet.
    pub(super) fn new(name: ClassName) -> Self {
        Self {
            manager: verdict::manager(&name.name),
            name,
            memories: BTreeMap::new(),
            told_of_namespace: false,
        }
    }

    /// Brings the Secrets of the class up to date.
    pub(super) async fn round(&mut self, shared: &Shared, changes: &Changes) -> Outcome {
        let is_known = |state: &VolumeState| shared.volumes.shown(&state.id).is_some();
        let of_class = |state: &VolumeState| state.class == self.name && state.pod.is_some();
        let states = shared.volumes.states().into_values();
        let volumes: Vec<_> = states.filter(|state| of_class(state) && is_known(state)).collect();
        let Some(newest) = newest(&volumes, changes) else { return Outcome::Unserved };
        // If the class is gone, its Secrets stay as they are, as its volumes do.
        let Ok(class) = shared.volumes.parts().classes.get(&self.name).await else { return Outcome::Settled };
        if class.secret_objects.is_empty() && self.memories.is_empty() {
            return Outcome::Settled;
        }
        if !shared.may_write_in(&self.name.namespace) {
            self.tell_of_namespace(shared, newest);
            return Outcome::Settled;
        }
        let pods: Vec<_> = volumes.iter().filter_map(pod_of).collect();
        let owners = shared.owners.of(&shared.cluster, &self.name.namespace, &pods, None).await;
        let Some(files) = files_of(shared, &newest.id) else { return Outcome::Failed };
        let news = changes.contains_key(&newest.id);
        match owners {
            Ok(owners) => {
                let round = Round { shared, class: &class, volumes: &volumes, newest, news, pods, owners };
                self.each(&round, &files).await
            }
            Err(trouble) => {
                shared.tell(newest, None, &format!("the owners of its Secrets are not known: {trouble}"));
                Outcome::Failed
            }
        }
    }

    fn tell_of_namespace(&mut self, shared: &Shared, volume: &VolumeState) {
        if !std::mem::replace(&mut self.told_of_namespace, true) {
            let fault = format!(
                "no Secrets are made in namespace {}; name it in syncSecret.namespaces of the chart",
                self.name.namespace
            );
            shared.tell(volume, None, &fault);
        }
    }

    async fn each(&mut self, round: &Round<'_>, files: &Files) -> Outcome {
        let wanted = plan::wanted(round.class, files, &known(round));
        let names: BTreeSet<_> = wanted.iter().map(|secret| secret.name.clone()).collect();
        let mut failed = false;
        for name in self.memories.keys().filter(|name| !names.contains(*name)).cloned().collect::<Vec<_>>() {
            failed |= !self.let_go(round, &name).await;
        }
        for secret in &wanted {
            failed |= !self.bring_up(round, secret).await;
        }
        let faults: Vec<_> = self.memories.values().flat_map(Memory::faults).cloned().collect();
        for volume in round.volumes {
            round.shared.volumes.remark(&volume.id, REMARKS, faults.clone());
        }
        match () {
            () if failed => Outcome::Failed,
            () if self.memories.values().any(Memory::is_waiting) => Outcome::Again(LOOK_AGAIN),
            () => Outcome::Settled,
        }
    }

    /// Brings one Secret up to date. `false` if it should be tried again soon.
    async fn bring_up(&mut self, round: &Round<'_>, wanted: &Wanted) -> bool {
        let memory = self.memories.entry(wanted.name.clone()).or_default();
        let contents = fingerprint(wanted, &round.shared.volumes.parts().key);
        let entitled = memory.entitles(&contents, round.news, round.newest.confirmed);
        let sync = Sync { round, wanted, entitled, manager: &self.manager };
        let (faults, again) = match sync.until_it_holds().await {
            Ok((faults, waits)) => {
                memory.settle(contents, round.news, entitled, waits);
                (faults, false)
            }
            Err(trouble) => {
                let again = !matches!(trouble, Trouble::Refused(_));
                (vec![format!("Secret {}: {trouble}", wanted.name)], again)
            }
        };
        round.shared.metrics.secret_sync(match (again, faults.is_empty()) {
            (true, _) => Syncing::Failed,
            (false, true) => Syncing::Synced,
            (false, false) => Syncing::Refused,
        });
        for fault in memory.news(faults) {
            round.shared.tell(round.newest, Some(&wanted.name), &fault);
        }
        !again
    }

    /// Gives up a Secret that the class no longer names. `false` if it should be tried again soon.
    async fn let_go(&mut self, round: &Round<'_>, name: &str) -> bool {
        let (cluster, namespace) = (&round.shared.cluster, &self.name.namespace);
        let released = async {
            let Some(live) = cluster.secret(namespace, name).await? else { return Ok(()) };
            let step = verdict::release(name, &self.manager, &live);
            carry_out(round.shared, namespace, &self.manager, name, step).await
        };
        match released.await {
            Ok(()) => drop(self.memories.remove(name)),
            Err(trouble) => {
                round.shared.tell(round.newest, Some(name), &format!("Secret {name}: {trouble}"));
                return matches!(trouble, Trouble::Refused(_));
            }
        }
        true
    }
}

/// One Secret that is brought up to date.
struct Sync<'a> {
    round: &'a Round<'a>,
    wanted: &'a Wanted,
    entitled: bool,
    manager: &'a str,
}

impl Sync<'_> {
    /// Reads, decides and writes until nobody changes the Secret in between. Returns the faults, and whether something
    /// differs.
    async fn until_it_holds(&self) -> Result<(Vec<String>, bool), Trouble> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.once().await {
                Err(Trouble::Changed) if tried < TRIES => {
                    sleep(Span::from(PAUSE).times(fastrand::f64()).get()).await
                }
                outcome => return outcome,
            }
        }
    }

    async fn once(&self) -> Result<(Vec<String>, bool), Trouble> {
        let (shared, namespace) = (self.round.shared, &self.round.class.namespace);
        let live = shared.cluster.secret(namespace, &self.wanted.name).await?;
        let owners = match live {
            Some(_) => self.round.owners.clone(),
            // The last pod may be ending, and its owner deleted. A Secret that was deleted together with them must not
            // be made again.
            None => shared.owners.of(&shared.cluster, namespace, &self.round.pods, Some(ALIVE)).await?,
        };
        let rivals = self.rivals(live.as_ref()).await;
        let judge = Judge {
            manager: self.manager,
            wanted: self.wanted,
            owners: &owners,
            rivals: &rivals,
            entitled: self.entitled,
        };
        let verdict = judge.judge(live.as_ref());
        let began = Instant::now();
        let writes = !matches!(verdict.step, Step::Leave);
        carry_out(shared, namespace, self.manager, &self.wanted.name, verdict.step).await?;
        if writes {
            let provider = shared.metrics.provider(&self.round.class.provider);
            shared.metrics.secret_synced(provider, began.elapsed());
            tracing::info!(
                namespace,
                secret = self.wanted.name,
                class = self.round.class.name,
                "Secret written"
            );
        }
        Ok((verdict.faults, verdict.waits))
    }

    /// The field managers of other existing classes that want this Secret too.
    async fn rivals(&self, live: Option<&Live>) -> BTreeSet<String> {
        let mut rivals = BTreeSet::new();
        for writer in live.into_iter().flat_map(|live| &live.writers) {
            let Some(class) = writer.name.strip_prefix(MANAGER) else { continue };
            if writer.name != self.manager && self.wants(class).await {
                rivals.insert(writer.name.clone());
            }
        }
        rivals
    }

    async fn wants(&self, class: &str) -> bool {
        let name = ClassName { namespace: self.round.class.namespace.clone(), name: class.to_owned() };
        let names_it =
            |class: &Class| class.secret_objects.iter().any(|object| object.secret_name == self.wanted.name);
        // If it is not known whether the class exists, it counts as existing.
        match self.round.shared.volumes.parts().classes.get(&name).await {
            Ok(class) => names_it(&class),
            Err(error) => !matches!(error, class::Error::NotFound(_)),
        }
    }
}

async fn carry_out(
    shared: &Shared,
    namespace: &str,
    manager: &str,
    name: &str,
    step: Step,
) -> Result<(), Trouble> {
    match step {
        Step::Leave => Ok(()),
        Step::Delete { uid, version } => shared.cluster.delete(namespace, name, &uid, &version).await,
        Step::Write(manifest, remove) => {
            let live = shared.cluster.apply(namespace, manager, &manifest).await?;
            if manifest.version.is_none() {
                return undo_if_foreign(shared, namespace, manager, name, &live).await;
            }
            if remove.is_empty() {
                return Ok(());
            }
            shared.cluster.remove(namespace, name, &live.version, &remove).await
        }
    }
}

/// Gives up a Secret that somebody else made between our read and our write.
async fn undo_if_foreign(
    shared: &Shared,
    namespace: &str,
    manager: &str,
    name: &str,
    live: &Live,
) -> Result<(), Trouble> {
    if live.writers.iter().all(|writer| writer.name.starts_with(MANAGER)) {
        return Ok(());
    }
    let nothing =
        Manifest { name: name.to_owned(), version: Some(live.version.clone()), ..Manifest::default() };
    shared.cluster.apply(namespace, manager, &nothing).await?;
    Err(Trouble::Changed)
}

/// The volume that changed last. If none changed in this process, always the same one.
fn newest<'a>(volumes: &'a [VolumeState], changes: &Changes) -> Option<&'a VolumeState> {
    volumes.iter().max_by_key(|state| (changes.get(&state.id), &state.id))
}

/// The files that the volume shows, from the engine and not from the mount. `None` if it was unmounted meanwhile.
fn files_of(shared: &Shared, volume: &VolumeId) -> Option<Files> {
    let shown = shared.volumes.shown(volume)?;
    Some(shown.iter().map(|(path, file)| (path.to_string(), file.contents.clone())).collect())
}

/// The paths that the volume could show.
fn known(round: &Round<'_>) -> BTreeSet<String> {
    let objects = round.newest.objects.iter().map(|object| object.path.clone());
    let composed = round.class.settings.files.iter().map(|file| file.path.to_string());
    let known: BTreeSet<_> = objects.chain(composed).collect();
    if round.newest.objects.is_empty() {
        // The volume was taken over and its objects are not known yet. Every file that the class names counts as known,
        // so nothing is reported as missing.
        return round
            .class
            .secret_objects
            .iter()
            .flat_map(|object| &object.data)
            .map(|data| data.object_name.clone())
            .collect();
    }
    known
}
