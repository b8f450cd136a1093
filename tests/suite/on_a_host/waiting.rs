use std::fs;

use rustix::process::Signal;
use testing::in_private_mounts;

use super::{HangingStore, Host, until};

#[test]
fn at_boot_a_store_that_comes_up_later_is_waited_for_and_the_log_tells_so() {
    in_private_mounts(|| {
        let host = Host::new();
        fs::rename(host.at("store"), host.at("away")).unwrap();
        let mut mounting = host.start(&["--wait", "1s", "--wait", "5m"]);
        until("it tells that it waits", || mounting.log().contains("trying again"));

        fs::rename(host.at("away"), host.at("store")).unwrap();

        assert!(mounting.serves(), "{}", mounting.log());
        assert_eq!(host.read("token").as_deref(), Some("t1"));
    });
}

#[test]
fn who_does_not_wait_and_who_waited_long_enough_gets_the_stores_word() {
    in_private_mounts(|| {
        let host = Host::new();
        fs::rename(host.at("store"), host.at("away")).unwrap();

        for flags in [&[][..], &["--wait", "1500ms"]] {
            let told = host.mount("app.yaml", flags);

            assert_eq!(told.code, Some(1), "{told:?}");
            assert!(told.err.contains("there is no store in"), "{told:?}");
        }
        for wrong in ["soon", "-1s", "200000h"] {
            assert_eq!(host.mount("app.yaml", &[&format!("--wait={wrong}")]).code, Some(2), "{wrong}");
        }
    });
}

#[test]
fn a_signal_is_answered_at_any_moment_and_each_of_the_three_ends_the_mount() {
    in_private_mounts(|| {
        let host = Host::new();
        let store = HangingStore::new();
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let mut reading = store.start(&host, &["--wait", "5m"]);
            let _call = store.called_by(&reading);
            let (first, in_reading) = reading.stopped_by(signal);

            fs::rename(host.at("store"), host.at("away")).unwrap();
            let mut waiting = host.start(&["--wait", "5m"]);
            until("it waits", || waiting.log().contains("trying again"));
            let (second, in_pause) = waiting.stopped_by(signal);
            fs::rename(host.at("away"), host.at("store")).unwrap();

            let mut serving = host.mounted(&[]);
            let (third, in_service) = serving.stopped_by(signal);

            println!(
                "{signal:?}: {in_reading:?} in a reading, {in_pause:?} in a pause, {in_service:?} in service"
            );
            for (status, log) in [(first, reading.log()), (second, waiting.log()), (third, serving.log())] {
                assert!(status.success(), "{signal:?}: {status}: {log}");
            }
            assert_eq!((host.mounts().len(), host.records()), (0, 0), "{signal:?}");
        }
    });
}

#[test]
fn what_is_mounted_once_is_listed_and_its_unmount_leaves_no_record() {
    in_private_mounts(|| {
        let host = Host::new();
        let mounted = host.mount("app.yaml", &["--once"]);

        let listed = host.run(&["status"]);
        let unmounted = host.run(&["umount", "--all"]);
        let after = host.run(&["status"]);

        assert_eq!(mounted.code, Some(0), "{mounted:?}");
        let target = host.mount_point();
        assert!(listed.out.contains(target.to_str().unwrap()), "{listed:?}");
        assert_eq!(unmounted.code, Some(0), "{unmounted:?}");
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
        assert!(!after.out.contains(target.to_str().unwrap()), "{after:?}");
    });
}

crate::modes::again_in_mode_fuse! {
    at_boot_a_store_that_comes_up_later_is_waited_for_and_the_log_tells_so,
    who_does_not_wait_and_who_waited_long_enough_gets_the_stores_word,
    a_signal_is_answered_at_any_moment_and_each_of_the_three_ends_the_mount,
}
