//! Old versions of a volume: a version that is not shown any more stays for a second, for readers on their way into it,
//! and no longer.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::mode::{Appearance, Mode, Tmpfs};
use testing::in_private_mounts;

use crate::support::{Target, local, mount, object_path, settle, snapshot, tmpfs};

/// The directory to which `..data` leads.
fn shown(target: &Target) -> PathBuf {
    target.file(fs::read_link(target.file("..data")).unwrap().to_str().unwrap())
}

/// How long a directory stays.
fn stays(directory: &Path, since: Instant) -> Duration {
    testing::until(|| !directory.exists(), || format!("{} stays", directory.display()));
    since.elapsed()
}

#[test]
fn a_version_stays_for_a_second_after_the_next_is_shown_and_then_goes_by_itself() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("token", "t1")]);
        let first = shown(&target);

        let rotated = Instant::now();
        volume.replace(&snapshot(&[("token", "t2")]), &BTreeSet::new()).unwrap();
        let old = fs::read_to_string(first.join("token"));

        let stayed = stays(&first, rotated);
        println!("stayed for {stayed:?}");
        assert_eq!(old.unwrap(), "t1");
        assert!(stayed >= Duration::from_secs(1), "{stayed:?}");
        assert_eq!(target.read("token"), "t2");
    });
}

#[test]
fn a_restart_right_after_a_rotation_leaves_the_old_version_its_second_and_removes_it_then() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("token", "t1"), ("gone", "g1")]);
        let first = shown(&target);
        let rotated = Instant::now();
        volume.replace(&snapshot(&[("token", "t2")]), &BTreeSet::new()).unwrap();
        drop(volume);

        let next = tmpfs();
        let adopted = next.adopt(&target.path(), &Appearance::default()).unwrap().unwrap();
        let old = (fs::read_to_string(first.join("token")), fs::read_to_string(first.join("gone")));

        assert_eq!((old.0.unwrap(), old.1.unwrap()), ("t1".to_owned(), String::new()));
        assert_eq!(adopted.contents().unwrap().len(), 1);
        let stayed = stays(&first, rotated);
        assert!(stayed >= Duration::from_secs(1), "{stayed:?}");
        settle(&target);
    });
}

#[test]
fn a_process_that_starts_later_removes_old_versions_at_once() {
    in_private_mounts(|| {
        let target = Target::new();
        let mode = tmpfs();
        let volume =
            mode.mount(&target.path(), &snapshot(&[("token", "t1")]), &Appearance::default()).unwrap();
        let first = shown(&target);
        volume.replace(&snapshot(&[("token", "t2")]), &BTreeSet::new()).unwrap();
        // The process that would have removed it is gone.
        drop((volume, mode));
        let swapped = fs::symlink_metadata(target.file("..data")).unwrap().modified().unwrap();
        testing::until(
            || swapped.elapsed().is_ok_and(|age| age > Duration::from_millis(1200)),
            || "the clock stands still".to_owned(),
        );
        let left = first.exists();

        tmpfs().adopt(&target.path(), &Appearance::default()).unwrap().unwrap();

        assert!(left && !first.exists());
    });
}

#[test]
fn what_is_withdrawn_is_emptied_at_once_in_every_version_that_stays() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("stays", "s1"), ("taken", "t1")]);
        let first = shown(&target);
        volume.replace(&snapshot(&[("stays", "s2"), ("taken", "t2")]), &BTreeSet::new()).unwrap();
        let second = shown(&target);
        let mut held = File::open(first.join("taken")).unwrap();

        volume.replace(&snapshot(&[("stays", "s3")]), &[object_path("taken")].into_iter().collect()).unwrap();

        let mut read = String::new();
        held.read_to_string(&mut read).unwrap();
        assert_eq!(read, "");
        for (version, kept) in [(first, "s1"), (second, "s2")] {
            assert_eq!(fs::read_to_string(version.join("taken")).unwrap(), "");
            assert_eq!(fs::read_to_string(version.join("stays")).unwrap(), kept);
        }
    });
}

#[test]
fn where_a_volume_has_no_room_for_three_versions_the_first_makes_room_in_its_time() {
    in_private_mounts(|| {
        let target = Target::new();
        let mode = Tmpfs::new(local(), 2 << 20);
        let set = |n: usize| n.to_string().repeat(800 << 10);
        let [first, second, third, fourth] = [1, 2, 3, 4].map(set);
        let volume =
            mode.mount(&target.path(), &snapshot(&[("key", &first)]), &Appearance::default()).unwrap();
        let directory = shown(&target);

        let rotated = Instant::now();
        volume.replace(&snapshot(&[("key", &second)]), &BTreeSet::new()).unwrap();
        volume.replace(&snapshot(&[("key", &third)]), &BTreeSet::new()).unwrap();
        let waited = rotated.elapsed();
        let gone = !directory.exists();
        let takes_back = [object_path("other")].into_iter().collect();
        let held = shown(&target);
        volume.replace(&snapshot(&[("key", &fourth)]), &takes_back).unwrap();

        assert!(gone && waited >= Duration::from_secs(1), "{waited:?}");
        assert_eq!(target.read("key"), fourth);
        assert!(held.exists(), "the version before is the last that goes");
        settle(&target);
    });
}
