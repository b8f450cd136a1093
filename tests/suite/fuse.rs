//! Volumes of mode fuse, as programs on this host see them. Of a volume that this process serves itself, it maps no
//! file: see the documentation of crate `fuse-session`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;

use engine::mode::{Appearance, Error, Fuse, Mode as _, Mounted};
use inotify::EventMask;
use mounter::{HostMounter, LocalMounter, Mounter as _, Roots, Tmpfs};
use rustix::fs::FileType;
use testing::in_private_mounts;

use crate::support::{Target, Watcher, object_path, settle, snapshot};

const MAX_BYTES: u64 = 1 << 20;

fn fuse() -> Fuse {
    Fuse::new(Arc::new(HostMounter::default()), MAX_BYTES)
}

fn mount(target: &Target, files: &[(&str, &str)]) -> Box<dyn Mounted> {
    fuse().mount(&target.path(), &snapshot(files), &Appearance::default()).unwrap()
}

fn errno(result: io::Result<impl std::fmt::Debug>) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&result.unwrap_err()).unwrap()
}

#[test]
fn files_have_the_owner_and_the_modes_that_a_tmpfs_gives_them() {
    in_private_mounts(|| {
        let target = Target::new();
        let appearance = Appearance { owner: Some(7), fs_group: Some(8), ..Appearance::default() };
        let _volume = fuse().mount(&target.path(), &snapshot(&[("d/a", "1")]), &appearance).unwrap();

        let about = |name: &str| {
            let about = fs::metadata(target.file(name)).unwrap();
            (about.mode() & 0o7777, about.uid(), about.gid())
        };
        assert_eq!((about("d/a"), about("d")), ((0o440, 7, 8), (0o750, 7, 8)));
        assert_eq!(errno(File::create(target.file("new"))), rustix::io::Errno::ROFS);
    });
}

#[test]
fn a_file_that_is_mounted_alone_shows_the_next_version_and_an_open_handle_its_own() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("key", "1"), ("other", "o")]);
        let alone = target.parent().join("alone");
        fs::write(&alone, "").unwrap();
        rustix::mount::mount_bind(target.file("key").canonicalize().unwrap(), &alone).unwrap();
        let held = File::open(target.file("key")).unwrap();

        volume.replace(&snapshot(&[("key", "2"), ("other", "o")]), &BTreeSet::new()).unwrap();
        settle(&target);

        let mut byte = [0];
        held.read_exact_at(&mut byte, 0).unwrap();
        assert_eq!((fs::read_to_string(&alone).unwrap().as_str(), &byte), ("2", b"1"));
        assert_eq!(fs::read_to_string(target.file("key")).unwrap(), "2");
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
        assert!(position(EventMask::DELETE_SELF, "") > swapped);
    });
}

#[test]
fn a_withdrawn_file_has_no_name_and_a_held_handle_is_refused() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("db/password", "hunter2"), ("stays", "s")]);
        let held = File::open(target.file("db/password")).unwrap();

        let gone = BTreeSet::from([object_path("db/password")]);
        volume.replace(&snapshot(&[("stays", "s")]), &gone).unwrap();

        assert_eq!(errno(held.read_at(&mut [0; 9], 0)), rustix::io::Errno::ACCESS);
        assert_eq!(errno(fs::read(target.file("db/password"))), rustix::io::Errno::NOENT);
        assert_eq!(fs::read_to_string(target.file("stays")).unwrap(), "s");
    });
}

#[test]
fn a_set_that_leaves_no_room_for_the_next_is_refused_and_the_old_one_stays() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("key", "1")]);
        let large = "x".repeat(usize::try_from(MAX_BYTES / 2 + 1).unwrap());

        let refused = volume.replace(&snapshot(&[("key", &large)]), &BTreeSet::new()).unwrap_err();

        assert!(refused.is_too_large() && refused.to_string().contains("--max-volume-bytes"), "{refused}");
        assert_eq!(fs::read_to_string(target.file("key")).unwrap(), "1");
        let first = fuse().mount(&target.file("none"), &snapshot(&[("key", &large)]), &Appearance::default());
        assert!(matches!(first, Err(Error::TooLarge(_))), "{first:?}");
    });
}

#[test]
fn what_is_mounted_at_a_target_already_stays_and_nothing_is_left_of_the_try() {
    in_private_mounts(|| {
        let target = Target::new();
        let _volume = mount(&target, &[("key", "1")]);

        let second = fuse().mount(&target.path(), &snapshot(&[("key", "2")]), &Appearance::default());

        assert!(second.unwrap_err().to_string().contains("something is mounted there already"));
        assert_eq!(fs::read_to_string(target.file("key")).unwrap(), "1");
        let kind = FileType::from_raw_mode(fs::metadata(target.path()).unwrap().mode());
        assert_eq!(kind, FileType::Directory);
    });
}

#[test]
fn of_many_opens_by_path_none_fails_while_the_volume_rotates() {
    const OPENS: usize = 20_000;
    in_private_mounts(|| {
        let target = Target::new();
        let set = |n: usize| snapshot(&[("a", format!("version {n}").as_str()), ("db/b", "b")]);
        let volume = mount(&target, &[("a", "version 0"), ("db/b", "b")]);
        let is_over = std::sync::atomic::AtomicBool::new(false);

        let (failed, rotations) = std::thread::scope(|scope| {
            let rotating = scope.spawn(|| {
                let rotations = (1..).take_while(|_| !is_over.load(std::sync::atomic::Ordering::Relaxed));
                rotations.map(|n| volume.replace(&set(n), &BTreeSet::new()).unwrap()).count()
            });
            let opens = (0..OPENS).filter(|_| fs::read(target.file("a")).is_err()).count();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            (opens, rotating.join().unwrap())
        });

        println!("{OPENS} opens, {rotations} rotations, {failed} opens failed");
        assert!(failed == 0 && rotations > 10, "{failed} failed, {rotations} rotations");
    });
}

#[test]
fn a_mounter_changes_no_name_outside_of_the_root_that_it_is_given() {
    in_private_mounts(|| {
        let (target, mounter) = (Target::new(), LocalMounter::new(Roots::default()));
        let tmpfs = Tmpfs { size: 1 << 20, inodes: 100, mode: 0o755, gid: 0, selinux_context: None };
        let root = mounter.create(&tmpfs).unwrap();
        let outside = target.parent().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("theirs"), "").unwrap();
        rustix::fs::symlinkat(&outside, &root, "out").unwrap();
        mounter.link(root.as_fd(), "own", "x").unwrap();

        for name in ["out/new", "../new", "/new", ".."] {
            mounter.link(root.as_fd(), name, "x").unwrap_err();
            mounter.rename(root.as_fd(), "own", name).unwrap_err();
        }
        mounter.rename(root.as_fd(), "out/theirs", "new").unwrap_err();
        mounter.remove(root.as_fd(), "out/theirs", false).unwrap_err();
        mounter.rename(root.as_fd(), "own", "renamed").unwrap();
        mounter.remove(root.as_fd(), "renamed", false).unwrap();

        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["theirs"]);
    });
}
