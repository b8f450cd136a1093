use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::join_all;
use serde_json::json;
use testing::{Answer, FaultServer, PodVolume, Seen};

use super::World;

/// The most pods of a hostile tenant at the same time.
const PODS: u64 = 16;
/// Too large for any moment or duration.
const ABSURD: u64 = u64::MAX;
/// The length of an endless answer, in bytes.
const ENDLESS: usize = 256 << 20;
/// The most objects that a class may have.
const OBJECTS: usize = 1_000;

/// A tenant with a hostile store.
pub(super) struct Hostile {
    namespace: &'static str,
    objects: usize,
    store: FaultServer,
}

impl Hostile {
    /// A store that hangs, one with absurd numbers, one with endless answers, and one with thousands of objects.
    pub(super) fn all() -> [Self; 4] {
        [
            Self::new("hangs", 1, |_| Answer::Hang),
            Self::new("absurd", 3, absurd),
            Self::new("endless", 1, endless),
            Self::new("crowd", OBJECTS, crowd),
        ]
    }

    fn new(
        namespace: &'static str,
        objects: usize,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self { namespace, objects, store: FaultServer::http(script) }
    }

    fn class(&self) -> String {
        let object = |number| json!({"objectName": format!("o{number}"), "secretPath": format!("secret/data/{number}"), "secretKey": "key"});
        let objects: Vec<_> = (0..self.objects).map(object).collect();
        json!({
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClass",
            "metadata": {"name": "app", "namespace": self.namespace},
            "spec": {"provider": "vault", "parameters": {
                "vaultAddress": self.store.url(), "roleName": "tenant", "secretfs.dev/refresh": "1s",
                "objects": serde_json::Value::from(objects).to_string(),
            }},
        })
        .to_string()
    }

    /// Starts and removes pods until `until`. Returns the number of calls.
    pub(super) async fn run(self, world: Arc<World>, mut random: Rng, until: Instant) -> u64 {
        world.node.class(self.namespace, &self.class());
        let mut calls = 0;
        while Instant::now() < until {
            let pods: Vec<_> = (0..PODS).map(|number| self.pod(&world, calls + number)).collect();
            calls += PODS;
            let published = join_all(pods.iter().map(|pod| world.node.publish(pod)));
            // At any moment kubelet may give up on a call and remove the pod.
            let patience = Duration::from_millis(random.u64(100..8_000));
            let _ = tokio::time::timeout(patience, published).await;
            join_all(pods.iter().map(|pod| taken_away(&world, pod))).await;
        }
        calls
    }

    fn pod(&self, world: &World, number: u64) -> PodVolume {
        world.issuer.pod(self.namespace, "web", &format!("{}-{number}", self.namespace), "app")
    }
}

/// Unpublishes. While a publish still runs the volume is busy, so the call is repeated, as kubelet does.
async fn taken_away(world: &World, pod: &PodVolume) {
    let begun = Instant::now();
    while let Err(status) = world.node.unpublish(pod).await {
        assert!(begun.elapsed() < super::SETTLE, "{}: {status}\n{}", pod.pod, world.node.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn login(seconds: u64) -> Answer {
    let auth = json!({"client_token": "t", "accessor": "a", "policies": [], "lease_duration": seconds, "renewable": true});
    Answer::json(200, &json!({"auth": auth}))
}

fn absurd(seen: &Seen) -> Answer {
    let number = [0, 1, ABSURD][fastrand::usize(0..3)];
    match fastrand::u8(0..6) {
        0 => Answer::json(429, &json!({"errors": []})).with("retry-after", &ABSURD.to_string()),
        1 => Answer::json(503, &json!({"errors": []})).with("retry-after", "0"),
        _ if seen.target.contains("/login") => login(number),
        _ => Answer::json(
            200,
            &json!({
                "lease_id": format!("l{}", fastrand::u64(..)), "lease_duration": number, "renewable": true,
                "data": {"key": "value", "data": {"key": "value"}},
            }),
        ),
    }
}

fn endless(seen: &Seen) -> Answer {
    if seen.target.contains("/login") && fastrand::bool() { login(60) } else { Answer::Endless(ENDLESS) }
}

fn crowd(seen: &Seen) -> Answer {
    if seen.target.contains("/login") {
        return login(3600);
    }
    let value = format!("{:x}", fastrand::u64(..)).repeat(16);
    Answer::json(200, &json!({"data": {"data": {"key": value}, "metadata": {"version": fastrand::u32(..)}}}))
}
