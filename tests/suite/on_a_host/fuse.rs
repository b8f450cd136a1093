//! Volumes of mode fuse, from the command line.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;

use rustix::process::Signal;
use serde_json::{Value, json};
use testing::{in_private_mounts, occurrences_in_all_memory};

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

#[test]
fn what_is_revoked_is_taken_back_at_once_from_who_opened_it_and_read_anew_when_the_order_is_gone() {
    in_private_mounts(|| {
        let host = Host::new();
        let class = store_class(&["objectName: token, item: api, key: token"]);
        let settings = "    secretfs.dev/mode: fuse\n    secretfs.dev/fetch: on-open\n    secretfs.dev/hold: 5m\n    objects: |";
        host.class("app.yaml", &class.replace("    objects: |", settings));
        let value = format!("canary-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        host.put(&value);
        let mut mounting = host.mounted(&[]);
        let path = host.mount_point().join("token");
        let held = File::open(&path).unwrap();
        let mapping = sys::Mapping::new(File::open(&path).unwrap().as_fd(), value.len()).unwrap();
        assert_eq!(held.metadata().unwrap().len(), value.len() as u64);
        assert_eq!(mapping.read(), value.as_bytes());

        let told = host.run(&["revoke", "--here", "--object", "token", "leak"]);
        assert_eq!(told.code, Some(0), "{}", told.err);
        let errno = |error: std::io::Error| rustix::io::Errno::from_io_error(&error).unwrap();
        let pid = mounting.child.id();
        let is_nowhere = || {
            mapping.resident_pages().unwrap() == 0 && occurrences_in_all_memory(pid, value.as_bytes()) == 0
        };
        until("nothing of it is left", is_nowhere);
        assert_eq!(errno(held.read_at(&mut [0; 9], 0).unwrap_err()), rustix::io::Errno::ACCESS);
        assert_eq!(errno(fs::read(&path).unwrap_err()), rustix::io::Errno::NOENT);
        assert_eq!(host.run(&["unrevoke", "--here", "leak"]).code, Some(0));
        until("it comes back", || host.read("token").as_deref() == Some(value.as_str()));
        assert_eq!(mapping.read(), value.as_bytes());
        mounting.signal(Signal::TERM);
        mounting.ended();
    });
}
