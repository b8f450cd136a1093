//! Where the classes and the orders of a node come from: files, or an API server.

use std::sync::Arc;

use anyhow::Context as _;
use class::{Classes, WatchedClasses};
use engine::revocation::{InForce, Record};
use engine::volume::boundary::Pods;
use kubernetes::Cluster;
use kubernetes::restarts::Grant;
use kubernetes::startup_taint::StartupTaint;
use program::readiness::Readiness;
use provider::Accounts;

use super::NodeArgs;
use crate::process::Process;
use crate::providers::annotations;

/// Where the classes come from.
pub(super) enum Origin {
    /// Files, and the watch on them.
    Directory(Arc<WatchedClasses>, Box<class::Watch>),
    /// The API server of a cluster, which is watched.
    Cluster(Cluster),
}

impl Origin {
    pub(super) async fn open(args: &NodeArgs) -> anyhow::Result<Self> {
        let Some(directory) = &args.classes else {
            let cluster = Cluster::open(args.kubeconfig.as_deref()).await?;
            let cluster = cluster.watching_pods(args.refresh_requests_on_pods).restarting_workloads(Grant {
                namespaces: args.restart_workloads.iter().cloned().collect(),
                every: args.restart_workloads_every,
            });
            let namespaces = args.sync_secrets_namespace.iter().cloned().collect();
            return Ok(Self::Cluster(if args.sync_secrets {
                cluster.making_secrets(namespaces)
            } else {
                cluster
            }));
        };
        let (classes, watch) = WatchedClasses::directory(directory)
            .with_context(|| format!("the directory of classes {}", directory.display()))?;
        Ok(Self::Directory(classes, Box::new(watch)))
    }

    pub(super) fn classes(&self) -> Arc<dyn Classes> {
        match self {
            Self::Directory(classes, _) => Arc::clone(classes) as Arc<dyn Classes>,
            Self::Cluster(cluster) => cluster.classes(),
        }
    }

    /// Whom stores ask about service accounts, where that is wished.
    pub(super) fn accounts(&self, args: &NodeArgs) -> Option<Arc<dyn Accounts>> {
        let namespaces =
            Some(&args.service_account_annotations).filter(|namespaces| !namespaces.is_empty())?;
        match self {
            Self::Directory(..) => None,
            Self::Cluster(cluster) => Some(cluster.accounts(annotations(), namespaces)),
        }
    }

    /// Whom volumes of classes with access rules ask about their pods.
    pub(super) fn pods(&self) -> Option<Arc<dyn Pods>> {
        match self {
            Self::Directory(..) => None,
            Self::Cluster(cluster) => Some(cluster.pods()),
        }
    }

    pub(super) fn startup_taint(&self, args: &NodeArgs) -> Option<StartupTaint> {
        match (self, &args.startup_taint) {
            (Self::Cluster(cluster), Some(key)) => Some(cluster.startup_taint(&args.node_name, key)),
            _ => None,
        }
    }

    /// Follows the revocations of the cluster from now on: those that were recorded, until the API server tells. Waits a
    /// moment for that, since no volume of an earlier process may be served before.
    pub(super) async fn follow_revocations(
        &self,
        args: &NodeArgs,
        in_force: &Arc<InForce>,
        process: &mut Process,
    ) -> anyhow::Result<()> {
        let Self::Cluster(cluster) = self else { return Ok(()) };
        let record = Record::at(args.process.state_dir.join("revocations.json"));
        let (tasks, told) = cluster.revocations(record, Arc::clone(in_force), &process.stop)?;
        tasks.into_iter().for_each(|(name, task)| process.keep(name, task));
        told.await;
        Ok(())
    }

    /// Adds to `process` the tasks that keep the classes of `node` current, and those that tell a cluster about volumes.
    pub(super) fn attach(self, process: &mut Process, node: &str, readiness: &Readiness) {
        match self {
            Self::Directory(_, watch) => process.keep("class files", watch.run(process.stop.clone())),
            Self::Cluster(cluster) => {
                let filled = readiness.latch("classes");
                let tasks = cluster.tasks(&process.volumes, &process.metrics, node, filled, &process.stop);
                tasks.into_iter().for_each(|(name, task)| process.keep(name, task));
            }
        }
    }
}
