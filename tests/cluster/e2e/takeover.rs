//! Takes over mounts of the upstream driver while pods use them.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::containers::seen;
use super::world::{DRIVER, Namespace, SYSTEM, World, alone, pod, run, until};

/// Removes the driver, and all that it knows of its volumes. The mounts stay, as they do when upstream is removed.
fn remove_driver(world: &World) {
    let mut helm = Command::new("helm");
    helm.args(["uninstall", "secretfs", "--namespace", SYSTEM, "--wait"]);
    run(helm.env("KUBECONFIG", world.cluster.kubeconfig()), "");
    until(
        "the processes are gone",
        || world.pid_of("node").or(world.pid_of("mounter")).is_none(),
        String::new,
    );
    for record in std::fs::read_dir(world.state().join(DRIVER).join("node/volumes")).unwrap().flatten() {
        std::fs::remove_file(record.path()).unwrap();
    }
}

/// The time without the driver. Dropping it installs the driver again, even if the test fails, because other tests need
/// it.
struct Absent<'a>(&'a World);

impl Drop for Absent<'_> {
    fn drop(&mut self) {
        self.0.helm(&[]);
        self.0.until_ready();
    }
}

/// Turns the mount at `target` into what the upstream driver's atomic writer leaves: see upstream's pkg/util/fileutil.
fn make_upstreams(target: &Path, files: &[(&str, &str)]) {
    run(Command::new("mount").args(["-o", "remount,rw,size=50%,nr_inodes=500000,mode=1777"]).arg(target), "");
    for entry in std::fs::read_dir(target).unwrap().flatten() {
        let path = entry.path();
        if path.is_symlink() || path.is_file() {
            std::fs::remove_file(path).unwrap();
        } else {
            run(Command::new("rm").arg("-r").arg(path), "");
        }
    }
    let version = "..2026_11_23_03_55_21.3516647175";
    std::fs::create_dir(target.join(version)).unwrap();
    symlink(version, target.join("..data")).unwrap();
    for (name, contents) in files {
        std::fs::write(target.join(version).join(name), contents).unwrap();
        symlink(format!("..data/{name}"), target.join(name)).unwrap();
    }
}

#[test]
fn mounts_of_the_upstream_driver_are_adopted_refreshed_and_unpublished() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "takeover");
    shop.secret("db", "of the old driver");
    shop.vault_class("app", &["db"], &[]);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");
    let uid = shop.field("pod/web", "{.metadata.uid}");
    let target = shop.target("web");

    let absent = Absent(world);
    remove_driver(world);
    make_upstreams(&target, &[("db", "of the old driver"), ("left", "over")]);
    let data = std::fs::read_to_string(target.with_file_name("vol_data.json")).unwrap();
    assert!(data.contains(DRIVER), "kubelet's note names the driver: {data}");
    assert_eq!(seen(&uid, "db").as_deref(), Some("of the old driver"));
    let mounts =
        || std::fs::read_to_string("/proc/self/mountinfo").unwrap().matches(target.to_str().unwrap()).count();
    let before = mounts();

    drop(absent);
    shop.secret("db", "of the new driver");
    world.cluster.sync(&shop.name, "web");
    until(
        "the running container sees the rotation",
        || seen(&uid, "db").as_deref() == Some("of the new driver"),
        || world.node_log(),
    );
    until("what the class does not name is gone", || seen(&uid, "left").is_none(), || world.node_log());
    assert_eq!(mounts(), before, "nothing was mounted over it");
    assert_eq!(shop.field("pod/web", "{.status.containerStatuses[0].restartCount}"), "0");

    shop.delete("web");
    until("nothing is left of the pod", || !target.ancestors().nth(4).unwrap().exists(), || world.node_log());
}
