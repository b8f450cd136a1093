use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;
use testing::PodVolume;

use super::World;

/// The refresh interval of a tenant.
const REFRESH: Duration = Duration::from_secs(5);
/// How much later than that a rotation may be seen. The limit is generous, because the machine may be busy. The
/// measured delay is printed, and should be at most 2 s.
const LATE: Duration = Duration::from_secs(30);
/// The most pods of a tenant at the same time.
const PODS: usize = 6;

/// The store of a tenant, and its namespace there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    Embedded(&'static str),
    OpenBao(&'static str),
}

impl Kept {
    pub(super) const ALL: [Self; 4] =
        [Self::Embedded("shop"), Self::Embedded("mail"), Self::OpenBao("books"), Self::OpenBao("maps")];

    fn namespace(self) -> &'static str {
        match self {
            Self::Embedded(namespace) | Self::OpenBao(namespace) => namespace,
        }
    }
}

/// A tenant that behaves well.
pub(super) struct Healthy {
    world: Arc<World>,
    kept: Kept,
    random: Rng,
    pods: Vec<PodVolume>,
    made: u64,
    value: String,
    told: Told,
}

/// The tenant's results.
#[derive(Debug, Default)]
pub(super) struct Told {
    namespace: &'static str,
    pub(super) publishes: u64,
    slowest_publish: Duration,
    pub(super) rotations: u64,
    slowest_rotation: Duration,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} publishes, the slowest {:?}; {} rotations, the slowest {:?} (refresh {REFRESH:?})",
            self.namespace, self.publishes, self.slowest_publish, self.rotations, self.slowest_rotation
        )
    }
}

impl Healthy {
    pub(super) fn new(world: &Arc<World>, kept: Kept, random: Rng) -> Self {
        let told = Told { namespace: kept.namespace(), ..Told::default() };
        let mut tenant = Self {
            world: Arc::clone(world),
            kept,
            random,
            pods: Vec::new(),
            made: 0,
            value: String::new(),
            told,
        };
        tenant.put();
        world.node.class(kept.namespace(), &tenant.class());
        tenant
    }

    fn class(&self) -> String {
        let (provider, object, more) = match self.kept {
            Kept::Embedded(_) => ("secretfs", json!([{"objectName": "key", "item": "api"}]), json!({})),
            Kept::OpenBao(namespace) => (
                "vault",
                json!([{"objectName": "key", "secretPath": format!("secret/data/{namespace}"), "secretKey": "key"}]),
                json!({"vaultAddress": self.world.bao.address(), "roleName": "tenant"}),
            ),
        };
        let mut parameters = more;
        parameters["objects"] = object.to_string().into();
        parameters["secretfs.dev/refresh"] = format!("{}s", REFRESH.as_secs()).into();
        json!({
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClass",
            "metadata": {"name": "app", "namespace": self.kept.namespace()},
            "spec": {"provider": provider, "parameters": parameters},
        })
        .to_string()
    }

    /// Takes random steps until `until`, then removes everything.
    pub(super) async fn run(mut self, until: Instant) -> Told {
        self.publish().await;
        self.rotate().await;
        while Instant::now() < until {
            match self.random.u8(0..10) {
                0..4 if self.pods.len() < PODS => self.publish().await,
                0..6 => self.rotate().await,
                _ => self.unpublish().await,
            }
            tokio::time::sleep(Duration::from_millis(self.random.u64(0..300))).await;
        }
        while !self.pods.is_empty() {
            self.unpublish().await;
        }
        self.told
    }

    async fn publish(&mut self) {
        self.made += 1;
        let pod = self.pod(&format!("{}-{}", self.told.namespace, self.made));
        let begun = Instant::now();
        let outcome = self.world.node.publish(&pod).await;
        let took = begun.elapsed();
        if let Err(status) = outcome {
            panic!(
                "{} lost a publish after {took:?}: {status}\n{}",
                self.told.namespace,
                self.world.node.log()
            );
        }
        assert_eq!(self.world.node.text(&pod, "key").as_deref(), Some(self.value.as_str()), "{}", pod.pod);
        self.told.publishes += 1;
        self.told.slowest_publish = self.told.slowest_publish.max(took);
        self.pods.push(pod);
    }

    fn pod(&self, name: &str) -> PodVolume {
        self.world.issuer.pod(self.told.namespace, "web", name, "app")
    }

    async fn rotate(&mut self) {
        self.put();
        let begun = Instant::now();
        for pod in &self.pods {
            while self.world.node.text(pod, "key").as_deref() != Some(self.value.as_str()) {
                let late = begun.elapsed();
                assert!(
                    late <= REFRESH + LATE,
                    "{} shows no rotation after {late:?}\n{}",
                    pod.pod,
                    self.world.node.log()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        if !self.pods.is_empty() {
            self.told.rotations += 1;
            self.told.slowest_rotation = self.told.slowest_rotation.max(begun.elapsed());
        }
    }

    fn put(&mut self) {
        self.value = format!("{}-{:x}", self.told.namespace, self.random.u64(..));
        match self.kept {
            Kept::Embedded(namespace) => {
                self.world.store.put_json(namespace, "api", &json!({"value": self.value}))
            }
            Kept::OpenBao(namespace) => self.world.bao.put("secret", namespace, &json!({"key": self.value})),
        }
    }

    async fn unpublish(&mut self) {
        if self.pods.is_empty() {
            return;
        }
        let pod = self.pods.swap_remove(self.random.usize(0..self.pods.len()));
        self.world.node.unpublish(&pod).await.unwrap();
        assert!(self.world.node.left_behind(&pod).is_empty(), "{}", pod.pod);
    }
}
