//! A class that changes its mode while pods run, as in a rolling restart of a deployment.

use std::time::Duration;

use testing::{PodVolume, RunningNode, ShownBy};

use crate::embedded::Store;
use crate::support::store_class;

const SOON: Duration = Duration::from_secs(60);

/// A node with a mounter, and the class `app` in one mode after the other.
struct Bench {
    node: RunningNode,
    store: Store,
}

impl Bench {
    async fn start() -> Self {
        let store = Store::init();
        store.put("shop", "app", "1");
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--store", store.path()]);
        node.use_mounter();
        let bench = Self { node, store };
        bench.class(ShownBy::Tmpfs);
        let Self { mut node, store } = bench;
        node.start_node().await;
        Self { node, store }
    }

    /// Writes the class anew: nothing of it changes but its mode.
    fn class(&self, mode: ShownBy) {
        self.node.class("app", &mode.class(&store_class(&["objectName: a, item: app"])));
    }

    /// Publishes the volume of a new pod, until it is in this mode: the class may have been read before its edit.
    async fn starts(&self, name: &str, mode: ShownBy) -> PodVolume {
        let pod = PodVolume::new(name, "app");
        self.node.publish_until_done(&pod).await;
        mode.shows(&self.node.target(&pod));
        pod
    }

    async fn rotates(&self, value: &str, pods: &[&PodVolume]) {
        self.store.put("shop", "app", value);
        for pod in pods {
            self.node.text_becomes(pod, "a", Some(value), SOON).await;
        }
    }

    async fn ends(&self, pod: &PodVolume) {
        self.node.unpublish(pod).await.unwrap();
        assert_eq!(self.node.left_behind(pod).len(), 0);
        assert!(!self.node.mounts().contains(&self.node.target(pod)), "{}", self.node.log());
    }

    /// Waits until the node has read the class that was written last.
    async fn has_read(&self, mode: ShownBy) {
        let started = std::time::Instant::now();
        for attempt in 0.. {
            let pod = PodVolume::new(&format!("probe-{}-{attempt}", mode.name()), "app");
            self.node.publish_until_done(&pod).await;
            let told = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            let target = self.node.target(&pod).display().to_string();
            let is_fuse = told.lines().any(|line| line.contains(&target) && line.contains(" - fuse."));
            self.ends(&pod).await;
            if is_fuse == (mode == ShownBy::Fuse) {
                return;
            }
            assert!(started.elapsed() < SOON, "{}", self.node.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_switches_its_mode_leaves_running_pods_theirs_and_gives_new_ones_the_new_one() {
    let mut bench = Bench::start().await;
    let old = bench.starts("old", ShownBy::Tmpfs).await;

    bench.class(ShownBy::Fuse);
    bench.has_read(ShownBy::Fuse).await;
    let new = bench.starts("new", ShownBy::Fuse).await;
    // As kubelet does it again and again.
    bench.node.publish(&old).await.unwrap();
    ShownBy::Tmpfs.shows(&bench.node.target(&old));
    bench.rotates("2", &[&old, &new]).await;

    bench.node.restart_node().await;
    bench.rotates("3", &[&old, &new]).await;
    bench.ends(&old).await;
    bench.rotates("4", &[&new]).await;

    bench.class(ShownBy::Tmpfs);
    bench.has_read(ShownBy::Tmpfs).await;
    let last = bench.starts("last", ShownBy::Tmpfs).await;
    bench.node.publish(&new).await.unwrap();
    ShownBy::Fuse.shows(&bench.node.target(&new));
    bench.rotates("5", &[&new, &last]).await;
    bench.ends(&new).await;
    bench.rotates("6", &[&last]).await;
    bench.ends(&last).await;
    assert_eq!(bench.node.mounts().len(), 0);
}
