//! Reads the objects of a cluster that `secretfs migrate plan` judges. Reads them once and changes nothing.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::storage::v1::CSIDriver;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::classes::object::resource;
use super::pages;

/// How long all answers about one kind of object may take together.
const DEADLINE: Duration = Duration::from_secs(120);

/// The objects of a cluster that `migrate plan` judges.
#[derive(Debug, Default)]
pub struct Objects {
    /// A manifest for each object. Secrets have only metadata.
    pub manifests: Vec<String>,
    /// What could not be read, and why.
    pub unseen: Vec<String>,
}

/// Reads the classes, the pods with volumes of `driver`, the names of Secrets, and the CSIDriver object. Reads
/// `namespaces` only, or all if the list is empty.
///
/// # Errors
///
/// Classes or pods cannot be read.
pub async fn read(client: &Client, namespaces: &[String], driver: &str) -> anyhow::Result<Objects> {
    let mut objects = Objects::default();
    for namespace in scopes(namespaces) {
        let classes: Vec<DynamicObject> =
            all(&dynamic(client, namespace, &resource())).await.context("the classes")?;
        objects.manifests.extend(
            classes
                .iter()
                .map(|class| manifest("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass", class)),
        );
        let pods: Vec<Pod> = all(&typed(client, namespace)).await.context("the pods")?;
        let mounting = pods.iter().filter(|pod| mounts(pod, driver));
        objects.manifests.extend(mounting.map(|pod| manifest("v1", "Pod", pod)));
        match secret_names(client, namespace).await {
            Ok(names) => objects.manifests.extend(names),
            Err(error) => objects.unseen.push(format!("Secrets: {error:#}")),
        }
    }
    match timeout(DEADLINE, Api::<CSIDriver>::all(client.clone()).get_opt(driver)).await {
        Ok(Ok(found)) => {
            objects.manifests.extend(found.iter().map(|it| manifest("storage.k8s.io/v1", "CSIDriver", it)))
        }
        Ok(Err(error)) => objects.unseen.push(format!("CSIDriver {driver}: {error}")),
        Err(_) => objects.unseen.push(format!("CSIDriver {driver}: no answer")),
    }
    Ok(objects)
}

fn scopes(namespaces: &[String]) -> Vec<Option<&str>> {
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().map(|it| Some(it.as_str())).collect() }
}

/// The objects of `resource` in `namespace`, or in all namespaces.
pub(crate) fn dynamic(
    client: &Client,
    namespace: Option<&str>,
    resource: &ApiResource,
) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

fn typed<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The metadata of Secrets. The API server sends no values.
async fn secret_names(client: &Client, namespace: Option<&str>) -> anyhow::Result<Vec<String>> {
    let api: &Api<Secret> = &typed(client, namespace);
    let secrets = in_time(|params| async move { api.list_metadata(&params).await }).await?;
    Ok(secrets
        .iter()
        .map(|secret| json!({"kind": "Secret", "metadata": secret.metadata}).to_string())
        .collect())
}

/// Every object behind `api`.
pub(crate) async fn all<K: Clone + DeserializeOwned + std::fmt::Debug>(
    api: &Api<K>,
) -> anyhow::Result<Vec<K>> {
    in_time(|params| async move { api.list(&params).await }).await
}

/// Reads every page of a list, until the deadline.
async fn in_time<K: Clone, F>(list: impl Fn(ListParams) -> F) -> anyhow::Result<Vec<K>>
where
    F: Future<Output = kube::Result<ObjectList<K>>>,
{
    let listed = timeout(DEADLINE, pages::all(usize::MAX, list)).await;
    Ok(listed.map_err(|_| anyhow!("no answer within {} s", DEADLINE.as_secs()))??)
}

fn mounts(pod: &Pod, driver: &str) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    volumes.filter_map(|volume| volume.csi.as_ref()).any(|csi| csi.driver == driver)
}

/// The object as its author might have written it: without status, managed fields and annotations.
fn manifest(version: &str, kind: &str, object: &impl Serialize) -> String {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.remove("status");
        fields.insert("apiVersion".to_owned(), version.into());
        fields.insert("kind".to_owned(), kind.into());
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove("managedFields");
            metadata.remove("annotations");
        }
    }
    value.to_string()
}
