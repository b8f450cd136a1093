//! Turns the state of volumes into SecretProviderClassPodStatus objects.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use engine::volume::VolumeId;
use engine::volume::status::{ObjectState, VolumeState};
use kube::api::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::opened::{ANNOTATION, OpenedLast};

/// The label with the name of the node.
pub(crate) const NODE_LABEL: &str = "internal.secrets-store.csi.k8s.io/node-name";
/// Longest name of an object.
const MAX_NAME: usize = 253;
/// Longest value of a label.
const MAX_LABEL: usize = 63;
/// Number of hexadecimal digits of the hash that makes long names, and names of volumes of one pod and class, unique.
const TOLD_APART_BY: usize = 10;

/// The API resource of SecretProviderClassPodStatuses.
pub(crate) fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("secrets-store.csi.x-k8s.io", "v1", "SecretProviderClassPodStatus");
    ApiResource::from_gvk_with_plural(&kind, "secretproviderclasspodstatuses")
}

/// Namespace and name of a status.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What one volume shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodStatus {
    pub(super) volume: VolumeId,
    pod: String,
    uid: String,
    class: String,
    target: String,
    /// Versions by object id.
    objects: BTreeMap<String, String>,
    /// What its containers opened; `None` where nobody knows.
    opened: Option<OpenedLast>,
}

impl PodStatus {
    /// The status of a volume, as a process knows it that began at `since`. `None` if no pod has the volume, or if it was
    /// taken over and its class is not known yet.
    fn of(state: &VolumeState, since: &str) -> Option<Self> {
        state.provider.as_ref()?;
        Some(Self {
            volume: state.id.clone(),
            pod: state.pod.clone()?,
            uid: state.pod_uid.clone()?,
            class: state.class.name.clone(),
            target: state.target.display().to_string(),
            objects: state.objects.iter().filter_map(version).collect(),
            opened: state.opened.as_ref().map(|opened| OpenedLast::of(opened, since)),
        })
    }

    pub(super) fn manifest(&self, name: &Name, node: &str, resource: &ApiResource) -> Value {
        let objects: Vec<_> =
            self.objects.iter().map(|(id, version)| json!({"id": id, "version": version})).collect();
        let labels = if node.len() <= MAX_LABEL { json!({NODE_LABEL: node}) } else { json!({}) };
        let annotations = self.opened.as_ref().map(|opened| json!({ANNOTATION: opened.text()}));
        json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name.name,
                "namespace": name.namespace,
                "labels": labels,
                "annotations": annotations.unwrap_or_else(|| json!({})),
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": self.pod, "uid": self.uid}],
            },
            "status": {
                "podName": self.pod,
                "secretProviderClassName": self.class,
                "mounted": true,
                "targetPath": self.target,
                "objects": objects,
            },
        })
    }
}

/// The patch for a volume that was unmounted.
pub(super) fn unmounted() -> Value {
    json!({"status": {"mounted": false}})
}

/// The object's name and version: the store's name for the version, otherwise the fingerprint. `None` if it is not
/// shown.
fn version(object: &ObjectState) -> Option<(String, String)> {
    let fingerprint = object.fingerprint.as_ref()?;
    let version = object.version.clone().filter(|version| !version.is_empty());
    Some((object.name.clone(), version.unwrap_or_else(|| fingerprint.to_string())))
}

/// The statuses that should exist. If a pod has several volumes of one class, the first by id gets the upstream
/// driver's name.
pub(super) fn wanted(states: &BTreeMap<VolumeId, VolumeState>, since: &str) -> BTreeMap<Name, PodStatus> {
    let mut wanted = BTreeMap::new();
    for state in states.values() {
        let Some(status) = PodStatus::of(state, since) else { continue };
        let name = |name| Name { namespace: state.namespace.clone(), name };
        let upstreams = name(fitting(format!("{}-{}-{}", status.pod, state.namespace, status.class)));
        let name = if wanted.contains_key(&upstreams) {
            let suffix = hash(&status.volume.0);
            name(fitting(format!("{}-{suffix}", upstreams.name)))
        } else {
            upstreams
        };
        wanted.insert(name, status);
    }
    wanted
}

/// `name`, or its beginning and a hash if it is too long for a name.
fn fitting(name: String) -> String {
    if name.len() <= MAX_NAME {
        return name;
    }
    let begin = &name[..name.floor_char_boundary(MAX_NAME - TOLD_APART_BY - 1)];
    format!("{}-{}", begin.trim_end_matches(['-', '.']), hash(&name))
}

fn hash(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().take(TOLD_APART_BY / 2).map(|byte| format!("{byte:02x}")).collect()
}
