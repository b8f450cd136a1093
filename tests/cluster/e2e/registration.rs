//! The driver registers with kubelet, without a sidecar, and again after either of them was away.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use testing::Component;

use super::world::{DRIVER, Namespace, SYSTEM, World, alone, pod, until};

/// Whether the node's object names the driver. Kubelet writes that when it accepts a registration.
fn is_registered(world: &World) -> bool {
    world.try_kubectl(&["get", "csinode", "-o", "jsonpath={.items[*].spec.drivers[*].name}"]).contains(DRIVER)
}

/// Starts a pod, which shows that kubelet finds the driver.
fn a_pod_starts(world: &World, namespace: &str) {
    let shop = Namespace::new(world, namespace);
    world.put(namespace, "item", "value");
    shop.store_class("app", &["item"]);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");
}

fn registration_socket(world: &World) -> PathBuf {
    let directory = world.cluster.kubelet_root().join("plugins_registry");
    let entries = std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
    let mut ours = entries.filter(|path| path.display().to_string().contains(DRIVER));
    ours.next().expect("a registration socket")
}

/// The age of a process, from its start time in proc_pid_stat(5).
fn age(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks: u64 = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let hertz = rustix::param::clock_ticks_per_second();
    Duration::try_from_secs_f64(uptime - ticks as f64 / hertz as f64).unwrap_or_default()
}

/// Waits until a process other than `old` is registered. Returns its age at that time.
fn registered_at_age(world: &World, old: u32) -> Duration {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        assert!(Instant::now() < deadline, "{}", world.node_log());
        if let Some(pid) = world.pid_of("node").filter(|pid| *pid != old)
            && world.http("/readyz").is_some()
        {
            return age(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_driver_is_registered_soon_after_its_start_and_after_a_death_without_a_sidecar() {
    let (world, _alone) = alone();
    let containers = "jsonpath={range .items[*].spec.containers[*]}{.image}{\"\\n\"}{end}";
    let images = world.cluster.kubectl(&["-n", SYSTEM, "get", "pods", "-o", containers]);
    assert!(images.lines().all(|image| image == "localhost/secretfs:test"), "{images}");

    let old = world.node_pid();
    world.cluster.kubectl(&["-n", SYSTEM, "rollout", "restart", "daemonset/secretfs-node"]);
    println!("registered {} ms after a start", registered_at_age(world, old).as_millis());
    let old = world.kill_node();
    println!(
        "registered {} ms after a start that followed kill -9",
        registered_at_age(world, old).as_millis()
    );
    assert!(is_registered(world));
    a_pod_starts(world, "registration-death");
}

#[test]
fn the_driver_is_registered_again_after_kubelets_restart() {
    let (world, _alone) = alone();
    world.cluster.stop(Component::Kubelet);
    world.cluster.start_again(Component::Kubelet);
    let started = Instant::now();
    a_pod_starts(world, "registration-kubelet");
    println!("a pod was ready {} ms after kubelet's restart", started.elapsed().as_millis());
    assert!(is_registered(world));
}

#[test]
fn the_driver_is_registered_again_after_its_registration_socket_was_deleted() {
    let (world, _alone) = alone();
    std::fs::remove_file(registration_socket(world)).unwrap();
    let deleted = Instant::now();
    until("kubelet forgets the driver", || !is_registered(world), || world.node_log());
    until("kubelet knows it again", || is_registered(world), || world.node_log());
    println!("registered again {} ms after the socket was deleted", deleted.elapsed().as_millis());
    a_pod_starts(world, "registration-socket");
}

#[test]
fn the_driver_is_registered_again_after_kubelet_could_not_get_the_nodes_info() {
    let (world, _alone) = alone();
    let socket = world.cluster.kubelet_root().join("plugins").join(DRIVER).join("csi.sock");
    let aside = socket.with_extension("aside");
    std::fs::rename(&socket, &aside).unwrap();
    // Accepts kubelet's connections and closes each of them, so that NodeGetInfo fails.
    let deaf = UnixListener::bind(&socket).unwrap();
    deaf.set_nonblocking(true).unwrap();
    std::fs::remove_file(registration_socket(world)).unwrap();
    let mut asked = 0;
    until(
        "kubelet asked in vain",
        || {
            while deaf.accept().is_ok() {
                asked += 1;
            }
            asked > 0
        },
        || world.node_log(),
    );
    let failed = || world.node_log().contains("not taken") || world.http("/readyz").is_none();
    until("the driver is told that it is not registered", failed, || world.node_log());
    std::fs::rename(&aside, &socket).unwrap();
    let restored = Instant::now();
    drop(deaf);

    until("kubelet knows it again", || is_registered(world), || world.node_log());
    println!("registered again {} ms after the socket answered again", restored.elapsed().as_millis());
    a_pod_starts(world, "registration-info");
}

#[test]
fn the_driver_says_whether_it_is_registered() {
    let (world, _alone) = alone();
    let metrics = world.http("/metrics").unwrap();
    assert!(metrics.contains("secretfs_registration_state 1"), "{metrics}");
    let health = json!({"livez": world.http("/livez").is_some(), "readyz": world.http("/readyz").is_some()});
    assert_eq!(health, json!({"livez": true, "readyz": true}));
}
