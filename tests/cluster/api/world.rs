//! A real API server, a node that uses it, and an embedded store for the node's volumes.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use testing::{Cluster, PodVolume, RunningNode, Scope};

use crate::embedded::Store;

/// How long a change may take. A node notices within half a minute that an API server is back.
pub(super) const SOON: Duration = Duration::from_secs(60);

pub(super) const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");

/// An API server with our custom resources, for tests that do not stop it. Each test has a namespace of its own.
pub(crate) static SHARED: LazyLock<Cluster> = LazyLock::new(api_server);

/// A new API server with our custom resources.
pub(crate) fn api_server() -> Cluster {
    let cluster = Cluster::start(Scope::ApiServer);
    cluster.define(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds"));
    cluster
}

/// A node, its store, and the namespace of its pods.
pub(super) struct World {
    pub(super) node: RunningNode,
    pub(super) store: Store,
    pub(super) namespace: &'static str,
}

impl World {
    /// A node that uses `cluster`. Its store has the item `api` with the value `one` in `namespace`.
    pub(super) async fn start(cluster: &Cluster, namespace: &'static str) -> Self {
        Self::start_with(cluster, namespace, &[]).await
    }

    /// The same, with more flags for the node.
    pub(super) async fn start_with(cluster: &Cluster, namespace: &'static str, flags: &[&str]) -> Self {
        cluster.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"));
        let store = Store::init();
        store.put_json(namespace, "api", &serde_json::json!({"value": "one"}));
        let mut node = RunningNode::prepare(SECRETFS, &[&["--store", store.path()], flags].concat());
        node.ask(cluster.kubeconfig());
        node.start_node().await;
        Self { node, store, namespace }
    }

    /// A pod of the namespace with a volume of `class`.
    pub(super) fn pod(&self, name: &str, class: &str) -> PodVolume {
        PodVolume { namespace: self.namespace.to_owned(), ..PodVolume::new(name, class) }
    }

    /// A class that shows item `api` as `file`.
    pub(super) fn class(&self, version: &str, name: &str, file: &str) -> String {
        let namespace = self.namespace;
        format!(
            "apiVersion: secrets-store.csi.x-k8s.io/{version}
kind: SecretProviderClass
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  provider: secretfs
  parameters:
    secretfs.dev/refresh: 1s
    objects: |
      - {{objectName: {file}, item: api}}
"
        )
    }

    /// Publishes until it succeeds, because a new class takes a moment to reach the node.
    pub(super) async fn published(&self, pod: &PodVolume) {
        let begun = Instant::now();
        while let Err(status) = self.node.publish(pod).await {
            assert!(begun.elapsed() < SOON, "{status}\n{}", self.node.log());
        }
    }
}

/// `secretfs` with the rights of this kubeconfig's user: what it printed, or why it failed.
pub(super) fn secretfs(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(SECRETFS).args(arguments).env("KUBECONFIG", cluster.kubeconfig()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Another node of the same cluster, with the same store.
pub(super) async fn another(cluster: &Cluster, world: &World, name: &str) -> RunningNode {
    let mut node = RunningNode::prepare(SECRETFS, &["--store", world.store.path()]);
    node.call(name);
    node.ask(cluster.kubeconfig());
    node.use_mounter();
    node.start_node().await;
    node
}
