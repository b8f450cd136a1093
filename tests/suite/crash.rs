//! Kills the process at every step of publish, rotation, withdrawal and unpublish. The next call has to succeed,
//! nothing may stay mounted, and nothing may be left beside the target.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use program::failpoint::{MOUNT_PATH, VOLUME_TABLE};
use testing::{PodVolume, RunningNode};

use crate::embedded::Store;
use crate::support::store_class;

/// How often the process is killed at each step.
const TIMES: u64 = 50;

/// The user of a node without privileges.
const USER: u32 = 47_512;

/// How long recovery may take.
const HEALED: Duration = Duration::from_secs(30);

/// A node with one class that reads objects of the embedded store.
struct Bench {
    node: RunningNode,
    store: Store,
    objects: u64,
}

impl Bench {
    /// `seed` decides the number of objects and their directories.
    fn new(seed: u64) -> Self {
        let store = Store::init();
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
        node.flag("--store", store.path());
        let objects = 1 + seed % 5;
        let written = (0..objects).map(|n| {
            let directory = if n % 2 == 0 { "" } else { "nested/" };
            format!("objectName: {directory}o{n}, item: app, key: k{n}")
        });
        node.class("app", &store_class(&written.collect::<Vec<_>>()));
        Self { node, store, objects }
    }

    /// The same as a user without capabilities, beside a mounter.
    fn without_privileges(seed: u64) -> Self {
        let mut bench = Self::new(seed);
        testing::give(Path::new(bench.store.path()), USER);
        bench.node.run_as(USER);
        bench.node.use_mounter();
        bench
    }

    fn put(&self, value: &str) {
        let keys: serde_json::Map<_, _> =
            (0..self.objects).map(|n| (format!("k{n}"), format!("{value}-{n}").into())).collect();
        self.store.put_json("shop", "app", &serde_json::Value::Object(keys));
    }

    /// Whether all files show `value`.
    fn shows(&self, pod: &PodVolume, value: &str) -> bool {
        (0..self.objects).all(|n| {
            let file = if n % 2 == 0 { format!("o{n}") } else { format!("nested/o{n}") };
            self.node.text(pod, &file).as_deref() == Some(&format!("{value}-{n}"))
        })
    }

    async fn shows_in_time(&self, pod: &PodVolume, value: &str) {
        let started = Instant::now();
        while !self.shows(pod, value) {
            assert!(started.elapsed() < HEALED, "{value} is not shown\n{}", self.node.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Publishes while the process dies at `failpoint`.
    async fn publish_and_die(&mut self, pod: &PodVolume, failpoint: &str) {
        self.node.die_at(failpoint);
        self.node.start_node().await;
        let died = self.node.publish(pod).await;
        assert!(died.is_err(), "{failpoint} was not passed");
        self.node.wait_until_dead();
    }

    /// Waits until the node has nothing left to do, and its records agree with what it shows.
    fn is_settled(&self) {
        let admin = self.node.path("admin");
        let refreshed = Command::new(env!("CARGO_BIN_EXE_secretfs"))
            .args(["refresh", "--all", "--socket"])
            .arg(admin)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(refreshed.success(), "secretfs refresh: {refreshed}\n{}", self.node.log());
    }

    async fn unpublish_leaves_nothing(&self, pod: &PodVolume) {
        self.node.unpublish(pod).await.unwrap();
        assert_eq!(self.node.mounts(), Vec::<std::path::PathBuf>::new());
        assert_eq!(self.node.left_behind(pod), Vec::<std::path::PathBuf>::new());
        assert_eq!(fs::read_dir(self.node.path("state/volumes")).unwrap().count(), 0);
    }
}

fn steps(of: &[&str]) -> Vec<&'static str> {
    let all = MOUNT_PATH.iter().chain(VOLUME_TABLE).map(|(name, _)| *name);
    let steps: Vec<_> = all.filter(|name| of.iter().any(|prefix| name.starts_with(prefix))).collect();
    assert!(!steps.is_empty());
    steps
}

fn steps_of_a_rotation() -> Vec<&'static str> {
    let mut steps = steps(&["refresh.", "rotate."]);
    // Nothing is withdrawn here.
    steps.retain(|step| *step != "rotate.truncated");
    steps
}

/// Seeds that a test takes for a step, which it tells so that it can be repeated.
fn seeds(step: &str) -> std::ops::Range<u64> {
    let first = fastrand::u64(..1 << 32);
    println!("{step}: seeds {first} to {}", first + TIMES - 1);
    first..first + TIMES
}

/// Dies in a publish, is started again and publishes anew.
async fn dies_in_a_publish(mut bench: Bench, step: &str) {
    let pod = PodVolume::new("web", "app");
    bench.put("v");
    bench.publish_and_die(&pod, step).await;

    bench.node.start_node().await;
    bench.node.publish_until_done(&pod).await;
    assert!(bench.shows(&pod, "v"), "{step}, {} objects\n{}", bench.objects, bench.node.log());
    assert_eq!(bench.node.mounts().len(), 1, "{step}, {} objects", bench.objects);
    bench.unpublish_leaves_nothing(&pod).await;
}

/// Dies in so many rotations, one after the other, and is started again.
async fn dies_in_rotations(mut bench: Bench, step: &str, rounds: u64) {
    let pod = PodVolume::new("web", "app");
    bench.put("v0");
    bench.node.start_node().await;
    bench.node.publish(&pod).await.unwrap();
    for round in 1..=rounds {
        bench.node.stop_node();
        bench.node.die_at(step);
        bench.node.start_node().await;
        bench.put(&format!("v{round}"));
        bench.node.wait_until_dead();
        let (old, new) = (format!("v{}", round - 1), format!("v{round}"));
        let whole = bench.shows(&pod, &old) || bench.shows(&pod, &new);
        // Between two steps, a file of the old set may be missing. Old and new files are never mixed.
        assert!(whole || step == "rotate.hidden" || step == "rotate.swapped", "{step}, round {round}");

        bench.node.start_node().await;
        bench.shows_in_time(&pod, &new).await;
        bench.is_settled();
    }
    bench.unpublish_leaves_nothing(&pod).await;
}

/// Dies in an unpublish, is started again and finishes it.
async fn dies_in_an_unpublish(mut bench: Bench, step: &str) {
    let pod = PodVolume::new("web", "app");
    bench.put("v");
    bench.node.die_at(step);
    bench.node.start_node().await;
    bench.node.publish(&pod).await.unwrap();
    assert!(bench.node.unpublish(&pod).await.is_err(), "{step} was not passed");
    bench.node.wait_until_dead();

    bench.node.start_node().await;
    bench.unpublish_leaves_nothing(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_step_of_a_publish_leaves_nothing_that_the_next_publish_cannot_mend() {
    let mut deaths = 0;
    for step in steps(&["publish.", "mount.", "attach."]) {
        for seed in seeds(step) {
            dies_in_a_publish(Bench::new(seed), step).await;
            deaths += 1;
        }
    }
    println!("{deaths} deaths");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_died_and_is_never_repeated_is_cleaned_up_by_unpublish() {
    for step in steps(&["publish.", "mount.", "attach."]) {
        for seed in 0..3 {
            let mut bench = Bench::new(seed);
            let pod = PodVolume::new("web", "app");
            bench.put("v");
            bench.publish_and_die(&pod, step).await;
            bench.node.start_node().await;
            bench.unpublish_leaves_nothing(&pod).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_step_of_a_rotation_shows_the_old_set_or_the_new_and_then_the_new() {
    for step in steps_of_a_rotation() {
        dies_in_rotations(Bench::new(seeds(step).start), step, TIMES).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_at_any_step_of_an_unpublish_is_finished_by_the_next_call() {
    for step in steps(&["unpublish.", "detach."]) {
        for seed in seeds(step) {
            dies_in_an_unpublish(Bench::new(seed), step).await;
        }
    }
}

/// It mounts and unmounts nothing itself: those steps are its mounter's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_privileges_may_die_at_any_step_of_its_own_too() {
    for step in steps(&["publish."]) {
        dies_in_a_publish(Bench::without_privileges(2), step).await;
    }
    for step in steps_of_a_rotation() {
        dies_in_rotations(Bench::without_privileges(4), step, 1).await;
    }
    for step in steps(&["unpublish."]) {
        dies_in_an_unpublish(Bench::without_privileges(3), step).await;
    }
}
