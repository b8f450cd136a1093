use std::fs;

use rustix::process::Signal;
use testing::in_private_mounts;

use super::{Host, until};
use crate::support::store_class;

#[test]
fn after_a_kill_during_an_outage_the_same_command_goes_on_serving_the_files() {
    in_private_mounts(|| {
        let host = Host::new();
        let mut first = host.mounted(&[]);
        first.stopped_by(Signal::KILL);
        fs::rename(host.at("store"), host.at("away")).unwrap();

        let mut second = host.mounted(&[]);
        let during = host.read("token");
        fs::rename(host.at("away"), host.at("store")).unwrap();
        host.put("t2");
        until("the new token is shown", || host.read("token").as_deref() == Some("t2"));
        let (status, _) = second.stopped_by(Signal::TERM);

        assert_eq!(during.as_deref(), Some("t1"));
        assert!(status.success(), "{}", second.log());
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
    });
}

#[test]
fn what_was_mounted_once_is_read_again_by_the_same_command_and_stays_when_that_fails() {
    in_private_mounts(|| {
        let host = Host::new();
        assert_eq!(host.mount("app.yaml", &["--once"]).code, Some(0));
        host.put("t2");

        let again = host.mount("app.yaml", &["--once"]);
        let shown = host.read("token");
        fs::rename(host.at("store"), host.at("away")).unwrap();
        let away = host.mount("app.yaml", &["--once"]);

        assert_eq!((again.code, shown.as_deref()), (Some(0), Some("t2")), "{again:?}");
        assert_eq!((away.code, host.read("token").as_deref()), (Some(1), Some("t2")), "{away:?}");
        assert_eq!(host.mounts().len(), 1);
    });
}

#[test]
fn another_class_is_not_shown_in_place_of_the_one_that_is_mounted() {
    in_private_mounts(|| {
        let host = Host::new();
        let other =
            store_class(&["objectName: other, item: api, key: token"]).replace("name: app", "name: other");
        host.class("other.yaml", &other);
        host.mounted(&[]).stopped_by(Signal::KILL);

        let told = host.mount("other.yaml", &[]);

        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.err.contains("secretfs umount"), "{told:?}");
        assert_eq!(host.read("token").as_deref(), Some("t1"));
    });
}
