//! The servers, the node and the pods that the rows work with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use csi_proto::csi::NodePublishVolumeRequest;
use csi_proto::csi::NodeUnpublishVolumeRequest;
use csi_proto::csi::node_client::NodeClient;
use futures::stream::{self, StreamExt};
use provider_store::{Anchor, Item, RootKeySource, Store, Values};
use rustix::mount::MountFlags;
use serde_json::{Value, json};
use testing::{Claims, Cluster, Issuer, OpenBao, PodVolume, RunningNode, Scope};
use tonic::transport::Channel;

use crate::floor::{Asked, BareStore, Kernel};
use crate::measure::{Samples, timed};

/// Secrets of a full volume.
pub(crate) const FILES: usize = 10;
/// Volumes of a full node.
pub(crate) const VOLUMES: usize = 200;
/// Calls in flight where there are many.
pub(crate) const IN_FLIGHT: usize = 16;

const ROLE: &str = "bench";
const NAMESPACE: &str = "shop";

/// Whose the pods of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identities {
    /// Each pod logs in for itself, at a mount that tells pods apart.
    Many,
    /// All are of one service account, at a mount that judges service accounts.
    One,
}

/// What everything runs against.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) bao: OpenBao,
    pub(crate) kernel: Kernel,
    issuer: Issuer,
    binary: String,
    /// Whether a mounter runs beside the node.
    mounter: bool,
    embedded: tempfile::TempDir,
}

/// A place in OpenBao's audit log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

/// Store calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) logins: usize,
    pub(crate) reads: usize,
}

impl std::fmt::Display for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} logins, {} reads", self.logins, self.reads)
    }
}

impl World {
    pub(crate) fn new(binary: &Path, mounter: bool) -> Self {
        let (bao, issuer) = (OpenBao::start(), Issuer::start());
        bao.mount_kv2("secret");
        bao.auth_kubernetes("kubernetes", &issuer);
        bao.auth_jwt("jwt", &issuer);
        bao.policy(ROLE, &[("secret/data/bench/*", &["read"])]);
        bao.write(
            &format!("auth/kubernetes/role/{ROLE}"),
            &json!({
                "bound_service_account_names": "*", "bound_service_account_namespaces": NAMESPACE,
                "audience": "vault", "token_policies": ROLE, "token_ttl": "1h",
            }),
        );
        bao.write(
            &format!("auth/jwt/role/{ROLE}"),
            &json!({
                "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
                "token_policies": ROLE, "token_ttl": "1h",
            }),
        );
        let embedded = tempfile::Builder::new().prefix("secretfs-store").tempdir().expect("a directory");
        Store::init(&embedded.path().join("store"), &root_key(embedded.path())).expect("a store");
        let (kernel, binary) = (Kernel::new(), binary.display().to_string());
        let world = Self { bao, kernel, issuer, binary, mounter, embedded };
        world.put(1);
        world.put_embedded(1);
        world
    }

    pub(crate) fn binary(&self) -> PathBuf {
        self.binary.clone().into()
    }

    pub(crate) fn openbao_version(&self) -> String {
        self.bao.read("sys/health")["version"].as_str().unwrap_or("of unknown version").to_owned()
    }

    /// Writes version `version` of every secret to OpenBao.
    pub(crate) fn put(&self, version: usize) {
        (0..FILES).for_each(|file| self.bao.put("secret", &path(file), &json!({"value": value(version)})));
    }

    /// The same to the embedded store: one item with a key for each file.
    pub(crate) fn put_embedded(&self, version: usize) {
        self.put_item("bench", (0..FILES).map(|file| (name(file), value(version))));
    }

    /// Puts an item with these keys in the embedded store.
    pub(crate) fn put_item(&self, item: &str, keys: impl Iterator<Item = (String, String)>) {
        let directory = self.embedded.path().join("store");
        let root = root_key(self.embedded.path());
        let mut store = Store::open(&directory, &Anchor::new(root)).expect("the store");
        let item =
            Item { namespace: NAMESPACE.parse().expect("a name"), name: item.parse().expect("a name") };
        let values = keys.map(|(key, value)| (key.parse().expect("a name"), value.into()));
        let values = Values::new(values.collect()).expect("values");
        store.put(&item, None, &values).expect("to put");
    }

    /// A node without volumes. `refresh` is that of its classes.
    pub(crate) fn prepare(&self, refresh: &str) -> RunningNode {
        let mut node = RunningNode::prepare(&self.binary, &[]);
        // As `/run` is, where a node keeps its state.
        rustix::mount::mount("tmpfs", node.path("state"), "tmpfs", MountFlags::empty(), None)
            .expect("root, to mount");
        node.log_level("info");
        node.flag("--store", &self.embedded.path().join("store").display().to_string());
        node.flag("--root-key", &self.embedded.path().join("root.key").display().to_string());
        node.class("one-many", &self.vault_class("one-many", "jwt", 1, refresh));
        node.class("ten-many", &self.vault_class("ten-many", "jwt", FILES, refresh));
        node.class("ten-one", &self.vault_class("ten-one", "kubernetes", FILES, refresh));
        node.class("ten-embedded", &embedded_class(refresh));
        if self.mounter {
            node.use_mounter();
        }
        node
    }

    /// The same, serving.
    pub(crate) async fn node(&self, refresh: &str) -> Bench<'_> {
        self.serving(self.prepare(refresh)).await
    }

    /// The same with a mounter beside it, as it is deployed.
    pub(crate) async fn node_and_mounter(&self, refresh: &str) -> Bench<'_> {
        self.serving(self.prepare_with_mounter(refresh)).await
    }

    /// The same, asking this API server for its classes.
    pub(crate) async fn node_in(&self, cluster: &Cluster, refresh: &str) -> Bench<'_> {
        let mut node = self.prepare_with_mounter(refresh);
        node.ask(cluster.kubeconfig());
        self.serving(node).await
    }

    /// A node and its mounter, without volumes.
    pub(crate) fn prepare_with_mounter(&self, refresh: &str) -> RunningNode {
        let mut node = self.prepare(refresh);
        if !self.mounter {
            node.use_mounter();
        }
        node
    }

    /// An API server with so many classes of ten objects.
    pub(crate) fn cluster_with_classes(&self, count: usize) -> Cluster {
        let cluster = Cluster::start(Scope::ApiServer);
        cluster.define(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds"));
        cluster.kubectl(&["create", "namespace", NAMESPACE]);
        let classes = (0..count).map(|n| self.vault_class(&watched_class(n), "jwt", FILES, "1h"));
        cluster.apply(&classes.collect::<Vec<_>>().join("---\n"));
        cluster
    }

    /// A node that is prepared, serving.
    pub(crate) async fn serving(&self, mut node: RunningNode) -> Bench<'_> {
        node.start_node().await;
        Bench { client: node.client().await, node, world: self }
    }

    fn vault_class(&self, name: &str, method: &str, files: usize, refresh: &str) -> String {
        let objects: String = (0..files)
            .map(|file| {
                let (object, path) = (self::name(file), path(file));
                format!(
                    "      - {{objectName: {object}, secretPath: secret/data/{path}, secretKey: value}}\n"
                )
            })
            .collect();
        let address = self.bao.address();
        format!(
            "{HEAD}{{name: {name}, namespace: {NAMESPACE}}}\nspec:\n  provider: vault\n  parameters:\n    \
             vaultAddress: {address}\n    vaultAuthMountPath: {method}\n    roleName: {ROLE}\n    \
             audience: vault\n    secretfs.dev/auth: {method}\n    secretfs.dev/refresh: {refresh}\n    \
             objects: |\n{objects}"
        )
    }

    /// Pod `index` of a row, whose volume shows class `class`.
    pub(crate) fn pod(&self, row: &str, index: usize, class: &str) -> PodVolume {
        let pod = format!("{row}-{index}");
        let token = self.token(&pod);
        PodVolume::new(&pod, class).token("vault", token)
    }

    pub(crate) fn pods(&self, row: &str, count: usize, class: &str) -> Vec<PodVolume> {
        (0..count).map(|index| self.pod(row, index, class)).collect()
    }

    pub(crate) fn token(&self, pod: &str) -> String {
        self.token_of(NAMESPACE, "shop", pod)
    }

    /// The token that kubelet would bring for a pod of this namespace and service account.
    pub(crate) fn token_of(&self, namespace: &str, account: &str, pod: &str) -> String {
        self.issuer.mint(&Claims::of(namespace, account).pod(pod).seconds(3600))
    }

    /// A bare store and what it is asked for a volume of `files` with `jwt`.
    pub(crate) async fn bare(&self) -> BareStore {
        BareStore::connect(&self.bao.address(), IN_FLIGHT).await
    }

    /// Now, for [`calls_since`](Self::calls_since).
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.bao.audit_lines())
    }

    /// Store calls since then, from OpenBao's audit log.
    pub(crate) fn calls_since(&self, mark: Mark) -> Calls {
        let audit = self.bao.audit_after(mark.0);
        let asked = |operation: &str, path: fn(&str) -> bool| {
            let requests =
                audit.iter().filter(|entry| entry["type"] == "request").map(|entry| &entry["request"]);
            let meant = |request: &&Value| request["path"].as_str().is_some_and(path);
            requests.filter(|request| request["operation"] == operation).filter(meant).count()
        };
        Calls {
            logins: asked("update", |path| path.starts_with("auth/") && path.ends_with("/login")),
            reads: asked("read", |path| path.starts_with("secret/data/bench/")),
        }
    }
}

/// Paths that a volume of `files` reads, below `v1/`.
pub(crate) fn paths(files: usize) -> Vec<String> {
    (0..files).map(|file| format!("secret/data/{}", path(file))).collect()
}

pub(crate) fn asked<'a>(jwt: &'a str, paths: &'a [String]) -> Asked<'a> {
    Asked { login: "auth/jwt/login", role: ROLE, jwt, paths }
}

/// What every file holds at `version`: 64 bytes.
pub(crate) fn value(version: usize) -> String {
    format!("{version:064}")
}

/// The name of a class in a cluster.
pub(crate) fn watched_class(index: usize) -> String {
    format!("watched-{index}")
}

pub(crate) fn name(file: usize) -> String {
    format!("o{file}")
}

fn path(file: usize) -> String {
    format!("bench/{}", name(file))
}

fn root_key(directory: &Path) -> RootKeySource {
    RootKeySource::File(directory.join("root.key"))
}

const HEAD: &str = "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: ";

fn embedded_class(refresh: &str) -> String {
    let objects: String = (0..FILES)
        .map(|file| format!("      - {{objectName: {0}, item: bench, key: {0}}}\n", name(file)))
        .collect();
    format!(
        "{HEAD}{{name: ten-embedded, namespace: {NAMESPACE}}}\nspec:\n  provider: secretfs\n  parameters:\n    \
         secretfs.dev/refresh: {refresh}\n    objects: |\n{objects}"
    )
}

/// A class of mode fuse that lets a container `web` open its one file, of the item `page`.
pub(crate) fn judged_class() -> String {
    format!(
        "{HEAD}{{name: judged, namespace: {NAMESPACE}}}\nspec:\n  provider: secretfs\n  parameters:\n    \
         secretfs.dev/mode: fuse\n    secretfs.dev/access-unsafe: allow\n    secretfs.dev/access: |\n      \
         - {{containers: [web], paths: [\"**\"]}}\n    objects: |\n      \
         - {{objectName: value, item: page, key: value}}\n"
    )
}

/// A running node and a connection to it that is kept.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) node: RunningNode,
    pub(crate) client: NodeClient<Channel>,
    world: &'a World,
}

impl Bench<'_> {
    /// A request for `pod`, whose directory is made as kubelet makes it.
    pub(crate) fn request(&self, pod: &PodVolume) -> NodePublishVolumeRequest {
        testing::prepare_target(&self.node.target(pod), testing::DRIVER);
        self.node.request(pod)
    }

    /// Requests for `pods`. What kubelet does before its call is neither ours to be measured, nor done between two calls:
    /// a processor that did other work meanwhile answers the next call later.
    pub(crate) fn requests(&self, pods: &[PodVolume]) -> Vec<NodePublishVolumeRequest> {
        pods.iter().map(|pod| self.request(pod)).collect()
    }

    /// How long the publish call alone takes.
    pub(crate) async fn publish(&self, request: NodePublishVolumeRequest) -> Duration {
        let mut client = self.client.clone();
        let (answer, took) = timed(client.node_publish_volume(request)).await;
        answer.unwrap_or_else(|status| panic!("{status}\n{}", self.node.log()));
        took
    }

    /// Publishes `pods`, so many at a time. How long each call takes, and all of them.
    pub(crate) async fn publish_all(&self, pods: &[PodVolume], in_flight: usize) -> (Samples, Duration) {
        let requests = self.requests(pods);
        let calls = stream::iter(requests).map(|request| self.publish(request)).buffer_unordered(in_flight);
        let (each, all) = timed(calls.collect::<Vec<_>>()).await;
        (each.into_iter().collect(), all)
    }

    pub(crate) async fn unpublish(&self, pod: &PodVolume) -> Duration {
        let mut client = self.client.clone();
        let target_path = self.node.target(pod).display().to_string();
        let request = NodeUnpublishVolumeRequest { volume_id: pod.id(), target_path };
        let (answer, took) = timed(client.node_unpublish_volume(request)).await;
        answer.expect("to unpublish");
        took
    }

    pub(crate) async fn unpublish_all(&self, pods: &[PodVolume]) -> Samples {
        let mut samples = Samples::default();
        for pod in pods {
            samples.add(self.unpublish(pod).await);
        }
        samples
    }

    /// Panics unless every file of every volume holds `wanted`.
    pub(crate) fn verify(&self, pods: &[PodVolume], files: usize, wanted: &str) {
        for pod in pods {
            for file in 0..files {
                let text = self.node.text(pod, &name(file));
                assert_eq!(text.as_deref(), Some(wanted), "{} of {}", name(file), pod.pod);
            }
        }
    }

    pub(crate) fn world(&self) -> &World {
        self.world
    }
}
