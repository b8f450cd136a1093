//! Volumes of mode fuse, from the command line.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};
use testing::in_private_mounts;

use super::{Host, until};
use crate::support::store_class;

fn host() -> Host {
    let host = Host::new();
    let objects = ["objectName: token, item: api, key: token", "objectName: below/it, item: api, key: token"];
    let class =
        store_class(&objects).replace("    objects: |", "    secretfs.dev/mode: fuse\n    objects: |");
    host.class("app.yaml", &class);
    host
}

#[test]
fn a_class_of_mode_fuse_is_mounted_and_rotated_and_unmounted_at_the_end() {
    in_private_mounts(|| {
        let host = host();
        let mut mounting = host.mounted(&[]);
        let kinds = super::table();
        let first = host.read("below/it");

        host.put("t2");
        until("the new token is shown", || host.read("token").as_deref() == Some("t2"));
        let (status, _) = mounting.stopped_by(Signal::TERM);

        assert!(kinds.contains("fuse.secretfs secretfs"), "{kinds}");
        assert_eq!(first.as_deref(), Some("t1"));
        assert!(status.success(), "{}", mounting.log());
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
    });
}

#[test]
fn after_a_kill_the_same_command_mounts_the_files_anew() {
    in_private_mounts(|| {
        let host = host();
        host.mounted(&[]).stopped_by(Signal::KILL);
        let dead = fs::read(host.mount_point().join("token")).unwrap_err();

        let mut second = host.mounted(&[]);
        let shown = host.read("token");
        let mounts = host.mounts().len();
        second.stopped_by(Signal::TERM);

        assert_eq!(dead.raw_os_error(), Some(rustix::io::Errno::NOTCONN.raw_os_error()));
        assert_eq!((shown.as_deref(), mounts), (Some("t1"), 1), "{}", second.log());
        assert_eq!((host.mounts().len(), host.records()), (0, 0));
    });
}

#[test]
fn what_a_killed_or_stopped_process_served_is_unmounted_on_demand() {
    in_private_mounts(|| {
        let host = host();
        host.mounted(&[]).stopped_by(Signal::KILL);
        let killed = host.umount();
        assert_eq!((killed.code, host.mounts().len(), host.records()), (Some(0), 0, 0), "{killed:?}");

        let stopped = host.mounted(&[]);
        stopped.signal(Signal::STOP);
        let told = host.umount();

        assert_eq!((told.code, host.mounts().len(), host.records()), (Some(0), 0, 0), "{told:?}");
    });
}

#[test]
fn an_unmount_is_recorded_with_the_user_and_the_process_that_asked_for_it() {
    in_private_mounts(|| {
        let host = host();
        host.mounted(&[]).stopped_by(Signal::KILL);
        let (trail, target) = (host.at("audit"), host.mount_point());
        let words = ["umount", target.to_str().unwrap(), "--audit-log", trail.to_str().unwrap()];
        let mut asker = host.secretfs(&words).spawn().unwrap();
        assert!(asker.wait().unwrap().success());
        // Where nothing is mounted, nothing happened.
        assert_eq!(host.run(&words).code, Some(1));

        let trail = fs::read_to_string(trail).unwrap();
        let record: Value = serde_json::from_str(trail.trim_end()).unwrap();
        let told = ["volume", "status", "actor"].map(|field| record[field].clone());
        let process = json!({"uid": 0, "pid": asker.id()});
        let actor = json!({"kind": "person", "process": process});
        assert_eq!(record["api"]["operation"], "umount", "{trail}");
        assert_eq!(told, [json!(target), json!("success"), actor], "{trail}");
    });
}

#[test]
fn a_mount_that_nobody_would_serve_is_refused() {
    in_private_mounts(|| {
        let host = host();

        let told = host.mount("app.yaml", &["--once"]);

        assert_eq!((told.code, host.mounts().len()), (Some(2), 0), "{told:?}");
        assert!(told.err.contains("secretfs.dev/mode: tmpfs"), "{told:?}");
    });
}
