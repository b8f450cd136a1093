use std::os::unix::fs::symlink;
use std::process::Stdio;

use rustix::process::Signal;
use testing::in_private_mounts;

use super::Host;

#[test]
fn a_target_has_one_owner_by_whatever_name_and_the_second_is_told_who_it_is() {
    in_private_mounts(|| {
        let host = Host::new();
        let mut first = host.mounted(&[]);
        symlink(host.at("above"), host.at("link")).unwrap();
        let names = ["above/target", "above/target/", "above/../above/target", "link/target"];

        for name in names {
            let mut second = host.start_at(&host.at(name), "app.yaml", &[]);
            let serves = second.serves();

            assert!(!serves, "{name}");
            assert!(second.log().contains(&format!("process {}", first.pid())), "{name}: {}", second.log());
            assert_eq!(host.read("token").as_deref(), Some("t1"), "{name}");
        }
        let status = host.run(&["status", "-o", "json"]);
        let (ended, _) = first.stopped_by(Signal::TERM);

        assert!(status.out.contains("t1") || status.out.contains("above/target"), "{status:?}");
        assert!(ended.success());
        assert_eq!(host.mounts().len(), 0);
    });
}

#[test]
fn a_stopped_process_keeps_nobody_from_unmounting() {
    in_private_mounts(|| {
        let host = Host::new();
        let mut mounting = host.mounted(&[]);
        mounting.signal(Signal::STOP);

        let told = host.umount();
        let (left, records) = (host.mounts().len(), host.records());
        mounting.signal(Signal::CONT);
        let (ended, _) = mounting.ended();

        assert_eq!(told.code, Some(0), "{told:?}");
        assert!(told.err.contains("does not answer"), "{told:?}");
        assert_eq!((left, records), (0, 0));
        assert!(ended.success(), "{}", mounting.log());
    });
}

#[test]
fn two_who_unmount_one_target_end_neither_each_other_nor_wait_for_it() {
    in_private_mounts(|| {
        let host = Host::new();
        let once = host.mount("app.yaml", &["--once"]);
        assert_eq!(once.code, Some(0), "{once:?}");
        let target = host.mount_point();
        let unmounting: Vec<_> = (0..8)
            .map(|_| {
                let mut command = host.secretfs(&["umount", target.to_str().unwrap()]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();

        for process in unmounting {
            let told = process.wait_with_output().unwrap();

            // The last process finds nothing to unmount. No process was killed by another.
            assert!(told.status.code().is_some(), "{told:?}");
        }
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
    });
}

crate::modes::again_in_mode_fuse! {
    a_target_has_one_owner_by_whatever_name_and_the_second_is_told_who_it_is,
    a_stopped_process_keeps_nobody_from_unmounting,
}
