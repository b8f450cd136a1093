use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use testing::in_private_mounts;

use super::{HangingStore, Host, foreign, table};
use crate::support::{Target, store_class};

#[test]
fn what_others_mounted_at_a_target_stays_with_its_data_and_the_mount_is_refused() {
    in_private_mounts(|| {
        let (host, elsewhere) = (Host::new(), Target::new());
        let bound = elsewhere.parent().to_str().unwrap();
        let disk = disk(&elsewhere.parent().join("disk"));
        for kind in [
            ["-t", "tmpfs", "theirs"],
            ["-t", "tmpfs", "secretfs"],
            ["--bind", bound, "--make-private"],
            ["-o", "loop", &disk],
        ] {
            foreign(&kind, &host.mount_point());
            fs::write(host.mount_point().join("data"), "theirs").unwrap();
            let before = table();

            let told = host.mount("app.yaml", &[]);
            let umount = host.umount();

            assert_eq!((told.code, umount.code), (Some(1), Some(1)), "{told:?} {umount:?}");
            assert!(told.err.contains("mounted at") && told.err.contains("stays"), "{told:?}");
            assert_eq!(table(), before, "{kind:?}: {told:?}");
            assert_eq!(host.read("data").as_deref(), Some("theirs"));
            assert!(Command::new("umount").arg(host.mount_point()).status().unwrap().success());
        }
    });
}

/// An ext4 file system in a file.
fn disk(at: &Path) -> String {
    fs::File::create(at).unwrap().set_len(16 << 20).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(at).status();
    assert!(made.expect("mkfs.ext4, of Debian's e2fsprogs").success());
    at.to_str().unwrap().to_owned()
}

#[test]
fn what_others_mounted_below_a_target_stays_even_while_it_is_in_use() {
    in_private_mounts(|| {
        let host = Host::new();
        foreign(&["-t", "tmpfs", "theirs"], &host.mount_point().join("sub"));
        let in_use = fs::File::create(host.mount_point().join("sub/data")).unwrap();
        let before = table();

        let told = host.mount("app.yaml", &[]);

        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.err.contains("would be hidden"), "{told:?}");
        assert_eq!(table(), before);
        drop(in_use);
    });
}

#[test]
fn a_mount_that_fails_leaves_others_as_they_were_and_nothing_of_its_own() {
    in_private_mounts(|| {
        let host = Host::new();
        host.class("missing.yaml", &store_class(&["objectName: token, item: none, key: token"]));
        host.class("unknown.yaml", &crate::support::class("nobody", "    a: b\n"));

        for class in ["missing.yaml", "unknown.yaml"] {
            let alone = host.mount(class, &[]);
            let left = host.at("above").exists();
            foreign(&["-t", "tmpfs", "theirs"], &host.mount_point());
            let before = table();
            let beside = host.mount(class, &[]);

            assert_eq!((alone.code, beside.code), (Some(1), Some(1)), "{alone:?} {beside:?}");
            assert!(!left, "{class}: the directories that were made are gone");
            assert_eq!(table(), before, "{class}");
            assert!(Command::new("umount").arg(host.mount_point()).status().unwrap().success());
            fs::remove_dir(host.mount_point()).unwrap();
            fs::remove_dir(host.at("above")).unwrap();
        }
        assert_eq!(host.records(), 0);
    });
}

#[test]
fn a_mount_that_is_interrupted_half_way_leaves_what_others_mounted_meanwhile() {
    in_private_mounts(|| {
        let host = Host::new();
        let store = HangingStore::new();
        let mut mounting = store.start(&host, &[]);
        let _call = store.called_by(&mounting);
        foreign(&["-t", "tmpfs", "theirs"], &host.mount_point());
        let before = table();

        let (_, took) = mounting.stopped_by(Signal::INT);

        println!("ended {took:?} after SIGINT, in the first reading");
        assert_eq!(table(), before, "{}", mounting.log());
    });
}

#[test]
fn an_unmount_takes_ours_and_leaves_what_others_mounted_under_our_name_or_from_our_files() {
    in_private_mounts(|| {
        let host = Host::new();
        assert_eq!(host.mount("app.yaml", &["--once"]).code, Some(0));
        let (named, bound) = (host.at("named"), host.at("bound"));
        foreign(&["-t", "tmpfs", "secretfs"], &named);
        foreign(&["--bind", host.mount_point().to_str().unwrap()], &bound);

        let refused = [&named, &bound].map(|at| host.run(&["umount", at.to_str().unwrap()]).code);
        let ours = host.umount();

        assert_eq!(refused, [Some(1), Some(1)]);
        assert_eq!(ours.code, Some(0), "{ours:?}");
        assert_eq!(host.mounts(), [named, bound.clone()]);
        assert_eq!(fs::read_to_string(bound.join("token")).unwrap(), "t1");
    });
}

#[test]
fn what_others_mounted_over_a_volume_keeps_both_and_the_end_of_the_process_says_so() {
    in_private_mounts(|| {
        let host = Host::new();
        let mut mounting = host.mounted(&[]);
        foreign(&["-t", "tmpfs", "theirs"], &host.mount_point());
        let before = table();

        let umount = host.umount();
        let (status, _) = mounting.stopped_by(Signal::TERM);
        let after = table();
        assert!(Command::new("umount").arg(host.mount_point()).status().unwrap().success());
        let again = host.umount();

        assert_eq!(umount.code, Some(1), "{umount:?}");
        assert_eq!(after, before, "{}", mounting.log());
        assert!(umount.err.contains("unmount that first"), "{umount:?}");
        assert_eq!(status.code(), Some(1), "{}", mounting.log());
        assert_eq!(again.code, Some(0), "{again:?}");
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
    });
}

#[test]
fn a_target_above_what_secretfs_keeps_is_refused() {
    in_private_mounts(|| {
        let host = Host::new();
        fs::create_dir_all(host.at("run/state")).unwrap();
        let (class, run, kept) = (host.at("app.yaml"), host.at("run"), host.at("run/state"));
        let words = ["mount", class.to_str().unwrap(), run.to_str().unwrap()];

        let told = host.run(&[&words[..], &["--state-dir", kept.to_str().unwrap()]].concat());

        assert_eq!(told.code, Some(2), "{told:?}");
        assert!(told.err.contains("would hide"), "{told:?}");
        assert!(host.mounts().is_empty());
    });
}

crate::modes::again_in_mode_fuse! {
    what_others_mounted_at_a_target_stays_with_its_data_and_the_mount_is_refused,
    what_others_mounted_below_a_target_stays_even_while_it_is_in_use,
    a_mount_that_fails_leaves_others_as_they_were_and_nothing_of_its_own,
    a_mount_that_is_interrupted_half_way_leaves_what_others_mounted_meanwhile,
    what_others_mounted_over_a_volume_keeps_both_and_the_end_of_the_process_says_so,
    a_target_above_what_secretfs_keeps_is_refused,
}
