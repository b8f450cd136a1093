//! Rollouts after a rotation, as `secretfs.dev/on-rotate` asks, in a real API server with the rights and the policy of the
//! chart. Nothing makes pods here: a rollout is a change of the pod template.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::{Cluster, PodVolume, RunningNode};

use super::world::{SOON, World, api_server};
use crate::cluster::chart;

const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");

/// A cluster with the driver's rights as the chart grants them with these values, and a kubeconfig of the driver's account.
struct Granted {
    cluster: Cluster,
    kubeconfig: PathBuf,
}

impl Granted {
    fn with(values: &str) -> Self {
        let cluster = api_server();
        let of_driver = "secretfs-system";
        cluster.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {of_driver}}}\n"));
        for namespace in ["shop", "billing"] {
            cluster.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"));
            cluster.apply(&account("default", namespace));
        }
        cluster.apply(&account("secretfs", of_driver));
        cluster.apply(&chart::rights_with(values).to_string());
        let kubeconfig = cluster.folder().join("driver.yaml");
        let token = cluster.kubectl(&["create", "token", "secretfs", "-n", of_driver, "--duration=2h"]);
        let admin = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
        let mut config: Value = serde_yaml::from_str(&admin).unwrap();
        config["users"][0]["user"] = json!({"token": token.trim()});
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Self { cluster, kubeconfig }
    }

    fn field(&self, namespace: &str, object: &str, path: &str) -> String {
        self.cluster.field(&["-n", namespace, object], path).unwrap_or_default()
    }

    /// Makes Deployment `web`, its ReplicaSet and a pod for each name, as controllers would. Returns the pods' volumes of
    /// `class`.
    fn deployment(&self, namespace: &str, class: &str, pods: &[&str]) -> Vec<PodVolume> {
        let labels = json!({"app": "web"});
        let template = json!({
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "none"}], "automountServiceAccountToken": false},
        });
        let set = |kind: &str, owners: Value| {
            json!({
                "apiVersion": "apps/v1", "kind": kind,
                "metadata": {"name": "web", "namespace": namespace, "ownerReferences": owners},
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            })
        };
        let owner = |kind: &str| {
            let uid = self.field(namespace, &format!("{}/web", kind.to_lowercase()), ".metadata.uid");
            json!([{"apiVersion": "apps/v1", "kind": kind, "name": "web", "uid": uid, "controller": true}])
        };
        self.cluster.apply(&set("Deployment", json!([])).to_string());
        self.cluster.apply(&set("ReplicaSet", owner("Deployment")).to_string());
        let volume = |name: &&str| {
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod"});
            pod["metadata"] =
                json!({"name": name, "namespace": namespace, "ownerReferences": owner("ReplicaSet")});
            pod["spec"] = template["spec"].clone();
            self.cluster.apply(&pod.to_string());
            let uid = self.field(namespace, &format!("pod/{name}"), ".metadata.uid");
            PodVolume { namespace: namespace.to_owned(), uid, ..PodVolume::new(name, class) }
        };
        pods.iter().map(volume).collect()
    }

    /// A class of the namespace of `world` whose pods are rolled out when it rotates.
    fn class(&self, world: &World, name: &str) {
        let asks = "parameters:\n    secretfs.dev/on-rotate: restart-workload\n";
        self.cluster.apply(&world.class("v1", name, "key").replace("parameters:\n", asks));
    }

    /// How often the pod template of the Deployment was changed.
    fn changes(&self, namespace: &str) -> u64 {
        let generation = self.field(namespace, "deployment/web", ".metadata.generation");
        generation.parse::<u64>().unwrap() - 1
    }

    fn mark(&self, namespace: &str) -> String {
        let path = r".spec.template.metadata.annotations.secretfs\.dev/rolled-out-for";
        self.field(namespace, "deployment/web", path)
    }

    /// A node with the driver's account.
    async fn node(&self, world: &World, name: &str, flags: &[&str]) -> RunningNode {
        let mut node = RunningNode::prepare(SECRETFS, &[&["--store", world.store.path()], flags].concat());
        node.call(name);
        node.ask(&self.kubeconfig);
        node.start_node().await;
        node
    }
}

fn account(name: &str, namespace: &str) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {namespace}}}\n")
}

/// Waits until `met`, and shows the log of `node` if that takes too long.
async fn until(node: &RunningNode, mut met: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !met() {
        assert!(begun.elapsed() < SOON, "{}\n{}", node.log(), node.audit());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The audit records about rollouts of a node.
fn records(node: &RunningNode) -> Vec<Value> {
    let audit = node.audit();
    let lines = audit.lines().filter(|line| line.contains(r#""operation":"restart-workload""#));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_roll_a_workload_out_once_for_a_version_and_new_pods_cause_no_more() {
    let granted = Granted::with("restartWorkloads.namespaces={shop}");
    let world = World::start(&granted.cluster, "shop").await;
    granted.class(&world, "db");
    let pods = granted.deployment("shop", "db", &["web-1", "web-2", "web-3", "web-4"]);
    let mut nodes = Vec::new();
    for (name, pod) in ["one", "two", "three"].into_iter().zip(&pods) {
        let flags = ["--restart-workloads", "shop", "--restart-workloads-every", "1s"];
        let node = granted.node(&world, name, &flags).await;
        node.publish_until_done(pod).await;
        nodes.push(node);
    }

    for (settled, value) in [(1, "two"), (2, "three")] {
        rotate(&world, &nodes, &pods, value, settled).await;
        assert_eq!(granted.changes("shop"), settled as u64, "{}", granted.mark("shop"));
    }
    // A pod of the new rollout starts with the newest version.
    nodes[0].publish_until_done(&pods[3]).await;
    rotate(&world, &nodes, &pods, "four", 3).await;

    let mark = granted.mark("shop");
    assert_eq!(granted.changes("shop"), 3, "{mark}");
    assert!(mark.split(' ').count() == 4 && !mark.contains("four"), "{mark}");
    let told: Vec<_> = nodes.iter().flat_map(records).collect();
    let versions: BTreeSet<_> =
        told.iter().map(|record| record["resources"][1]["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["2", "3", "4"].into(), "{told:?}");
    for record in &told {
        assert_eq!(record["resources"][0]["name"], "Deployment web", "{record}");
        assert_eq!((&record["status"], &record["class"]), (&json!("success"), &json!("shop/db")), "{record}");
    }
    until(&nodes[0], || {
        let events = granted.cluster.kubectl(&["get", "events", "-n", "shop", "-o", "json"]);
        events.contains("Deployment web is rolled out, for new versions of key")
    })
    .await;
}

/// Puts a new version, and waits until each node shows it and has seen to the workload for the `settled`th time.
async fn rotate(world: &World, nodes: &[RunningNode], pods: &[PodVolume], value: &str, settled: usize) {
    world.store.put_json(world.namespace, "api", &json!({"value": value}));
    for (node, pod) in nodes.iter().zip(pods) {
        until(node, || node.text(pod, "key").is_some_and(|text| text.contains(value))).await;
        let done_before = || node.log().matches("its workload was rolled out for these before").count();
        until(node, || done_before() + records(node).len() >= settled).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_nobody_granted_is_refused_and_told_once() {
    let granted = Granted::with("restartWorkloads.namespaces={shop}");
    let world = World::start(&granted.cluster, "billing").await;
    granted.class(&world, "db");
    let pods = granted.deployment("billing", "db", &["web-1", "web-2"]);
    // The first knows that nothing is granted. The second was told otherwise, and the API server knows better.
    let plain = granted.node(&world, "one", &["--restart-workloads", "shop"]).await;
    let misled = granted.node(&world, "two", &["--restart-workloads", "billing"]).await;
    for (node, pod) in [(&plain, &pods[0]), (&misled, &pods[1])] {
        node.publish_until_done(pod).await;
    }

    for value in ["two", "three"] {
        world.store.put_json("billing", "api", &json!({"value": value}));
        for (node, pod) in [(&plain, &pods[0]), (&misled, &pods[1])] {
            until(node, || node.text(pod, "key").is_some_and(|text| text.contains(value))).await;
            until(node, || !records(node).is_empty()).await;
        }
    }

    for (node, why) in [(&plain, "granted no rollouts"), (&misled, "restartWorkloads.namespaces")] {
        let told = records(node);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["status"], "failure");
        assert!(told[0]["status_detail"].as_str().unwrap().contains(why), "{told:?}");
        let mut asked = std::process::Command::new(SECRETFS);
        asked.args(["status", "-o", "json"]).env("SECRETFS_ADMIN_SOCKET", node.path("admin"));
        let status: Value = serde_json::from_slice(&asked.output().unwrap().stdout).unwrap();
        let remark = status["volumes"][0]["remarks"][0].as_str().unwrap_or_default();
        assert!(remark.contains("is not rolled out") && remark.contains(why), "{status}");
    }
    assert_eq!((granted.changes("billing"), granted.mark("billing")), (0, String::new()));
    let events = granted.cluster.kubectl(&["get", "events", "-n", "billing", "-o", "json"]);
    assert!(events.contains("FailedToRestartWorkload"), "{events}");
}
