//! Tenants of one node: what one namespace does at its stores is no matter to another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use testing::{Answer, FaultServer, PodVolume, RunningNode};
use tokio::task::JoinSet;

use crate::embedded::Store;
use crate::support::store_class;

/// Volumes that hang.
const HANGING: usize = 500;
/// Namespaces that they are of.
const HOSTILE: usize = 4;
/// How long something may take that waits for nobody: what hangs does so for a minute and longer.
const SOON: Duration = Duration::from_secs(15);

/// A class of namespace `evil-N` whose store takes connections and never answers.
fn hanging_class(namespace: usize, address: &str) -> String {
    json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": "hang", "namespace": format!("evil-{namespace}")},
        "spec": {"provider": "vault", "parameters": {
            "vaultAddress": address, "roleName": "r", "secretfs.dev/auth": "jwt", "vaultAuthMountPath": "jwt",
            "objects": "- {objectName: a, secretPath: secret/data/a, secretKey: key}",
        }},
    })
    .to_string()
}

fn hanging_pod(index: usize) -> PodVolume {
    let mut pod = PodVolume::new(&format!("hang-{index}"), "hang").token("vault", "a.b.c".to_owned());
    pod.namespace = format!("evil-{}", index % HOSTILE);
    pod.service_account = format!("account-{index}");
    pod
}

/// Has pods of hostile namespaces wait for their store until the set is dropped.
async fn hang(node: &Arc<RunningNode>, store: &FaultServer) -> JoinSet<()> {
    let mut waiting = JoinSet::new();
    for index in 0..HANGING {
        let node = Arc::clone(node);
        waiting.spawn(async move { drop(node.publish(&hanging_pod(index)).await) });
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
