//! Who is told of what happens to a volume: the audit trail, the log, the metrics, and who listens.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use manifest::Class;
use metrics::{Metrics, Refresh, Withdrawal};
use provider::{ErrorKind, Exposure, ObjectPath, Origin, Pod, Scope};
use tokio::sync::broadcast;

use crate::audit::{Actor, Audit, Operation, Process, Record, Resource};
use crate::mode::Caller;
use crate::snapshot::{Asked, Made, Snapshot};
use crate::volume::about::About;
use crate::volume::{ClassName, Publish, VolumeId};

/// Happenings that a slow listener may lag behind before it misses some.
const LAG: usize = 1024;

/// Something happened to a volume.
#[derive(Debug, Clone)]
pub struct Happening {
    /// Which volume.
    pub volume: VolumeId,
    /// Where it is mounted.
    pub target: PathBuf,
    /// What it shows.
    pub class: ClassName,
    /// Namespace of the workload.
    pub namespace: String,
    /// The pod that mounts it, where one does.
    pub pod: Option<Pod>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// It is mounted.
    Published,
    /// It was mounted with what this node had read before, for the store did not give it.
    StartedCached(Cached),
    /// It shows other versions of these files.
    Rotated(Vec<ObjectPath>),
    /// Files were taken back.
    Withdrawn(Withdrawn),
    /// It could not be refreshed.
    Failed(ErrorKind, String, Outlook),
    /// Its task ended by itself, and another goes on. What it shows stays.
    BegunAnew(&'static str),
    /// Objects of it expire by their owner's word, in these words.
    Expiring(String),
    /// It is fresh again.
    Recovered,
    /// These containers mount single files of it by `subPath`, which no rotation reaches.
    SubPath(Vec<String>),
    /// It is mounted, and nobody can serve it any more, for this reason: programs get errors.
    Lost(String),
    /// It is gone.
    Unpublished,
}

/// What becomes of files that a store did not confirm. The last of several is what matters most to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlook {
    /// They are gone.
    Gone,
    /// They stay.
    Stay,
    /// They stay until the store has not confirmed them for longer than the class allows.
    StayUntilTooOld,
    /// They go when the store says the same again, [`CONFIRM_AFTER`](super::freshness::CONFIRM_AFTER) later or more.
    GoWhenConfirmed,
}

/// What a volume started on whose store did not answer.
#[derive(Debug, Clone)]
pub struct Cached {
    /// How long ago the store last confirmed the oldest of it.
    pub age: Duration,
    /// Why it could not be read anew.
    pub reason: String,
}

/// Files that were taken back.
#[derive(Debug, Clone)]
pub struct Withdrawn {
    /// Which.
    pub files: Vec<ObjectPath>,
    /// Why.
    pub reason: Withdrawal,
}

/// Tells the audit trail, the log, the metrics and whoever listens.
#[derive(Debug)]
pub struct Reporter {
    audit: Audit,
    metrics: Metrics,
    listeners: broadcast::Sender<Happening>,
}

impl Reporter {
    /// A reporter that writes to `audit` and counts in `metrics`.
    pub fn new(audit: Audit, metrics: Metrics) -> Self {
        Self { audit, metrics, listeners: broadcast::Sender::new(LAG) }
    }

    /// Everything that happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Happening> {
        self.listeners.subscribe()
    }

    /// A volume was mounted.
    pub fn published(&self, publish: &Publish, provider: &str, snapshot: &Snapshot) {
        let paths: Vec<_> = snapshot.iter().map(|(path, _)| path.clone()).collect();
        let record =
            record(Operation::Publish, publish).resources(resources(publish, provider, snapshot, &paths));
        self.audit.record(&record);
        tracing::info!(volume = %publish.id, mounted_at = %publish.target.display(), files = snapshot.len(), "published");
        self.tell(publish, What::Published);
    }

    /// A volume took up `class`, which asks for a way to its store that is open to others.
    pub fn exposed(&self, class: &Class, exposure: &Exposure) {
        let Exposure { asked, is_allowed } = exposure;
        self.metrics.insecure_store(*is_allowed);
        let Class { namespace, name, .. } = class;
        tracing::info!(namespace, class = name, allowed = is_allowed, reason = %asked, "insecure store");
    }

    /// The volume that was just mounted shows what was read before.
    pub fn started_cached(&self, publish: &Publish, cached: Cached) {
        let seconds = cached.age.as_secs();
        tracing::warn!(volume = %publish.id, seconds, reason = cached.reason, "started on what was read before");
        self.tell(publish, What::StartedCached(cached));
    }

    /// A publish did not come about.
    pub fn refused(&self, publish: &Publish, about: &About, kind: Option<ErrorKind>, reason: &str) {
        let operation = if kind.is_some_and(is_denial) { Operation::Deny } else { Operation::Publish };
        self.audit.record(&record(operation, publish).resources(concerned(publish, about)).failed(reason));
        // On a plain host whoever asked for the mount is told by its command, with the same words.
        if publish.subject.pod.is_some() {
            tracing::warn!(volume = %publish.id, class = %publish.class, reason, "not published");
        }
    }

    /// A volume shows `snapshot` where it showed `old`. Tells which files are new or differ.
    pub fn rotated(
        &self,
        publish: &Publish,
        provider: &str,
        old: &Snapshot,
        snapshot: &Snapshot,
    ) -> Vec<ObjectPath> {
        let changed = changed(old, snapshot);
        if !changed.is_empty() {
            let record = record(Operation::Rotate, publish)
                .resources(resources(publish, provider, snapshot, &changed));
            self.audit.record(&record);
            tracing::info!(volume = %publish.id, files = ?names(&changed), "rotated");
            self.tell(publish, What::Rotated(changed.clone()));
        }
        self.metrics.refresh(self.metrics.provider(provider), Refresh::Rotated);
        changed
    }

    /// How long a refresh took, whatever came of it.
    pub fn refresh_took(&self, took: Duration) {
        self.metrics.refresh_took(took);
    }

    /// A refresh found nothing new.
    pub fn unchanged(&self, provider: &str) {
        self.metrics.refresh(self.metrics.provider(provider), Refresh::Unchanged);
    }

    /// Files of a volume were taken back.
    pub fn withdrawn(
        &self,
        publish: &Publish,
        provider: &str,
        old: &Snapshot,
        paths: &BTreeSet<ObjectPath>,
        reason: Withdrawal,
    ) {
        if paths.is_empty() {
            return;
        }
        self.metrics.withdrawn(reason, paths.len());
        let files: Vec<_> = paths.iter().cloned().collect();
        self.audit.record(
            &record(Operation::Withdraw, publish).resources(resources(publish, provider, old, &files)),
        );
        tracing::warn!(volume = %publish.id, files = ?names(&files), "withdrawn");
        self.tell(publish, What::Withdrawn(Withdrawn { files, reason }));
    }

    /// A refresh failed. Told once, until it fails in another way; counted each time.
    pub fn failed(
        &self,
        publish: &Publish,
        provider: &str,
        error: &provider::Error,
        outlook: Outlook,
        again: bool,
    ) {
        self.metrics.refresh(self.metrics.provider(provider), Refresh::Failed(error.kind()));
        if again {
            return;
        }
        tracing::warn!(volume = %publish.id, %error, "not refreshed");
        self.tell(publish, What::Failed(error.kind(), error.to_string(), outlook));
    }

    /// The store refused a workload what its mounted volume shows.
    pub fn denied(&self, publish: &Publish, about: &About, error: &provider::Error) {
        let resources = concerned(publish, about);
        self.audit.record(&record(Operation::Deny, publish).resources(resources).failed(error));
    }

    /// What a file holds was given to who opened it.
    pub fn opened(&self, publish: &Publish, caller: &Caller, provider: &str, made: &[Made]) {
        let resources = made.iter().map(|made| made_resource(publish, provider, made));
        self.audit.record(&open_record(Operation::Open, publish, caller).resources(resources));
    }

    /// It was not given. `is_denial` where somebody decided so.
    pub fn not_opened(
        &self,
        publish: &Publish,
        caller: &Caller,
        (provider, path): (&str, &ObjectPath),
        is_denial: bool,
        reason: &dyn fmt::Display,
    ) {
        let operation = if is_denial { Operation::Deny } else { Operation::Open };
        let resource = Resource::new(provider, path.as_str()).path(path);
        self.audit.record(&open_record(operation, publish, caller).resource(resource).failed(reason));
    }

    /// The task of a volume ended by itself, and another goes on; `words` are for people.
    pub fn begun_anew(&self, publish: &Publish, words: &'static str) {
        self.metrics.task_restarted();
        tracing::error!(volume = %publish.id, class = %publish.class, words);
        self.tell(publish, What::BegunAnew(words));
    }

    /// Objects of a volume expire soon or have expired, as `words` say.
    pub fn expiring(&self, publish: &Publish, words: String) {
        tracing::warn!(volume = %publish.id, class = %publish.class, words, "objects expire");
        self.tell(publish, What::Expiring(words));
    }

    /// A refresh that failed before succeeded.
    pub fn recovered(&self, publish: &Publish) {
        tracing::info!(volume = %publish.id, "refreshed again");
        self.tell(publish, What::Recovered);
    }

    /// Containers mount single files of a volume by `subPath`.
    pub fn sub_paths(&self, publish: &Publish, containers: Vec<String>) {
        tracing::warn!(
            volume = %publish.id, ?containers,
            "mounted by subPath, which no rotation reaches; mount the volume's directory instead"
        );
        self.tell(publish, What::SubPath(containers));
    }

    /// A volume that is mounted cannot be served any more: `why`.
    pub fn lost(&self, publish: &Publish, why: &str) {
        tracing::error!(
            volume = %publish.id, class = %publish.class, mounted_at = %publish.target.display(), why,
            "its files can be read no more; delete the pod, and the next one gets the volume anew"
        );
        self.tell(publish, What::Lost(why.to_owned()));
    }

    /// A volume was taken away.
    pub fn unpublished(&self, publish: &Publish) {
        self.audit.record(&record(Operation::Unpublish, publish));
        tracing::info!(volume = %publish.id, "unpublished");
        self.tell(publish, What::Unpublished);
    }

    fn tell(&self, publish: &Publish, what: What) {
        // Nobody listening is fine.
        let _ = self.listeners.send(Happening {
            volume: publish.id.clone(),
            target: publish.target.clone(),
            class: publish.class.clone(),
            namespace: publish.subject.namespace().to_owned(),
            pod: publish.subject.pod.clone(),
            what,
        });
    }
}

fn record(operation: Operation, publish: &Publish) -> Record {
    Record::new(operation, Actor::from(&publish.subject)).class(&publish.class).volume(&publish.id)
}

fn open_record(operation: Operation, publish: &Publish, caller: &Caller) -> Record {
    let actor = Actor::from(&publish.subject);
    let actor = match &caller.container {
        Some(name) => actor.container(name),
        None => actor,
    };
    let actor = match caller.uid.zip(caller.pid) {
        Some((uid, pid)) => actor.process(Process { uid, pid }),
        None => actor,
    };
    Record::new(operation, actor).class(&publish.class).volume(&publish.id)
}

/// What `paths` show: the objects of which they are made, as far as that is known, and what else there is by its path.
fn resources(publish: &Publish, provider: &str, snapshot: &Snapshot, paths: &[ObjectPath]) -> Vec<Resource> {
    let asked: BTreeSet<&ObjectPath> = paths.iter().collect();
    let is_asked = |made: &&Made| made.asked.paths().any(|path| asked.contains(path));
    let shown: Vec<&Made> = snapshot.objects().iter().filter(is_asked).collect();
    let known: BTreeSet<&ObjectPath> = shown.iter().flat_map(|made| made.asked.paths()).collect();
    let others = paths.iter().filter(|path| !known.contains(path)).filter_map(|path| {
        let file = snapshot.get(path)?;
        let resource = Resource::new(provider, path.as_str()).fingerprint(file.fingerprint.clone());
        Some(versioned(resource.path(path), file.version.as_ref()))
    });
    let made = shown.iter().map(|made| made_resource(publish, provider, made));
    made.chain(others).collect()
}

fn made_resource(publish: &Publish, provider: &str, made: &Made) -> Resource {
    let resource = asked_resource(publish, provider, &made.asked).fingerprint(made.fingerprint.clone());
    versioned(resource, made.version.as_ref())
}

/// What a failure is about: its objects, or the class where they are not known.
fn concerned(publish: &Publish, about: &About) -> Vec<Resource> {
    if about.objects.is_empty() {
        let resource = Resource::new(&about.provider, publish.class.to_string());
        return vec![match &about.store {
            Some(address) => resource.store(address),
            None => resource,
        }];
    }
    about.objects.iter().map(|asked| asked_resource(publish, &about.provider, asked)).collect()
}

fn asked_resource(publish: &Publish, provider: &str, asked: &Asked) -> Resource {
    let Origin { address, scope, path, key } = &asked.origin;
    let resource = Resource::new(provider, &asked.name).store(address).secret(path, key.as_deref());
    let resource = match scope {
        Scope::Whole => resource,
        Scope::Named(namespace) => resource.namespace(namespace),
        Scope::OfWorkload => resource.namespace(publish.subject.namespace()),
    };
    let resource = resource.composed(&asked.composed);
    match &asked.file {
        Some(path) => resource.path(path),
        None => resource,
    }
}

/// Whether a store said that the workload may not have what it asked for.
pub(super) fn is_denial(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Denied | ErrorKind::Unauthenticated)
}

fn versioned(resource: Resource, version: Option<&String>) -> Resource {
    match version {
        Some(version) => resource.version(version),
        None => resource,
    }
}

fn changed(old: &Snapshot, new: &Snapshot) -> Vec<ObjectPath> {
    let differs = |path: &ObjectPath| match (old.get(path), new.get(path)) {
        (Some(old), Some(new)) => old.fingerprint != new.fingerprint || old.mode != new.mode,
        _ => true,
    };
    new.iter().map(|(path, _)| path).filter(|path| differs(path)).cloned().collect()
}

fn names(paths: &[ObjectPath]) -> Vec<&str> {
    paths.iter().map(ObjectPath::as_str).collect()
}
