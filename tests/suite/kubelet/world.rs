//! A node, a store with one secret, and kubelet.

use std::path::PathBuf;

use serde_json::{Value, json};
use testing::{Answer as Reply, FaultServer, Issuer, OpenBao, PodVolume, RunningNode};

use super::client::{Answer, Kubelet, call, json_of};

/// The first value of the secret.
pub(crate) const VALUE: &str = "hunter2";
/// The file that shows it.
pub(crate) const FILE: &str = "password";

/// A class: its name, the secret and key that it shows as [`FILE`], and more parameters.
pub(crate) type Class = (&'static str, &'static str, &'static str, &'static str);

const APP: Class = ("app", "app", "password", "");

/// All three. A server before the store can misbehave.
pub(crate) struct World {
    pub(crate) kubelet: Kubelet,
    pub(crate) node: RunningNode,
    pub(crate) front: FaultServer,
    pub(crate) bao: OpenBao,
    issuer: Issuer,
}

impl World {
    /// With the class `app`.
    pub(crate) async fn new() -> Self {
        Self::with(&[], &[]).await
    }

    /// With more classes.
    pub(crate) async fn of(classes: &[Class]) -> Self {
        Self::with(classes, &[]).await
    }

    pub(crate) async fn with(classes: &[Class], flags: &[&str]) -> Self {
        let (bao, issuer) = (OpenBao::start(), Issuer::start());
        bao.mount_kv2("kv");
        bao.put("kv", "app", &json!({ "password": VALUE }));
        bao.put("kv", "forbidden", &json!({ "password": VALUE }));
        bao.policy("app", &[("kv/data/app", &["read"]), ("kv/data/missing", &["read"])]);
        bao.auth_kubernetes("kubernetes", &issuer);
        bao.write(
            "auth/kubernetes/role/app",
            &json!({
                "bound_service_account_names": ["shop"],
                "bound_service_account_namespaces": ["shop"],
                "audience": "vault",
                "token_policies": ["app"],
            }),
        );
        let front = FaultServer::before(&bao.address());
        let node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), flags);
        let mut world = Self { kubelet: Kubelet::start(), node, front, bao, issuer };
        for class in classes.iter().chain([&APP]) {
            world.class(*class);
        }
        world.node.start_node().await;
        world
    }

    /// Writes a class, new or changed.
    pub(crate) fn class(&self, (name, secret, key, parameters): Class) {
        let address = self.front.url();
        let objects = format!("- {{objectName: {FILE}, secretPath: kv/data/{secret}, secretKey: {key}}}");
        self.node.class(
            name,
            &format!(
                "apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {{name: {name}, namespace: shop}}
spec:
  provider: vault
  parameters:
    vaultAddress: {address}
    roleName: app
    objects: {}
{parameters}",
                json!(objects)
            ),
        );
    }

    /// A pod that may read the class `app`.
    pub(crate) fn pod(&self, name: &str) -> PodVolume {
        self.pod_of(name, "app")
    }

    /// A pod with a volume of `class`.
    pub(crate) fn pod_of(&self, name: &str, class: &str) -> PodVolume {
        let pod = PodVolume::new(name, class);
        let token = self.issuer.mint(&pod.claims());
        pod.token("vault", token)
    }

    /// Makes the volume's directory and returns the request that kubelet sends to publish the volume of `pod`.
    pub(crate) fn request(&self, pod: &PodVolume) -> Value {
        testing::prepare_target(&self.node.target(pod), testing::DRIVER);
        json_of(&self.node.request(pod))
    }

    pub(crate) fn call(&mut self, method: &str, request: &Value) -> Answer {
        self.kubelet.run(&call(&self.node.path("csi.sock"), method, request))
    }

    /// Makes calls at the same time.
    pub(crate) fn call_together(&mut self, calls: &[(&str, Value)]) -> Vec<Answer> {
        let socket = self.node.path("csi.sock");
        let commands: Vec<_> = calls.iter().map(|(method, request)| call(&socket, method, request)).collect();
        self.kubelet.run(&json!({ "do": "together", "commands": commands })).answers
    }

    pub(crate) fn publish(&mut self, pod: &PodVolume) -> Answer {
        let request = self.request(pod);
        self.call("Node/NodePublishVolume", &request)
    }

    /// Makes the first publish, which must succeed.
    #[track_caller]
    pub(crate) fn served(&mut self, pod: &PodVolume) {
        self.publish(pod).is("OK", &[]);
        self.still_shows(pod);
    }

    /// Publishes a served volume again, which must succeed.
    #[track_caller]
    pub(crate) fn republished(&mut self, pod: &PodVolume) {
        self.publish(pod).is("OK", &[]);
        self.still_shows(pod);
    }

    /// Fails unless the volume of `pod` shows the secret, and is mounted once.
    #[track_caller]
    pub(crate) fn still_shows(&self, pod: &PodVolume) {
        assert_eq!(self.node.text(pod, FILE).as_deref(), Some(VALUE));
        let target = self.node.target(pod);
        assert_eq!(self.node.mounts().iter().filter(|point| **point == target).count(), 1);
    }

    /// Fails if anything of the volume of `pod` is left in kubelet's directory.
    #[track_caller]
    pub(crate) fn has_nothing_of(&self, pod: &PodVolume) {
        assert_eq!(self.node.left_behind(pod), Vec::<PathBuf>::new());
        assert!(!self.node.mounts().contains(&self.node.target(pod)));
    }

    pub(crate) fn unpublish_request(&self, pod: &PodVolume) -> Value {
        json!({ "volume_id": pod.id(), "target_path": self.node.target(pod) })
    }

    pub(crate) fn unpublish(&mut self, pod: &PodVolume) -> Answer {
        let request = self.unpublish_request(pod);
        self.call("Node/NodeUnpublishVolume", &request)
    }

    /// Makes the store answer every request with `status`.
    pub(crate) fn store_answers(&self, status: u16) {
        self.front.script(move |_| Reply::json(status, &json!({ "errors": ["as the test wants it"] })));
    }

    /// Makes the store answer nothing.
    pub(crate) fn store_hangs(&self) {
        self.front.script(|_| Reply::Hang);
    }

    /// Makes the store work again.
    pub(crate) fn store_heals(&self) {
        self.front.forward(&self.bao.address());
    }
}
