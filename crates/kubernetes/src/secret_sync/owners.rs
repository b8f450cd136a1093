//! The owners of Secrets: whatever owns the pods. The API server is asked once for each pod.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use provider::Pod;
use tokio::time::Instant;

use super::cluster::{Cluster, Trouble};

/// The API server's answer about a pod.
#[derive(Debug, Clone)]
struct Told {
    at: Instant,
    /// `None` if the pod is gone.
    owners: Option<Vec<OwnerReference>>,
}

/// What is known of the pods of this node, by uid.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<HashMap<String, Told>>);

impl Owners {
    /// The owners of a Secret that these pods of one namespace use. Answers older than `age` are asked again, because a
    /// pod may be gone; while a pod lives, its owners do not change.
    ///
    /// # Errors
    ///
    /// The API server could not be asked about a pod.
    pub(super) async fn of(
        &self,
        cluster: &Cluster,
        namespace: &str,
        pods: &[Pod],
        age: Option<Duration>,
    ) -> Result<Vec<OwnerReference>, Trouble> {
        let mut owners: Vec<OwnerReference> = Vec::new();
        for pod in pods {
            for owner in self.of_one(cluster, namespace, pod, age).await?.into_iter().flatten() {
                if !owners.iter().any(|known| known.uid == owner.uid) {
                    owners.push(owner);
                }
            }
        }
        Ok(owners)
    }

    async fn of_one(
        &self,
        cluster: &Cluster,
        namespace: &str,
        pod: &Pod,
        age: Option<Duration>,
    ) -> Result<Option<Vec<OwnerReference>>, Trouble> {
        let young = |told: &Told| age.is_none_or(|age| told.at.elapsed() <= age);
        if let Some(told) = self.lock().get(&pod.uid).filter(|told| young(told)) {
            return Ok(told.owners.clone());
        }
        let owners = cluster.owners(namespace, pod).await?;
        self.lock().insert(pod.uid.clone(), Told { at: Instant::now(), owners: owners.clone() });
        Ok(owners)
    }

    /// Forgets all pods but these, by uid.
    pub(super) fn retain(&self, pods: &BTreeSet<String>) {
        self.lock().retain(|uid, _| pods.contains(uid));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
