//! The calls to the API server about workloads: whom a pod belongs to, and its one annotation.

use std::fmt;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use super::mark::ANNOTATION;
use crate::connection::ANSWER;
use crate::refusal::{is_ending_namespace, lacks_a_right, told};

/// Under this name the API server remembers who wrote the annotation.
const FIELD_MANAGER: &str = "secretfs";
/// Where the annotation is in a workload, as a JSON pointer before its name.
const ANNOTATIONS: &str = "/spec/template/metadata/annotations";

/// The kinds of workloads that Kubernetes rolls out when their pod template changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Kind {
    fn named(owner: &OwnerReference) -> Option<Self> {
        let kinds = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];
        let is_of_apps = owner.api_version.starts_with("apps/");
        kinds.into_iter().find(|kind| is_of_apps && kind.name() == owner.kind)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    fn resource(self) -> ApiResource {
        let plural = match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", self.name()), plural)
    }
}

/// A workload, known by its uid: another one of the same name is not it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Workload {
    kind: Kind,
    name: String,
    uid: String,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The API server does not answer, or is overloaded.
    Away(String),
    /// Somebody changed it after it was read.
    Changed,
    /// It is gone, or another one has its name by now.
    Gone,
    /// The API server refuses, or there is nothing that can be rolled out.
    Refused(String),
}

/// A workload as it was read.
#[derive(Debug)]
pub(super) struct Read {
    /// The annotation, if it has one.
    pub(super) mark: Option<String>,
    version: String,
}

/// Calls to the API server about workloads of one namespace.
pub(super) struct Workloads<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
}

impl Workloads<'_> {
    /// The workload that `pod` belongs to.
    ///
    /// # Errors
    ///
    /// The pod is gone, belongs to nothing that can be rolled out, or cannot be asked about.
    pub(super) async fn of(&self, pod: &provider::Pod) -> Result<Workload, Trouble> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace);
        let found = answer("get pods", pods.get_metadata(&pod.name)).await?.metadata;
        let owner = owner(&found, &pod.uid)?;
        if Kind::named(&owner).is_some() {
            return workload(owner);
        }
        if owner.kind != "ReplicaSet" || !owner.api_version.starts_with("apps/") {
            return Err(no_workload(&owner));
        }
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), self.namespace);
        let set = answer("get replicasets", sets.get_metadata(&owner.name)).await?.metadata;
        workload(self::owner(&set, &owner.uid)?)
    }

    /// Reads the annotation of a workload.
    ///
    /// # Errors
    ///
    /// It is gone or cannot be read.
    pub(super) async fn read(&self, workload: &Workload) -> Result<Read, Trouble> {
        let wish = format!("get {}", workload.kind.resource().plural);
        let found = answer(&wish, self.api(workload.kind).get(&workload.name)).await?;
        if found.metadata.uid.as_ref() != Some(&workload.uid) || found.metadata.deletion_timestamp.is_some() {
            return Err(Trouble::Gone);
        }
        let annotations = found.data.pointer(ANNOTATIONS);
        let mark = annotations.and_then(|all| all.get(ANNOTATION)).and_then(|mark| mark.as_str());
        Ok(Read {
            mark: mark.map(str::to_owned),
            version: found.metadata.resource_version.unwrap_or_default(),
        })
    }

    /// Writes the annotation, if nobody changed the workload since it was `read`. Kubernetes then rolls it out.
    ///
    /// # Errors
    ///
    /// It was not written, or it is not known whether it was.
    pub(super) async fn write(&self, workload: &Workload, read: &Read, mark: &str) -> Result<(), Trouble> {
        let patch = json!({
            "metadata": {"resourceVersion": read.version},
            "spec": {"template": {"metadata": {"annotations": {ANNOTATION: mark}}}},
        });
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let wish = format!("patch {}", workload.kind.resource().plural);
        let (api, patch) = (self.api(workload.kind), Patch::Merge(patch));
        answer(&wish, api.patch(&workload.name, &parameters, &patch)).await.map(drop)
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace, &kind.resource())
    }
}

/// The controller of an object that has this uid.
fn owner(object: &ObjectMeta, uid: &str) -> Result<OwnerReference, Trouble> {
    if object.uid.as_deref() != Some(uid) || object.deletion_timestamp.is_some() {
        return Err(Trouble::Gone);
    }
    let owners = object.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    let none = "its pod belongs to no Deployment, StatefulSet or DaemonSet, so there is nothing to roll out";
    controller.cloned().ok_or_else(|| Trouble::Refused(none.to_owned()))
}

fn workload(owner: OwnerReference) -> Result<Workload, Trouble> {
    match Kind::named(&owner) {
        Some(kind) => Ok(Workload { kind, name: owner.name, uid: owner.uid }),
        None => Err(no_workload(&owner)),
    }
}

fn no_workload(owner: &OwnerReference) -> Trouble {
    Trouble::Refused(format!(
        "its pod belongs to {} {}, and only a Deployment, a StatefulSet or a DaemonSet is rolled out by an annotation",
        owner.kind, owner.name
    ))
}

/// Waits for one answer, until the deadline.
async fn answer<T>(wish: &str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Trouble> {
    match timeout(ANSWER, call).await {
        Ok(answer) => answer.map_err(|error| trouble(&error, wish)),
        Err(_) => Err(Trouble::Away(format!("no answer within {} s", ANSWER.as_secs()))),
    }
}

fn trouble(error: &kube::Error, wish: &str) -> Trouble {
    let kube::Error::Api(status) = error else { return Trouble::Away(told(error, wish)) };
    match status.code {
        404 => Trouble::Gone,
        409 => Trouble::Changed,
        403 if is_ending_namespace(status) => Trouble::Gone,
        403 if lacks_a_right(status) => Trouble::Refused(format!(
            "the API server forbids us to {wish}; name the namespace in restartWorkloads.namespaces of the chart ({})",
            status.message
        )),
        401 | 429 | 500.. => Trouble::Away(status.message.clone()),
        _ => Trouble::Refused(format!("the API server refuses it: {}", status.message)),
    }
}
