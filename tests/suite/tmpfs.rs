//! How a volume in a tmpfs looks to a pod.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use engine::mode::{Appearance, Mode, Tmpfs};
use testing::in_private_mounts;

use crate::support::{Target, file, local, mount, mounts_below, object_path, settle, snapshot, tmpfs};

#[test]
fn a_volume_has_the_layout_of_kubelets_own() {
    in_private_mounts(|| {
        let target = Target::new();

        mount(&target, &[("token", "t1"), ("db/user", "u1"), ("db/password", "p1")]);

        assert_eq!(fs::read_link(target.file("token")).unwrap().to_str(), Some("..data/token"));
        assert_eq!(fs::read_link(target.file("db")).unwrap().to_str(), Some("..data/db"));
        assert!(fs::read_link(target.file("..data")).unwrap().to_str().unwrap().starts_with("..2"));
        assert_eq!(target.read("token"), "t1");
        assert_eq!(target.read("db/user"), "u1");
        assert_eq!(target.read("db/password"), "p1");
    });
}

#[test]
fn a_volume_is_read_only_bounded_never_swapped_and_runs_nothing() {
    in_private_mounts(|| {
        let target = Target::new();

        mount(&target, &[("token", "t1")]);

        let mounts = mounts_below(target.parent());
        let line = mounts.first().unwrap();
        let (own, of_file_system) = line.split_once(" - ").unwrap();
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(own.split([' ', ',']).any(|found| found == option), "{option} in {line}");
        }
        assert!(of_file_system.starts_with("tmpfs secretfs "), "{line}");
        for option in ["size=1024k", "nr_inodes=38", "noswap", "mode=755"] {
            assert!(of_file_system.split([' ', ',']).any(|found| found == option), "{option} in {line}");
        }
        assert_eq!(mounts.len(), 1);
    });
}

#[test]
fn a_pod_can_change_nothing() {
    in_private_mounts(|| {
        let target = Target::new();
        mount(&target, &[("token", "t1")]);

        let written = fs::write(target.file("token"), "forged");
        let added = fs::write(target.file("more"), "forged");
        let removed = fs::remove_file(target.file("token"));

        for refused in [written, added, removed] {
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        }
        assert_eq!(target.read("token"), "t1");
    });
}

#[test]
fn without_a_group_everyone_in_the_pod_may_read_and_a_class_may_say_otherwise() {
    in_private_mounts(|| {
        let target = Target::new();
        let files = [("open", None), ("db/closed", Some(0o400))];
        let set = files.iter().map(|(path, mode)| (object_path(path), file(path, b"v", *mode))).collect();

        tmpfs().mount(&target.path(), &set, &Appearance::default()).unwrap();

        assert_eq!(mode_and_owner(&target, ""), (0o755, 0, 0));
        assert_eq!(mode_and_owner(&target, "..data/"), (0o755, 0, 0));
        assert_eq!(mode_and_owner(&target, "db/"), (0o755, 0, 0));
        assert_eq!(mode_and_owner(&target, "open"), (0o644, 0, 0));
        assert_eq!(mode_and_owner(&target, "db/closed"), (0o400, 0, 0));
        assert_eq!(read_as(1000, 1000, &target, "open"), Some("v".to_owned()));
        assert_eq!(read_as(1000, 1000, &target, "db/closed"), None);
    });
}

#[test]
fn with_a_group_its_members_may_read_and_nobody_else() {
    in_private_mounts(|| {
        let target = Target::new();
        let appearance = Appearance { fs_group: Some(2000), ..Appearance::default() };
        let files = [("open", None), ("db/closed", Some(0o400)), ("db/wide", Some(0o444))];
        let set = files.iter().map(|(path, mode)| (object_path(path), file(path, b"v", *mode))).collect();

        tmpfs().mount(&target.path(), &set, &appearance).unwrap();

        assert_eq!(mode_and_owner(&target, ""), (0o750, 0, 2000));
        assert_eq!(mode_and_owner(&target, "..data/"), (0o750, 0, 2000));
        assert_eq!(mode_and_owner(&target, "db/"), (0o750, 0, 2000));
        assert_eq!(mode_and_owner(&target, "open"), (0o440, 0, 2000));
        assert_eq!(mode_and_owner(&target, "db/closed"), (0o400, 0, 2000));
        assert_eq!(mode_and_owner(&target, "db/wide"), (0o444, 0, 2000));
        assert_eq!(read_as(1000, 2000, &target, "open"), Some("v".to_owned()));
        assert_eq!(read_as(1000, 1000, &target, "open"), None);
    });
}

/// A kernel without SELinux shows only that it got the label, because it refuses it.
#[test]
fn the_selinux_label_is_given_to_the_kernel_with_the_mount() {
    in_private_mounts(|| {
        let target = Target::new();
        let label = "system_u:object_r:container_file_t:s0:c1,c2";
        let appearance = Appearance { selinux_context: Some(label.to_owned()), ..Appearance::default() };

        let mounted = tmpfs().mount(&target.path(), &snapshot(&[("token", "t1")]), &appearance);

        if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
            mounted.unwrap();
            assert!(mounts_below(target.parent()).iter().all(|line| line.contains(label)));
        } else {
            let refused = mounted.unwrap_err().to_string();
            assert!(refused.contains(label) && refused.contains("is SELinux on?"), "{refused}");
            assert!(!target.path().exists());
        }
    });
}

#[test]
fn a_rotation_shows_the_new_set_and_takes_away_what_it_lacks() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("token", "t1"), ("db/user", "u1"), ("gone", "g1")]);

        volume
            .replace(&snapshot(&[("token", "t2"), ("db/password", "p2"), ("new", "n2")]), &BTreeSet::new())
            .unwrap();

        assert_eq!(target.read("token"), "t2");
        assert_eq!(target.read("db/password"), "p2");
        assert_eq!(target.read("new"), "n2");
        settle(&target);
        assert_eq!(names(&target, ""), ["..data", "..version", "db", "new", "token"]);
        assert_eq!(names(&target, "db"), ["password"]);
    });
}

#[test]
fn a_set_that_outgrows_its_volume_gets_more_room() {
    in_private_mounts(|| {
        let target = Target::new();
        let volume = mount(&target, &[("key", "small")]);
        let large = "x".repeat(8 << 20);
        let many: Vec<String> = (0..1000).map(|n| format!("dir{}/file{n}", n % 100)).collect();
        let mut files: Vec<(&str, &str)> = many.iter().map(|path| (path.as_str(), "v")).collect();
        files.push(("key", &large));

        volume.replace(&snapshot(&files), &BTreeSet::new()).unwrap();
        volume.replace(&snapshot(&files), &BTreeSet::new()).unwrap();

        assert_eq!(target.read("key"), large);
        assert_eq!(target.read("dir99/file999"), "v");
        settle(&target);
        let usage = volume.usage().unwrap();
        assert!(usage.used_bytes >= 12_000_000 && usage.total_bytes >= 2 * usage.used_bytes, "{usage:?}");
        assert!(mounts_below(target.parent()).iter().all(|line| line.contains("noswap")));
    });
}

#[test]
fn a_set_larger_than_a_volume_may_be_is_refused_and_the_old_one_stays() {
    in_private_mounts(|| {
        let target = Target::new();
        let mode = Tmpfs::new(local(), 1 << 20);
        let large = "x".repeat(600 << 10);
        let volume =
            mode.mount(&target.path(), &snapshot(&[("key", "old")]), &Appearance::default()).unwrap();

        let refused = volume.replace(&snapshot(&[("key", &large)]), &BTreeSet::new()).unwrap_err();

        assert!(refused.is_too_large(), "{refused}");
        assert!(refused.to_string().contains("--max-volume-bytes"), "{refused}");
        assert_eq!(target.read("key"), "old");
        assert_eq!(names(&target, ""), ["..data", "..version", "key"]);
    });
}

#[test]
fn a_set_larger_than_a_volume_may_be_is_not_mounted() {
    in_private_mounts(|| {
        let target = Target::new();
        let large = "x".repeat(600 << 10);

        let refused = Tmpfs::new(local(), 1 << 20)
            .mount(&target.path(), &snapshot(&[("key", &large)]), &Appearance::default())
            .unwrap_err();

        assert!(refused.is_too_large(), "{refused}");
        assert!(!target.path().exists());
    });
}

#[test]
fn an_adopted_volume_tells_what_it_shows_and_rotates_on() {
    in_private_mounts(|| {
        let target = Target::new();
        drop(mount(&target, &[("token", "t1"), ("db/user", "u1")]));

        let adopted = tmpfs().adopt(&target.path(), &Appearance::default()).unwrap().unwrap();
        let contents = adopted.contents().unwrap();
        adopted.replace(&snapshot(&[("token", "t2")]), &BTreeSet::new()).unwrap();

        let told: Vec<_> =
            contents.iter().map(|file| (file.path.as_str(), file.contents.expose(), file.mode)).collect();
        let mut told = told;
        told.sort_unstable();
        assert_eq!(told, [("db/user", b"u1".as_slice(), 0o644), ("token", b"t1".as_slice(), 0o644)]);
        assert_eq!(target.read("token"), "t2");
        settle(&target);
        assert_eq!(names(&target, ""), ["..data", "..version", "token"]);
    });
}

#[test]
fn there_is_nothing_to_adopt_where_nothing_of_ours_is_mounted() {
    in_private_mounts(|| {
        let target = Target::new();

        let absent = tmpfs().adopt(&target.path(), &Appearance::default()).unwrap();
        fs::create_dir(target.path()).unwrap();
        let plain = tmpfs().adopt(&target.path(), &Appearance::default()).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "none"]).arg(target.path()).status().unwrap();
        let foreign = tmpfs().adopt(&target.path(), &Appearance::default()).unwrap();

        assert!(mounted.success());
        assert!(absent.is_none() && plain.is_none() && foreign.is_none());
    });
}

fn mode_and_owner(target: &Target, name: &str) -> (u32, u32, u32) {
    let metadata = fs::metadata(target.file(name)).unwrap();
    (metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid())
}

/// The output of `cat` with another uid and gid; `None` if it may not read the file.
fn read_as(uid: u32, gid: u32, target: &Target, name: &str) -> Option<String> {
    let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
    let cat = Command::new("setpriv")
        .args([&uid, &gid, "--clear-groups", "cat"])
        .arg(target.file(name))
        .output()
        .unwrap();
    cat.status.success().then(|| String::from_utf8(cat.stdout).unwrap())
}

/// The names in a directory of the volume. The directory of the version appears as `..version`.
fn names(target: &Target, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(target.file(directory)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let plain = |name: String| if name.starts_with("..2") { "..version".to_owned() } else { name };
    let mut names: Vec<String> = names.map(plain).collect();
    names.sort();
    names
}
