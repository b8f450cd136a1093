//! Orders to take secrets back from programs that run.

use std::process::Command;

use serde_json::json;

use super::world::{Namespace, SECRETFS, World, pod, run, shared, until};

/// Nanoseconds of the machine's clock.
fn now(moment: &str) -> u128 {
    run(Command::new("date").args(["-d", moment, "+%s%N"]), "").trim().parse().unwrap()
}

fn secretfs(world: &World, words: &[&str]) -> String {
    run(Command::new(SECRETFS).args(words).env("KUBECONFIG", world.cluster.kubeconfig()), "")
}

#[test]
fn a_program_that_runs_loses_what_is_revoked_within_a_second_and_its_pod_goes_on() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "revoked");
    shop.secret("db", "hunter2");
    shop.secret("tls", "certificate");
    shop.vault_class(
        "app",
        &["db", "tls"],
        &[("secretfs.dev/mode", "fuse"), ("secretfs.dev/on-revoked", "remove")],
    );
    let mut web = pod("web", "app");
    // It has the file open, and reads through that handle all the time.
    web["spec"]["containers"][0]["command"] = json!([
        "sh",
        "-c",
        "exec 3</secrets/db; while head -c 1 <&3 >/dev/null 2>>/tmp/errors; do :; done; touch /tmp/denied; sleep 100000"
    ]);
    shop.apply(&web);
    shop.until_ready("web");
    let asked = |path: &str| shop.try_kubectl(&["exec", "web", "--", "stat", "-c", "%y", path]);
    assert_eq!(asked("/tmp/denied"), "");

    let before = now("now");
    secretfs(world, &["revoke", "-n", &shop.name, "--object", "db", "--reason", "it leaked", "leak"]);
    let ordered = now("now");
    until("the program is refused", || !asked("/tmp/denied").is_empty(), || world.node_log());
    let refused = now(asked("/tmp/denied").trim());
    println!(
        "refused {} ms after the command began, {} ms after it ended",
        refused.saturating_sub(before) / 1_000_000,
        refused.saturating_sub(ordered) / 1_000_000
    );
    let errors = shop.kubectl(&["exec", "web", "--", "cat", "/tmp/errors"]);
    // The container is the same: it still has what its program wrote. Its head(1) has the same words for each failed read;
    // tests of cluster::api::revocations see that it is EACCES.
    assert!(errors.contains("standard input"), "{errors}");
    let restarts = shop.field("pod/web", "{.status.containerStatuses[0].restartCount}");
    assert_eq!(restarts, "0", "the pod goes on");
    let told = shop.until_event("web", "revoked by Revocation");
    assert!(told.contains("it leaked"), "{told}");
    secretfs(world, &["unrevoke", "-n", &shop.name, "leak"]);
}

#[test]
fn who_administers_a_namespace_may_revoke_there_and_who_edits_it_may_not() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "revokers");
    let bind = |name: &str, role: &str| {
        shop.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}],
        }));
    };
    ["admin", "edit", "view"].iter().for_each(|role| bind(&format!("jane-{role}"), role));
    let may = |who: &str, verb: &str, what: &str| {
        let asked = ["auth", "can-i", verb, what, "--as", who];
        shop.try_kubectl(&asked).trim() == "yes"
    };

    until("roles are aggregated", || may("jane-admin", "create", "revocations"), || world.node_log());
    assert!(may("jane-admin", "delete", "revocations") && may("jane-view", "list", "revocations"));
    assert!(!may("jane-edit", "create", "revocations") && !may("jane-view", "create", "revocations"));
    assert!(!may("jane-admin", "create", "clusterrevocations"));
}
