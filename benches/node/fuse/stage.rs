//! A process that serves volumes, in mounts of its own, and has them read.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuse_session::{Device, Sessions, Settings};
use fuse_tree::{AllowAll, Edition, File, Look, Moment, Plain, Source, Volume};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{Cpus, Kind, Reads, SIZE, Seen, Taken, Task, again, ms};

/// How long a kernel may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);
/// The one edition of each volume, and its one file. The path has no links, so that a round is one open of one file.
const EDITION: &str = "..v1";
const FILE: &str = "value";

pub(super) fn serve(kind: Kind, volumes: usize, cpus: Cpus, reads: &Reads) -> Taken {
    if cpus == Cpus::One {
        use_one_cpu();
    }
    sys::leave_mount_namespace().expect("root, to mount");
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .expect("mounts of its own");
    let place = tempfile::Builder::new().prefix("secretfs-fuse").tempdir().expect("a directory");
    // So that one unmount ends all of them.
    rustix::mount::mount("bench", place.path(), "tmpfs", MountFlags::empty(), None).expect("root, to mount");
    let targets: Vec<_> = (0..volumes).map(|volume| place.path().join(volume.to_string())).collect();
    targets.iter().for_each(|target| fs::create_dir(target).expect("a directory"));

    let (before, started) = (Size::now(), Instant::now());
    let served = Served::start(kind, &targets);
    let mounting = started.elapsed();
    let files = targets.iter().map(|target| target.join(EDITION).join(FILE).display().to_string()).collect();
    let seen: Seen = again(&Task::Read(Reads { files, ..reads.clone() }));
    let after = Size::now();
    rustix::mount::unmount(place.path(), rustix::mount::UnmountFlags::DETACH).expect("to unmount");
    drop(served);
    Taken {
        mounting: ms(mounting),
        kibibytes: after.kibibytes - before.kibibytes,
        threads: after.threads - before.threads,
        seen,
    }
}

/// Also all threads and processes that this one starts. Returns the processors of before.
pub(super) fn use_one_cpu() -> CpuSet {
    let all = sched_getaffinity(None).expect("processors");
    let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).expect("a processor");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).expect("to stay on a processor");
    all
}

/// What this process takes.
struct Size {
    kibibytes: f64,
    threads: f64,
}

impl Size {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("what this process takes");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a field of status");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        Self { kibibytes: number("VmRSS:"), threads: number("Threads:") }
    }
}

/// What has to live as long as the volumes.
enum Served {
    Kernel,
    Fuser { _sessions: Vec<fuse_fuser::Session> },
    Ours { _sessions: Sessions },
}

impl Served {
    fn start(kind: Kind, targets: &[PathBuf]) -> Self {
        match kind {
            Kind::Tmpfs => {
                targets.iter().for_each(|target| fill_tmpfs(target));
                Self::Kernel
            }
            Kind::Fuser => Self::Fuser { _sessions: targets.iter().map(|target| by_fuser(target)).collect() },
            Kind::Bare => {
                let sessions = Sessions::start(Settings::default()).expect("threads");
                targets.iter().zip(0..).for_each(|(target, key)| by_us(&sessions, key, target));
                Self::Ours { _sessions: sessions }
            }
        }
    }
}

fn fill_tmpfs(target: &Path) {
    rustix::mount::mount("bench", target, "tmpfs", MountFlags::empty(), None).expect("root, to mount");
    let edition = target.join(EDITION);
    fs::create_dir(&edition).expect("a directory");
    fs::write(edition.join(FILE), [b'x'; SIZE]).expect("a file");
}

fn by_fuser(target: &Path) -> fuse_fuser::Session {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let device: OwnedFd = rustix::fs::open("/dev/fuse", flags, Mode::empty()).expect("/dev/fuse");
    let of_mount = Device::from_fd(device.try_clone().expect("a descriptor")).expect("a device");
    let root = fuse_session::mount(&of_mount, "bench").expect("root, to mount");
    let session = fuse_fuser::serve(volume(), device).expect("a session");
    fuse_session::attach(root.as_fd(), target).expect("to attach");
    session
}

fn by_us(sessions: &Sessions, key: u64, target: &Path) {
    let device = Device::open().expect("/dev/fuse");
    let root = fuse_session::mount(&device, "bench").expect("root, to mount");
    let agreed = device.agree(PATIENCE).expect("to agree");
    sessions.serve(key, device, agreed, volume()).expect("to serve");
    fuse_session::attach(root.as_fd(), target).expect("to attach");
}

fn volume() -> Arc<Volume> {
    let file = File { mode: 0o444, source: Source::Known(Plain::of([b'x'; SIZE])) };
    let edition = Edition {
        number: 1,
        name: EDITION.to_owned(),
        changed: Moment { seconds: 0, nanoseconds: 0 },
        files: [(FILE.to_owned(), file)].into(),
    };
    let volume = Volume::new("bench", Look { uid: 0, gid: 0, directory_mode: 0o755 }, Arc::new(AllowAll));
    volume.add(edition).expect("an edition");
    volume.show(1).expect("an edition to show");
    Arc::new(volume)
}
