//! An upgrade from an earlier version: its store, records, lease blobs and mounter, while pods read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mounter::Mounter as _;
use rustix::mount::MountFlags;
use serde_json::json;
use testing::{PodVolume, Postgres, RunningNode, in_private_mounts};

use super::leases::{FILES, LOGIN, logins};
use super::support::{SECRETFS, SOON, Shop, until};
use crate::embedded::Store;
use crate::mounter::MounterProcess;
use crate::support::{Target, earlier, store_class};

/// Threads that open files by their paths and read them, again and again.
struct Readers {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Readers {
    fn start(files: Vec<PathBuf>) -> Self {
        let (stop, reads) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = files.into_iter().map(|file| {
            let (stop, reads) = (Arc::clone(&stop), Arc::clone(&reads));
            thread::spawn(move || failures(&file, &stop, &reads))
        });
        Self { threads: threads.collect(), stop, reads }
    }

    /// Stops the threads. Returns the number of reads, and the failed ones.
    fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (self.reads.load(Ordering::Relaxed), failed)
    }
}

fn failures(file: &Path, stop: &AtomicBool, reads: &AtomicU64) -> Vec<String> {
    let mut failed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match fs::read_to_string(file) {
            Ok(text) if !text.is_empty() => {}
            other => failed.push(format!("{}: {other:?}", file.display())),
        }
        reads.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
    failed
}

/// The pods on the node: two read items of the embedded store, two use logins.
struct World {
    shop: Shop,
    postgres: Postgres,
    store: Store,
    node: RunningNode,
    items: [PodVolume; 2],
    leased: [PodVolume; 2],
}

impl World {
    /// Starts everything with the program at `binary`.
    async fn of(binary: &Path) -> Self {
        let (shop, postgres) = (Shop::start(), Postgres::start());
        shop.database(&postgres, "40s", "1h");
        let store = Store::init_with(binary);
        let mut node = RunningNode::prepare(binary.to_str().unwrap(), &[]);
        node.flag("--store", store.path());
        shop.class("app", LOGIN).with("secretfs.dev/files", FILES).serve(&node);
        let objects = ["objectName: token, item: app, key: key", "objectName: db/user, item: app, key: key"];
        node.class("items", &store_class(&objects).replace("name: app", "name: items"));
        node.use_mounter();
        node.start_node().await;
        let items = ["web-0", "web-1"].map(|name| PodVolume::new(name, "items"));
        let leased = ["api-0", "api-1"].map(|name| shop.pod(name, "app"));
        let world = Self { shop, postgres, store, node, items, leased };
        world.put("1");
        for pod in world.items.iter().chain(&world.leased) {
            world.node.publish(pod).await.unwrap_or_else(|refused| panic!("{refused}\n{}", world.node.log()));
        }
        world
    }

    fn put(&self, version: &str) {
        self.store.put_json("shop", "app", &json!({ "key": version }));
    }

    /// Starts readers of the files in pods that stay to the end.
    fn readers(&self) -> Readers {
        let of_items = self.items.iter().flat_map(|pod| [(pod, "token"), (pod, "db/user")]);
        let files = of_items.chain([(&self.leased[0], "db.env")]);
        Readers::start(files.map(|(pod, file)| self.node.target(pod).join(file)).collect())
    }

    /// Puts a new version, and waits until both pods show it.
    async fn rotates_to(&self, version: &str) {
        self.put(version);
        for pod in &self.items {
            self.node.text_becomes(pod, "db/user", Some(version), SOON).await;
        }
    }

    async fn until_logins_are(&self, wanted: usize) {
        let left = || logins(&self.postgres);
        until(|| left() == wanted, || format!("{} logins\n{}", left(), self.node.log())).await;
    }

    async fn unpublish(&self, pod: &PodVolume) {
        self.node.unpublish(pod).await.unwrap();
        assert!(self.node.left_behind(pod).is_empty(), "{:?}", self.node.left_behind(pod));
    }

    fn ended_logins(&self) -> usize {
        self.shop.bao.requests("update", "auth/token/revoke-self")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_node_and_then_of_mounter_fails_no_read_and_ends_every_login() {
    let mut world = World::of(&earlier()).await;
    let readers = world.readers();
    world.until_logins_are(2).await;

    // This version's node takes over the earlier node's volumes, and uses the earlier mounter.
    world.node.stop_node();
    world.node.use_binary(SECRETFS.as_ref());
    world.store.binary = SECRETFS.into();
    world.node.start_node().await;
    world.rotates_to("2").await;
    world.unpublish(&world.leased[1]).await;
    world.until_logins_are(1).await;
    let ended_from_an_earlier_blob = world.ended_logins();
    world.node.publish(&world.leased[0]).await.unwrap();
    world.node.publish(&world.items[0]).await.unwrap();
    world.until_logins_are(2).await;
    let late = PodVolume::new("late", "items");
    world.node.publish(&late).await.unwrap();
    world.unpublish(&late).await;
    // The login of the earlier node was replaced, and ends when its time is over at the latest.
    world.until_logins_are(1).await;

    // Now this version's mounter too. The node gives it again what the other one kept.
    world.node.kill_mounter();
    world.node.start_mounter();
    world.rotates_to("3").await;
    until(
        || world.node.log().contains("the mounter lost a login, and is given it again"),
        || world.node.log(),
    )
    .await;
    world.node.publish(&late).await.unwrap();
    world.unpublish(&late).await;
    world.node.restart_node().await;
    world.rotates_to("4").await;

    let (reads, failed) = readers.stop();
    println!("{reads} reads, {} failed, {} logins ended", failed.len(), world.ended_logins());
    assert_eq!(failed, Vec::<String>::new());
    for pod in world.items.iter().chain(&world.leased[..1]) {
        world.unpublish(pod).await;
    }
    world.until_logins_are(0).await;
    assert!(ended_from_an_earlier_blob >= 1, "{ended_from_an_earlier_blob}");
    assert!(world.ended_logins() >= 2, "{} logins were ended by us", world.ended_logins());
    assert_eq!(world.node.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn the_earlier_mounter_takes_another_drivers_mount_over_for_this_versions_node() {
    in_private_mounts(|| {
        let (target, run) = (Target::of_kubelet(), Target::new());
        let process = MounterProcess::of(&earlier(), run.parent(), target.parent(), &[]);
        fs::create_dir(target.path()).unwrap();
        rustix::mount::mount("theirs", target.path(), "tmpfs", MountFlags::empty(), None).unwrap();

        let taken = process.connect().take_over(&target.path()).unwrap();
        process.connect().detach(&target.path()).unwrap();
        let nothing = process.connect().take_over(&target.path()).unwrap();

        assert!(taken.is_some() && nothing.is_none());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_earlier_node_serves_pods_through_this_versions_mounter() {
    let (earlier, pod) = (earlier(), PodVolume::new("web", "app"));
    let store = Store::init_with(&earlier);
    store.put_json("shop", "app", &json!({ "key": "1" }));
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    node.flag("--store", store.path());
    node.class("app", &store_class(&["objectName: token, item: app, key: key"]));
    node.use_mounter();
    node.use_binary(&earlier);
    node.start_node().await;

    node.publish(&pod).await.unwrap();
    let first = node.text(&pod, "token");
    node.restart_node().await;
    store.put_json("shop", "app", &json!({ "key": "2" }));
    node.text_becomes(&pod, "token", Some("2"), SOON).await;
    node.unpublish(&pod).await.unwrap();

    assert_eq!(first.as_deref(), Some("1"));
    assert!(node.left_behind(&pod).is_empty(), "{:?}", node.left_behind(&pod));
}
