//! A host without Kubernetes: what fstab and users run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use provider::SecretBytes;
use provider_store::{Anchor, Item, RootKeySource, ServiceAccounts, Store, Values};
use rustix::process::{Pid, Signal, kill_process};
use testing::{ShownBy, in_private_mounts};

use crate::support::{Target, Told, mounts_below, store_class};

/// A host with an embedded store that has one token, and a class that shows it.
struct Host {
    target: Target,
}

impl Host {
    fn new() -> Self {
        let host = Self { target: Target::new() };
        Store::init(&host.store(), &RootKeySource::beside(&host.store())).unwrap();
        let class = store_class(&["objectName: token, item: api, key: token"]);
        fs::write(host.class(), ShownBy::chosen().class(&class)).unwrap();
        host.put("t1");
        host
    }

    fn at(&self, name: &str) -> PathBuf {
        self.target.parent().join(name)
    }

    fn store(&self) -> PathBuf {
        self.at("store")
    }

    fn class(&self) -> PathBuf {
        self.at("app.yaml")
    }

    fn put(&self, token: &str) {
        let item = Item { namespace: "shop".parse().unwrap(), name: "api".parse().unwrap() };
        let value = BTreeMap::from([("token".parse().unwrap(), SecretBytes::from(token.to_owned()))]);
        let values = Values::new(value).unwrap();
        let anchor = Anchor::new(RootKeySource::beside(&self.store()));
        Store::open(&self.store(), &anchor).unwrap().put(&item, Some(ServiceAccounts::Any), &values).unwrap();
    }

    /// Runs what mount(8) runs for a line in fstab.
    fn mount(&self, class: &Path, options: &str) -> Output {
        let settings = [("store", "store"), ("state-dir", "state"), ("admin-dir", "admin")];
        let settings: Vec<String> =
            settings.iter().map(|(option, name)| format!("{option}={}", self.at(name).display())).collect();
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/mount.secretfs"))
            .env("SECRETFS", env!("CARGO_BIN_EXE_secretfs"))
            .args([class, &self.target.path()])
            .args(["-o", &format!("rw,nofail,x-systemd.automount,{},{options}", settings.join(","))])
            .output()
            .unwrap()
    }

    /// Starts a process that serves the class, as a user would, with its admin socket in `admin`.
    fn serve(&self, admin: &Path) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        command.arg("mount").args([self.class(), self.target.path()]);
        for (option, path) in [("--store", self.store()), ("--state-dir", self.at("state"))] {
            command.args([OsStr::new(option), path.as_os_str()]);
        }
        let log = fs::File::create(self.at("log")).unwrap();
        let child = command.arg("--admin-dir").arg(admin).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        until(|| self.target.file("token").exists(), "the class to be mounted");
        child
    }

    /// Runs a command that asks running processes.
    fn ask(&self, arguments: &[&str]) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        Told::from(
            command
                .args(arguments)
                .args([OsStr::new("--socket"), self.at("admin").as_os_str()])
                .output()
                .unwrap(),
        )
    }

    fn umount(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_secretfs"))
            .args([OsStr::new("umount"), self.target.path().as_os_str()])
            .args([OsStr::new("--socket"), self.at("admin").as_os_str()])
            // Which mount of FUSE is ours stands there alone.
            .env("SECRETFS_STATE_DIR", self.at("state"))
            .output()
            .unwrap()
    }

    fn sockets(&self) -> usize {
        fs::read_dir(self.at("admin")).unwrap().count()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ends the process of a failed test. In other tests nothing is mounted any more.
        self.umount();
    }
}

fn until(mut happens: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !happens() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_line_of_fstab_mounts_a_volume_that_stays_fresh_until_it_is_unmounted() {
    in_private_mounts(|| {
        let host = Host::new();

        let mounted = host.mount(&host.class(), "group=0");
        let first = host.target.read("token");
        let again = host.mount(&host.class(), "group=0");
        host.put("t2");
        until(|| host.target.read("token") == "t2", "the new token to be shown");
        let unmounted = host.umount();

        assert!(mounted.status.success(), "{mounted:?}");
        assert_eq!(first, "t1");
        assert!(again.status.success(), "{again:?}");
        assert!(String::from_utf8_lossy(&again.stderr).contains("already mounted"), "{again:?}");
        assert!(unmounted.status.success(), "{unmounted:?}");
        assert_eq!(mounts_below(host.target.parent()), [""; 0]);
        until(|| host.sockets() == 0, "the process to end");
    });
}

#[test]
fn a_volume_that_is_mounted_once_needs_no_process() {
    in_private_mounts(|| {
        let host = Host::new();

        let mounted = host.mount(&host.class(), "once");

        assert!(mounted.status.success(), "{mounted:?}");
        assert_eq!(host.sockets(), 0);
        assert_eq!(host.target.read("token"), "t1");
        assert!(host.umount().status.success());
    });
}

#[test]
fn a_volume_that_cannot_be_mounted_says_why_with_the_code_of_mount() {
    in_private_mounts(|| {
        let host = Host::new();

        let missing = host.mount(&host.at("other.yaml"), "group=0");
        let mistyped = host.mount(&host.class(), "grup=0");

        let told = String::from_utf8_lossy(&missing.stderr);
        assert!(told.contains("other.yaml: No such file"), "{told}");
        assert_eq!(missing.status.code(), Some(32));
        let told = String::from_utf8_lossy(&mistyped.stderr);
        assert!(told.contains("did you mean --group?"), "{told}");
        assert_eq!(mistyped.status.code(), Some(32));
        assert_eq!(mounts_below(host.target.parent()), [""; 0]);
    });
}

#[test]
fn a_line_of_fstab_says_what_is_run_after_a_change() {
    in_private_mounts(|| {
        let host = Host::new();
        let copy = host.at("copy");
        // As in fstab, where `\040` stands for the spaces between words.
        let on_change =
            format!("on-change=cp\\040{}\\040{}", host.target.file("token").display(), copy.display());

        let mounted = host.mount(&host.class(), &on_change);
        host.put("t2");
        until(|| fs::read(&copy).is_ok_and(|bytes| bytes == b"t2"), "the program to run after the change");

        assert!(mounted.status.success(), "{mounted:?}");
        assert!(host.umount().status.success());
        until(|| host.sockets() == 0, "the process to end");
    });
}

#[test]
fn a_stopped_process_is_named_and_makes_nobody_wait_long() {
    in_private_mounts(|| {
        let (host, other) = (Host::new(), Host::new());
        let mut stopped = host.serve(&host.at("admin"));
        let mut going = other.serve(&host.at("admin"));
        let pid = Pid::from_raw(i32::try_from(stopped.id()).unwrap()).unwrap();
        let (quiet, lively) = (host.target.path(), other.target.path());
        kill_process(pid, Signal::STOP).unwrap();

        let begun = Instant::now();
        let listed = host.ask(&["status"]);
        let json = host.ask(&["status", "-o", "json"]);
        let why = host.ask(&["why", lively.to_str().unwrap()]);
        let lost = host.ask(&["why", quiet.to_str().unwrap()]);
        let refreshed = host.ask(&["refresh", "--all"]);
        let took = begun.elapsed();
        kill_process(pid, Signal::CONT).unwrap();

        println!("five commands beside a stopped process took {took:?}");
        // Each command waits two seconds for it, and not the two minutes that a refresh may take.
        assert!(took < Duration::from_secs(60), "{took:?}");
        let named =
            format!("process {}, which serves {}, does not answer within 2 s", stopped.id(), quiet.display());
        for told in [&listed, &json, &why, &lost, &refreshed] {
            assert!(told.err.contains(&named), "{told:?}");
        }
        assert!(listed.out.contains(lively.to_str().unwrap()) && listed.code == Some(1), "{listed:?}");
        let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["silent"][0]["process"], stopped.id());
        assert!(why.out.contains("shows what the store has") && why.code == Some(0), "{why:?}");
        assert_eq!((lost.code, lost.out.as_str()), (Some(1), ""));
        assert!(refreshed.out.contains(": unchanged") && refreshed.code == Some(1), "{refreshed:?}");
        for (process, host) in [(&mut stopped, &host), (&mut going, &other)] {
            kill_process(Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
            process.wait().unwrap();
            assert_eq!(mounts_below(host.target.parent()), [""; 0]);
        }
    });
}

crate::modes::again_in_mode_fuse! {
    a_line_of_fstab_mounts_a_volume_that_stays_fresh_until_it_is_unmounted,
}
