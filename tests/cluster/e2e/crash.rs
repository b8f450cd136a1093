//! Kills the driver while kubelet starts many pods.

use std::time::{Duration, Instant};

use serde_json::json;

use super::world::{Namespace, alone, pod, until};

/// The number of pods that start at the same time.
const PODS: usize = 50;
/// How often the driver is killed meanwhile.
const DEATHS: usize = 4;

#[test]
fn fifty_pods_start_whole_though_the_driver_is_killed_meanwhile_and_leave_no_mount() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "crash-fifty");
    shop.secret("one", "1");
    shop.secret("two", "22");
    shop.vault_class("app", &["one", "two"], &[]);
    let mut template = pod("unused", "app");
    // A container that starts with an empty volume fails here, even if the volume is filled later.
    template["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "[ \"$(cat /secrets/one /secrets/two)\" = 122 ] || exit 7; sleep 100000"]);
    template["spec"]["restartPolicy"] = json!("Never");
    let started = Instant::now();
    for number in 0..PODS {
        template["metadata"]["name"] = json!(format!("web-{number}"));
        shop.apply(&template);
    }
    println!("{PODS} pods were made in {} ms", started.elapsed().as_millis());

    for _ in 0..DEATHS {
        let old = world.kill_node();
        println!("pid {old} was killed; node was back after {} ms", world.until_restarted(old).as_millis());
        std::thread::sleep(Duration::from_millis(500));
    }

    let phases = || shop.field("pods", "{.items[*].status.phase}");
    let deadline = Instant::now() + Duration::from_secs(400);
    while phases().split_whitespace().filter(|phase| *phase == "Running").count() < PODS {
        assert!(
            !phases().contains("Failed"),
            "a container began on a volume that was not whole: {}",
            shop.try_kubectl(&["get", "pods"])
        );
        assert!(Instant::now() < deadline, "{}\n{}", shop.try_kubectl(&["get", "pods"]), world.node_log());
        std::thread::sleep(Duration::from_millis(500));
    }
    println!("all ran {} s after the first was made", started.elapsed().as_secs());

    // So that the next test does not wait for the pause that kubelet makes after so many deaths.
    world.renew_node();
    shop.kubectl(&["delete", "pods", "--all", "--wait", "--timeout=300s"]);
    let leaked = || {
        let root = world.cluster.kubelet_root().join("pods").display().to_string();
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = table.lines().filter(|line| line.contains(&root) && line.contains("kubernetes.io~csi"));
        ours.map(str::to_owned).collect::<Vec<_>>()
    };
    until("no mount is left", || leaked().is_empty(), || leaked().join("\n"));
}
