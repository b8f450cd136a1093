//! What it costs to open, read and close a file of 1 KiB in a tmpfs, served by this crate, and served by `fuser`; and what
//! many volumes cost. As root: `cargo bench -p fuse-session -- [VOLUMES]` (100). With 500, `fuser` takes about 3 GiB.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a measurement may fail loudly")]
#![allow(dead_code, reason = "the tests use the rest of these modules")]

#[path = "../tests/kernel/mounted.rs"]
mod mounted;
#[path = "../tests/kernel/peer.rs"]
mod peer;
#[path = "../tests/kernel/shown.rs"]
mod shown;
/// Nobody watches a measurement.
mod watchdog {
    use std::os::fd::BorrowedFd;
    use std::time::Duration;

    pub(crate) const LIMIT: Duration = Duration::MAX;

    #[derive(Debug)]
    pub(crate) struct Watched;

    pub(crate) fn watch(_: BorrowedFd<'_>, _: Duration) -> Watched {
        Watched
    }
}

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuse_session::{Sessions, Settings};
use fuse_tree::{AllowAll, Volume};
use mounted::{Mounted, Place, leave_mounts};
use rustix::thread::CpuSet;
use tempfile::TempDir;

const ROUNDS: usize = 20_000;
const FILE: &str = "..v1/a";

fn main() {
    let volumes = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(100);
    leave_mounts();
    let all = rustix::thread::sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
    for (cpus, name) in [(&one, "one CPU"), (&all, "all CPUs")] {
        rustix::thread::sched_setaffinity(None, cpus).unwrap();
        latencies(name);
    }
    many("this crate", volumes, ours);
    many("fuser", volumes, fusers);
}

fn volume() -> Arc<Volume> {
    shown::showing("bench", Arc::new(AllowAll), shown::edition(1, &[("a", &[b'x'; 1024])]))
}

fn latencies(cpus: &str) {
    let tmpfs = TempDir::new().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("bench", tmpfs.path(), "tmpfs", flags, None).unwrap();
    fs::create_dir(tmpfs.path().join("..v1")).unwrap();
    fs::write(tmpfs.path().join(FILE), [b'x'; 1024]).unwrap();
    measure(cpus, "tmpfs", tmpfs.path());
    rustix::mount::unmount(tmpfs.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    for threads in [1, 2] {
        let served = Mounted::with(volume(), Settings { threads, ..Settings::default() });
        measure(cpus, &format!("this crate, {threads} threads"), served.place.path());
    }
    measure(cpus, "fuser", peer::Peer::new(volume()).path());
}

fn measure(cpus: &str, what: &str, root: &Path) {
    let path = root.join(FILE);
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let mut into = [0; 2048];
            let file =
                rustix::fs::open(&path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
            assert_eq!(rustix::io::read(&file, &mut into).unwrap(), 1024);
            drop(file);
            start.elapsed()
        })
        .collect();
    let all: Duration = times.iter().sum();
    times.sort();
    let (half, most) = (times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
    let rate = ROUNDS as f64 / all.as_secs_f64();
    println!("{cpus:>9} {what:<24} p50 {half:>10.2?} p99 {most:>10.2?} {rate:>9.0}/s");
}

/// What all of a process takes: resident memory, and threads.
fn taken() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |key| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("VmRSS:"), number("Threads:"))
}

fn many<T>(what: &str, volumes: usize, mount: impl FnOnce(usize) -> T) {
    let (before, start) = (taken(), Instant::now());
    let mounted = mount(volumes);
    let (time, after) = (start.elapsed(), taken());
    println!(
        "{volumes} volumes by {what}: {time:.1?}, {} KiB, {} threads",
        after.0.saturating_sub(before.0),
        after.1 - before.1
    );
    drop(mounted);
}

fn ours(volumes: usize) -> (Sessions, Vec<Place>) {
    let sessions = Sessions::start(Settings::default()).unwrap();
    let mount = |key| {
        let (place, device) = Place::new();
        sessions.serve(key, device, place.agreed, volume()).unwrap();
        assert_eq!(fs::read(place.at(FILE)).unwrap().len(), 1024);
        place
    };
    let places = (0..u64::try_from(volumes).unwrap()).map(mount).collect();
    (sessions, places)
}

fn fusers(volumes: usize) -> Vec<peer::Peer> {
    let mount = |_| {
        let peer = peer::Peer::new(volume());
        assert_eq!(fs::read(peer.path().join(FILE)).unwrap().len(), 1024);
        peer
    };
    (0..volumes).map(mount).collect()
}
