//! What readers of a volume see while it changes, and when its files are withdrawn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use inotify::EventMask;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use provider::ObjectPath;
use testing::{ShownBy, count, in_private_mounts};

use crate::support::{Target, Watcher, again, mount, object_path, snapshot};

#[test]
fn a_reader_that_resolves_data_once_never_sees_two_versions() {
    // Each open over FUSE asks a process.
    let rounds_wanted = if ShownBy::chosen() == ShownBy::Fuse { count("FUSE_OPENS") } else { 100_000 };
    in_private_mounts(|| {
        let target = Target::new();
        let version = |n: usize| ["a", "db/b", "db/c"].map(|path| (path, format!("version {n}")));
        let set = |n: usize| {
            let files = version(n);
            snapshot(&files.each_ref().map(|(path, contents)| (*path, contents.as_str())))
        };
        let volume = mount(&target, &[]);
        volume.replace(&set(0), &BTreeSet::new()).unwrap();
        let done = AtomicBool::new(false);

        let (rounds, rotations) = thread::scope(|scope| {
            let rotating = scope.spawn(|| {
                let rotations = (1..).take_while(|_| !done.load(Ordering::Relaxed));
                rotations.map(|n| volume.replace(&set(n), &BTreeSet::new()).unwrap()).count()
            });
            let whole = |_: &usize| read_at_once(&target.path()).is_ok_and(|seen| seen.len() == 1);
            let rounds = (0..rounds_wanted).filter(whole).count();
            done.store(true, Ordering::Relaxed);
            (rounds, rotating.join().unwrap())
        });

        assert_eq!(rounds, rounds_wanted, "rounds that saw one version");
        assert!(rotations > rounds_wanted / 1000, "only {rotations} rotations happened meanwhile");
    });
}

#[test]
fn of_a_million_opens_by_path_none_fails_while_the_volume_rotates() {
    const OPENS: u64 = 1_000_000;
    // Enough even if the rotating thread gets little time.
    const ROTATIONS: u64 = 101;
    in_private_mounts(|| {
        let target = Target::new();
        let set = |n: usize| {
            let contents = format!("version {n}");
            snapshot(&["token", "db/user", "db/more/deep"].map(|path| (path, contents.as_str())))
        };
        let volume = mount(&target, &[]);
        volume.replace(&set(0), &BTreeSet::new()).unwrap();
        let (opened, rotated, failed) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Vec::new()));
        let goes_on =
            &|| opened.load(Ordering::Relaxed) < OPENS || rotated.load(Ordering::Relaxed) < ROTATIONS;

        thread::scope(|scope| {
            for path in ["token", "db/user", "db/more/deep"] {
                let (file, opened, failed) = (target.file(path), &opened, &failed);
                scope.spawn(move || {
                    while goes_on() {
                        if let Err(error) = File::open(&file) {
                            failed.lock().unwrap().push(format!("{path}: {error}"));
                        }
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for n in (1..).take_while(|_| goes_on()) {
                if let Err(error) = volume.replace(&set(n), &BTreeSet::new()) {
                    failed.lock().unwrap().push(format!("rotation {n}: {error}"));
                    rotated.store(ROTATIONS, Ordering::Relaxed);
                    break;
                }
                rotated.fetch_add(1, Ordering::Relaxed);
            }
        });

        let failed = failed.into_inner().unwrap();
        let (opened, rotated) = (opened.into_inner(), rotated.into_inner());
        println!("{opened} opens, {rotated} rotations, {} opens failed", failed.len());
        assert_eq!(failed.first(), None, "of {} that failed", failed.len());
    });
}

/// The distinct contents of a set, read through a directory that is resolved once. If the directory disappears
/// meanwhile, it is resolved again. Readers of kubelet's own volumes have to do the same.
fn read_at_once(volume: &Path) -> io::Result<BTreeSet<String>> {
    loop {
        let read = File::open(volume.join("..data")).and_then(|version| {
            let resolved = PathBuf::from(format!("/proc/self/fd/{}", version.as_raw_fd()));
            ["a", "db/b", "db/c"].iter().map(|path| fs::read_to_string(resolved.join(path))).collect()
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
    }
}

#[test]
fn names_that_stay_are_there_at_every_moment_and_no_name_ever_dangles() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("stays", "v"), ("dir/stays", "v")]);
        let sets = [
            snapshot(&[("stays", "v"), ("dir/stays", "v"), ("comes", "v"), ("more/comes", "v")]),
            snapshot(&[("stays", "v"), ("dir/stays", "v"), ("other", "v")]),
        ];
        let done = AtomicBool::new(false);
        let rotations = if ShownBy::chosen() == ShownBy::Fuse { 300 } else { 3_000 };

        thread::scope(|scope| {
            scope.spawn(|| {
                for set in sets.iter().cycle().take(rotations) {
                    volume.replace(set, &BTreeSet::new()).unwrap();
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let listed = fs::read_dir(target.path()).unwrap();
                let listed: BTreeSet<String> =
                    listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
                let missing = ["stays", "dir"].iter().find(|name| !listed.contains(**name));
                assert_eq!(missing, None, "of {listed:?}");
                for name in ["comes", "more", "other", "stays"] {
                    assert!(!dangles(&target.file(name)), "{name}");
                }
            }
        });
    });
}

/// Whether `link` exists and leads nowhere, while the version in which it was looked up is still shown.
fn dangles(link: &Path) -> bool {
    let shown = || fs::read_link(link.with_file_name("..data")).unwrap();
    let before = shown();
    let is_there = || fs::symlink_metadata(link).is_ok();
    is_there() && fs::metadata(link).is_err() && is_there() && shown() == before
}

#[test]
fn a_held_handle_and_a_mapping_keep_the_version_they_opened() {
    in_private_mounts(|| {
        let target = Target::new();
        let (old, new) = ("old ".repeat(10_000), "new ".repeat(10_000));
        let volume = mount(&target, &[("key", &old)]);
        let mut handle = File::open(target.file("key")).unwrap();
        let mapping = sys::Mapping::new(handle.as_fd(), old.len()).unwrap();
        let mut slowly = String::new();
        (&mut handle).take(1_000).read_to_string(&mut slowly).unwrap();

        volume.replace(&snapshot(&[("key", &new)]), &BTreeSet::new()).unwrap();
        volume.replace(&snapshot(&[]), &BTreeSet::new()).unwrap();
        handle.read_to_string(&mut slowly).unwrap();

        assert_eq!(slowly, old);
        assert_eq!(mapping.read(), old.as_bytes());
    });
}

#[test]
fn a_watcher_sees_what_kubelets_own_writer_gives_it() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("key", "1"), ("gone", "1")]);
        let watcher = Watcher::of(&target);

        volume.replace(&snapshot(&[("key", "2"), ("new", "2")]), &BTreeSet::new()).unwrap();

        let events = watcher.told();
        let position = |mask: EventMask, name: &str| events.position(mask, name);
        let swapped = position(EventMask::MOVED_TO, "..data");
        assert!(position(EventMask::MOVED_FROM, "..data_tmp") < swapped);
        assert!(position(EventMask::DELETE, "gone") < swapped);
        assert!(position(EventMask::MOVED_TO, "new") > swapped);
        assert!(position(EventMask::DELETE_SELF, "") > swapped);
    });
}

#[test]
fn a_withdrawn_file_has_no_name_and_a_held_handle_reads_its_end() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("db/password", "hunter2"), ("db/user", "app"), ("stays", "s")]);
        let open = |name: &str| File::open(target.file(name)).unwrap();
        let (mut withdrawn, mut removed) = (open("db/password"), open("db/user"));
        let mut started = [0; 3];
        withdrawn.read_exact(&mut started).unwrap();

        volume.replace(&snapshot(&[("stays", "s")]), &[object_path("db/password")].into()).unwrap();

        let mut rest = String::new();
        withdrawn.read_to_string(&mut rest).unwrap();
        withdrawn.seek(SeekFrom::Start(0)).unwrap();
        withdrawn.read_to_string(&mut rest).unwrap();
        let mut kept = String::new();
        removed.read_to_string(&mut kept).unwrap();
        assert_eq!(rest, "");
        assert_eq!(kept, "app", "a file that was only dropped from the set");
        assert!(!target.file("db").exists());
        assert_eq!(target.read("stays"), "s");
    });
}

#[test]
fn a_withdrawn_file_that_is_shown_with_something_else_is_emptied_for_who_holds_the_old_one() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("key", "revoked")]);
        let mut held = File::open(target.file("key")).unwrap();

        volume.replace(&snapshot(&[("key", "default")]), &[object_path("key")].into()).unwrap();

        let mut read = String::new();
        held.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), target.read("key").as_str()), ("", "default"));
    });
}

#[test]
fn a_mapping_of_a_withdrawn_file_ends_its_process() {
    if let Ok(mapped) = std::env::var("SECRETFS_TEST_MAPPED") {
        return read_mapped_on_order(Path::new(&mapped));
    }
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("key", "hunter2")]);
        let mut reader = again("rotation::a_mapping_of_a_withdrawn_file_ends_its_process")
            .env("SECRETFS_TEST_MAPPED", target.file("key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut order = reader.stdin.take().unwrap();
        wait_for("mapped", reader.stdout.as_mut().unwrap());

        volume.replace(&snapshot(&[]), &[object_path("key")].into()).unwrap();
        order.write_all(b"read\n").unwrap();

        let ended = reader.wait().unwrap();
        assert_eq!(ended.signal(), Some(rustix::process::Signal::BUS.as_raw()));
    });
}

/// The other process of the test: it maps the file, says so, and reads it on request.
fn read_mapped_on_order(path: &Path) {
    let file = File::open(path).unwrap();
    let mapping = sys::Mapping::new(file.as_fd(), 7).unwrap();
    assert_eq!(mapping.read(), b"hunter2");
    println!("mapped");
    io::stdin().read_line(&mut String::new()).unwrap();
    mapping.read();
}

fn wait_for(word: &str, output: &mut impl Read) {
    let mut seen = Vec::new();
    while !seen.windows(word.len()).any(|part| part == word.as_bytes()) {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
}

#[test]
fn old_versions_that_are_held_open_leave_room_for_new_ones() {
    in_private_mounts(|| {
        let target = Target::new();
        let large = "x".repeat(300 << 10);
        let volume = mount(&target, &[("key", &large)]);

        let held: Vec<File> = (0..10)
            .map(|_| {
                let held = File::open(target.file("key")).unwrap();
                volume.replace(&snapshot(&[("key", &large)]), &BTreeSet::new()).unwrap();
                held
            })
            .collect();

        assert!(volume.usage().unwrap().used_bytes >= (held.len() as u64 + 1) * (300 << 10));
        assert_eq!(target.read("key"), large);
    });
}

/// Sets of files whose paths do not collide.
fn sets() -> impl Strategy<Value = BTreeMap<String, String>> {
    let path =
        proptest::sample::select(vec!["a", "b", "a-b", "d/a", "d/b", "d/e/a", "d/e/b", "d-e", "e/f/g/h"]);
    proptest::collection::btree_map(path.prop_map(str::to_owned), "[a-z]{0,12}", 0..9)
}

#[test]
fn whatever_is_shown_in_turn_exactly_that_is_seen() {
    in_private_mounts(|| {
        let mut runner =
            TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
        let turns = proptest::collection::vec((sets(), any::<bool>()), 1..8);
        let outcome = runner.run(&turns, |turns| {
            let target = Target::new();
            let volume = mount(&target, &[]);
            let mut before = BTreeMap::new();
            for (set, withdraw) in turns {
                let files: Vec<(&str, &str)> =
                    set.iter().map(|(path, v)| (path.as_str(), v.as_str())).collect();
                let gone = before.keys().filter(|path| withdraw && !set.contains_key(*path));
                let withdrawn: BTreeSet<ObjectPath> = gone.map(|path: &String| object_path(path)).collect();
                volume.replace(&snapshot(&files), &withdrawn).unwrap();
                prop_assert_eq!(seen(&target), set.clone());
                before = set;
            }
            mounter::Mounter::detach(&mounter::HostMounter::default(), &target.path()).unwrap();
            Ok(())
        });
        outcome.unwrap();
    });
}

/// Every file to which the names in the root lead, with its contents.
pub(crate) fn seen(target: &Target) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(target.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with("..") {
            collect(&target.file(&name), &name, &mut files);
        }
    }
    files
}

fn collect(at: &Path, path: &str, files: &mut BTreeMap<String, String>) {
    if !fs::metadata(at).unwrap_or_else(|error| panic!("{path}: {error}")).is_dir() {
        files.insert(path.to_owned(), fs::read_to_string(at).unwrap());
        return;
    }
    for entry in fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        collect(&entry.path(), &format!("{path}/{}", entry.file_name().to_str().unwrap()), files);
    }
}

crate::modes::again_in_mode_fuse! {
    a_reader_that_resolves_data_once_never_sees_two_versions,
    names_that_stay_are_there_at_every_moment_and_no_name_ever_dangles,
    whatever_is_shown_in_turn_exactly_that_is_seen,
}
