//! Which container opens a file: those of a real kubelet and a real runtime.

use serde_json::{Value, json};

use super::world::{Namespace, alone, pod, shared, until};

const RULES: &str = "- {containers: [main, first-0, first-1, first-2, first-3, probe], paths: [db]}\n\
                     - {containers: [helper], paths: [tls]}\n";

/// A pod of class `app` with a second container.
fn two_containers(name: &str) -> Value {
    let mut web = pod(name, "app");
    let containers = web["spec"]["containers"].as_array_mut().unwrap();
    let mut helper = containers[0].clone();
    helper["name"] = json!("helper");
    containers.push(helper);
    web
}

/// A container that does nothing but open a file, in its first instruction.
fn opening(like: &Value, name: &str, file: &str) -> Value {
    let mut first = like.clone();
    for field in ["readinessProbe", "livenessProbe", "args"] {
        first.as_object_mut().unwrap().remove(field);
    }
    (first["name"], first["command"]) = (json!(name), json!(["cat", format!("/secrets/{file}")]));
    first
}

#[test]
fn each_container_of_a_pod_opens_what_its_class_lets_it_and_nothing_else() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "access");
    for (name, value) in [("db", "hunter2"), ("tls", "certificate")] {
        shop.secret(name, value);
    }
    let more = [("secretfs.dev/mode", "fuse"), ("secretfs.dev/access", RULES)];
    shop.vault_class("app", &["db", "tls"], &more);
    let mut web = two_containers("web");
    let main = web["spec"]["containers"][0].clone();
    let first = |index: u32| opening(&main, &format!("first-{index}"), "db");
    web["spec"]["initContainers"] = (0..4).map(first).collect();
    shop.apply(&web);
    shop.until_ready("web");

    for index in 0..4 {
        assert_eq!(shop.kubectl(&["logs", "web", "-c", &format!("first-{index}")]), "hunter2");
    }
    let cat = |container: &str, file: &str| {
        let path = format!("/secrets/{file}");
        world.cluster.try_kubectl(&["-n", "access", "exec", "web", "-c", container, "--", "cat", &path])
    };
    assert_eq!((cat("main", "db"), cat("helper", "tls")), (Ok("hunter2".into()), Ok("certificate".into())));
    for (container, file) in [("helper", "db"), ("main", "tls")] {
        let denied = cat(container, file).unwrap_err();
        assert!(denied.contains("Permission denied"), "{container} {file}: {denied}");
    }
    assert!(world.node_log().contains("no rule of secretfs.dev/access"), "{}", world.node_log());

    // Containers for debugging are judged by their own names.
    let debugging = [opening(&main, "probe", "db"), opening(&main, "stranger", "db")];
    let patch = json!({"spec": {"ephemeralContainers": debugging}}).to_string();
    shop.kubectl(&[
        "patch",
        "pod",
        "web",
        "--subresource=ephemeralcontainers",
        "--type=strategic",
        "-p",
        &patch,
    ]);
    let logs = |container: &str| shop.try_kubectl(&["logs", "web", "-c", container]);
    until("the allowed one reads", || logs("probe") == "hunter2", || logs("probe"));
    until("the stranger is denied", || logs("stranger").contains("Permission denied"), || logs("stranger"));

    let old = world.kill_node();
    until("it opens after a restart of node", || cat("main", "db").is_ok(), || world.node_log());
    assert!(cat("helper", "db").unwrap_err().contains("Permission denied"));
    world.until_restarted(old);
}

#[test]
fn a_pod_whose_containers_share_processes_is_told_that_rules_keep_nobody_out() {
    let (world, _shared) = shared();
    let shop = Namespace::new(world, "access-shared");
    shop.secret("db", "hunter2");
    shop.vault_class("app", &["db"], &[("secretfs.dev/mode", "fuse"), ("secretfs.dev/access", RULES)]);
    let mut web = two_containers("web");
    web["spec"]["shareProcessNamespace"] = json!(true);
    shop.apply(&web);

    let told = shop.until_event("web", "share a process namespace");
    assert!(told.contains("secretfs.dev/access-unsafe: allow"), "{told}");
}
