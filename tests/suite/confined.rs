//! A mounter process works only for its own driver, whatever its callers ask for.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mounter::{Mounter, RemoteMounter, Tmpfs};
use rustix::fs::{CWD, FileType, Mode, OFlags, StatVfs};
use rustix::mount::MountFlags;
use testing::{DRIVER, VOLUME_DATA, in_private_mounts, prepare_target};

use crate::mounter::MounterProcess;
use crate::support::{Target, mounts_below};

/// Another driver on the node.
const OTHER: &str = "ebs.csi.aws.com";

/// The contents of a mount of another driver.
const THEIRS: &str = "somebody's data";

/// A mounter process and kubelet's `pods`.
struct World {
    pods: Target,
    _run: Target,
    mounter: Arc<RemoteMounter>,
    _process: MounterProcess,
}

impl World {
    fn new() -> Self {
        let (pods, run) = (Target::new(), Target::new());
        let process = MounterProcess::listening_in(run.parent(), pods.parent(), &[]);
        Self { pods, _run: run, mounter: process.connect(), _process: process }
    }

    /// A target that kubelet made for `driver`.
    fn target(&self, volume: &str, driver: &str) -> PathBuf {
        let target = self.pods.parent().join("pod-uid/volumes/kubernetes.io~csi").join(volume).join("mount");
        prepare_target(&target, driver);
        target
    }
}

/// Mounts a foreign tmpfs at `target` and returns the path of its file.
fn mount_theirs(target: &Path) -> PathBuf {
    fs::create_dir_all(target).unwrap();
    rustix::mount::mount("theirs", target, "tmpfs", MountFlags::empty(), None).unwrap();
    fs::write(target.join("file"), THEIRS).unwrap();
    target.join("file")
}

fn limits() -> Tmpfs {
    Tmpfs { size: 1 << 20, inodes: 64, mode: 0o755, gid: 0, selinux_context: None }
}

fn attach(mounter: &dyn Mounter, target: &Path) -> Result<(), mounter::Error> {
    mounter.attach(mounter.create(&limits()).unwrap().as_fd(), target)
}

/// Calls every verb on `target`. Returns each verb's name and its refusal, if it was refused.
fn refusals(mounter: &RemoteMounter, target: &Path) -> Vec<(&'static str, Option<String>)> {
    let told = |error: mounter::Error| error.to_string();
    vec![
        ("attach", attach(mounter, target).err().map(told)),
        ("enter", mounter.enter(target).err().map(told)),
        ("take over", mounter.take_over(target).err().map(told)),
        ("lend", mounter.lend(&limits(), target).err().map(told)),
        ("take back", mounter.take_back(target).err().map(told)),
        ("detach", mounter.detach(target).err().map(told)),
    ]
}

#[track_caller]
fn all_are_refused(mounter: &RemoteMounter, target: &Path, reason: &str) {
    for (verb, refusal) in refusals(mounter, target) {
        let refusal = refusal.unwrap_or_else(|| panic!("{verb} was done at {}", target.display()));
        assert!(refusal.contains(reason), "{verb}: {refusal}");
    }
}

#[test]
fn no_verb_touches_what_kubelet_made_for_another_driver() {
    in_private_mounts(|| {
        let world = World::new();
        let (mounted, empty) = (world.target("mounted", OTHER), world.target("empty", OTHER));
        let file = mount_theirs(&mounted);

        all_are_refused(&world.mounter, &mounted, OTHER);
        all_are_refused(&world.mounter, &empty, OTHER);

        assert_eq!(fs::read_to_string(file).unwrap(), THEIRS);
        assert_eq!(mounts_below(world.pods.parent()).len(), 1);
        assert!(!empty.exists());
    });
}

#[test]
fn no_verb_touches_a_volume_that_is_no_csi_target() {
    in_private_mounts(|| {
        let world = World::new();
        let volumes = world.pods.parent().join("pod-uid/volumes");
        let token = volumes.join("kubernetes.io~projected/kube-api-access");
        let file = mount_theirs(&token);
        let config = volumes.join("kubernetes.io~configmap/settings");
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("file"), THEIRS).unwrap();

        all_are_refused(&world.mounter, &token, "no target of a CSI volume");
        all_are_refused(&world.mounter, &config, "no target of a CSI volume");

        assert_eq!(fs::read_to_string(file).unwrap(), THEIRS);
        assert_eq!(fs::read_to_string(config.join("file")).unwrap(), THEIRS);
        assert_eq!(mounts_below(world.pods.parent()).len(), 1);
    });
}

#[test]
fn nothing_is_mounted_where_kubelet_has_not_written_whose_target_it_is() {
    in_private_mounts(|| {
        let world = World::new();
        let target = world.target("secrets", DRIVER);
        let data = target.with_file_name(VOLUME_DATA);
        fs::remove_file(&data).unwrap();

        let refused = attach(&*world.mounter, &target).unwrap_err().to_string();
        prepare_target(&target, DRIVER);
        let done = attach(&*world.mounter, &target);

        assert!(refused.contains(VOLUME_DATA), "{refused}");
        done.unwrap();
    });
}

/// Makes something at a path.
type Make<'a> = &'a dyn Fn(&Path);

#[test]
fn only_a_small_plain_file_that_names_the_driver_counts() {
    in_private_mounts(|| {
        let world = World::new();
        let target = world.target("secrets", DRIVER);
        let data = target.with_file_name(VOLUME_DATA);
        let aside = world.pods.parent().join("aside");
        fs::rename(&data, &aside).unwrap();
        let named = format!(r#"{{"driverName":"{DRIVER}"}}"#);
        let padded = format!("{named}{}", " ".repeat(4096));
        let pipe = |path: &Path| rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let cases: [(&str, Make<'_>); 7] = [
            ("a link", &|path| symlink(&aside, path).unwrap()),
            ("a pipe", &pipe),
            ("a directory", &|path| fs::create_dir(path).unwrap()),
            ("too large a file", &|path| fs::write(path, &padded).unwrap()),
            ("a file without a driver", &|path| fs::write(path, "{}").unwrap()),
            ("half a file", &|path| fs::write(path, &named[..named.len() - 1]).unwrap()),
            ("two drivers", &|path| {
                fs::write(path, format!(r#"{{"driverName":"{OTHER}","driverName":"{DRIVER}"}}"#)).unwrap();
            }),
        ];

        for (what, make) in cases {
            make(&data);
            let refusals = refusals(&world.mounter, &target);
            assert!(refusals.iter().all(|(_, refusal)| refusal.is_some()), "{what}: {refusals:?}");
            if fs::remove_file(&data).is_err() {
                fs::remove_dir(&data).unwrap();
            }
        }

        assert!(mounts_below(world.pods.parent()).is_empty());
    });
}

#[test]
fn a_volume_of_ours_is_taken_away_also_without_kubelets_file_and_a_strangers_stays() {
    in_private_mounts(|| {
        let world = World::new();
        let [ours, theirs, left, absent] =
            ["ours", "theirs", "left", "absent"].map(|volume| world.target(volume, DRIVER));
        attach(&*world.mounter, &ours).unwrap();
        let file = mount_theirs(&theirs);
        fs::create_dir(&left).unwrap();
        fs::write(left.join("file"), THEIRS).unwrap();
        for target in [&ours, &theirs, &left, &absent] {
            fs::remove_file(target.with_file_name(VOLUME_DATA)).unwrap();
        }

        let done = [&ours, &left, &absent].map(|target| world.mounter.detach(target));
        let gone =
            world.mounter.detach(&world.pods.parent().join("no-pod/volumes/kubernetes.io~csi/x/mount"));
        let refused = world.mounter.detach(&theirs).unwrap_err().to_string();

        done.into_iter().chain([gone]).for_each(Result::unwrap);
        assert!(!ours.exists());
        assert_eq!(fs::read_to_string(left.join("file")).unwrap(), THEIRS);
        assert_eq!(fs::read_to_string(file).unwrap(), THEIRS);
        assert!(refused.contains(VOLUME_DATA), "{refused}");
    });
}

#[test]
fn a_mount_of_another_driver_is_entered_by_taking_it_over_alone() {
    in_private_mounts(|| {
        let world = World::new();
        let (theirs, ours) = (world.target("theirs", DRIVER), world.target("ours", DRIVER));
        mount_theirs(&theirs);
        attach(&*world.mounter, &ours).unwrap();

        let entered = world.mounter.enter(&theirs).unwrap();
        let taken = world.mounter.take_over(&theirs).unwrap();
        let own = world.mounter.enter(&ours).unwrap();
        fs::remove_file(theirs.with_file_name(VOLUME_DATA)).unwrap();
        fs::remove_file(ours.with_file_name(VOLUME_DATA)).unwrap();
        let refused = world.mounter.take_over(&theirs).unwrap_err().to_string();
        let own_again = world.mounter.enter(&ours).unwrap();

        assert!(entered.is_none() && taken.is_some());
        assert!(own.is_some() && own_again.is_some());
        assert!(refused.contains(VOLUME_DATA), "{refused}");
        assert!(world.mounter.take_over(&world.target("empty", DRIVER)).unwrap().is_none());
    });
}

#[test]
fn only_a_root_that_the_mounter_gave_is_resized() {
    in_private_mounts(|| {
        let world = World::new();
        let theirs = Target::new();
        mount_theirs(&theirs.path());
        let open = rustix::fs::open(theirs.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let size = |of: &OwnedFd| rustix::fs::fstatvfs(of).map(|StatVfs { f_blocks, .. }| f_blocks).unwrap();
        let elsewhere = mounted_elsewhere();
        let before = (size(&open), size(&elsewhere));
        let given = world.mounter.create(&limits()).unwrap();

        let refused = [&open, &elsewhere].map(|root| world.mounter.resize(root.as_fd(), 1 << 20, 64));
        let done = world.mounter.resize(given.as_fd(), 2 << 20, 64);

        assert_eq!((size(&open), size(&elsewhere)), before, "{refused:?}");
        for refused in refused.map(|refused| refused.unwrap_err().to_string()) {
            assert!(refused.contains("no file system that this mounter gave"), "{refused}");
        }
        done.unwrap();
        assert_eq!(size(&given), 512);
    });
}

/// The root of a tmpfs in another mount namespace, as a container may have one.
fn mounted_elsewhere() -> OwnedFd {
    in_private_mounts(|| {
        let target = Target::new();
        mount_theirs(&target.path());
        rustix::fs::open(target.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    })
}

#[test]
fn sockets_are_made_by_the_names_of_this_driver_alone() {
    let directory = Target::new();
    let process = MounterProcess::start(directory.parent(), &[]);
    let mounter = process.connect();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = boot.get(..8).unwrap();
    let at = |name: &str| directory.parent().join(name);
    fs::create_dir(at(DRIVER)).unwrap();
    fs::create_dir(at(OTHER)).unwrap();

    let ours = [format!("{DRIVER}-{boot}-reg.sock"), "csi.sock".to_owned(), format!("{DRIVER}/csi.sock")];
    let theirs = [
        format!("{OTHER}-reg.sock"),
        format!("{OTHER}-{boot}-reg.sock"),
        format!("{OTHER}/csi.sock"),
        format!("{DRIVER}-0badcafe-reg.sock"),
        format!("{DRIVER}/{DRIVER}-{boot}-reg.sock"),
        "kubelet.sock".to_owned(),
    ];

    for name in theirs {
        let refused = mounter.listen(&at(&name)).map(drop);
        let refused = refused.expect_err(&name).to_string();
        assert!(refused.contains("none of the sockets of this driver"), "{refused}");
        assert!(!at(&name).exists());
    }
    ours.iter().for_each(|name| drop(mounter.listen(&at(name)).unwrap()));
}

#[test]
fn a_mounter_that_runs_out_of_descriptors_serves_again_when_it_has_some() {
    let directory = Target::new();
    let process = MounterProcess::start(directory.parent(), &[]);
    let mounter = process.connect();
    mounter.keep("a", b"blob").unwrap();
    let open = fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count();
    let limit = Command::new("prlimit")
        .args([format!("--nofile={}", open + 5), format!("--pid={}", process.pid())])
        .status()
        .unwrap();
    assert!(limit.success());

    let callers: Vec<_> = (0..20).map(|_| crate::mounter::connect_raw(process.socket()).unwrap()).collect();
    testing::until(
        || fs::read_dir(format!("/proc/{}/fd", process.pid())).is_ok_and(|fds| fds.count() >= open + 5),
        || "the mounter has descriptors left".to_owned(),
    );
    drop(callers);

    let kept = RemoteMounter::new(process.socket().to_owned()).kept();
    assert_eq!(kept.unwrap(), [("a".to_owned(), b"blob".to_vec())]);
}

/// Capabilities by number: `capabilities(7)`.
const CAPABILITIES: [(u64, &str); 3] = [(1, "DAC_OVERRIDE"), (3, "FOWNER"), (21, "SYS_ADMIN")];

#[test]
fn every_thread_has_the_capabilities_that_mounts_need_and_a_filter_on_its_calls() {
    let directory = Target::new();
    let process = MounterProcess::start(directory.parent(), &[]);
    let mounter = process.connect();
    mounter.keep("a", b"blob").unwrap();
    let allowed: u64 = CAPABILITIES.iter().map(|(bit, _)| 1 << bit).sum();

    let threads = fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap();
    let statuses: Vec<String> =
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap()).collect();

    assert!(statuses.len() >= 2, "its own thread and the caller's");
    for status in statuses {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned()).unwrap_or_else(|| panic!("{name} in {status}"))
        };
        let set = |name: &str| u64::from_str_radix(&field(name), 16).unwrap();
        println!(
            "{}: CapEff {:x}, CapPrm {:x}, CapBnd {:x}, Seccomp {}",
            field("Name"),
            set("CapEff"),
            set("CapPrm"),
            set("CapBnd"),
            field("Seccomp")
        );
        assert_eq!((set("CapEff"), set("CapPrm")), (allowed, allowed), "{status}");
        assert_eq!((set("CapBnd"), set("CapInh"), set("CapAmb")), (allowed, 0, 0), "{status}");
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()), "{status}");
    }
}
