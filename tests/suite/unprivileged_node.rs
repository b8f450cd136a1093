//! A `secretfs node` that runs as a user without capabilities: its mounter does what takes root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use testing::{PodVolume, RunningNode, occurrences_in_all_memory};

use crate::embedded::Store;
use crate::support::{earlier, store_class};

/// The user of the node. It has the group of the same number.
const USER: u32 = 47_512;
/// The group of a pod.
const GROUP: u32 = 3000;
/// How much memory a user may lock by default, in bytes.
const LOCKED: u64 = 8 << 20;
/// How long it takes until values that were read are wiped everywhere.
const FORGOTTEN: Duration = Duration::from_secs(1);
/// How long anything may take. A withdrawal that the store has to say twice takes half a minute.
const SOON: Duration = Duration::from_secs(60);

/// A node, and the embedded store that its classes read. Both belong to [`USER`].
struct Bench {
    node: RunningNode,
    store: Store,
}

impl Bench {
    /// One with the class `app`, of this mode. Nothing runs yet.
    fn prepare(mode: &str) -> Self {
        let store = Store::init();
        store.put("shop", "app", "one");
        store.put("shop", "other", "stays");
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--store", store.path()]);
        let objects = ["objectName: a, item: app", "objectName: d/b, item: other, filePermission: 0040"];
        let settings =
            format!("    secretfs.dev/mode: {mode}\n    secretfs.dev/on-revoked: remove\n    objects: |");
        node.class("app", &store_class(&objects).replace("    objects: |", &settings));
        testing::give(Path::new(store.path()), USER);
        node.run_as(USER);
        node.use_mounter();
        Self { node, store }
    }

    async fn start(mode: &str) -> Self {
        let mut bench = Self::prepare(mode);
        bench.node.start_node().await;
        bench
    }

    /// Fails unless everything in the volume is root's and of this group.
    #[track_caller]
    fn is_of_root(&self, pod: &PodVolume, group: u32) {
        let target = self.node.target(pod);
        for name in ["", "..data/", "a", "d", "d/b"] {
            let found = fs::metadata(target.join(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), (0, group), "{name:?}");
        }
    }

    /// How often the node has `text` in memory that others can read.
    fn in_memory(&self, text: &str) -> usize {
        occurrences_in_all_memory(self.node.node_pid(), text.as_bytes())
    }

    /// Fails unless the volume shows `value`, and the node has it in no other memory once it has passed through.
    async fn is_only_in_secret_memory(&self, pod: &PodVolume, value: &str) {
        assert_eq!(self.node.text(pod, "a").as_deref(), Some(value));
        tokio::time::sleep(FORGOTTEN).await;
        assert_eq!(self.in_memory(value), 0, "{value}\n{}", self.node.log());
    }

    /// Everything that a volume lives through.
    async fn lives(&mut self, pod: &PodVolume, group: u32) {
        let node = &mut self.node;
        node.publish_until_done(pod).await;
        node.text_becomes(pod, "a", Some("one"), SOON).await;
        self.is_of_root(pod, group);

        self.store.put("shop", "app", "two");
        self.node.text_becomes(pod, "a", Some("two"), SOON).await;
        self.is_of_root(pod, group);

        self.node.restart_node().await;
        self.node.publish_until_done(pod).await;
        self.store.put("shop", "app", "three");
        self.node.text_becomes(pod, "a", Some("three"), SOON).await;
        self.is_of_root(pod, group);

        self.store.run(&["delete", "app", "--namespace", "shop"], b"");
        self.node.text_becomes(pod, "a", None, SOON).await;
        assert_eq!(self.node.text(pod, "d/b").as_deref(), Some("stays"));

        self.node.unpublish_until_done(pod).await;
        assert_eq!(self.node.left_behind(pod), Vec::<std::path::PathBuf>::new(), "{}", self.node.log());
    }
}

/// A set of capabilities of the process, as `/proc` names it.
fn capabilities(pid: u32, set: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t"));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

fn in_group(pod: &str, group: Option<u32>) -> PodVolume {
    PodVolume { fs_group: group, ..PodVolume::new(pod, "app") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_a_tmpfs_lives_and_its_files_are_of_root_and_of_the_pods_group() {
    let mut bench = Bench::start("tmpfs").await;
    let pid = bench.node.node_pid();
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(capabilities(pid, set), 0, "{set}");
    }
    assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0, "its memory is its own");

    bench.lives(&in_group("web", None), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_a_pod_with_a_group_lives_too_and_so_does_one_whose_group_is_the_nodes_own() {
    for group in [GROUP, USER] {
        let mut bench = Bench::start("tmpfs").await;
        bench.lives(&in_group("web", Some(group)), group).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_mode_fuse_lives_too() {
    for group in [None, Some(GROUP)] {
        let mut bench = Bench::start("fuse").await;
        bench.lives(&in_group("web", group), group.unwrap_or(0)).await;
    }
}

/// The limit that users have by default, for the processes that this one starts. Dropping it takes it back.
struct LittleLocked(Rlimit);

impl LittleLocked {
    fn set() -> Self {
        let before = rustix::process::getrlimit(Resource::Memlock);
        let least = before.maximum.map_or(LOCKED, |most| most.min(LOCKED));
        rustix::process::setrlimit(Resource::Memlock, Rlimit { current: Some(least), ..before }).unwrap();
        Self(before)
    }
}

impl Drop for LittleLocked {
    fn drop(&mut self) {
        let _ = rustix::process::setrlimit(Resource::Memlock, self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_values_of_two_hundred_volumes_stay_in_secret_memory_of_a_user_who_may_lock_little() {
    let _limit = LittleLocked::set();
    let mut bench = Bench::start("fuse").await;
    let pods: Vec<PodVolume> = (0..200).map(|n| in_group(&format!("web-{n}"), None)).collect();
    let canary = |n: u32| format!("canary-{n}-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let values = [canary(1), canary(2)];
    bench.store.put("shop", "app", &values[0]);
    for pod in &pods {
        bench.node.publish_until_done(pod).await;
    }
    bench.store.put("shop", "app", &values[1]);
    for pod in &pods {
        bench.node.text_becomes(pod, "a", Some(&values[1]), SOON).await;
    }

    bench.node.restart_node().await;
    for pod in &pods {
        let read = fs::read_to_string(bench.node.target(pod).join("a"));
        let read = read.unwrap_or_else(|error| panic!("{}: {error}\n{}", pod.pod, bench.node.log()));
        assert_eq!(read, values[1]);
    }

    tokio::time::sleep(FORGOTTEN).await;
    let pid = bench.node.node_pid();
    values
        .iter()
        .for_each(|value| assert_eq!(occurrences_in_all_memory(pid, value.as_bytes()), 0, "{value}"));
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(maps.contains("secretmem"), "the values are in another kind of memory:\n{maps}");
    assert!(!bench.node.log().contains("memory that the kernel may swap"), "{}", bench.node.log());
}

/// A volume of its own class and its own item, in a namespace of which the store has this value.
fn volume_of(bench: &Bench, namespace: &str, name: &str, value: &str) -> PodVolume {
    bench.store.put(namespace, name, value);
    let class = store_class(&[format!("objectName: a, item: {name}")]);
    let class = class.replace("    objects: |", "    secretfs.dev/mode: fuse\n    objects: |");
    let named = class.replace("name: app", &format!("name: {name}"));
    let named = named.replace("namespace: shop", &format!("namespace: {namespace}"));
    bench.node.class(&format!("{namespace}-{name}"), &named);
    PodVolume { namespace: namespace.to_owned(), ..PodVolume::new(&format!("{namespace}-{name}"), name) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_many_large_values_leaves_secret_memory_for_those_of_others() {
    let _limit = LittleLocked::set();
    let mut bench = Bench::start("fuse").await;
    let canary = |of: &str| format!("canary-{of}-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let [greedy, first, second] = ["greedy", "first", "second"].map(canary);
    // More than all that may be locked.
    for n in 0..24 {
        let value = format!("{greedy}{}", "x".repeat(256 << 10));
        let pod = volume_of(&bench, "greedy", &format!("g-{n}"), &value);
        bench.node.publish_until_done(&pod).await;
    }
    let quiet = volume_of(&bench, "quiet", "q", &first);
    bench.node.publish_until_done(&quiet).await;
    bench.is_only_in_secret_memory(&quiet, &first).await;
    assert_ne!(bench.in_memory(&greedy), 0, "its values are more than its share");
    let log = bench.node.log();
    assert_eq!(log.matches("the namespace has its share of memory that may be locked").count(), 1, "{log}");

    bench.store.put("quiet", "q", &second);
    bench.node.text_becomes(&quiet, "a", Some(&second), SOON).await;
    bench.is_only_in_secret_memory(&quiet, &second).await;

    bench.node.restart_node().await;
    bench.is_only_in_secret_memory(&quiet, &second).await;
    assert_ne!(bench.in_memory(&greedy), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_root_and_one_that_is_root_again_go_on_with_the_same_volumes() {
    let mut bench = Bench::prepare("tmpfs");
    let pods = [in_group("web", None), in_group("shop", Some(GROUP))];
    bench.node.run_as_root();
    bench.node.start_node().await;
    for pod in &pods {
        bench.node.publish_until_done(pod).await;
    }
    for (root, value) in [(false, "two"), (true, "three"), (false, "four")] {
        bench.node.kill_node();
        if root {
            bench.node.run_as_root();
        } else {
            bench.node.run_as(USER);
        }
        bench.node.start_node().await;
        bench.store.put("shop", "app", value);
        for pod in &pods {
            bench.node.publish_until_done(pod).await;
            bench.node.text_becomes(pod, "a", Some(value), SOON).await;
            for name in ["", "..data/", "a", "d", "d/b"] {
                let found = fs::metadata(bench.node.target(pod).join(name)).unwrap();
                assert_eq!(found.uid(), 0, "{name:?}");
                let group = pod.fs_group.unwrap_or(0);
                let needed = if found.gid() == group { 0o040 } else { 0o004 };
                assert!(found.mode() & needed != 0, "the group {group} reads {name:?}: {:o}", found.mode());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubelet_registers_a_node_that_may_not_enter_its_directory_of_sockets() {
    let mut bench = Bench::prepare("tmpfs");
    bench.node.register();
    bench.node.spawn_node();
    bench.node.take_registration().await;
    let socket = || {
        let mut entries = fs::read_dir(bench.node.path("kubelet/plugins_registry")).unwrap();
        entries.next().map(|entry| entry.unwrap().metadata().unwrap().ino())
    };
    let first = socket();
    tokio::time::sleep(Duration::from_secs(3)).await;

    assert!(first.is_some());
    assert_eq!(socket(), first, "it stays as it is while kubelet uses it\n{}", bench.node.log());
    assert!(bench.node.log().contains("kubelet registered the driver"), "{}", bench.node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_mounter_of_an_earlier_version_a_node_says_what_to_update_and_what_is_mounted_stays() {
    let mut bench = Bench::prepare("tmpfs");
    let [before, after] = ["before", "after"].map(|pod| in_group(pod, None));
    bench.node.kill_mounter();
    bench.node.use_binary(&earlier());
    bench.node.start_mounter();
    bench.node.use_binary(env!("CARGO_BIN_EXE_secretfs").as_ref());
    bench.node.run_as_root();
    bench.node.start_node().await;
    bench.node.publish_until_done(&before).await;

    bench.node.kill_node();
    bench.node.run_as(USER);
    bench.node.start_node().await;
    let refused = bench.node.publish(&after).await.unwrap_err();
    println!("{refused}");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "kubelet tries again");
    assert!(refused.message().contains("update secretfs-mounter first"), "{refused}");
    assert_eq!(bench.node.text(&before, "a").as_deref(), Some("one"));

    bench.node.kill_mounter();
    bench.node.start_mounter();
    bench.store.put("shop", "app", "two");
    for pod in [&before, &after] {
        bench.node.publish_until_done(pod).await;
        bench.node.text_becomes(pod, "a", Some("two"), SOON).await;
        bench.node.unpublish_until_done(pod).await;
    }
    assert_eq!(bench.node.mounts().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_mounter_of_an_earlier_version_that_serves_root_alone_a_node_says_so_and_ends() {
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.use_binary(&earlier());
    node.use_mounter();
    node.use_binary(env!("CARGO_BIN_EXE_secretfs").as_ref());
    node.run_as(USER);

    node.spawn_node();
    node.wait_until_dead();

    let log = node.log();
    println!("{log}");
    assert!(log.contains("of this version and with --allow-uid=47512"), "{log}");
}
