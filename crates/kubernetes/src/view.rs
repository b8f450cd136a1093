//! Reads the pods that mount classes, and the pods of the driver, for `kubectl secretfs`. Reads once and changes
//! nothing.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ListParams, ObjectList};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::timeout;

use super::pages;
use super::pod_status::object::{NODE_LABEL, resource};

/// How long all answers about one kind of object may take together.
const DEADLINE: Duration = Duration::from_secs(60);
/// Most pages of one kind of object. With 500 objects each, this is more than any cluster has pods.
const MOST_PAGES: usize = 400;
/// The labels that the chart gives the pods of the driver.
const DRIVER_PODS: &str = "app.kubernetes.io/name=secretfs,app.kubernetes.io/component=node";

/// What a SecretProviderClassPodStatus says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodStatus {
    /// Namespace of the pod and of the class.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the class.
    pub class: String,
    /// Name of the node, if the status says it.
    pub node: Option<String>,
    /// Whether the volume is mounted.
    pub mounted: bool,
    /// The names of the objects and their versions.
    pub objects: Vec<(String, String)>,
}

/// A pod of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverPod {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Name of the node that the pod runs on.
    pub node: String,
}

/// The statuses of `namespace`, or of all namespaces.
///
/// # Errors
///
/// The statuses cannot be listed in time.
pub async fn statuses(client: &Client, namespace: Option<&str>) -> anyhow::Result<Vec<PodStatus>> {
    let resource = resource();
    let api: &Api<DynamicObject> = &match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let objects = in_time(|params| async move { api.list(&params).await })
        .await
        .context("the SecretProviderClassPodStatuses")?;
    Ok(objects.iter().filter_map(status).collect())
}

/// The running pods of the driver on all nodes. Only those of `namespace`, because anybody may give the labels to a pod
/// in another namespace.
///
/// # Errors
///
/// Pods cannot be listed in time.
pub async fn driver_pods(client: &Client, namespace: &str) -> anyhow::Result<Vec<DriverPod>> {
    let api: &Api<Pod> = &Api::namespaced(client.clone(), namespace);
    let list = |params: ListParams| async move { api.list(&params.labels(DRIVER_PODS)).await };
    let pods = in_time(list).await.context("the driver's pods")?;
    Ok(pods.into_iter().filter_map(driver_pod).collect())
}

async fn in_time<K: Clone, F>(list: impl Fn(ListParams) -> F) -> anyhow::Result<Vec<K>>
where
    F: Future<Output = kube::Result<ObjectList<K>>>,
{
    let listed = timeout(DEADLINE, pages::all(MOST_PAGES, list)).await;
    Ok(listed.map_err(|_| anyhow!("no answer within {} s", DEADLINE.as_secs()))??)
}

fn status(object: &DynamicObject) -> Option<PodStatus> {
    let said = object.data.get("status")?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let version = |item: &Value| Some((text(item, "id")?, text(item, "version").unwrap_or_default()));
    let objects = said.get("objects").and_then(Value::as_array).into_iter().flatten();
    Some(PodStatus {
        namespace: object.metadata.namespace.clone()?,
        pod: text(said, "podName")?,
        class: text(said, "secretProviderClassName")?,
        node: object.metadata.labels.as_ref().and_then(|labels| labels.get(NODE_LABEL)).cloned(),
        mounted: said.get("mounted").and_then(Value::as_bool).unwrap_or_default(),
        objects: objects.filter_map(version).collect(),
    })
}

fn driver_pod(pod: Pod) -> Option<DriverPod> {
    let is_running = pod.status.as_ref()?.phase.as_deref() == Some("Running");
    let found = DriverPod {
        namespace: pod.metadata.namespace?,
        name: pod.metadata.name?,
        node: pod.spec.and_then(|spec| spec.node_name)?,
    };
    is_running.then_some(found)
}
