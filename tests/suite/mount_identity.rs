//! On a host, secretfs recognises its mount by the mount's unique number. A mount of others at the same path is never
//! taken for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use engine::mode::{Appearance, Mode, Mounted};
use mounter::{HostMounter, MountId, Mounter};
use testing::in_private_mounts;

use crate::support::{Target, mounts_below, snapshot, tmpfs};

fn foreign(kind: &[&str], at: &Path) {
    assert!(Command::new("mount").args(kind).arg(at).status().unwrap().success(), "{}", at.display());
}

fn at(target: &Target) -> &str {
    target.parent().to_str().unwrap()
}

fn shown(target: &Target) -> (Box<dyn Mounted>, MountId) {
    let files = snapshot(&[("token", "t1"), ("below/token", "t1")]);
    let shown = tmpfs().mount(&target.path(), &files, &Appearance::default()).unwrap();
    let mount = shown.mount_id().unwrap();
    (shown, mount)
}

fn unmount(target: &Target, mount: &MountId) -> Result<(), String> {
    HostMounter::default().unmount(&target.path(), mount).map_err(|error| error.to_string())
}

#[test]
fn a_mount_has_its_number_before_anybody_sees_it_and_keeps_it() {
    in_private_mounts(|| {
        let target = Target::new();
        let prepared =
            tmpfs().prepare(&target.path(), &snapshot(&[("a", "1")]), &Appearance::default()).unwrap();
        let before = prepared.mount_id().unwrap();

        let after = prepared.show().unwrap().mount_id();

        assert_eq!(after.as_ref(), Some(&before));
        assert_eq!(MountId::at(&target.path()).unwrap(), Some(before.clone()));
        assert_eq!(mounter::ours_at(&target.path()).unwrap(), Some(before));
    });
}

#[test]
fn the_very_mount_is_unmounted_and_that_it_is_gone_already_is_fine() {
    in_private_mounts(|| {
        let target = Target::new();
        let (_, mount) = shown(&target);

        let first = unmount(&target, &mount);
        let again = unmount(&target, &mount);

        assert_eq!((first, again), (Ok(()), Ok(())));
        assert_eq!(mounts_below(target.parent()), [""; 0]);
        assert!(target.path().is_dir(), "who made the directory is not known to this mounter");
    });
}

#[test]
fn a_mount_of_others_at_the_same_path_is_never_taken_for_ours() {
    in_private_mounts(|| {
        let target = Target::new();
        let (_, ours) = shown(&target);
        unmount(&target, &ours).unwrap();

        let elsewhere = Target::new();
        for kind in [
            ["-t", "tmpfs", "foreign"],
            ["-t", "tmpfs", "secretfs"],
            ["--bind", at(&elsewhere), "--make-private"],
        ] {
            foreign(&kind, &target.path());
            let before = mounts_below(target.parent());

            let unmounted = unmount(&target, &ours);

            assert_eq!(unmounted, Ok(()), "{kind:?}");
            assert_eq!(mounts_below(target.parent()), before, "{kind:?}");
        }
    });
}

/// Mounts what looks like ours at `target` again and again, until the kernel gives one the number that `freed` had.
/// Another thread's mount may have got it.
fn mount_with_the_number_of(freed: u64, target: &Target) -> bool {
    (0..200).any(|_| {
        foreign(&["-t", "tmpfs", "secretfs"], &target.path());
        let top = fs::File::open(target.path()).unwrap();
        mountinfo::mount_number(&top).unwrap() == Some(freed)
    })
}

#[test]
fn a_number_that_the_kernel_gave_to_a_later_mount_hides_nothing() {
    in_private_mounts(|| {
        let got_it = (0..20).any(|_| {
            let target = Target::new();
            let (_, ours) = shown(&target);
            let number = mountinfo::mount_number(fs::File::open(target.path()).unwrap()).unwrap().unwrap();
            unmount(&target, &ours).unwrap();
            if !mount_with_the_number_of(number, &target) {
                return false;
            }
            let before = mounts_below(target.parent());

            let unmounted = unmount(&target, &ours);

            assert_eq!(unmounted, Ok(()));
            assert_eq!(mounts_below(target.parent()), before);
            true
        });
        assert!(got_it, "the kernel gave the number of no mount to a later one");
    });
}

#[test]
fn what_others_mounted_over_a_mount_of_ours_or_below_it_keeps_both() {
    in_private_mounts(|| {
        let target = Target::new();
        let (_, mount) = shown(&target);
        let places = [target.path(), target.path().join("..data/below"), target.parent().to_owned()];

        for place in places {
            foreign(&["-t", "tmpfs", "foreign"], &place);
            let before = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();

            let refused = unmount(&target, &mount).unwrap_err();

            assert!(refused.contains("unmount that first"), "{}: {refused}", place.display());
            assert_eq!(fs::read_to_string("/proc/thread-self/mountinfo").unwrap(), before);
            assert!(Command::new("umount").arg(&place).status().unwrap().success());
        }
        assert_eq!(unmount(&target, &mount), Ok(()));
        assert_eq!(mounts_below(target.parent()), [""; 0]);
    });
}

#[test]
fn a_second_mount_of_the_same_files_is_its_makers() {
    in_private_mounts(|| {
        let target = Target::new();
        let (_, mount) = shown(&target);
        let copy = target.parent().join("copy");
        fs::create_dir(&copy).unwrap();
        foreign(&["--bind", target.path().to_str().unwrap()], &copy);

        let of_copy = mounter::ours_at(&copy).unwrap();
        let unmounted = HostMounter::default().unmount(&copy, &mount);
        HostMounter::default().detach(&copy).unwrap();

        assert_eq!(of_copy, None);
        assert!(unmounted.is_ok(), "{unmounted:?}");
        assert_eq!(fs::read_to_string(copy.join("token")).unwrap(), "t1");
        assert_eq!(target.read("token"), "t1");
    });
}

#[test]
fn a_mount_that_is_being_read_is_unmounted_all_the_same() {
    in_private_mounts(|| {
        let target = Target::new();
        let (_, mount) = shown(&target);
        let reader = fs::File::open(target.file("token")).unwrap();

        let unmounted = unmount(&target, &mount);

        assert_eq!(unmounted, Ok(()));
        assert_eq!(mounts_below(target.parent()), [""; 0]);
        drop(reader);
    });
}

#[test]
fn a_directory_that_was_made_for_a_mount_goes_with_it_and_one_that_others_made_in_its_stead_stays() {
    in_private_mounts(|| {
        let (kept, replaced) = (Target::new(), Target::new());
        let mounter = std::sync::Arc::new(HostMounter::default());
        let mode = engine::mode::Tmpfs::new(mounter.clone(), 1 << 20);
        let mount = |target: &Target| {
            let files = snapshot(&[("token", "t1")]);
            mode.mount(&target.path(), &files, &Appearance::default()).unwrap().mount_id().unwrap()
        };
        let (first, second) = (mount(&kept), mount(&replaced));
        HostMounter::default().unmount(&replaced.path(), &second).unwrap();
        fs::rename(replaced.path(), replaced.parent().join("moved")).unwrap();
        fs::create_dir(replaced.path()).unwrap();

        mounter.unmount(&kept.path(), &first).unwrap();
        mounter.unmount(&replaced.path(), &second).unwrap();

        assert!(!kept.path().exists());
        assert!(replaced.path().is_dir());
    });
}

#[test]
fn what_lies_beside_a_target_and_is_not_ours_is_neither_lent_nor_taken_back() {
    in_private_mounts(|| {
        let target = Target::new();
        let beside = mounter::beside(&target.path());
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("theirs"), "kept").unwrap();
        let limits = mounter::Tmpfs { size: 1 << 20, inodes: 64, mode: 0o700, gid: 0, selinux_context: None };

        let lent = HostMounter::default().lend(&limits, &target.path());
        let taken_back = HostMounter::default().take_back(&target.path());
        foreign(&["-t", "tmpfs", "foreign"], &beside);
        let with_a_mount = HostMounter::default().take_back(&target.path());

        assert!(lent.unwrap_err().to_string().contains("is in the way"));
        assert!(taken_back.is_ok() && with_a_mount.is_ok());
        assert_eq!(mounts_below(target.parent()).len(), 1);
        assert!(Command::new("umount").arg(&beside).status().unwrap().success());
        assert_eq!(fs::read_to_string(beside.join("theirs")).unwrap(), "kept");
    });
}

#[test]
fn what_was_lent_by_a_process_that_died_is_taken_back_by_the_next() {
    in_private_mounts(|| {
        let target = Target::new();
        let limits = mounter::Tmpfs { size: 1 << 20, inodes: 64, mode: 0o700, gid: 0, selinux_context: None };
        drop(HostMounter::default().lend(&limits, &target.path()).unwrap());

        HostMounter::default().take_back(&target.path()).unwrap();

        assert_eq!(mounts_below(target.parent()), [""; 0]);
        assert!(!mounter::beside(&target.path()).exists());
    });
}
