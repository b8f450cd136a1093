use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testing::RunningNode;

use super::World;

const MIB: u64 = 1 << 20;
/// Open descriptors that are kept for later calls: up to 8 connections to the mounter, up to 4 connections to the
/// embedded store's database with three files each, and calls that still run. Far fewer than there were calls.
const KEPT_OPEN: usize = 24;
/// Tasks that start at the first use of a node, and tasks that are about to end. Far fewer than there were calls.
const LATER: usize = 16;

/// The resources that a node uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footprint {
    mounts: Vec<PathBuf>,
    /// The number of descriptors of each kind, for `node` and for `mounter`.
    descriptors: Vec<BTreeMap<String, usize>>,
    tasks: usize,
}

impl Footprint {
    pub(super) async fn of(node: &RunningNode) -> Self {
        let metrics = node.http("/metrics").await;
        let tasks = metrics.lines().find_map(|line| line.strip_prefix("secretfs_tasks "));
        Self {
            mounts: node.mounts(),
            descriptors: [node.node_pid(), node.mounter_pid()].map(descriptors).to_vec(),
            tasks: tasks.unwrap_or_else(|| panic!("no secretfs_tasks in\n{metrics}")).parse().unwrap(),
        }
    }

    /// Whether nothing is left that was not there `before`.
    fn is_back(&self, before: &Self) -> bool {
        let count = |kinds: &BTreeMap<String, usize>| kinds.values().sum::<usize>();
        let mut both = self.descriptors.iter().zip(&before.descriptors);
        self.mounts == before.mounts
            && both.all(|(now, then)| count(now) <= count(then) + KEPT_OPEN)
            && self.tasks <= before.tasks + LATER
    }
}

/// The kinds of a process's open descriptors, without the numbers in their names.
fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        // The descriptor was closed meanwhile.
        let Ok(kind) = fs::read_link(descriptor.path()) else { continue };
        let kind = kind.display().to_string().replace(|c: char| c.is_ascii_digit(), "");
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Waits until a node without volumes uses only as much as before its first volume.
pub(super) async fn all_is_given_back(node: &RunningNode, before: &Footprint, within: Duration) {
    let begun = Instant::now();
    loop {
        let now = Footprint::of(node).await;
        if now.is_back(before) {
            println!("before: {before:?}\nafter {:?}: {now:?}", begun.elapsed());
            return;
        }
        assert!(begun.elapsed() < within, "before: {before:?}\nnow: {now:?}\n{}", node.log());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The highest memory use, and the limits in the chart.
#[derive(Debug, Default)]
pub(super) struct Limits {
    node: u64,
    mounter: u64,
}

impl Limits {
    /// Measures every quarter of a second until `until`.
    pub(super) async fn keep(world: Arc<World>, until: Instant) -> Self {
        let (most_node, most_mounter) = chart();
        let mut most = Self::default();
        while Instant::now() < until {
            most.node = most.node.max(resident(world.node.node_pid()));
            most.mounter = most.mounter.max(resident(world.node.mounter_pid()));
            assert!(most.node < most_node && most.mounter < most_mounter, "{most}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        most
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, mounter) = chart();
        write!(
            f,
            "node took {} MiB of {}, mounter {} of {}",
            self.node / MIB,
            node / MIB,
            self.mounter / MIB,
            mounter / MIB
        )
    }
}

/// The chart's memory limits of `node` and `mounter`, in bytes.
fn chart() -> (u64, u64) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/charts/secretfs/values.yaml");
    let values: serde_json::Value = serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let of = |part: &str| {
        let limit = values["linux"][part]["resources"]["limits"]["memory"].as_str().unwrap().to_owned();
        limit.strip_suffix("Mi").unwrap().parse::<u64>().unwrap() * MIB
    };
    (of("driver"), of("mounter"))
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}
