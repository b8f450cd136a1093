//! A host without Kubernetes: what fstab and people run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use provider::SecretBytes;
use provider_store::{Anchor, Item, RootKeySource, ServiceAccounts, Store, Values};
use testing::in_private_mounts;

use crate::support::{Target, mounts_below, store_class};

/// A host with an embedded store that holds one token, and a class that shows it.
struct Host {
    target: Target,
}

impl Host {
    fn new() -> Self {
        let host = Self { target: Target::new() };
        Store::init(&host.store(), &RootKeySource::beside(&host.store())).unwrap();
        fs::write(host.class(), store_class(&["objectName: token, item: api, key: token"])).unwrap();
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

    /// What mount(8) runs for a line of fstab.
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

    fn umount(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_secretfs"))
            .args([OsStr::new("umount"), self.target.path().as_os_str()])
            .args([OsStr::new("--socket"), self.at("admin").as_os_str()])
            .output()
            .unwrap()
    }

    fn sockets(&self) -> usize {
        fs::read_dir(self.at("admin")).unwrap().count()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ends the process of a test that failed; otherwise nothing is mounted any more.
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
        assert!(told.contains("--grup"), "{told}");
        assert_eq!(mistyped.status.code(), Some(32));
        assert_eq!(mounts_below(host.target.parent()), [""; 0]);
    });
}
