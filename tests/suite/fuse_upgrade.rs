//! Volumes of mode fuse on a node while `secretfs node` is replaced, and where their values are.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use testing::{PodVolume, occurrences_in_all_memory};

use crate::fuse_node::{Bench, Readers, SOON, pods};
use crate::support::{again, copy_program};

/// Set in a process that looks how many pages of this file the kernel has.
const LOOKS_AT: &str = "SECRETFS_TEST_LOOKS_AT";
/// How long memory may still hold what only passed through it.
const FORGOTTEN: Duration = Duration::from_secs(1);

// === updates ===

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_updated_is_missed_by_no_reader() {
    let mut bench = Bench::start().await;
    let pods = pods(20);
    bench.publish(&pods).await;
    let readers = Readers::of(&bench, &pods);
    let (mut slowest_end, mut slowest_start) = (Duration::ZERO, Duration::ZERO);

    for version in 0..6 {
        let program = bench.node.path(&format!("secretfs-{version}"));
        copy_program(&program);
        bench.node.use_binary(&program);
        if version % 2 == 1 {
            // The new one comes before the old one has gone. It ends, and kubelet starts it again.
            assert!(!bench.node.start_beside().success());
        }
        bench.put(&format!("version {version}"));
        let told = Instant::now();
        assert!(bench.node.stop_node().unwrap().success());
        let ended = Instant::now();
        bench.node.start_node().await;
        slowest_end = slowest_end.max(ended.duration_since(told));
        slowest_start = slowest_start.max(ended.elapsed());
    }
    bench.node.text_becomes(&pods[0], "a", Some("version 5"), SOON).await;
    let seen = readers.end();

    println!(
        "6 updates of node, {} volumes, slowest end {slowest_end:?}, slowest start {slowest_start:?}, {seen:?}",
        pods.len()
    );
    assert!(seen.errors.is_empty() && seen.looks > 100, "{seen:?}\n{}", bench.node.log());
    bench.unpublish(&pods).await;
}

// === where values are ===

impl Bench {
    /// Fails if `value` is in memory of the driver that anybody could read.
    fn is_nowhere(&self, value: &str) {
        for (process, pid) in [("node", self.node.node_pid()), ("mounter", self.node.mounter_pid())] {
            let found = occurrences_in_all_memory(pid, value.as_bytes());
            assert_eq!(found, 0, "{value} is in the memory of {process}");
        }
    }
}

/// How many pages of `file` the kernel has, as a process tells that serves nothing.
fn resident_pages(file: &Path) -> usize {
    let mut process = again("fuse_upgrade::values_are_in_secret_memory_only_and_no_page_of_a_file_stays");
    let output = process.env(LOOKS_AT, file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.lines().find_map(|line| line.strip_prefix("resident "));
    told.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

fn look_at(file: &str) {
    let mapping = sys::Mapping::new(File::open(file).unwrap().as_fd(), 4096).unwrap();
    println!("\nresident {}", mapping.resident_pages().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_in_secret_memory_only_and_no_page_of_a_file_stays() {
    if let Ok(file) = std::env::var(LOOKS_AT) {
        return look_at(&file);
    }
    let mut bench = Bench::prepare();
    let canary = |kind: &str| format!("canary-{kind}-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let (first, second) = (canary("first"), canary("second"));
    bench.put(&first);
    bench.node.start_node().await;
    let pods = pods(3);
    bench.publish(&pods).await;
    let read = |bench: &Bench, value: &str| {
        for pod in &pods {
            assert_eq!(bench.node.text(pod, "a").as_deref(), Some(value));
            assert_eq!(resident_pages(&bench.file(pod, "a")), 0);
        }
    };

    read(&bench, &first);
    tokio::time::sleep(FORGOTTEN).await;
    bench.is_nowhere(&first);

    bench.put(&second);
    for pod in &pods {
        bench.node.text_becomes(pod, "a", Some(&second), SOON).await;
    }
    read(&bench, &second);
    tokio::time::sleep(FORGOTTEN).await;
    bench.is_nowhere(&first);
    bench.is_nowhere(&second);

    bench.node.restart_node().await;
    read(&bench, &second);
    tokio::time::sleep(FORGOTTEN).await;
    bench.is_nowhere(&second);
    let maps = fs::read_to_string(format!("/proc/{}/maps", bench.node.node_pid())).unwrap();
    assert!(maps.contains("secretmem"), "the values are in another kind of memory:\n{maps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_second_of_its_withdrawal_a_file_is_gone_and_held_handles_are_refused() {
    let bench = Bench::start().await;
    let pod = PodVolume::new("web", "app");
    bench.publish(std::slice::from_ref(&pod)).await;
    let held = File::open(bench.file(&pod, "d/b")).unwrap();
    let read = || held.read_at(&mut [0; 9], 0);

    bench.store.run(&["delete", "other", "--namespace", "shop"], b"");
    bench.node.text_becomes(&pod, "d/b", None, SOON).await;
    let gone = Instant::now();
    bench.until("a held handle is refused", || read().is_err()).await;

    assert!(gone.elapsed() < Duration::from_secs(1), "{:?}", gone.elapsed());
    let error = read().unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::ACCESS));
    assert_eq!(fs::read(bench.file(&pod, "d/b")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    drop(held);
    bench.node.unpublish(&pod).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_volume_is_unpublished_held_handles_end() {
    let bench = Bench::start().await;
    let pod = PodVolume::new("web", "app");
    bench.publish(std::slice::from_ref(&pod)).await;
    let held = File::open(bench.file(&pod, "a")).unwrap();

    // The mounter waits for who has files open. kubelet asks again where that takes too long.
    while bench.node.unpublish(&pod).await.is_err() {}

    let error = held.read_at(&mut [0; 9], 0).unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::NOTCONN));
    assert_eq!(bench.node.mounts().len(), 0);
}
