//! Memory, threads, descriptors and bytes on disk.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::measure::Samples;
use crate::report::{Line, Unit};
use crate::rotation::refresh_all;
use crate::world::{Bench, FILES, IN_FLIGHT, VOLUMES, World, value, watched_class};

/// By then connections that carried values are closed, and the node has given free memory back (it does every 30 s).
const SETTLED: Duration = Duration::from_secs(35);
/// How many versions follow the first one.
const ROTATIONS: usize = 10;
/// Volumes of a node that is full beyond what kubelet admits by default (110 pods).
const CROWD: usize = 1000;
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn memory(world: &World) -> Vec<Line> {
    let bench = world.node_and_mounter("1h").await;
    tokio::time::sleep(SETTLED).await;
    let idle = line(&bench, "memory of all our processes, idle").peer("69 MiB").at_most(18.0);
    let pods = world.pods("memory", VOLUMES, "ten-many");
    bench.publish_all(&pods, IN_FLIGHT).await;
    tokio::time::sleep(SETTLED).await;
    let secrets = (VOLUMES * FILES * value(1).len()) as f64 / MIB;
    let full =
        line(&bench, "memory, 200 volumes × 10, 200 identities").peer("94 MiB").at_most(32.0 + secrets);
    rotate(&bench).await;
    let rotated = line(&bench, "memory, the same after ten rotations").at_most(36.0 + secrets);
    bench.unpublish_all(&pods).await;
    tokio::time::sleep(SETTLED).await;
    vec![idle, full, rotated, line(&bench, "memory, after all were unpublished").peer("95 MiB")]
}

async fn rotate(bench: &Bench<'_>) {
    for version in 2..ROTATIONS + 2 {
        bench.world().put(version);
        assert_eq!(refresh_all(bench.node.path("admin/node.sock")).await, VOLUMES);
    }
    bench.world().put(1);
    tokio::time::sleep(SETTLED).await;
}

/// Memory of a node with a thousand volumes of one identity, and how long the last of them waited.
pub(crate) async fn crowd(world: &World) -> Vec<Line> {
    let bench = world.node_and_mounter("1h").await;
    let pods = world.pods("crowd", CROWD, "ten-one");
    let (each, all) = bench.publish_all(&pods, IN_FLIGHT).await;
    tokio::time::sleep(SETTLED).await;
    let rate = CROWD as f64 / all.as_secs_f64();
    let full = line(&bench, "memory, 1,000 volumes × 10, one identity");
    bench.unpublish_all(&pods).await;
    vec![
        full,
        Line::of("publish, 1,000 volumes × 10, one identity, 16 in flight", &each)
            .more(format!("{rate:.0}/s")),
    ]
}

/// The same where classes come from an API server: as many of them as a full node has volumes.
pub(crate) async fn memory_in_a_cluster(world: &World) -> Vec<Line> {
    let cluster = world.cluster_with_classes(VOLUMES);
    let bench = world.node_in(&cluster, "1h").await;
    let class = watched_class(VOLUMES - 1);
    bench.node.publish_until_done(&world.pod("cluster", 0, &class)).await;
    bench.unpublish(&world.pod("cluster", 0, "")).await;
    tokio::time::sleep(SETTLED).await;
    let memory = line(&bench, "memory, idle, 200 classes of an API server known").peer("69 MiB");
    let mut publishes = Samples::default();
    for request in bench.requests(&world.pods("beside-api", VOLUMES / 2, &class)) {
        publishes.add(bench.publish(request).await);
    }
    vec![
        memory,
        Line::of("publish, 10 secrets, with an API server on the same cores", &publishes).peer("38 ms"),
    ]
}

fn line(bench: &Bench<'_>, what: &str) -> Line {
    let pids: Vec<u32> = bench.node.pids();
    let each: Vec<Process> = pids.iter().map(|pid| Process::of(*pid)).collect();
    let more: Vec<String> = each.iter().map(Process::text).collect();
    let rss: f64 = each.iter().map(|process| process.rss).sum();
    Line::number(what, Unit::Mib, rss).more(more.join("; "))
}

struct Process {
    name: String,
    rss: f64,
    /// What it shares with others counts in part only.
    pss: f64,
    anonymous: f64,
    threads: f64,
    descriptors: usize,
}

impl Process {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of status");
            line.trim_start_matches(':').trim().trim_end_matches(" kB").to_owned()
        };
        let amount = |name: &str| field(name).parse::<f64>().expect("a number");
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count();
        Self {
            name: name(&command),
            rss: amount("VmRSS") / 1024.0,
            pss: pss(pid),
            anonymous: amount("RssAnon") / 1024.0,
            threads: amount("Threads"),
            descriptors,
        }
    }

    fn text(&self) -> String {
        let Self { name, rss, pss, anonymous, threads, descriptors } = self;
        format!(
            "{name}: {rss:.1} (anonymous {anonymous:.1}, PSS {pss:.1}), {threads} threads, {descriptors} fds"
        )
    }
}

/// `node` of `secretfs node`, `mounter` of `secretfs-mounter`.
fn name(command: &str) -> String {
    let mut words = command.split('\0');
    match words.next() {
        Some(program) if program.ends_with("-mounter") => "mounter".to_owned(),
        _ => words.next().unwrap_or_default().to_owned(),
    }
}

fn pss(pid: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("root, to look");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a field of smaps_rollup");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

pub(crate) async fn binary(world: &World) -> Vec<Line> {
    let mounter = testing::mounter(&world.binary());
    vec![
        size("binary", &world.binary()).peer("131 MB, 92 stripped").at_most(45.0),
        size("binary of the mounter", mounter.get_program().as_ref()).at_most(1.5),
    ]
}

fn size(what: &str, program: &Path) -> Line {
    let built = fs::metadata(program).expect("the binary").len() as f64 / 1e6;
    let line = Line::number(what, Unit::Megabytes, stripped(program).unwrap_or(built));
    line.more(format!("stripped; {built:.1} as built"))
}

fn stripped(program: &Path) -> Option<f64> {
    let copy = tempfile::NamedTempFile::new().ok()?;
    let strip = Command::new("strip").arg("-o").arg(copy.path()).arg(program).status().ok()?;
    let bytes = fs::metadata(copy.path()).ok()?.len();
    strip.success().then_some(bytes as f64 / 1e6)
}
