//! Everything that is said to a Kubernetes API server.
//!
//! Nothing here delays a mount, but for [`accounts`] of classes that leave it to them whom a pod reads as: what else the
//! mount path needs is in memory, and reports about it are sent afterwards.

pub mod accounts;
mod backoff;
pub mod classes;
pub mod connection;
pub mod events;
#[cfg(test)]
mod fake_api;
pub mod inventory;
mod pages;
pub mod pod_status;
pub mod secret_sync;
pub mod startup_taint;
pub mod survey;
pub mod view;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use kube::Client;
use kube::core::Status;
use provider::Accounts;

use crate::admin::http::Latch;
use crate::class::Classes;
use crate::kubernetes::survey::{Survey, Wish};
use crate::process::Process;
use accounts::ServiceAccounts;
use classes::ApiClasses;
use events::Events;
use pod_status::PodStatuses;
use secret_sync::{SecretNamespaces, SecretSync};
use startup_taint::StartupTaint;

/// What a node has of its cluster.
pub struct Cluster {
    client: Client,
    classes: Arc<ApiClasses>,
    /// Where Secrets are made of mounted files, if anywhere.
    secrets: Option<SecretNamespaces>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster of the API server that `kubeconfig` names, or the one in which this process is a pod.
    /// Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// There is no telling which API server is meant.
    pub async fn open(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let client = connection::connect(kubeconfig).await?;
        Ok(Self { client, classes: Arc::default(), secrets: None })
    }

    /// The classes of the cluster, once [`attach`](Self::attach) has begun to learn of them.
    pub fn classes(&self) -> Arc<dyn Classes> {
        Arc::clone(&self.classes) as Arc<dyn Classes>
    }

    /// Makes Secrets of mounted files too, there.
    #[must_use]
    pub fn making_secrets(mut self, namespaces: SecretNamespaces) -> Self {
        self.secrets = Some(namespaces);
        self
    }

    /// What service accounts of `namespaces` (`*` is each) have in their annotations of these `names`.
    pub fn accounts(&self, names: BTreeSet<&'static str>, namespaces: &[String]) -> Arc<dyn Accounts> {
        Arc::new(ServiceAccounts::new(self.client.clone(), names, namespaces.to_vec()))
    }

    /// The taint `key` of `node`.
    pub fn startup_taint(&self, node: &str, key: &str) -> StartupTaint {
        StartupTaint::new(self.client.clone(), node, key)
    }

    /// What the API server tells of the objects that the driver depends on.
    pub async fn survey(&self, wish: &Wish) -> Survey {
        Survey::of(&self.client, wish).await
    }

    /// Adds to `process`, which serves `node`, what keeps the classes current, what tells of volumes, and what makes
    /// Secrets of them. `filled` is met once the classes are complete.
    pub fn attach(self, process: &mut Process, node: &str, filled: Latch) {
        let (client, metrics, volumes) = (self.client, process.metrics.clone(), Arc::clone(&process.volumes));
        let watch = classes::Watch::new(self.classes, client.clone(), filled, metrics.clone());
        let (events, teller) = Events::new(client.clone(), node, volumes.listen(), metrics.clone());
        if let Some(namespaces) = self.secrets {
            let sync =
                SecretSync::new(Arc::clone(&volumes), client.clone(), namespaces, teller, metrics.clone());
            process.keep("Secrets", sync.run(process.stop.clone()));
        }
        let statuses = PodStatuses::new(volumes, client, node.to_owned(), metrics);
        process.keep("classes", watch.run(process.stop.clone()));
        process.keep("Events", events.run(process.stop.clone()));
        process.keep("PodStatuses", statuses.run(process.stop.clone()));
    }
}

/// What an API server's refusal or silence means, and what to do. `wish` says what was asked of it.
fn told(error: &kube::Error, wish: &str) -> String {
    match error {
        kube::Error::Api(status) if is_ending_namespace(status) => {
            format!("its namespace is being terminated, and takes nothing new ({})", status.message)
        }
        kube::Error::Api(status) if status.code == 403 && lacks_a_right(status) => {
            format!("it forbids us to {wish}; grant that in the driver's ClusterRole ({})", status.message)
        }
        kube::Error::Api(status) if status.code == 403 => {
            format!("it refuses what we sent to {wish}, and not for want of a right: {}", status.message)
        }
        kube::Error::Api(status) if status.code == 404 => {
            format!("it knows no such resource as we need to {wish}; install the CRDs ({})", status.message)
        }
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => innermost(other),
    }
}

/// Whether the namespace is on its way out: nothing is wrong then, and nothing can be done.
fn is_ending_namespace(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        || status.code == 403 && status.message.ends_with("because it is being terminated")
}

/// Whether authorization said no. Admission, quotas and ends of namespaces answer 403 as well, in other words.
fn lacks_a_right(status: &Status) -> bool {
    let words = [" cannot ", " resource "];
    words.iter().all(|word| status.message.contains(word))
}

/// The cause that says most: outer errors repeat that a request failed.
fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(message: &str, details: &serde_json::Value) -> String {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden",
            "code": 403, "message": message, "details": details,
        });
        told(&kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())), "create events")
    }

    #[test]
    fn only_what_authorization_refused_is_told_as_a_missing_right() {
        let right = r#"events.events.k8s.io is forbidden: User "system:serviceaccount:kube-system:secretfs" cannot create resource "events" in API group "events.k8s.io" in the namespace "shop""#;
        let ending = r#"events.events.k8s.io "x" is forbidden: unable to create new content in namespace shop because it is being terminated"#;
        let causes =
            serde_json::json!({"causes": [{"reason": "NamespaceTerminating", "message": "it goes"}]});
        let quota = r#"secrets "x" is forbidden: exceeded quota: few, requested: count/secrets=1, used: count/secrets=3, limited: count/secrets=3"#;
        let none = serde_json::json!({});

        assert!(told_of(right, &none).contains("grant that in the driver's ClusterRole"));
        for told in [told_of(ending, &none), told_of("no", &causes)] {
            assert!(told.contains("is being terminated") && !told.contains("ClusterRole"), "{told}");
        }
        let told = told_of(quota, &none);
        assert!(told.contains("exceeded quota") && !told.contains("ClusterRole"), "{told}");
    }
}
