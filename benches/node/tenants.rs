//! What one tenant takes of another.

use std::time::{Duration, Instant};

use testing::{Answer, FaultServer, PodVolume, jwt_class};
use tokio::task::JoinSet;

use crate::measure::Samples;
use crate::report::{Line, Unit};
use crate::world::{Bench, World, value};

/// Volumes whose store hangs.
const HANGING: usize = 500;
/// Namespaces that they are of.
const HOSTILE: usize = 8;
/// Publishes that are measured, alone and beside.
const MEASURED: usize = 200;
/// What kubelet waits after a volume that failed: doubled from the one to the other (`exponentialbackoff` of
/// Kubernetes 1.37).
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(122)];
/// How long the store that hangs may take to be reached.
const PATIENCE: Duration = Duration::from_secs(60);

/// p99 of a healthy tenant's publishes, one at a time, while others wait for a store that never answers a login.
pub(crate) async fn beside_hanging(world: &World) -> Vec<Line> {
    let silent = FaultServer::http(|_| Answer::Hang);
    let node = world.prepare("1h");
    (0..HOSTILE).for_each(|n| node.class(&format!("hang-{n}"), &hanging_class(n, &silent.url())));
    let bench = world.serving(node).await;
    publish(&bench, "warm", 20).await;
    let alone = publish(&bench, "alone", MEASURED).await;

    let hanging = hang(&bench, &silent).await;
    let beside = publish(&bench, "beside", MEASURED).await;
    let waited = hanging.len();
    drop(hanging);

    assert_eq!(waited, HANGING, "they all wait to the end");
    let (ours, floor) = (beside.p99(), alone.p99());
    vec![
        Line::number("publish, 1 secret, p99 beside 500 publishes that hang at login", Unit::Ms, ours)
            .floor(floor)
            .at_most(2.0 * floor)
            .more(format!(
                "floor: alone; medians {:.2} beside, {:.2} alone",
                beside.median(),
                alone.median()
            )),
    ]
}

async fn publish(bench: &Bench<'_>, row: &str, count: usize) -> Samples {
    let pods = bench.world().pods(row, count, "one-many");
    let mut samples = Samples::default();
    for request in bench.requests(&pods) {
        samples.add(bench.publish(request).await);
    }
    bench.verify(&pods, 1, &value(1));
    samples
}

/// Publishes again and again, as kubelet does, until the set is dropped.
async fn hang(bench: &Bench<'_>, silent: &FaultServer) -> JoinSet<()> {
    let mut hanging = JoinSet::new();
    for index in 0..HANGING {
        let pod = hanging_pod(bench.world(), index);
        let (request, mut client) = (bench.request(&pod), bench.node.client().await);
        hanging.spawn(async move {
            let [mut pause, longest] = BACKOFF;
            loop {
                let _ = client.node_publish_volume(request.clone()).await;
                tokio::time::sleep(pause).await;
                pause = longest.min(pause * 2);
            }
        });
    }
    let started = Instant::now();
    while silent.open() < HOSTILE * 4 {
        assert!(started.elapsed() < PATIENCE, "{} logins hang", silent.open());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hanging
}

fn hanging_pod(world: &World, index: usize) -> PodVolume {
    let (name, namespace) = (format!("hang-{index}"), format!("evil-{}", index % HOSTILE));
    let account = format!("account-{index}");
    let mut pod = PodVolume::new(&name, "hang").token("vault", world.token_of(&namespace, &account, &name));
    (pod.namespace, pod.service_account) = (namespace, account);
    pod
}

fn hanging_class(namespace: usize, address: &str) -> String {
    let objects = "- {objectName: a, secretPath: secret/data/a, secretKey: key}";
    jwt_class(&format!("evil-{namespace}"), "hang", address, objects)
}
