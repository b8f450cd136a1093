//! Mounts of an earlier version on a host, under this version.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use testing::in_private_mounts;

use super::{Host, Mounting, until};
use crate::support::earlier;

/// A host on which the earlier version made the store and mounted the class, and its process.
fn of_earlier() -> (Host, Mounting) {
    let mut host = Host::bare(earlier());
    let (store, item) = (host.at("store"), host.at("item.json"));
    fs::write(&item, r#"{"token": "t1"}"#).unwrap();
    let store = ["--store", store.to_str().unwrap()];
    let put = ["store", "put", "api", "--namespace", "shop", "--json", item.to_str().unwrap()];
    for words in [&["store", "init"][..], &put] {
        let told = host.run(&[words, &store].concat());
        assert_eq!(told.code, Some(0), "{told:?}");
    }
    // The earlier version did not make the directories above a target.
    fs::create_dir_all(host.mount_point().parent().unwrap()).unwrap();
    let mounting = host.mounted(&[]);
    host.binary = PathBuf::from(env!("CARGO_BIN_EXE_secretfs"));
    (host, mounting)
}

#[test]
fn what_an_earlier_version_mounted_and_left_is_gone_on_with_during_an_outage_and_unmounted_at_the_end() {
    in_private_mounts(|| {
        let (host, mut first) = of_earlier();
        first.stopped_by(Signal::KILL);
        fs::rename(host.at("store"), host.at("away")).unwrap();
        let before = host.mounts();

        let mut second = host.mounted(&[]);
        let during = (host.read("token"), host.read("below/it"), host.mounts());
        fs::rename(host.at("away"), host.at("store")).unwrap();
        host.put("t2");
        until("the new token is shown", || host.read("token").as_deref() == Some("t2"));
        let (status, _) = second.stopped_by(Signal::TERM);

        let t1 = || Some("t1".to_owned());
        assert_eq!(during, (t1(), t1(), before), "{}", second.log());
        assert!(status.success(), "{}", second.log());
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
    });
}

#[test]
fn an_unmount_ends_a_process_of_an_earlier_version_and_leaves_nothing_of_it() {
    in_private_mounts(|| {
        let (host, mut living) = of_earlier();

        let told = host.umount();
        let (status, _) = living.ended();

        assert_eq!(told.code, Some(0), "{told:?}\n{}", living.log());
        assert!(status.success(), "{}", living.log());
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
    });
}

#[test]
fn an_unmount_takes_what_an_earlier_version_left_when_it_was_killed() {
    in_private_mounts(|| {
        let (host, mut killed) = of_earlier();
        killed.stopped_by(Signal::KILL);

        let told = host.umount();

        assert_eq!(told.code, Some(0), "{told:?}");
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
    });
}
