//! Which versions have arrived in which containers, over a whole cluster: as the nodes told it in the statuses of pods.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::DynamicObject;
use kube::{Api, Client};
use serde::Deserialize;

pub use crate::pod_status::opened::{OpenedLast, OpenedVersion};

use crate::inventory;
use crate::pod_status::object::{NODE_LABEL, resource};
use crate::pod_status::opened::ANNOTATION;

/// What the nodes told.
#[derive(Debug, Default)]
pub struct Coverage {
    /// The mounted volumes.
    pub volumes: Vec<VolumeCoverage>,
    /// The nodes that have volumes here and are not ready, or are no nodes of the cluster any more: what they told may be
    /// old.
    pub silent: Vec<String>,
    /// Why it is not known which nodes are ready, if it is not.
    pub unseen: Option<String>,
}

/// What a node told of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeCoverage {
    /// Name of the status object.
    pub name: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// The node; `None` if its name does not fit a label.
    pub node: Option<String>,
    /// Name and version of each object that is shown.
    pub objects: Vec<(String, String)>,
    /// What was opened; `None` where nobody knows who opens what.
    pub opened: Option<OpenedLast>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    pod_name: String,
    #[serde(default)]
    mounted: bool,
    #[serde(default)]
    objects: Vec<Shown>,
}

#[derive(Debug, Deserialize)]
struct Shown {
    id: String,
    version: String,
}

/// Reads what the nodes told of `namespace`, or of all namespaces. Needs `list` on `secretproviderclasspodstatuses`; with
/// `list` on nodes it also tells which of them are silent.
///
/// # Errors
///
/// The statuses cannot be read.
pub async fn read(client: &Client, namespace: Option<&str>) -> anyhow::Result<Coverage> {
    let statuses = inventory::all(&inventory::dynamic(client, namespace, &resource())).await;
    let statuses = statuses.context("cannot read the SecretProviderClassPodStatuses")?;
    let mut volumes: Vec<_> = statuses.iter().filter_map(volume).collect();
    volumes.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let nodes: anyhow::Result<Vec<Node>> = inventory::all(&Api::all(client.clone())).await;
    Ok(match nodes {
        Ok(nodes) => Coverage { silent: silent(&volumes, &nodes), volumes, unseen: None },
        Err(error) => Coverage { volumes, silent: Vec::new(), unseen: Some(format!("{error:#}")) },
    })
}

/// What this status tells; `None` if its volume is not mounted any more.
fn volume(object: &DynamicObject) -> Option<VolumeCoverage> {
    let status: Status = serde_json::from_value(object.data.get("status")?.clone()).ok()?;
    let metadata = &object.metadata;
    let annotation = metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
    status.mounted.then(|| VolumeCoverage {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        pod: status.pod_name,
        node: metadata.labels.as_ref().and_then(|labels| labels.get(NODE_LABEL)).cloned(),
        objects: status.objects.into_iter().map(|shown| (shown.id, shown.version)).collect(),
        opened: annotation.and_then(|text| serde_json::from_str(text).ok()),
    })
}

/// The nodes of these volumes that are not known to be ready.
fn silent(volumes: &[VolumeCoverage], nodes: &[Node]) -> Vec<String> {
    let is_ready = |name: &String| {
        let mut of_name = nodes.iter().filter(|node| node.metadata.name.as_ref() == Some(name));
        of_name.any(|node| {
            let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
    };
    let mut named: Vec<_> =
        volumes.iter().filter_map(|volume| volume.node.clone()).filter(|node| !is_ready(node)).collect();
    named.sort();
    named.dedup();
    named
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(mounted: bool, annotation: Option<&str>) -> DynamicObject {
        let mut metadata = json!({"name": "web-shop-db", "namespace": "shop", "labels": {NODE_LABEL: "one"}});
        if let Some(text) = annotation {
            metadata["annotations"] = json!({ANNOTATION: text});
        }
        let objects = json!([{"id": "password", "version": "7"}]);
        let status = json!({"podName": "web", "mounted": mounted, "objects": objects});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    fn node(name: &str, ready: Option<&str>) -> Node {
        let conditions: Vec<Value> =
            ready.map(|ready| json!({"type": "Ready", "status": ready})).into_iter().collect();
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"conditions": conditions}}))
            .unwrap()
    }

    #[test]
    fn a_status_tells_what_is_shown_and_what_was_opened() {
        let opened = r#"{"since": "2026-01-01T00:00:00Z", "last": [{"object": "password", "version": "6"}]}"#;

        let told = volume(&status(true, Some(opened))).unwrap();

        assert_eq!((told.pod.as_str(), told.node.as_deref()), ("web", Some("one")));
        assert_eq!(told.objects, [("password".to_owned(), "7".to_owned())]);
        assert_eq!(told.opened.unwrap().last[0].version, "6");
        assert!(volume(&status(false, Some(opened))).is_none(), "it is not mounted any more");
        for unknown in [None, Some("{"), Some("[]"), Some(r#"{"since": 1}"#)] {
            assert_eq!(volume(&status(true, unknown)).unwrap().opened, None, "{unknown:?}");
        }
    }

    #[test]
    fn a_node_that_is_not_ready_or_not_there_is_silent() {
        let volumes = [volume(&status(true, None)).unwrap()];
        for (nodes, is_silent) in [
            (vec![node("one", Some("True"))], false),
            (vec![node("one", Some("Unknown"))], true),
            (vec![node("one", None)], true),
            (vec![node("other", Some("True"))], true),
            (vec![], true),
        ] {
            assert_eq!(silent(&volumes, &nodes) == ["one"], is_silent, "{nodes:?}");
        }
    }
}
