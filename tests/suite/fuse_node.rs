//! Volumes of mode fuse on a node: what programs see when `secretfs node` or its mounter is killed and started again.
//!
//! Readers are processes of their own. A process that maps a file, or waits for one, must not be the one that has to start
//! whoever serves it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mounter::{Mounter as _, RemoteMounter};
use rustix::io::Errno;
use testing::{PodVolume, RunningNode, count};

use crate::embedded::Store;
use crate::support::{again, earlier, store_class};

/// Set in a process that reads: the directories of its volumes, each with the single file beside it, as `VOLUME=FILE`, by
/// `:`.
const READS: &str = "SECRETFS_TEST_READS";
/// How long anything may take. A withdrawal that the store has to say twice takes half a minute.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A node with a mounter of its own and one class of mode fuse.
pub(crate) struct Bench {
    pub(crate) node: RunningNode,
    pub(crate) store: Store,
}

impl Bench {
    pub(crate) fn prepare() -> Self {
        let store = Store::init();
        store.put("shop", "app", "1");
        store.put("shop", "other", "stays");
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--store", store.path()]);
        let class = store_class(&["objectName: a, item: app", "objectName: d/b, item: other"]);
        let settings = "    secretfs.dev/mode: fuse\n    secretfs.dev/on-revoked: remove\n    objects: |";
        node.class("app", &class.replace("    objects: |", settings));
        node.use_mounter();
        Self { node, store }
    }

    pub(crate) async fn start() -> Self {
        let mut bench = Self::prepare();
        bench.node.start_node().await;
        bench
    }

    pub(crate) async fn publish(&self, pods: &[PodVolume]) {
        for pod in pods {
            self.node.publish_until_done(pod).await;
        }
    }

    pub(crate) fn put(&self, value: &str) {
        self.store.put("shop", "app", value);
    }

    /// The names of the files that the mounter keeps.
    pub(crate) fn kept(&self) -> Vec<String> {
        let kept = RemoteMounter::new(self.node.path("mounter.sock")).kept_files().unwrap();
        kept.into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < SOON, "{what}\n{}", self.node.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Mounts a single file of the volume, as kubelet does for a container with `subPath`, and tells where.
    pub(crate) fn mount_alone(&self, pod: &PodVolume) -> PathBuf {
        let alone = self.node.path("kubelet/alone").join(&pod.pod);
        fs::create_dir_all(alone.parent().unwrap()).unwrap();
        fs::write(&alone, "").unwrap();
        rustix::mount::mount_bind(self.file(pod, "a").canonicalize().unwrap(), &alone).unwrap();
        alone
    }

    /// Unmounts the single files of these volumes, and the volumes.
    pub(crate) async fn unpublish(&self, pods: &[PodVolume]) {
        for pod in pods {
            let alone = self.node.path("kubelet/alone").join(&pod.pod);
            rustix::mount::unmount(&alone, rustix::mount::UnmountFlags::DETACH).unwrap();
            self.node.unpublish_until_done(pod).await;
        }
        assert_eq!(self.node.mounts().len(), 0);
    }

    pub(crate) fn file(&self, pod: &PodVolume, name: &str) -> PathBuf {
        self.node.target(pod).join(name)
    }
}

pub(crate) fn pods(count: usize) -> Vec<PodVolume> {
    (0..count).map(|n| PodVolume::new(&format!("web-{n}"), "app")).collect()
}

pub(crate) fn errno(result: io::Result<impl std::fmt::Debug>) -> Errno {
    Errno::from_io_error(&result.unwrap_err()).unwrap()
}

// === readers ===

/// What a process of readers saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) looks: u64,
    pub(crate) errors: Vec<String>,
    pub(crate) longest: Duration,
}

/// A process that reads volumes all the time.
pub(crate) struct Readers(Child, BufReader<std::process::ChildStdout>);

impl Readers {
    pub(crate) fn of(bench: &Bench, pods: &[PodVolume]) -> Self {
        let target = |pod: &PodVolume| {
            format!("{}={}", bench.node.target(pod).display(), bench.mount_alone(pod).display())
        };
        let targets: Vec<_> = pods.iter().map(target).collect();
        let mut process = again("fuse_node::a_reader_sees_whole_files");
        process.env(READS, targets.join(":")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = process.spawn().unwrap();
        let mut told = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.ends_with("reading\n") {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "the readers did not begin");
        }
        Self(process, told)
    }

    /// Ends them, and tells what they saw.
    pub(crate) fn end(mut self) -> Seen {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.1.read_to_string(&mut text).unwrap();
        let line =
            text.lines().find_map(|line| line.strip_prefix("seen ")).unwrap_or_else(|| panic!("{text}"));
        let (numbers, errors) = line.split_once('|').unwrap();
        let numbers: Vec<u64> = numbers.split(' ').filter_map(|number| number.parse().ok()).collect();
        let errors = errors.split('|').filter(|error| !error.is_empty()).map(str::to_owned).collect();
        assert!(self.0.wait().unwrap().success());
        Seen { looks: numbers[0], errors, longest: Duration::from_micros(numbers[1]) }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// One volume as a program has it: by path, as a single file that a container mounted, through a handle and through a
/// mapping.
struct Reader {
    directory: PathBuf,
    alone: PathBuf,
    held: File,
    mapped: sys::Mapping,
}

impl Reader {
    fn new(target: &str) -> Self {
        let (directory, alone) = target.split_once('=').unwrap();
        let directory = Path::new(directory);
        let held = File::open(directory.join("d/b")).unwrap();
        let mapped = sys::Mapping::new(File::open(directory.join("d/b")).unwrap().as_fd(), 5).unwrap();
        Self { directory: directory.to_owned(), alone: alone.into(), held, mapped }
    }

    fn look(&self) -> Result<(), String> {
        let failed = |what: &str| {
            let (what, directory) = (what.to_owned(), self.directory.display().to_string());
            move |error: io::Error| format!("{what} in {directory}: {error}")
        };
        let same = |what: &str, text: &[u8]| match text {
            b"stays" => Ok(()),
            other => {
                Err(format!("{what} in {}: {:?}", self.directory.display(), String::from_utf8_lossy(other)))
            }
        };
        let a = fs::read(self.directory.join("a")).map_err(failed("a"))?;
        let alone = fs::read(&self.alone).map_err(failed("a alone"))?;
        if a.is_empty() || alone.is_empty() {
            return Err(format!("a has {} bytes, and {} alone", a.len(), alone.len()));
        }
        // Its close lets the pages of the mapping go, so that the mapping asks again.
        same("b", &fs::read(self.directory.join("d/b")).map_err(failed("b"))?)?;
        let mut text = [0; 9];
        let count = self.held.read_at(&mut text, 0).map_err(failed("held"))?;
        same("held", &text[..count])?;
        same("mapped", &self.mapped.read())?;
        fs::read_dir(&self.directory)
            .and_then(|names| names.collect::<io::Result<Vec<_>>>())
            .map_err(failed("names"))?;
        Ok(())
    }
}

/// Reads until standard input ends, and tells what it saw.
fn read_all(targets: &str) {
    let readers: Vec<Reader> = targets.split(':').map(Reader::new).collect();
    println!("reading");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = readers
            .iter()
            .map(|reader| {
                scope.spawn(|| {
                    let mut seen = Seen::default();
                    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        let started = Instant::now();
                        seen.errors.extend(reader.look().err());
                        seen.longest = seen.longest.max(started.elapsed());
                        seen.looks += 1;
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    seen
                })
            })
            .collect();
        let _ = io::stdin().read_to_end(&mut Vec::new());
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        for thread in threads {
            let one = thread.join().unwrap();
            seen.looks += one.looks;
            seen.longest = seen.longest.max(one.longest);
            seen.errors.extend(one.errors);
        }
    });
    let told: Vec<_> = seen.errors.iter().take(20).map(|error| error.replace(['|', '\n'], " ")).collect();
    println!("\nseen {} {} |{}", seen.looks, seen.longest.as_micros(), told.join("|"));
    io::stdout().flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_whole_files() {
    if let Ok(targets) = std::env::var(READS) {
        return read_all(&targets);
    }
    let bench = Bench::start().await;
    let pods = pods(2);
    bench.publish(&pods).await;

    let readers = Readers::of(&bench, &pods);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let seen = readers.end();

    println!("{seen:?}");
    assert!(seen.errors.is_empty() && seen.looks > 10, "{seen:?}");
}

// === volumes ===

#[tokio::test(flavor = "multi_thread")]
async fn a_fuse_volume_of_a_pod_is_read_and_rotated_and_leaves_nothing_with_the_mounter() {
    let bench = Bench::start().await;
    let pod = PodVolume::new("web", "app");
    bench.publish(std::slice::from_ref(&pod)).await;
    let first = (bench.node.text(&pod, "a"), bench.node.text(&pod, "d/b"));
    let kept = bench.kept();

    bench.put("2");
    bench.node.text_becomes(&pod, "a", Some("2"), SOON).await;
    bench.until("the first edition is kept", || bench.kept().len() == kept.len()).await;
    let rotated = bench.kept();
    bench.node.unpublish_until_done(&pod).await;

    assert_eq!(first, (Some("1".to_owned()), Some("stays".to_owned())));
    let parts = |names: &[String]| -> Vec<String> {
        names.iter().filter_map(|name| name.split('/').nth(1)).map(str::to_owned).collect()
    };
    assert_eq!(kept.len(), 3, "a device, an edition, a journal: {kept:?}");
    assert!(parts(&rotated).iter().any(|part| part.ends_with("-00000000000000000002")), "{rotated:?}");
    let left = bench.kept();
    assert!(left.len() == 1 && left[0].starts_with("journal/"), "{left:?}");
    assert_eq!((bench.node.mounts().len(), bench.node.left_behind(&pod).len()), (0, 0));
}

async fn killed_under_load(mut bench: Bench, by: &str) {
    let (volumes, kills) = (count("FUSE_VOLUMES"), count("FUSE_KILLS"));
    let pods = pods(volumes);
    bench.publish(&pods).await;
    let readers = Readers::of(&bench, &pods);
    let mut slowest = Duration::ZERO;

    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Some kills meet a rotation. The volume keeps eight versions for handles.
        if kill % (kills / 6).max(2) == 1 {
            bench.put(&format!("{kill}"));
        }
        let killed = Instant::now();
        bench.node.restart_node().await;
        slowest = slowest.max(killed.elapsed());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let seen = readers.end();

    println!(
        "{by}: {kills} kills of node, {volumes} volumes, slowest restart {slowest:?}, {} looks, {} errors, worst pause {:?}",
        seen.looks,
        seen.errors.len(),
        seen.longest
    );
    assert!(seen.errors.is_empty() && seen.looks > 100, "{seen:?}\n{}", bench.node.log());
    for pod in &pods {
        let alone = bench.node.path("kubelet/alone").join(&pod.pod);
        let is_same = || fs::read(&alone).ok() == bench.node.read(pod, "a");
        bench.until("the file alone shows the newest version", is_same).await;
    }
    bench.unpublish(&pods).await;
    assert!(bench.kept().len() <= 1, "{:?}", bench.kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_and_started_again_is_missed_by_no_reader() {
    let bench = Bench::start().await;
    killed_under_load(bench, "the kernel sends again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_on_an_older_kernel_is_missed_by_no_reader() {
    let mut bench = Bench::prepare();
    bench.node.variable("SECRETFS_FUSE_BY_JOURNAL", "1");
    bench.node.start_node().await;
    killed_under_load(bench, "from the journal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_handles_show_their_version_and_rotation_and_withdrawal_reach_what_they_reached() {
    let mut bench = Bench::start().await;
    let pod = PodVolume::new("web", "app");
    bench.publish(std::slice::from_ref(&pod)).await;
    let held = File::open(bench.file(&pod, "a")).unwrap();
    let gone = File::open(bench.file(&pod, "d/b")).unwrap();
    let alone = bench.mount_alone(&pod);
    bench.put("2");
    bench.node.text_becomes(&pod, "a", Some("2"), SOON).await;

    bench.node.restart_node().await;

    let held_text = || {
        let mut text = [0; 9];
        held.read_at(&mut text, 0).map(|count| String::from_utf8_lossy(&text[..count]).into_owned())
    };
    assert_eq!(held_text().unwrap(), "1");
    assert_eq!(bench.node.text(&pod, "a").as_deref(), Some("2"));
    bench.until("the next version by subPath", || fs::read_to_string(&alone).unwrap() == "2").await;

    bench.put("3");
    bench.node.text_becomes(&pod, "a", Some("3"), SOON).await;
    bench.until("the third version by subPath", || fs::read_to_string(&alone).unwrap() == "3").await;
    assert_eq!(held_text().unwrap(), "1");

    bench.store.run(&["delete", "other", "--namespace", "shop"], b"");
    bench.node.text_becomes(&pod, "d/b", None, SOON).await;
    bench.until("a held handle is refused", || gone.read_at(&mut [0; 9], 0).is_err()).await;
    bench.node.restart_node().await;

    assert_eq!(errno(gone.read_at(&mut [0; 9], 0)), Errno::ACCESS);
    assert_eq!((held_text().unwrap().as_str(), bench.node.text(&pod, "a").as_deref()), ("1", Some("3")));
    bench.unpublish(&[pod]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounter_that_was_restarted_gets_the_volumes_again_and_no_reader_sees_it() {
    let mut bench = Bench::start().await;
    let pods = pods(5);
    bench.publish(&pods).await;
    let (kept, readers) = (bench.kept(), Readers::of(&bench, &pods));

    for _ in 0..3 {
        bench.node.kill_mounter();
        bench.node.start_mounter();
        bench.until("the files are kept again", || bench.kept().len() == kept.len()).await;
        bench.node.restart_node().await;
    }
    let seen = readers.end();

    println!("{seen:?}");
    assert!(seen.errors.is_empty() && seen.looks > 100, "{seen:?}\n{}", bench.node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_node_and_mounter_died_together_gives_errors_is_told_of_and_is_published_anew() {
    let mut bench = Bench::start().await;
    let pod = PodVolume::new("web", "app");
    bench.publish(std::slice::from_ref(&pod)).await;

    bench.node.kill_mounter();
    bench.node.kill_node();
    let dead = errno(fs::read(bench.file(&pod, "a")));
    bench.node.start_mounter();
    bench.node.start_node().await;
    let still = errno(fs::read(bench.file(&pod, "a")));
    let log = bench.node.log();
    bench.publish(std::slice::from_ref(&pod)).await;

    assert_eq!((dead, still), (Errno::NOTCONN, Errno::NOTCONN));
    assert!(log.contains("can be read no more; delete the pod"), "{log}");
    assert_eq!(bench.node.text(&pod, "a").as_deref(), Some("1"));
    assert_eq!(bench.node.mounts().len(), 1);
    bench.node.unpublish_until_done(&pod).await;
    assert_eq!(bench.node.mounts().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_serves_is_answered_by_the_next_process_or_ended_in_time() {
    let mut bench = Bench::start().await;
    let pod = PodVolume::new("web", "app");
    bench.publish(std::slice::from_ref(&pod)).await;
    let read = |bench: &Bench| {
        let mut cat = std::process::Command::new("cat");
        cat.arg(bench.file(&pod, "a")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };

    bench.node.kill_node();
    let waiting = read(&bench);
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.node.start_node().await;
    let answered = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answered.stdout), "1", "{answered:?}");

    bench.node.kill_node();
    let started = Instant::now();
    let ended = read(&bench).wait_with_output().unwrap();
    println!("ended after {:?}", started.elapsed());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("Input/output error"), "{ended:?}");

    bench.node.start_node().await;
    assert_eq!(bench.node.text(&pod, "a").as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounter_of_an_earlier_version_is_told_as_what_to_update() {
    let mut bench = Bench::prepare();
    bench.node.kill_mounter();
    bench.node.use_binary(&earlier());
    bench.node.start_mounter();
    bench.node.use_binary(env!("CARGO_BIN_EXE_secretfs").as_ref());
    bench.node.start_node().await;

    let refused = bench.node.publish(&PodVolume::new("web", "app")).await.unwrap_err();

    println!("{refused}");
    assert!(refused.message().contains("update secretfs-mounter first"), "{refused}");
    assert_eq!(bench.node.mounts().len(), 0);
}
