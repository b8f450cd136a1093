//! What a pod sees in its volume, from its start to its end.

use std::time::Instant;

use serde_json::json;
use testing::ShownBy;

use super::world::{Namespace, SECRETFS, pod, shared, until};

#[test]
fn a_pod_reads_a_rotated_secret_as_its_own_user_and_group_and_leaves_nothing_behind() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "pods-user");
    shop.secret("db", "first");
    shop.vault_class("app", &["db"], &[]);
    let mut web = pod("web", "app");
    web["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000});
    let applied = Instant::now();
    shop.apply(&web);

    shop.until_ready("web");
    println!("ready {} ms after it was applied", applied.elapsed().as_millis());
    assert_eq!(shop.read("web", "db"), "first");
    let looks = shop.kubectl(&["exec", "web", "--", "stat", "-Lc", "%u:%g %a", "/secrets/db", "/secrets"]);
    // The root of a tmpfs gives its group to what the driver makes in it, which may not change groups.
    let gives = if ShownBy::chosen() == ShownBy::Tmpfs { "2" } else { "" };
    assert_eq!(looks, format!("0:2000 440\n0:2000 {gives}750\n"));
    let user = shop.kubectl(&["exec", "web", "--", "id", "-u"]);
    assert_eq!(user.trim(), "1000");

    shop.secret("db", "second");
    let changed = Instant::now();
    shop.until_reads("web", "db", "second");
    println!("rotated {} ms after the change, at a refresh of one second", changed.elapsed().as_millis());
    assert_eq!(shop.field("pod/web", "{.status.containerStatuses[0].restartCount}"), "0");

    let directory = shop.target("web").ancestors().nth(4).unwrap().to_owned();
    shop.delete("web");
    until("kubelet's directory of the pod is gone", || !directory.exists(), || format!("{directory:?}"));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.to_str().unwrap()), "{mounts}");
}

#[test]
fn a_user_outside_the_group_reads_a_file_of_the_default_mode() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "pods-mode");
    shop.secret("db", "open to the pod");
    shop.vault_class("app", &["db"], &[]);
    let mut web = pod("web", "app");
    web["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true});
    shop.apply(&web);

    shop.until_ready("web");
    assert_eq!(shop.read("web", "db"), "open to the pod");
}

#[test]
fn a_pods_own_secret_is_the_credential_where_the_class_says_so() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "pods-approle");
    shop.secret("db", "by role");
    let (role, secret) = {
        let bao = world.bao();
        bao.write("sys/auth/approle", &json!({"type": "approle"}));
        bao.write("auth/approle/role/shop", &json!({"token_policies": "app"}));
        let role = bao.read("auth/approle/role/shop/role-id")["data"]["role_id"].as_str().unwrap().to_owned();
        let secret = bao.write("auth/approle/role/shop/secret-id", &json!({}));
        (role, secret["data"]["secret_id"].as_str().unwrap().to_owned())
    };
    shop.kubectl(&[
        "create",
        "secret",
        "generic",
        "approle",
        &format!("--from-literal=role-id={role}"),
        &format!("--from-literal=secret-id={secret}"),
    ]);
    shop.vault_class("app", &["db"], &[("secretfs.dev/auth", "approle")]);
    let mut web = pod("web", "app");
    web["spec"]["volumes"][0]["csi"]["nodePublishSecretRef"] = json!({"name": "approle"});
    shop.apply(&web);

    shop.until_ready("web");
    assert_eq!(shop.read("web", "db"), "by role");
}

#[test]
fn an_edit_of_the_class_reaches_the_pods_that_run() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "pods-edit");
    shop.secret("one", "first of two");
    shop.secret("two", "second of two");
    shop.vault_class("app", &["one"], &[]);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");

    shop.vault_class("app", &["one", "two"], &[]);

    shop.until_reads("web", "two", "second of two");
    assert_eq!(shop.read("web", "one"), "first of two");
}

#[test]
fn a_pod_in_a_user_namespace_of_its_own_reads_its_files() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "pods-users");
    shop.secret("db", "mapped");
    shop.vault_class("app", &["db"], &[]);
    let mut web = pod("web", "app");
    web["spec"]["hostUsers"] = json!(false);
    web["spec"]["securityContext"] = json!({"runAsUser": 1000, "fsGroup": 2000});
    shop.apply(&web);

    shop.until_ready("web");
    assert_eq!(shop.read("web", "db"), "mapped");
    let map = shop.kubectl(&["exec", "web", "--", "cat", "/proc/self/uid_map"]);
    assert_ne!(map.split_whitespace().nth(1), Some("0"), "{map}");
    let looks = shop.kubectl(&["exec", "web", "--", "stat", "-Lc", "%u:%g %a", "/secrets/db"]);
    assert_eq!(looks, "0:2000 440\n");
}

#[test]
fn a_container_that_mounts_by_subpath_is_told_that_it_sees_no_rotation() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "pods-subpath");
    shop.secret("db", "once");
    shop.vault_class("app", &["db"], &[]);
    let mut web = pod("web", "app");
    web["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "secrets", "mountPath": "/app/db", "subPath": "db", "readOnly": true}]);
    shop.apply(&web);

    shop.until_ready("web");
    assert_eq!(shop.kubectl(&["exec", "web", "--", "cat", "/app/db"]), "once");
    println!("{}", shop.until_event("web", "SubPath"));
}

#[test]
fn kubectl_secretfs_shows_what_the_nodes_say_of_running_and_of_waiting_pods() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "pods-view");
    shop.secret("db", "seen");
    shop.vault_class("app", &["db"], &[]);
    shop.vault_class("lacking", &["nowhere"], &[]);
    shop.apply(&pod("web", "app"));
    shop.apply(&pod("waits", "lacking"));
    shop.until_ready("web");
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-secretfs");
    std::os::unix::fs::symlink(SECRETFS, &plugin).unwrap();
    let told = || {
        let mut command = std::process::Command::new(&plugin);
        command.args(["-n", &shop.name, "-o", "wide"]).env("KUBECONFIG", world.cluster.kubeconfig());
        let output = command.output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };

    until("the pod that waits is shown with the reason", || told().contains("not mounted"), told);

    let told = told();
    let line = |pod: &str| told.lines().find(|line| line.contains(pod)).unwrap_or_default().to_owned();
    assert!(line(" web ").contains("fresh") && line(" web ").contains("localhost"), "{told}");
    assert!(line(" waits ").contains("nowhere"), "{told}");
}

crate::modes::again_in_mode_fuse! {
    a_pod_reads_a_rotated_secret_as_its_own_user_and_group_and_leaves_nothing_behind,
    a_user_outside_the_group_reads_a_file_of_the_default_mode,
    an_edit_of_the_class_reaches_the_pods_that_run,
    a_pod_in_a_user_namespace_of_its_own_reads_its_files,
    kubectl_secretfs_shows_what_the_nodes_say_of_running_and_of_waiting_pods,
}
