//! Volumes of native Secrets: read with the pod's own token, checked by its own RBAC, updated by a watch.

use std::time::Duration;

use testing::{PodVolume, RunningNode, ShownBy};
use tonic::Code;

use super::api::SHARED;

const SOON: Duration = Duration::from_secs(60);

/// A namespace with the Secret `web`, which service account `till` may get and watch, a class of it that is not polled,
/// and a node.
struct World {
    node: RunningNode,
    namespace: &'static str,
}

impl World {
    /// A test that runs in another mode has another namespace.
    async fn start(namespace: &'static str) -> Self {
        let mode = ShownBy::chosen();
        let namespace = match mode {
            ShownBy::Tmpfs => namespace,
            ShownBy::Fuse => format!("{namespace}-in-fuse").leak(),
        };
        SHARED.apply(&format!(
            "apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: till, namespace: {namespace}}}}}
- {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: stranger, namespace: {namespace}}}}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {{name: till, namespace: {namespace}}}
  rules: [{{apiGroups: [''], resources: [secrets], resourceNames: [web], verbs: [get, watch]}}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {{name: till, namespace: {namespace}}}
  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: till}}
  subjects: [{{kind: ServiceAccount, name: till, namespace: {namespace}}}]
- apiVersion: secrets-store.csi.x-k8s.io/v1
  kind: SecretProviderClass
  metadata: {{name: web, namespace: {namespace}}}
  spec:
    provider: kubernetes
    parameters:
      secretfs.dev/mode: {mode}
      secretfs.dev/refresh: 1h
      objects: |
        - {{objectName: key, secret: web}}
",
            mode = mode.name()
        ));
        let (server, authority) = (SHARED.api_url(), SHARED.authority());
        let flags = ["--kubernetes-api-server", &server, "--kubernetes-ca", authority.to_str().unwrap()];
        let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &flags);
        node.ask(SHARED.kubeconfig());
        node.start_node().await;
        let world = Self { node, namespace };
        world.put("one");
        world
    }

    fn put(&self, value: &str) {
        let metadata = format!("{{name: web, namespace: {}}}", self.namespace);
        SHARED.apply(&format!(
            "{{apiVersion: v1, kind: Secret, metadata: {metadata}, stringData: {{key: {value}}}}}"
        ));
    }

    /// A pod of `account` with the class, as kubelet publishes its volume.
    fn pod(&self, name: &str, account: &str) -> PodVolume {
        let namespace = self.namespace;
        SHARED.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{serviceAccountName: \
             {account}, containers: [{{name: c, image: i}}]}}}}"
        ));
        let uid = SHARED.kubectl(&["-n", namespace, "get", "pod", name, "-o", "jsonpath={.metadata.uid}"]);
        let (bound, uid) = (format!("--bound-object-name={name}"), uid.trim().to_owned());
        let to_uid = format!("--bound-object-uid={uid}");
        let token = SHARED.kubectl(&[
            "-n",
            namespace,
            "create",
            "token",
            account,
            "--bound-object-kind=Pod",
            &bound,
            &to_uid,
        ]);
        let pod = PodVolume {
            namespace: namespace.to_owned(),
            service_account: account.to_owned(),
            uid,
            ..PodVolume::new(name, "web")
        };
        pod.token("", token.trim().to_owned())
    }
}

#[tokio::test]
async fn what_was_read_for_a_service_account_is_not_given_to_one_that_was_made_again() {
    let world = World::start("again").await;
    let old = world.pod("old", "till");
    world.node.publish(&old).await.unwrap();
    let namespace = world.namespace;
    SHARED.kubectl(&["-n", namespace, "delete", "rolebinding", "till"]);
    SHARED.kubectl(&["-n", namespace, "delete", "serviceaccount", "till"]);
    SHARED.kubectl(&["-n", namespace, "create", "serviceaccount", "till"]);
    let new = world.pod("new", "till");

    let refused = world.node.publish(&new).await.unwrap_err();

    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert_eq!(world.node.text(&new, "key"), None);
}

#[tokio::test]
async fn a_native_secret_reaches_the_pod_is_rotated_at_once_and_taken_back_when_it_is_deleted() {
    let world = World::start("native").await;
    let pod = world.pod("one", "till");
    world.node.publish(&pod).await.unwrap();
    assert_eq!(world.node.text(&pod, "key").as_deref(), Some("one"));

    world.put("two");
    world.node.text_becomes(&pod, "key", Some("two"), SOON).await;
    SHARED.kubectl(&["-n", world.namespace, "delete", "secret", "web"]);
    world.node.text_becomes(&pod, "key", None, SOON).await;
    world.put("three");
    world.node.text_becomes(&pod, "key", Some("three"), SOON).await;
}

#[tokio::test]
async fn a_pod_of_another_service_account_is_refused_and_told_why_though_the_node_holds_the_secret() {
    let world = World::start("native-refused").await;
    world.node.publish(&world.pod("one", "till")).await.unwrap();

    let refused = world.node.publish(&world.pod("two", "stranger")).await.unwrap_err();

    assert_eq!(refused.code(), Code::PermissionDenied);
    for part in ["system:serviceaccount:native-refused:stranger", "resourceNames: [web]"] {
        assert!(refused.message().contains(part), "{part:?} is not in {}", refused.message());
    }
    let anonymous = PodVolume { tokens: [].into(), ..world.pod("three", "till") };
    let refused = world.node.publish(&anonymous).await.unwrap_err();
    assert!(refused.message().contains("tokenRequests"), "{}", refused.message());
}

#[tokio::test]
async fn neither_value_nor_token_of_a_native_secret_is_in_logs_or_audit() {
    let world = World::start("native-canary").await;
    world.put("canary-in-a-mine");
    let pod = world.pod("one", "till");
    world.node.publish(&pod).await.unwrap();
    let refused = world.pod("two", "stranger");
    world.node.publish(&refused).await.unwrap_err();

    let told = world.node.log() + &world.node.audit();

    let coded = "Y2FuYXJ5LWluLWEtbWluZQ";
    let tokens = [&pod, &refused].map(|pod| pod.tokens[""].clone());
    for secret in ["canary-in-a-mine", coded].into_iter().chain(tokens.iter().map(String::as_str)) {
        assert!(!told.contains(secret), "{secret:?} is in {told}");
    }
}

crate::modes::again_in_mode_fuse! {
    a_native_secret_reaches_the_pod_is_rotated_at_once_and_taken_back_when_it_is_deleted,
    neither_value_nor_token_of_a_native_secret_is_in_logs_or_audit,
}
