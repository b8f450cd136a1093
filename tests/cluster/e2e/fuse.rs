//! Volumes of mode fuse in real containers.

use serde_json::{Value, json};
use testing::ShownBy;

use super::world::{Namespace, alone, pod, shared, until};

#[test]
fn a_container_of_mode_fuse_misses_no_restart_of_node_and_sees_rotations_by_subpath() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "fuse-pods");
    shop.secret("db", "first");
    shop.vault_class("app", &["db"], &[("secretfs.dev/mode", "fuse"), ("secretfs.dev/refresh", "1s")]);
    let mut web = pod("web", "app");
    let containers = web["spec"]["containers"].as_array_mut().unwrap();
    containers[0]["command"] = json!([
        "sh",
        "-c",
        "cd /tmp; : >errors; n=0; while :; do cat /secrets/db >/dev/null 2>>errors || echo failed >>errors; \
         n=$((n+1)); echo $n >reads; done"
    ]);
    let mounts = containers[0]["volumeMounts"].as_array_mut().unwrap();
    mounts.push(json!({"name": "secrets", "mountPath": "/app/db", "subPath": "db", "readOnly": true}));
    shop.apply(&web);
    shop.until_ready("web");
    let read = |path: &str| shop.try_kubectl(&["exec", "web", "-c", "main", "--", "cat", path]);
    let reads = || read("/tmp/reads").trim().parse::<u64>().unwrap_or_default();
    assert_eq!((read("/secrets/db").as_str(), read("/app/db").as_str()), ("first", "first"));
    ShownBy::Fuse.shows(&shop.target("web"));

    // What nobody serves for 30 s ends with errors, and kubelet may pause longer after deaths in other tests.
    world.renew_node();
    let before = reads();
    let old = world.kill_node();
    println!("pid {old} was killed; node was back after {} ms", world.until_restarted(old).as_millis());
    until("it reads on", || reads() > before + 10, || world.node_log());
    shop.secret("db", "second");

    until("the single file rotates", || read("/app/db") == "second", || world.node_log());
    assert_eq!((read("/secrets/db"), read("/tmp/errors")), ("second".to_owned(), String::new()));
    // Other tests of this machine have volumes too.
    let target = shop.target("web").display().to_string();
    shop.delete("web");
    let table = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    until("no mount is left", || !table().contains(&target), table);
}

#[test]
fn a_pod_whose_node_and_mounter_died_together_is_told_by_an_event_and_a_new_one_starts() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "fuse-lost");
    shop.secret("db", "first");
    shop.vault_class("app", &["db"], &[("secretfs.dev/mode", "fuse")]);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");
    world.renew_node();
    assert_eq!(shop.read("web", "db"), "first");

    let old = world.kill_both();
    world.until_restarted(old);

    println!("{}", shop.until_event("web", "Lost: "));
    let errors = ["exec", "web", "--", "sh", "-c", "cat /secrets/db 2>&1; true"];
    let told = shop.try_kubectl(&errors);
    assert!(told.contains("not connected"), "{told}");
    let target = shop.target("web").display().to_string();
    shop.delete("web");
    let table = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    until("no mount is left", || !table().contains(&target), table);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");
    assert_eq!(shop.read("web", "db"), "first");
}

/// A deployment of two pods of the class, whose update brings a new pod before it takes an old one.
fn deployment(class: &str) -> Value {
    let mut spec = pod("unused", class)["spec"].take();
    spec["containers"][0]["command"] = json!(["sh", "-c", "cat /secrets/db && sleep 100000"]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    })
}

/// Waits until the deployment has two pods, all of them after its last update, whose volumes are in this mode.
fn until_rolled_out(shop: &Namespace<'_>, mode: ShownBy) -> Vec<String> {
    shop.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let names = || shop.field("pods", "{.items[*].metadata.name}");
    until("the old pods are gone", || names().split_whitespace().count() == 2, names);
    let pods: Vec<String> = names().split_whitespace().map(str::to_owned).collect();
    pods.iter().for_each(|pod| mode.shows(&shop.target(pod)));
    pods
}

#[test]
fn a_class_switches_its_mode_and_back_in_a_rolling_restart_of_its_pods_without_another_change() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "fuse-switch");
    shop.secret("db", "1");
    shop.vault_class("app", &["db"], &[]);
    shop.apply(&deployment("app"));
    until_rolled_out(&shop, ShownBy::Tmpfs);

    for (mode, value) in [(ShownBy::Fuse, "2"), (ShownBy::Tmpfs, "3")] {
        shop.vault_class("app", &["db"], &[("secretfs.dev/mode", mode.name())]);
        shop.kubectl(&["rollout", "restart", "deployment/web"]);
        let pods = until_rolled_out(&shop, mode);
        shop.secret("db", value);
        pods.iter().for_each(|pod| shop.until_reads(pod, "db", value));
    }
}
