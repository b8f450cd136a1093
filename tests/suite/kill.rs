//! Kills a process at every point of a volume's life. The next call must repair everything that is left.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;

use engine::mode::{Appearance, Mode, Tmpfs};
use mounter::{Mounter, RemoteMounter};
use program::failpoint;
use provider::ObjectPath;
use testing::in_private_mounts;

use crate::mounter::MounterProcess;
use crate::rotation::seen;
use crate::support::{Target, again, local, mounts_below, object_path, settle, snapshot};

/// Set in the process that is to die: its target.
const TARGET: &str = "SECRETFS_TEST_TARGET";
/// Set in the process that is to die: the seed of its files.
const SEED: &str = "SECRETFS_TEST_SEED";
/// Set in the process that is to die: its mounter's socket, if it mounts through one.
const MOUNTER: &str = "SECRETFS_TEST_MOUNTER";

type Files = BTreeMap<String, String>;

/// The three sets of files that a volume shows.
fn life(seed: u64) -> [Files; 3] {
    let mut random = fastrand::Rng::with_seed(seed);
    [0, 1, 2].map(|version| {
        // One name is in every set, so that no set is empty.
        let paths = ["a", "b", "c", "d/a", "d/b", "e/f/g"].into_iter().filter(|_| random.bool());
        let paths: Vec<&str> = paths.chain(["stays"]).collect();
        paths
            .iter()
            .map(|path| ((*path).to_owned(), format!("{path} of {seed}, version {version}")))
            .collect()
    })
}

fn as_snapshot(files: &Files) -> engine::snapshot::Snapshot {
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, contents)| (path.as_str(), contents.as_str())).collect();
    snapshot(&files)
}

/// Mounts the first set, rotates to the others, removes files that they lack, and unmounts.
fn live(mounter: &Arc<dyn Mounter>, target: &Path, seed: u64) {
    let [first, second, third] = life(seed);
    let mode = Tmpfs::new(Arc::clone(mounter), Tmpfs::DEFAULT_MAX_BYTES);
    let volume = mode.mount(target, &as_snapshot(&first), &Appearance::default()).unwrap();
    for (before, now) in [(&first, &second), (&second, &third)] {
        let gone = before.keys().filter(|path| !now.contains_key(*path));
        let withdrawn: BTreeSet<ObjectPath> = gone.map(|path| object_path(path)).collect();
        volume.replace(&as_snapshot(now), &withdrawn).unwrap();
    }
    mounter.detach(target).unwrap();
}

#[test]
fn a_volume_comes_and_goes() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let (Ok(target), Some(seed)) = (std::env::var(TARGET), number(SEED)) {
        let mounter: Arc<dyn Mounter> = match std::env::var(MOUNTER) {
            Ok(socket) => Arc::new(RemoteMounter::new(socket.into())),
            Err(_) => local(),
        };
        return live(&mounter, Path::new(&target), seed);
    }
    in_private_mounts(|| {
        let target = Target::new();

        live(&local(), &target.path(), 1);

        assert_nothing_is_left(&target, 1);
    });
}

/// Runs a volume's life in another process, which dies at its `nth` pass of `failpoint`.
fn die(failpoint: &str, nth: u64, target: &Target, seed: u64, mounter: Option<&Path>) {
    let mut process = again("kill::a_volume_comes_and_goes");
    process.env(TARGET, target.path()).env(SEED, seed.to_string());
    process.env("SECRETFS_FAILPOINT", format!("{failpoint}:{nth}"));
    if let Some(socket) = mounter {
        process.env(MOUNTER, socket);
    }
    let ended = process.output().unwrap();
    let killed = Some(rustix::process::Signal::KILL.as_raw());
    assert_eq!(ended.status.signal(), killed, "{failpoint}, seed {seed}: {ended:?}");
}

/// The next process: takes the volume over or mounts it, rotates it, and unmounts it.
fn mend(mounter: &Arc<dyn Mounter>, target: &Target, seed: u64) {
    let mode = Tmpfs::new(Arc::clone(mounter), Tmpfs::DEFAULT_MAX_BYTES);
    let last = Files::from([("stays".to_owned(), "mended".to_owned()), ("z".to_owned(), "new".to_owned())]);
    assert!(mounts_below(target.parent()).len() <= 1, "seed {seed}");
    match mode.adopt(&target.path(), &Appearance::default()).unwrap() {
        Some(volume) => {
            assert!(
                life(seed).contains(&seen(target)),
                "seed {seed}: no set of its life: {:?}",
                seen(target)
            );
            assert_eq!(volume.contents().unwrap().len(), seen(target).len());
            // Old versions stay for a second. Waiting for that in every tenth round is enough.
            if seed.is_multiple_of(10) {
                settle(target);
            }
            volume.replace(&as_snapshot(&last), &BTreeSet::new()).unwrap();
        }
        None => drop(mode.mount(&target.path(), &as_snapshot(&last), &Appearance::default()).unwrap()),
    }
    assert_eq!(seen(target), last, "seed {seed}");
    mounter.detach(&target.path()).unwrap();
    assert_nothing_is_left(target, seed);
}

fn assert_nothing_is_left(target: &Target, seed: u64) {
    assert!(mounts_below(target.parent()).is_empty(), "seed {seed}");
    assert_eq!(target.beside(), Vec::<std::path::PathBuf>::new(), "seed {seed}");
}

/// Kills a process 50 times, at its first or a later pass of `failpoint`.
fn kill_and_mend(failpoint: &str) {
    let first = fastrand::u64(..1 << 32);
    println!("{failpoint}: seeds {first} to {}", first + 49);
    for seed in first..first + 50 {
        let target = Target::new();
        let nth = if failpoint.starts_with("rotate.") { 1 + seed % 2 } else { 1 };
        die(failpoint, nth, &target, seed, None);
        mend(&local(), &target, seed);
    }
}

#[test]
fn a_kill_at_any_step_of_mount_rotation_and_unmount_is_mended_by_the_next_call() {
    in_private_mounts(|| failpoint::MOUNT_PATH.iter().for_each(|(name, _)| kill_and_mend(name)));
}

#[test]
fn a_caller_of_a_mounter_process_that_is_killed_is_mended_by_the_next_one() {
    in_private_mounts(|| {
        let (target, run) = (Target::of_kubelet(), Target::new());
        let process = MounterProcess::listening_in(run.parent(), target.parent(), &[]);
        let mounter: Arc<dyn Mounter> = process.connect();

        for failpoint in
            ["mount.created", "mount.written", "rotate.staged", "rotate.swapped", "rotate.truncated"]
        {
            die(failpoint, 1, &target, 7, Some(process.socket()));
            mend(&mounter, &target, 7);
        }
    });
}
