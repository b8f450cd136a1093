//! The state of a volume, for people and for metrics: names, versions and ages, and never a value.

use std::collections::HashMap;
use std::path::PathBuf;

use provider::{ErrorKind, Origin};
use tokio::time::Instant;

use crate::snapshot::{Fingerprint, Snapshot};
use crate::volume::content::Content;
use crate::volume::coverage::Opened;
use crate::volume::freshness::Condition;
use crate::volume::{ClassName, Publish, VolumeId};

/// The failure that people see for a volume whose task ended by itself, until its store was read again.
pub(super) const ENDED: &str = "the task that refreshes this volume ended by itself, which is a fault of secretfs; \
    it is begun anew, and the files stay as they are meanwhile; please report it with the log";

/// The state of one volume.
#[derive(Debug, Clone)]
pub struct VolumeState {
    /// The volume's id.
    pub id: VolumeId,
    /// The path where it is mounted.
    pub target: PathBuf,
    /// The class whose objects it shows.
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
    /// The identity under which the store knows the reader, after the first login.
    pub identity: Option<String>,
    /// The objects of the volume.
    pub objects: Vec<ObjectState>,
    /// How many files it shows.
    pub files: usize,
    /// How many bytes its files have.
    pub bytes: u64,
    /// Names of the objects that have a lease, and when each lease ends if nobody renews it.
    pub leases: Vec<(String, Instant)>,
    /// Why the last refresh failed, if it did.
    pub failure: Option<(ErrorKind, String)>,
    /// When the store last confirmed all that is shown.
    pub confirmed: Option<Instant>,
    /// When the volume's task does something next, if that is known.
    pub next_try: Option<Instant>,
    /// Whether it waits for kubelet to send tokens.
    pub awaits_credentials: bool,
    /// Whether the volume reads its store again by itself. It does not if rotation is off.
    pub is_kept_fresh: bool,
    /// Containers that mount single files of the volume by `subPath`. They never see a rotation.
    pub sub_paths: Vec<String>,
    /// What its containers opened last since this process serves it; `None` where nobody knows who opens what.
    pub opened: Option<Vec<Opened>>,
}

/// The state of one object.
#[derive(Debug, Clone)]
pub struct ObjectState {
    /// Its `objectName`.
    pub name: String,
    /// Its path in the volume.
    pub path: String,
    /// What the store is asked for.
    pub request: String,
    /// Where the store keeps it, if that is known.
    pub origin: Option<Origin>,
    /// The composed files that hold it.
    pub composed: Vec<String>,
    /// The store's name for the version shown.
    pub version: Option<String>,
    /// Identifies the contents that are shown without telling them.
    pub fingerprint: Option<Fingerprint>,
    /// Whether the store confirms it.
    pub condition: Condition,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
    /// When the store last confirmed it.
    pub confirmed: Option<Instant>,
    /// The store's last error, if its last answer was one.
    pub error: Option<String>,
}

impl VolumeState {
    /// The state of a volume of which only the request is known.
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
            opened: None,
        }
    }
}

impl VolumeState {
    /// The state of a volume whose task ended by itself. The store last confirmed its files at `confirmed`. Until the
    /// store is read again, no object counts as fresh.
    pub(super) fn unattended(mut self, confirmed: Option<Instant>) -> Self {
        for object in self.objects.iter_mut().filter(|object| object.condition == Condition::Fresh) {
            object.condition = Condition::Stale;
            object.error.get_or_insert_with(|| ENDED.to_owned());
        }
        let failure = self.failure.take().unwrap_or((ErrorKind::Unavailable, ENDED.to_owned()));
        Self { failure: Some(failure), confirmed: confirmed.or(self.confirmed), ..self }
    }
}

/// The state of the volume of `publish`.
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
    // If a name occurs twice, the first one counts, so it is inserted last.
    let made_of: HashMap<_, _> =
        shown.objects().iter().rev().map(|made| (made.asked.name.as_str(), made)).collect();
    let describe = |(object, state): (&provider::ObjectRef, &super::freshness::Freshness)| {
        let made = made_of.get(object.name.as_str()).copied();
        // If the volume was found mounted, only its files are known.
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
