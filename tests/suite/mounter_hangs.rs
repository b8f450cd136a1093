//! A mounter that was killed and cannot end, because it waits for a FUSE volume that nobody serves; and the next one.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fuse_session::Device;
use mounter::{Mounter as _, RemoteMounter};
use program::killed::is_killed;
use rustix::process::{Pid, Signal, kill_process};
use testing::{DRIVER, in_private_mounts, prepare_target};

use crate::mounter::MounterProcess;
use crate::support::Target;

/// How long anything may take.
const SOON: Duration = Duration::from_secs(30);
const OTHER: &str = "other.driver.example";

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < SOON, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A FUSE volume of `driver`, for which nobody has answered anything but the kernel's first request.
fn volume(mounter: &RemoteMounter, pods: &Path, name: &str, driver: &str) -> (PathBuf, Device) {
    let target = pods.join("pod-uid/volumes/kubernetes.io~csi").join(name).join("mount");
    prepare_target(&target, DRIVER);
    let device = Device::from_fd(mounter.open_fuse().unwrap()).unwrap();
    let root = mounter.create_fuse(device.as_fd(), None).unwrap();
    device.agree(SOON).unwrap();
    mounter.attach(root.as_fd(), &target).unwrap();
    prepare_target(&target, driver);
    (target, device)
}

/// Reads the next request and answers nothing. Who asked cannot be killed from now on.
fn read_one(device: &Device) {
    let mut request = vec![0; 2 << 20];
    until("no request came", || match rustix::io::read(device.as_fd(), &mut request) {
        Ok(count) => count > 0,
        Err(rustix::io::Errno::AGAIN) => false,
        Err(error) => panic!("{error}"),
    });
}

/// Has `mounter` swap names in the volume at `target`, which waits for an answer.
fn swap(mounter: Arc<RemoteMounter>, target: &Path) -> thread::JoinHandle<io::Result<()>> {
    let root: OwnedFd = mounter.enter_fuse(target).unwrap().unwrap();
    thread::spawn(move || mounter.rename(root.as_fd(), "a", "b").map_err(|error| error.source))
}

fn kill(process: &MounterProcess) -> i32 {
    let pid = i32::try_from(process.pid()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    until("it was not killed", || is_killed(pid));
    pid
}

/// Looks at the volume from a thread of its own, which waits for an answer.
fn look(target: &Path) -> thread::JoinHandle<io::Result<fs::Metadata>> {
    let file = target.join("file");
    thread::spawn(move || fs::metadata(file))
}

#[test]
fn a_mounter_that_was_killed_and_waits_for_a_volume_that_nobody_serves_is_replaced() {
    in_private_mounts(|| {
        let (pods, run) = (Target::new(), Target::new());
        let first = MounterProcess::listening_in(run.parent(), pods.parent(), &[]);
        let mounter = first.connect();
        let (dead, device) = volume(&mounter, pods.parent(), "dead", DRIVER);
        let (served, serving) = volume(&mounter, pods.parent(), "served", DRIVER);
        let (foreign, others) = volume(&mounter, pods.parent(), "foreign", OTHER);
        mounter.keep_file("dead/device", b"", device.as_fd()).unwrap();
        let swapping = swap(Arc::clone(&mounter), &dead);
        read_one(&device);
        let reader = look(&dead);
        let of_another = look(&foreign);
        read_one(&others);

        // Who serves the volume dies, and the mounter with it.
        drop(device);
        let pid = kill(&first);
        assert!(swapping.join().unwrap().is_err());
        thread::sleep(Duration::from_millis(300));
        assert!(is_killed(pid), "it can end by itself");
        let started = Instant::now();
        let second = MounterProcess::listening_in(run.parent(), pods.parent(), &[]);
        let is_up = || second.connect().kept_files().is_ok_and(|kept| kept.is_empty());
        until("the next mounter does not serve", is_up);
        println!("the next mounter served after {} ms", started.elapsed().as_millis());

        drop(first);
        let errno = |error: io::Error| rustix::io::Errno::from_io_error(&error);
        let ended = errno(reader.join().unwrap().unwrap_err());
        assert!(
            matches!(ended, Some(rustix::io::Errno::NOTCONN | rustix::io::Errno::CONNABORTED)),
            "{ended:?}"
        );
        assert!(
            serving.is_connected() && others.is_connected(),
            "a volume that is none of its business ended"
        );
        assert!(!of_another.is_finished());
        for target in [&dead, &served] {
            second.connect().detach(target).unwrap();
        }
        drop((serving, others));
        assert!(of_another.join().unwrap().is_err());
    });
}

#[test]
fn a_mounter_that_lives_is_not_replaced_whatever_it_waits_for() {
    in_private_mounts(|| {
        let (pods, run) = (Target::new(), Target::new());
        let first = MounterProcess::listening_in(run.parent(), pods.parent(), &[]);
        let mounter = first.connect();
        let (dead, device) = volume(&mounter, pods.parent(), "dead", DRIVER);
        let swapping = swap(Arc::clone(&mounter), &dead);
        read_one(&device);
        let stopped = Pid::from_raw(first.pid().cast_signed()).unwrap();
        kill_process(stopped, Signal::STOP).unwrap();

        let mut second = MounterProcess::listening_in(run.parent(), pods.parent(), &[]);
        let refused = second.wait();
        kill_process(stopped, Signal::CONT).unwrap();

        assert!(!refused.success() && device.is_connected());
        drop(device);
        assert!(swapping.join().unwrap().is_err());
        assert!(mounter.kept_files().unwrap().is_empty());
    });
}
