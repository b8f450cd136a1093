//! Tenants of one node: what one namespace does at its stores must not affect another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use testing::{Answer, FaultServer, Issuer, PodVolume, RunningNode, jwt_class};
use tokio::task::JoinSet;

use crate::embedded::Store;
use crate::support::store_class;

/// The number of volumes that hang.
const HANGING: usize = 500;
/// The number of namespaces with such volumes.
const HOSTILE: usize = 4;
/// How long something that waits for nobody may take. Calls that hang do so for at least a minute.
const SOON: Duration = Duration::from_secs(15);

/// A class of namespace `evil-N` whose store accepts connections and never answers.
fn hanging_class(namespace: usize, address: &str) -> String {
    let objects = "- {objectName: a, secretPath: secret/data/a, secretKey: key}";
    jwt_class(&format!("evil-{namespace}"), "hang", address, objects)
}

/// A class of `namespace` with one object that has a lease.
fn leasing_class(namespace: &str, address: &str) -> String {
    let objects = "- {objectName: creds, secretPath: database/creds/r, secretKey: key}";
    jwt_class(namespace, "lease", address, objects)
}

fn leasing_pod(issuer: &Issuer, namespace: &str, name: &str) -> PodVolume {
    issuer.pod(namespace, "shop", name, "lease")
}

/// A store that grants leases of `seconds` with tokens of `token` bytes, and does not answer calls that end a lease.
fn leasing_store(seconds: u64, token: usize) -> FaultServer {
    FaultServer::http(move |seen| {
        if seen.target.ends_with("/login") {
            let auth = json!({
                "client_token": "t".repeat(token), "lease_duration": 3600, "renewable": false, "token_type": "service",
            });
            return Answer::json(200, &json!({ "auth": auth }));
        }
        if seen.target.contains("revoke") {
            return Answer::Hang;
        }
        let lease = json!({
            "lease_id": "database/creds/r/1", "lease_duration": seconds, "renewable": false, "data": {"key": "v"},
        });
        Answer::json(200, &lease)
    })
}

/// Resident memory of a process, in MiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn hanging_pod(issuer: &Issuer, index: usize) -> PodVolume {
    let (namespace, account) = (format!("evil-{}", index % HOSTILE), format!("account-{index}"));
    issuer.pod(&namespace, &account, &format!("hang-{index}"), "hang")
}

/// Makes pods of hostile namespaces wait for their store until the set is dropped.
async fn hang(node: &Arc<RunningNode>, store: &FaultServer) -> JoinSet<()> {
    let (issuer, mut waiting) = (Issuer::start(), JoinSet::new());
    for index in 0..HANGING {
        let (node, pod) = (Arc::clone(node), hanging_pod(&issuer, index));
        waiting.spawn(async move { drop(node.publish(&pod).await) });
    }
    let started = Instant::now();
    while store.open() < 32 {
        assert!(started.elapsed() < SOON, "{} of them reached their store", store.open());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    waiting
}

fn report(what: &str, alone: Duration, beside: Duration) {
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    println!("{what}: {:.1} ms alone, {:.1} ms beside {HANGING} that hang", ms(alone), ms(beside));
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_whose_store_hangs_hold_up_no_pod_no_rotation_and_no_revocation_of_another_namespace() {
    let (embedded, silent) = (Store::init(), FaultServer::http(|_| Answer::Hang));
    embedded.put("shop", "app", "v1");
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--store", embedded.path()]);
    node.class("app", &store_class(&["objectName: file, item: app, key: value"]));
    (0..HOSTILE).for_each(|n| node.class(&format!("hang-{n}"), &hanging_class(n, &silent.url())));
    node.start_node().await;
    let node = Arc::new(node);
    let timed = async |pod: &PodVolume| {
        let started = Instant::now();
        node.publish(pod).await.unwrap();
        started.elapsed()
    };
    let alone = timed(&PodVolume::new("alone", "app")).await;
    let served = PodVolume::new("alone", "app");

    let waiting = hang(&node, &silent).await;
    let pods: Vec<_> = (0..10).map(|n| PodVolume::new(&format!("beside-{n}"), "app")).collect();
    let beside = join_all(pods.iter().map(&timed)).await;
    let slowest = beside.into_iter().max().unwrap();
    report("a publish", alone, slowest);
    assert!(slowest < SOON, "a publish took {slowest:?}");

    let started = Instant::now();
    embedded.put("shop", "app", "v2");
    node.text_becomes(&served, "file", Some("v2"), SOON).await;
    println!("a rotation: {:?}", started.elapsed());
    let started = Instant::now();
    embedded.run(&["delete", "app", "--namespace", "shop"], b"");
    node.text_becomes(&served, "file", None, SOON).await;
    println!("a revocation: {:?}", started.elapsed());
    assert!(!waiting.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_no_length_fill_no_process_and_another_namespaces_leases_are_served() {
    let (hostile, healthy) = (leasing_store(0, 15_000), leasing_store(3600, 100));
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.class("evil", &leasing_class("evil", &hostile.url()));
    node.class("shop", &leasing_class("shop", &healthy.url()));
    node.use_mounter();
    node.start_node().await;
    let issuer = Issuer::start();
    let volumes: Vec<_> = (0..12).map(|n| leasing_pod(&issuer, "evil", &format!("evil-{n}"))).collect();
    join_all(volumes.iter().map(|pod| node.publish_until_done(pod))).await;

    let observed = Duration::from_secs(10);
    tokio::time::sleep(observed).await;
    let logins = hostile.seen().iter().filter(|seen| seen.target.ends_with("/login")).count();
    let (mounter, process) = (resident(node.mounter_pid()), resident(node.node_pid()));
    println!("{logins} logins of 12 volumes in {observed:?}; mounter {mounter} MiB, node {process} MiB");
    // One for the start and one every five seconds, and the same number again for a slow machine.
    assert!(logins <= 12 * 8, "{logins}");

    let pod = leasing_pod(&issuer, "shop", "healthy");
    node.publish(&pod).await.unwrap();
    assert_eq!(node.text(&pod, "creds").as_deref(), Some("v"));
}
