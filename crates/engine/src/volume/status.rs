//! How a volume is doing, for people and for metrics. Names, versions and ages; never a value.

use std::collections::HashMap;
use std::path::PathBuf;

use provider::{ErrorKind, Origin};
use tokio::time::Instant;

use crate::snapshot::{Fingerprint, Snapshot};
use crate::volume::content::Content;
use crate::volume::freshness::Condition;
use crate::volume::{ClassName, Publish, VolumeId};

/// What people read of a volume whose task ended, until its store was read again.
pub(super) const ENDED: &str = "the task that refreshes this volume ended by itself, which is a fault of secretfs; \
    it is begun anew, and the files stay as they are meanwhile; please report it with the log";

/// How a volume is doing.
#[derive(Debug, Clone)]
pub struct VolumeState {
    /// Which volume.
    pub id: VolumeId,
    /// Where it is mounted.
    pub target: PathBuf,
    /// What it shows.
    pub class: ClassName,
    /// Namespace of the workload.
    pub namespace: String,
    /// Service account of the workload.
    pub service_account: String,
    /// Name of the pod.
    pub pod: Option<String>,
    /// Uid of the pod.
    pub pod_uid: Option<String>,
    /// The provider, once the class is known.
    pub provider: Option<String>,
    /// The store, once the class is known.
    pub store: Option<String>,
    /// Whom the store judges, once it did.
    pub identity: Option<String>,
    /// Its objects.
    pub objects: Vec<ObjectState>,
    /// Files shown.
    pub files: usize,
    /// Bytes shown.
    pub bytes: u64,
    /// Objects that hang on a lease, and when it ends without us.
    pub leases: Vec<(String, Instant)>,
    /// Why the last refresh failed, if it did.
    pub failure: Option<(ErrorKind, String)>,
    /// When the store last confirmed all that is shown.
    pub confirmed: Option<Instant>,
    /// When something is done next.
    pub next_try: Option<Instant>,
    /// Whether it waits for kubelet to bring tokens.
    pub awaits_credentials: bool,
    /// Whether its store is asked again by itself: not where rotation is off.
    pub is_kept_fresh: bool,
    /// Containers that mount single files of it by `subPath`, which no rotation reaches.
    pub sub_paths: Vec<String>,
}

/// How an object is doing.
#[derive(Debug, Clone)]
pub struct ObjectState {
    /// Its `objectName`.
    pub name: String,
    /// Its path in the volume.
    pub path: String,
    /// What the store is asked for.
    pub request: String,
    /// Where its store keeps it, as far as it is known.
    pub origin: Option<Origin>,
    /// The composed files that hold it.
    pub composed: Vec<String>,
    /// The store's name for the version shown.
    pub version: Option<String>,
    /// Tells the version shown from others.
    pub fingerprint: Option<Fingerprint>,
    /// How it is doing.
    pub condition: Condition,
    /// Whether it was taken back.
    pub withdrawn: bool,
    /// When the store last confirmed it.
    pub confirmed: Option<Instant>,
    /// What the store said last, if that was no value.
    pub error: Option<String>,
}

impl VolumeState {
    /// A volume of which nothing is known but the wish.
    pub fn new(publish: &Publish) -> Self {
        Self {
            id: publish.id.clone(),
            target: publish.target.clone(),
            class: publish.class.clone(),
            namespace: publish.subject.namespace().to_owned(),
            service_account: publish.subject.service_account().to_owned(),
            pod: publish.subject.pod.as_ref().map(|pod| pod.name.clone()),
            pod_uid: publish.subject.pod.as_ref().map(|pod| pod.uid.clone()),
            provider: None,
            store: None,
            identity: None,
            objects: Vec::new(),
            files: 0,
            bytes: 0,
            leases: Vec::new(),
            failure: None,
            confirmed: None,
            next_try: None,
            awaits_credentials: false,
            is_kept_fresh: true,
            sub_paths: Vec::new(),
        }
    }
}

impl VolumeState {
    /// The same of a volume whose task ended by itself: what it shows was confirmed at `confirmed`, and nothing of
    /// it is fresh before its store was read again.
    pub(super) fn unattended(mut self, confirmed: Option<Instant>) -> Self {
        for object in self.objects.iter_mut().filter(|object| object.condition == Condition::Fresh) {
            object.condition = Condition::Stale;
            object.error.get_or_insert_with(|| ENDED.to_owned());
        }
        let failure = self.failure.take().unwrap_or((ErrorKind::Unavailable, ENDED.to_owned()));
        Self { failure: Some(failure), confirmed: confirmed.or(self.confirmed), ..self }
    }
}

/// How the volume of `publish` is doing.
pub(super) fn describe(
    publish: &Publish,
    content: Option<&Content>,
    shown: &Snapshot,
    failed: Option<&provider::Error>,
) -> VolumeState {
    let state = VolumeState {
        files: shown.len(),
        bytes: shown.bytes(),
        failure: failed.map(|error| (error.kind(), error.to_string())),
        ..VolumeState::new(publish)
    };
    let Some(content) = content else { return state };
    VolumeState {
        provider: Some(content.class().provider.clone()),
        store: Some(content.reader.store().to_string()),
        identity: content.reader.identity().map(ToString::to_string),
        objects: objects(content, shown),
        leases: leases(content),
        confirmed: content.confirmed_at(),
        ..state
    }
}

fn objects(content: &Content, shown: &Snapshot) -> Vec<ObjectState> {
    // The first of a name counts, so it is put in last.
    let made_of: HashMap<_, _> =
        shown.objects().iter().rev().map(|made| (made.asked.name.as_str(), made)).collect();
    let describe = |(object, state): (&provider::ObjectRef, &super::freshness::Freshness)| {
        let made = made_of.get(object.name.as_str()).copied();
        // What was found mounted is known by its files alone.
        let file = shown.get(&object.path).filter(|_| object.file && made.is_none());
        let version =
            made.map_or_else(|| file.and_then(|file| file.version.clone()), |made| made.version.clone());
        let fingerprint = made.map(|made| &made.fingerprint).or(file.map(|file| &file.fingerprint));
        ObjectState {
            name: object.name.clone(),
            path: object.path.to_string(),
            request: object.request.text.to_string(),
            origin: made.map(|made| made.asked.origin.clone()),
            composed: made.iter().flat_map(|made| &made.asked.composed).map(ToString::to_string).collect(),
            version,
            fingerprint: fingerprint.cloned(),
            condition: state.condition(),
            withdrawn: state.is_withdrawn(),
            confirmed: state.last_confirmed(),
            error: state.error().map(ToString::to_string),
        }
    };
    content.objects().map(describe).collect()
}

fn leases(content: &Content) -> Vec<(String, Instant)> {
    let ends = content.reader.tenancy.lease_ends();
    let end = |object: &provider::ObjectRef| {
        ends.iter()
            .find(|(request, _)| *request == object.request)
            .map(|(_, end)| (object.name.clone(), *end))
    };
    content.objects().filter_map(|(object, _)| end(object)).collect()
}
