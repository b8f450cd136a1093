//! The taint that keeps pods off a node until the driver is registered there.
//!
//! Nodes start with the taint (kubelet's `--register-with-taints`, or the settings of a node pool). When the driver is
//! registered, it removes the taint from its own node, and changes nothing else.

use std::fmt;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::connection::ANSWER;
use super::refusal::told;

/// The taint, and the node from which it is removed.
pub struct StartupTaint {
    nodes: Api<DynamicObject>,
    node: String,
    key: String,
}

impl fmt::Debug for StartupTaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StartupTaint({} of {})", self.key, self.node)
    }
}

impl StartupTaint {
    /// All taints of `node` with this `key`, with any value and effect. Makes no call yet.
    pub fn new(client: Client, node: &str, key: &str) -> Self {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Node"), "nodes");
        Self { nodes: Api::all_with(client, &resource), node: node.to_owned(), key: key.to_owned() }
    }

    /// Removes the taint. Tries until it is gone. Logs the first failure, such as an API server that does not answer or
    /// a missing right.
    pub async fn remove(&self) {
        let mut backoff = Backoff::default();
        while let Err(why) = self.try_remove().await {
            if !backoff.is_failing() {
                tracing::warn!(node = self.node, taint = self.key, why, "the startup taint stays for now");
            }
            let pause: Duration = backoff.failed();
            sleep(pause).await;
        }
    }

    async fn try_remove(&self) -> Result<(), String> {
        // An empty patch changes nothing and returns the node. So we need no right to read nodes, which could not be
        // limited to this node.
        let node = self.patch(&json!({})).await?;
        let Some(patch) = without(&node.data, node.metadata.resource_version.as_deref(), &self.key) else {
            return Ok(());
        };
        self.patch(&patch).await?;
        tracing::info!(node = self.node, taint = self.key, "removed the startup taint: pods may come");
        Ok(())
    }

    async fn patch(&self, patch: &Value) -> Result<DynamicObject, String> {
        let parameters = PatchParams::default();
        let patch = Patch::Merge(patch);
        let asked = self.nodes.patch(&self.node, &parameters, &patch);
        let answered =
            timeout(ANSWER, asked).await.map_err(|_| "the API server does not answer".to_owned())?;
        answered.map_err(|error| told(&error, "patch this node"))
    }
}

/// The merge patch that removes the taints with `key` from a node. `None` if it has none. The API server refuses the
/// patch if somebody changed the node meanwhile.
fn without(node: &Value, version: Option<&str>, key: &str) -> Option<Value> {
    let taints = node.pointer("/spec/taints")?.as_array()?;
    let others: Vec<_> = taints.iter().filter(|taint| taint["key"] != key).collect();
    let is_there = others.len() < taints.len();
    is_there.then(|| json!({"metadata": {"resourceVersion": version}, "spec": {"taints": others}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_taint_is_taken_away_and_only_from_the_node_that_was_seen() {
        let node = json!({"spec": {"taints": [
            {"key": "other", "effect": "NoExecute"},
            {"key": "csi.secretfs.dev/agent-not-ready", "effect": "NoSchedule"},
            {"key": "csi.secretfs.dev/agent-not-ready", "effect": "NoExecute"},
        ]}});

        let patch = without(&node, Some("7"), "csi.secretfs.dev/agent-not-ready").unwrap();

        assert_eq!(patch["spec"]["taints"], json!([{"key": "other", "effect": "NoExecute"}]));
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn a_node_without_the_taint_is_left_alone() {
        for node in [json!({}), json!({"spec": {}}), json!({"spec": {"taints": [{"key": "other"}]}})] {
            assert_eq!(without(&node, Some("7"), "mine"), None, "{node}");
        }
    }
}
