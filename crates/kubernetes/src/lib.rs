//! All calls to a Kubernetes API server.
//!
//! Nothing here delays a mount, with two exceptions: [`accounts`], for classes that take the role of a pod from its
//! service account, and [`pods`], for classes with access rules. Everything else that the mount path needs is in memory, and reports about mounts are sent
//! afterwards.
//!
//! This crate uses the engine, and the engine does not know it. It reports the state of volumes, so it takes
//! [`Volumes`] and other types of the engine: a trait between the two would have one implementation and would repeat
//! all these types.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

pub mod accounts;
mod backoff;
pub mod classes;
pub mod connection;
pub mod events;
#[cfg(test)]
mod fake_api;
pub mod inventory;
mod noticing;
mod pages;
pub mod pod_status;
pub mod pods;
pub mod refresh_requests;
mod refusal;
pub mod revocations;
pub mod secret_sync;
pub mod startup_taint;
pub mod survey;
pub mod view;
mod watching;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use class::Classes;
use engine::revocation::{InForce, Record};
use engine::volume::Volumes;
use engine::volume::boundary::Pods;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use metrics::Metrics;
use program::readiness::Latch;
use provider::Accounts;
use tokio_util::sync::CancellationToken;

use accounts::ServiceAccounts;
use classes::ApiClasses;
use events::Events;
use pod_status::PodStatuses;
use pods::PodBoundaries;
use revocations::{Kind, Orders};
use secret_sync::{SecretNamespaces, SecretSync};
use startup_taint::StartupTaint;

use crate::survey::{Survey, Wish};

/// How long a node that starts waits for the orders of its API server. Meanwhile programs wait that use its volumes.
pub const ORDERS: Duration = Duration::from_secs(2);

/// A task with its name.
pub type Task = (&'static str, BoxFuture<'static, ()>);

/// A node's connection to its cluster, and what it keeps of it.
pub struct Cluster {
    client: Client,
    classes: Arc<ApiClasses>,
    /// The namespaces where Secrets are made of mounted files. `None` makes no Secrets.
    secrets: Option<SecretNamespaces>,
    /// Whether requests to refresh on pods are followed.
    watches_pods: bool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster of the API server that `kubeconfig` names. Without it, the cluster in which this process is a pod.
    /// Makes no call yet.
    ///
    /// # Errors
    ///
    /// It cannot be found out which API server is meant.
    pub async fn open(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let client = connection::connect(kubeconfig).await?;
        Ok(Self { client, classes: Arc::default(), secrets: None, watches_pods: false })
    }

    /// The classes of the cluster. [`tasks`](Self::tasks) fill them.
    pub fn classes(&self) -> Arc<dyn Classes> {
        Arc::clone(&self.classes) as Arc<dyn Classes>
    }

    /// Also makes Secrets of mounted files, in these namespaces.
    #[must_use]
    pub fn making_secrets(mut self, namespaces: SecretNamespaces) -> Self {
        self.secrets = Some(namespaces);
        self
    }

    /// Also follows requests to refresh on the pods of this node.
    #[must_use]
    pub fn watching_pods(mut self, does: bool) -> Self {
        self.watches_pods = does;
        self
    }

    /// The annotations with these `names` on service accounts in `namespaces` (`*` means all).
    pub fn accounts(&self, names: BTreeSet<&'static str>, namespaces: &[String]) -> Arc<dyn Accounts> {
        Arc::new(ServiceAccounts::new(self.client.clone(), names, namespaces.to_vec()))
    }

    /// What the API server knows of pods.
    pub fn pods(&self) -> Arc<dyn Pods> {
        Arc::new(PodBoundaries::new(self.client.clone()))
    }

    /// The taint `key` of `node`.
    pub fn startup_taint(&self, node: &str, key: &str) -> StartupTaint {
        StartupTaint::new(self.client.clone(), node, key)
    }

    /// Follows the orders of the cluster to take secrets back: first those in `record`, then those that the API server
    /// tells. Returns the tasks that follow them, which run until `stop`, and a future that ends when the API server was
    /// asked, or when [`ORDERS`] is over.
    ///
    /// # Errors
    ///
    /// The record cannot be read or trusted.
    pub fn revocations(
        &self,
        record: Record,
        in_force: Arc<InForce>,
        stop: &CancellationToken,
    ) -> std::io::Result<(Vec<Task>, BoxFuture<'static, ()>)> {
        let orders = Orders::recorded(record, in_force)?;
        let follow = |kind| Arc::clone(&orders).follow(self.client.clone(), kind, stop.clone()).boxed();
        let tasks = vec![
            ("Revocations", follow(Kind::InNamespace)),
            ("ClusterRevocations", follow(Kind::InCluster)),
            ("the record of revocations", Arc::clone(&orders).keep_recorded(stop.clone()).boxed()),
        ];
        Ok((tasks, async move { orders.asked(ORDERS).await }.boxed()))
    }

    /// Asks for the objects that the driver depends on.
    pub async fn survey(&self, wish: &Wish) -> Survey {
        Survey::of(&self.client, wish).await
    }

    /// The tasks that keep the classes current, report the state of `volumes` on `node`, and make Secrets of their
    /// files. Each has a name and runs until `stop`. `filled` is set once all classes are known.
    pub fn tasks(
        self,
        volumes: &Arc<Volumes>,
        metrics: &Metrics,
        node: &str,
        filled: Latch,
        stop: &CancellationToken,
    ) -> Vec<Task> {
        let Self { client, classes, secrets, watches_pods } = self;
        let (metrics, stop) = (|| metrics.clone(), || stop.clone());
        let (events, teller) = Events::new(client.clone(), node, volumes.listen(), metrics());
        let statuses = PodStatuses::new(Arc::clone(volumes), client.clone(), node.to_owned(), metrics());
        let secrets = secrets.map(|namespaces| {
            SecretSync::new(Arc::clone(volumes), client.clone(), namespaces, teller, metrics())
        });
        let ([noticer, of_pods], requests) = noticing::requests();
        let pods = watches_pods.then(|| {
            refresh_requests::Pods::follow(of_pods, client.clone(), node.to_owned(), stop()).boxed()
        });
        let watch = classes::Watch::new(classes, client, filled, metrics(), noticer);
        let mut tasks = vec![
            ("classes", watch.run(stop()).boxed()),
            (
                "refresh requests",
                refresh_requests::Follower(requests).run(Arc::clone(volumes), stop()).boxed(),
            ),
            ("Events", events.run(stop()).boxed()),
            ("PodStatuses", statuses.run(stop()).boxed()),
        ];
        tasks.extend(pods.map(|pods| ("pods", pods)));
        tasks.extend(secrets.map(|secrets| ("Secrets", secrets.run(stop()).boxed())));
        tasks
    }
}
