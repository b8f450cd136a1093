//! Reports what happens to a volume: to the audit trail, the log, the metrics, and listeners.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use manifest::Class;
use metrics::{Metrics, Refresh, Withdrawal};
use provider::{ErrorKind, Exposure, ObjectPath, Origin, Pod, Scope};
use tokio::sync::broadcast;

use crate::audit::{Actor, Audit, Operation, Process, Record, Resource, Times};
use crate::mode::{Caller, Opening};
use crate::revocation::Revocation;
use crate::snapshot::{Asked, Made, Snapshot};
use crate::volume::about::About;
use crate::volume::{ClassName, Publish, VolumeId};

/// How many happenings a slow listener may be behind before it misses some.
const LAG: usize = 1024;
/// The provider of audit records under which an order is named, beside the secrets that it took back.
const ORDER: &str = "revocation";

/// Something happened to a volume.
#[derive(Debug, Clone)]
pub struct Happening {
    /// The volume's id.
    pub volume: VolumeId,
    /// The path where it is mounted.
    pub target: PathBuf,
    /// The class whose objects it shows.
    pub class: ClassName,
    /// Namespace of the workload.
    pub namespace: String,
    /// The pod that mounts it, if a pod does.
    pub pod: Option<Pod>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// The volume was mounted.
    Published,
    /// The volume was mounted with readings that this node had before, because the store did not answer.
    StartedCached(Cached),
    /// The volume shows new versions.
    Rotated(Rotated),
    /// Files were taken back.
    Withdrawn(Withdrawn),
    /// A refresh failed, for this reason. The outlook tells what will happen to the files.
    Failed(ErrorKind, String, Outlook),
    /// The volume's task ended by itself, and another one goes on. The files stay. The text is for people.
    BegunAnew(&'static str),
    /// Objects expire soon or have expired, because their owner gave them a date. The text is for people.
    Expiring(String),
    /// A refresh succeeded after one that failed.
    Recovered,
    /// These containers mount single files of the volume by `subPath`. They never see a rotation.
    SubPath(Vec<String>),
    /// It is mounted, and nobody can serve it any more, for this reason: programs get errors.
    Lost(String),
    /// The volume was unmounted.
    Unpublished,
}

/// What will happen to files that a store did not confirm. Later variants matter more to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlook {
    /// They were withdrawn.
    Gone,
    /// They stay.
    Stay,
    /// They stay until the store has not confirmed them for longer than the class allows.
    StayUntilTooOld,
    /// They will be withdrawn if the store gives the same answer again,
    /// [`CONFIRM_AFTER`](super::freshness::CONFIRM_AFTER) later or more.
    GoWhenConfirmed,
}

/// The older readings with which a volume started, because its store did not answer.
#[derive(Debug, Clone)]
pub struct Cached {
    /// How long ago the store confirmed the oldest of these readings.
    pub age: Duration,
    /// Why the store could not be read.
    pub reason: String,
}

/// New versions that a volume shows.
#[derive(Debug, Clone, Default)]
pub struct Rotated {
    /// The files that are new or differ.
    pub files: Vec<ObjectPath>,
    /// The objects that the volume showed before and shows in another version now.
    pub objects: Vec<Made>,
}

/// Files that were withdrawn.
#[derive(Debug, Clone)]
pub struct Withdrawn {
    /// Their paths.
    pub files: Vec<ObjectPath>,
    /// Why they were withdrawn.
    pub reason: Withdrawal,
    /// The order because of which they were, in words with its reason, if there was one.
    pub order: Option<String>,
}

/// Reports to the audit trail, the log, the metrics and listeners.
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

    /// A receiver of everything that happens from now on.
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

    /// A volume follows `class`, which asks for a connection to its store that others can read or change.
    pub fn exposed(&self, class: &Class, exposure: &Exposure) {
        let Exposure { asked, is_allowed } = exposure;
        self.metrics.insecure_store(*is_allowed);
        let Class { namespace, name, .. } = class;
        tracing::info!(namespace, class = name, allowed = is_allowed, reason = %asked, "insecure store");
    }

    /// The volume that was just mounted shows older readings.
    pub fn started_cached(&self, publish: &Publish, cached: Cached) {
        let seconds = cached.age.as_secs();
        tracing::warn!(volume = %publish.id, seconds, reason = cached.reason, "started with values that were read before");
        self.tell(publish, What::StartedCached(cached));
    }

    /// A publish failed.
    pub fn refused(&self, publish: &Publish, about: &About, kind: Option<ErrorKind>, reason: &str) {
        let operation = if kind.is_some_and(is_denial) { Operation::Deny } else { Operation::Publish };
        self.audit.record(&record(operation, publish).resources(concerned(publish, about)).failed(reason));
        // On a plain host, the command that asked for the mount prints the same text.
        if publish.subject.pod.is_some() {
            tracing::warn!(volume = %publish.id, class = %publish.class, reason, "not published");
        }
    }

    /// A volume showed `old` and shows `snapshot` now. Returns the files that are new or differ.
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
            let objects = snapshot.replaced(old);
            self.tell(publish, What::Rotated(Rotated { files: changed.clone(), objects }));
        }
        self.metrics.refresh(self.metrics.provider(provider), Refresh::Rotated);
        changed
    }

    /// Counts how long a refresh took, whether it succeeded or not.
    pub fn refresh_took(&self, took: Duration) {
        self.metrics.refresh_took(took);
    }

    /// A refresh found nothing new.
    pub fn unchanged(&self, provider: &str) {
        self.metrics.refresh(self.metrics.provider(provider), Refresh::Unchanged);
    }

    /// Files of a volume were withdrawn, for this reason, and because of an order if one is named. `old` is the snapshot
    /// that still had them.
    pub fn withdrawn(
        &self,
        publish: &Publish,
        provider: &str,
        old: &Snapshot,
        (paths, reason, order): (&BTreeSet<ObjectPath>, Withdrawal, Option<&Revocation>),
    ) {
        if paths.is_empty() {
            return;
        }
        self.metrics.withdrawn(reason, paths.len());
        let files: Vec<_> = paths.iter().cloned().collect();
        let withdrawn = resources(publish, provider, old, &files);
        let ordered = order.map(|order| Resource::new(ORDER, order.to_string()));
        let record = record(Operation::Withdraw, publish).resources(withdrawn).resources(ordered);
        self.audit.record(&record);
        let order = order.map(Revocation::told);
        tracing::warn!(volume = %publish.id, files = ?names(&files), order, "withdrawn");
        self.tell(publish, What::Withdrawn(Withdrawn { files, reason, order }));
    }

    /// A refresh failed. Counts each failure. Logs and tells listeners only if `again` is false: a failure of the same
    /// kind is told once.
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

    /// The store refused a workload an object that its mounted volume shows.
    pub fn denied(&self, publish: &Publish, about: &About, error: &provider::Error) {
        let resources = concerned(publish, about);
        self.audit.record(&record(Operation::Deny, publish).resources(resources).failed(error));
    }

    /// A process opened a file and got its contents.
    pub fn opened(&self, publish: &Publish, caller: &Caller, provider: &str, made: &[Made]) {
        let resources = made.iter().map(|made| made_resource(publish, provider, made));
        self.audit.record(&open_record(Operation::Open, publish, caller).resources(resources));
    }

    /// A process opened a file and did not get its contents. `is_denial` if the access rules or the store refused it.
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

    /// Processes opened a file of a mounted volume, or were denied it. `shown` is what the volume shows now.
    pub fn seen(&self, publish: &Publish, provider: &str, shown: &Snapshot, opening: &Opening) {
        let Opening { caller, count, first, last, .. } = opening;
        let failed = opening.unopened.as_ref().filter(|unopened| !unopened.is_denial);
        let is_denial = !opening.is_allowed && failed.is_none();
        let operation = if is_denial { Operation::Deny } else { Operation::Open };
        let record = open_record(operation, publish, caller);
        let record = record.program(opening.program.as_deref(), opening.name.as_deref());
        let record = record.times(Times { count: *count, first: *first, last: *last });
        let record = record.resources(opened_resources(publish, provider, shown, opening));
        let why = opening.unopened.as_ref().map_or(NO_RULE, |unopened| unopened.why.as_str());
        self.audit.later(&if opening.is_allowed { record } else { record.failed(why) });
    }

    /// Where the records go.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The task of a volume ended by itself, and another one goes on. `words` are for people.
    pub fn begun_anew(&self, publish: &Publish, words: &'static str) {
        self.metrics.task_restarted();
        tracing::error!(volume = %publish.id, class = %publish.class, words);
        self.tell(publish, What::BegunAnew(words));
    }

    /// Objects of a volume expire soon or have expired. `words` are for people.
    pub fn expiring(&self, publish: &Publish, words: String) {
        tracing::warn!(volume = %publish.id, class = %publish.class, words, "objects expire");
        self.tell(publish, What::Expiring(words));
    }

    /// A refresh succeeded after one that failed.
    pub fn recovered(&self, publish: &Publish) {
        tracing::info!(volume = %publish.id, "refreshed again");
        self.tell(publish, What::Recovered);
    }

    /// These containers mount single files of a volume by `subPath`.
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

    /// A volume was unmounted.
    pub fn unpublished(&self, publish: &Publish) {
        self.audit.record(&record(Operation::Unpublish, publish));
        tracing::info!(volume = %publish.id, "unpublished");
        self.tell(publish, What::Unpublished);
    }

    fn tell(&self, publish: &Publish, what: What) {
        // It is fine if nobody listens.
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

/// The files of an open: what they were made of in the version that was opened, as far as that is known.
fn opened_resources(publish: &Publish, provider: &str, shown: &Snapshot, opening: &Opening) -> Vec<Resource> {
    let Some(path) = opening.path.as_deref() else { return Vec::new() };
    if !opening.made.is_empty() {
        return opening.made.iter().map(|made| made_resource(publish, provider, made)).collect();
    }
    // This process took the volume over, and knows only of the version that it shows.
    let path = opening
        .is_newest
        .then(|| ObjectPath::try_from(path).ok())
        .flatten()
        .filter(|path| shown.get(path).is_some());
    match path {
        Some(path) => resources(publish, provider, shown, &[path]),
        None => opening.path.iter().map(|path| Resource::new(provider, path).path(path)).collect(),
    }
}

/// Why an open was denied.
const NO_RULE: &str = "no rule of secretfs.dev/access lets this container open the file";

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

/// The audit resources of the files at `paths`: the objects that they are made of, if these are known, otherwise the
/// files themselves.
fn resources(publish: &Publish, provider: &str, snapshot: &Snapshot, paths: &[ObjectPath]) -> Vec<Resource> {
    let asked: BTreeSet<&ObjectPath> = paths.iter().collect();
    let is_asked = |made: &&Made| made.asked.paths().any(|path| asked.contains(path));
    let shown: Vec<&Made> = snapshot.objects().iter().filter(is_asked).collect();
    let known: BTreeSet<&ObjectPath> = shown.iter().flat_map(|made| made.asked.paths()).collect();
    let others = paths.iter().filter(|path| !known.contains(path)).map(|path| {
        let resource = Resource::new(provider, path.as_str()).path(path);
        // Of a file that was read when it was opened nothing else is known.
        let Some(file) = snapshot.get(path) else { return resource };
        versioned(resource.fingerprint(file.fingerprint.clone()), file.version.as_ref())
    });
    let made = shown.iter().map(|made| made_resource(publish, provider, made));
    made.chain(others).collect()
}

fn made_resource(publish: &Publish, provider: &str, made: &Made) -> Resource {
    let resource = asked_resource(publish, provider, &made.asked).fingerprint(made.fingerprint.clone());
    versioned(resource, made.version.as_ref())
}

/// The audit resources of a failure: its objects, or the class if the objects are not known.
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

/// Whether the store said that the workload may not have what it asked for.
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
