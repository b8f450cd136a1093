//! Works on while a store or the API server is away.

use std::time::{Duration, Instant};

use csi_proto::csi::node_client::NodeClient;
use csi_proto::csi::volume_capability::access_mode::Mode;
use csi_proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use csi_proto::csi::{NodePublishVolumeRequest, NodeUnpublishVolumeRequest, VolumeCapability};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use testing::Component;

use super::containers::seen;
use super::world::{DRIVER, Namespace, World, alone, pod, until};

/// A pod `name` of service account `app`. Its only container ends when it gets SIGTERM.
fn mortal(name: &str, class: &str) -> serde_json::Value {
    let mut web = pod(name, class);
    web["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "trap 'exit 1' TERM; while :; do sleep 1 & wait; done"]);
    web
}

/// The driver's counters of store calls, by outcome.
fn store_calls(world: &World) -> Vec<String> {
    let metrics = world.http("/metrics").expect("metrics");
    let mut calls: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("secretfs_store_calls_total{"))
        .map(str::to_owned)
        .collect();
    calls.sort();
    calls
}

/// Something that is away until this is dropped. It comes back even if the test fails, because other tests need it.
struct Away<Back: FnMut()>(Back);

impl<Back: FnMut()> Drop for Away<Back> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn openbao_away(world: &World) -> Away<impl FnMut()> {
    world.bao().stop();
    Away(|| world.bao().start_again())
}

fn api_server_away(world: &World) -> Away<impl FnMut()> {
    world.cluster.stop(Component::ApiServer);
    Away(|| world.cluster.start_again(Component::ApiServer))
}

/// Waits until a pod without a volume starts. After an outage of the API server, scheduler, controllers and kubelet
/// pause before they ask again. The pods of other tests must not wait for that.
fn until_pods_start(shop: &Namespace<'_>) {
    let since = Instant::now();
    let mut plain = pod("plain", "");
    plain["spec"]["volumes"] = json!([]);
    plain["spec"]["containers"][0]["volumeMounts"] = json!([]);
    shop.apply(&plain);
    shop.until_ready("plain");
    println!("a pod without a volume started {} ms after the API server", since.elapsed().as_millis());
}

/// The driver's counter of answers to kubelet's publishes with this code.
fn publishes(world: &World, code: &str) -> u64 {
    let metrics = world.http("/metrics").expect("metrics");
    let wanted = format!("code=\"{code}\"");
    let lines =
        metrics.lines().filter(|line| line.starts_with("secretfs_publish_total{") && line.contains(&wanted));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// The duration of each publish for a pod that ended after `since`, in milliseconds, from the driver's log.
fn answered(shop: &Namespace<'_>, pod: &str, since: Instant) -> Vec<u64> {
    let since = format!("--since={}s", since.elapsed().as_secs() + 1);
    let log =
        shop.world.try_kubectl(&["-n", super::world::SYSTEM, "logs", "daemonset/secretfs-node", &since]);
    let of_pod = |line: &&str| {
        line.contains("NodePublishVolume")
            && line.contains(&format!("pod=\"{pod}\""))
            && line.contains("done")
    };
    let took = |line: &str| line.split("ms=").nth(1)?.split_whitespace().next()?.parse().ok();
    log.lines().filter(of_pod).filter_map(took).collect()
}

#[test]
fn a_republish_while_the_store_is_away_is_answered_at_once_and_calls_no_store() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "outage-republish");
    shop.secret("db", "before the outage");
    // The refresh interval is so long that only a republish could ask the store.
    shop.vault_class("app", &["db"], &[("secretfs.dev/refresh", "1h")]);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");

    let _away = openbao_away(world);
    let (calls, since) = (store_calls(world), Instant::now());
    world.cluster.stop(Component::Kubelet);
    world.cluster.start_again(Component::Kubelet);
    until("kubelet publishes again", || !answered(&shop, "web", since).is_empty(), || world.node_log());

    println!("republishes after kubelet's restart took {:?} ms", answered(&shop, "web", since));
    assert_eq!(store_calls(world), calls, "no store was called");
    assert_eq!(shop.read("web", "db"), "before the outage");
}

#[test]
fn pods_outlive_an_outage_of_the_store_and_new_ones_wait_for_its_end() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "outage-store");
    shop.secret("db", "before the outage");
    shop.vault_class("app", &["db"], &[]);
    shop.vault_class("cached", &["db"], &[("secretfs.dev/start", "cached")]);
    shop.apply(&mortal("web", "app"));
    shop.apply(&mortal("first", "cached"));
    shop.until_ready("web");
    shop.until_ready("first");

    let away = openbao_away(world);
    shop.until_event("web", "StoreUnavailable");
    shop.kubectl(&["exec", "web", "--", "kill", "1"]);
    let restarts = || shop.field("pod/web", "{.status.containerStatuses[0].restartCount}");
    until("the container that crashed is started again", || restarts() == "1", restarts);
    shop.until_ready("web");
    assert_eq!(shop.read("web", "db"), "before the outage");

    shop.apply(&pod("new", "app"));
    let told = shop.until_event("new", "provider vault");
    println!("a new pod waits: {told}");
    shop.apply(&pod("second", "cached"));
    shop.until_ready("second");
    assert_eq!(shop.read("second", "db"), "before the outage");
    println!("{}", shop.until_event("second", "StartedCached"));
    let mut stranger = pod("stranger", "cached");
    stranger["spec"]["serviceAccountName"] = json!("stranger");
    shop.apply(&stranger);
    shop.until_event("stranger", "FailedMount");
    assert_ne!(shop.field("pod/stranger", "{.status.phase}"), "Running");

    drop(away);
    let back = Instant::now();
    shop.until_ready("new");
    println!("the pod that waited was ready {} ms after the store was back", back.elapsed().as_millis());
    assert_eq!(shop.read("new", "db"), "before the outage");
    shop.secret("db", "after the outage");
    shop.until_reads("web", "db", "after the outage");
}

#[test]
fn pods_outlive_an_outage_of_the_api_server_and_a_death_of_the_driver_in_it() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "outage-api");
    shop.secret("db", "from vault");
    world.put("outage-api", "item", "from the store");
    shop.vault_class("vault", &["db"], &[("secretfs.dev/auth", "jwt"), ("vaultAuthMountPath", "jwt")]);
    shop.store_class("store", &["item"]);
    shop.apply(&pod("vault", "vault"));
    shop.apply(&pod("store", "store"));
    shop.until_ready("vault");
    shop.until_ready("store");
    let uid = |pod: &str| shop.field(&format!("pod/{pod}"), "{.metadata.uid}");
    let (vault, store) = (uid("vault"), uid("store"));

    let away = api_server_away(world);
    assert_eq!(seen(&vault, "db").as_deref(), Some("from vault"));
    assert_eq!(seen(&store, "item").as_deref(), Some("from the store"));

    // Kubelet cannot learn of a new pod now, so this test calls the driver itself.
    let stranger = StrayVolume::new(world, "outage-api", "store");
    stranger.publish().expect("a publish from the cache of classes");
    assert_eq!(std::fs::read_to_string(stranger.target.join("item")).unwrap(), "from the store");
    stranger.unpublish().expect("to unpublish it");

    let answered = publishes(world, "ok");
    until("kubelet publishes without the API server", || publishes(world, "ok") > answered, String::new);
    shop.secret("db", "while the API server is away");
    until(
        "vault's file rotates",
        || seen(&vault, "db").as_deref() == Some("while the API server is away"),
        String::new,
    );

    let old = world.kill_node();
    println!("node was back after {} ms", world.until_restarted(old).as_millis());
    assert_eq!(seen(&vault, "db").as_deref(), Some("while the API server is away"));
    shop.secret("db", "after the death");
    world.put("outage-api", "item", "after the death");
    until(
        "the store's file rotates",
        || seen(&store, "item").as_deref() == Some("after the death"),
        String::new,
    );
    until("vault's file rotates", || seen(&vault, "db").as_deref() == Some("after the death"), String::new);

    drop(away);
    until_pods_start(&shop);
    shop.delete("vault");
    shop.delete("store");
}

/// A volume of a pod that kubelet does not know.
struct StrayVolume {
    runtime: tokio::runtime::Runtime,
    socket: std::path::PathBuf,
    request: NodePublishVolumeRequest,
    target: std::path::PathBuf,
}

impl StrayVolume {
    fn new(world: &World, namespace: &str, class: &str) -> Self {
        let described = testing::PodVolume {
            namespace: namespace.to_owned(),
            service_account: "app".to_owned(),
            ..testing::PodVolume::new("stray", class)
        };
        let volume = world.cluster.kubelet_root().join("pods").join(&described.uid).join("volumes");
        let target = volume.join("kubernetes.io~csi/secrets/mount");
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        // Written before the call, as kubelet does, because the mounter reads in it which driver the target belongs to.
        let told = serde_json::json!({"driverName": DRIVER, "specVolID": "secrets"});
        std::fs::write(target.with_file_name("vol_data.json"), told.to_string()).unwrap();
        let kubelet = |key: &str, value: &str| (format!("csi.storage.k8s.io/{key}"), value.to_owned());
        let capability = VolumeCapability {
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
            access_type: Some(AccessType::Mount(MountVolume::default())),
        };
        let request = NodePublishVolumeRequest {
            volume_id: described.id(),
            target_path: target.display().to_string(),
            volume_capability: Some(capability),
            readonly: true,
            volume_context: [
                kubelet("pod.name", "stray"),
                kubelet("pod.namespace", namespace),
                kubelet("pod.uid", &described.uid),
                kubelet("serviceAccount.name", "app"),
                kubelet("ephemeral", "true"),
                ("secretProviderClass".to_owned(), class.to_owned()),
            ]
            .into(),
            ..NodePublishVolumeRequest::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = world.cluster.kubelet_root().join("plugins").join(DRIVER).join("csi.sock");
        Self { runtime, socket, request, target }
    }

    async fn client(&self) -> NodeClient<Channel> {
        let socket = self.socket.clone();
        let connect = service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost").timeout(Duration::from_secs(60));
        NodeClient::new(endpoint.connect_with_connector(connect).await.unwrap())
    }

    fn publish(&self) -> Result<(), tonic::Status> {
        self.runtime
            .block_on(async { self.client().await.node_publish_volume(self.request.clone()).await.map(drop) })
    }

    fn unpublish(&self) -> Result<(), tonic::Status> {
        let request = NodeUnpublishVolumeRequest {
            volume_id: self.request.volume_id.clone(),
            target_path: self.request.target_path.clone(),
        };
        self.runtime.block_on(async { self.client().await.node_unpublish_volume(request).await.map(drop) })
    }
}

impl Drop for StrayVolume {
    fn drop(&mut self) {
        // Removed, because kubelet would try to clean up a directory that it did not make.
        let _ = std::fs::remove_file(self.target.with_file_name("vol_data.json"));
        for directory in self.target.ancestors().skip(1).take(4) {
            let _ = std::fs::remove_dir(directory);
        }
    }
}
