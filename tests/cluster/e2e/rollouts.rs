//! A rollout after a rotation, of a Deployment that Kubernetes runs.

use serde_json::json;

use super::world::{Namespace, ROLLED_OUT, pod, shared, until};

#[test]
fn a_deployment_is_rolled_out_once_when_its_secret_rotates_and_its_new_pods_start_with_the_new_value() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, ROLLED_OUT);
    shop.secret("db", "one");
    shop.vault_class("app", &["db"], &[("secretfs.dev/on-rotate", "restart-workload")]);
    let mut spec = pod("unused", "app")["spec"].take();
    // What it read at its start, as a program does that reads its secrets once.
    spec["containers"][0]["command"] = json!(["sh", "-c", "cp /secrets/db /tmp/read && sleep 100000"]);
    shop.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    }));
    shop.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let told = || format!("{}\n{}", shop.try_kubectl(&["describe", "deployments,pods"]), world.node_log());

    for (value, changes) in [("two", "2"), ("three", "3")] {
        shop.secret("db", value);
        let generation = || shop.field("deployment/web", "{.metadata.generation}");
        until("it is rolled out", || generation() == changes, told);
        shop.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);

        let names = || shop.field("pods", "{.items[*].metadata.name}");
        until("the old pods are gone", || names().split_whitespace().count() == 2, told);
        for name in names().split_whitespace() {
            assert_eq!(shop.try_kubectl(&["exec", name, "--", "cat", "/tmp/read"]), value, "{}", told());
        }
        assert_eq!(generation(), changes, "{}", told());
    }
}
