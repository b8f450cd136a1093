//! What only the API server knows of a pod: whether its containers can reach each other's processes.
//!
//! Only the publish of a volume whose class has access rules waits for this. It asks about one pod, once: what is asked about
//! cannot change while the pod lives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::volume::boundary::{Breach, Pods};
use k8s_openapi::api::core::v1::{Pod as ApiPod, SecurityContext};
use kube::{Api, Client};
use provider::{Pod, TenantShares};
use tokio::time::timeout;

use crate::refusal::told;

/// How long the API server may take. kubelet waits two minutes for a publish, and tries again.
const ANSWER: Duration = Duration::from_secs(5);
/// Most calls at the same time. Namespaces share them.
const AT_ONCE: usize = 32;
/// The name of the call, for error texts.
const WISH: &str = "get pods";
/// Capabilities with which a container reaches processes of others, mounts, or cgroups.
const REACHING: [&str; 3] = ["ALL", "SYS_ADMIN", "SYS_PTRACE"];

/// The pods of a cluster.
pub struct PodBoundaries {
    client: Client,
    turns: Arc<TenantShares>,
}

impl fmt::Debug for PodBoundaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PodBoundaries")
    }
}

impl PodBoundaries {
    /// The pods that the API server of `client` knows. Makes no call yet.
    pub fn new(client: Client) -> Self {
        Self { client, turns: TenantShares::new(AT_ONCE) }
    }
}

#[async_trait]
impl Pods for PodBoundaries {
    async fn breaches(&self, namespace: &str, pod: &Pod) -> Result<Vec<Breach>, String> {
        let unknown =
            |why: &str| format!("the API server does not tell of pod {namespace}/{}: {why}", pod.name);
        let Some(_turn) = self.turns.take([&Arc::from(namespace)]) else {
            return Err(unknown("its other questions are not answered yet"));
        };
        let api: Api<ApiPod> = Api::namespaced(self.client.clone(), namespace);
        let found = match timeout(ANSWER, api.get(&pod.name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                let why = told(&error, WISH);
                return Err(unknown(&format!(
                    "{why}; containerAccess.enabled in the chart grants the right"
                )));
            }
            Err(_) => return Err(unknown(&format!("no answer within {} s", ANSWER.as_secs()))),
        };
        if found.metadata.uid.as_deref() != Some(&pod.uid) {
            return Err(unknown("it is another pod by now"));
        }
        Ok(breaches(&found))
    }
}

/// Whatever in the pod lets one container reach the processes of another.
fn breaches(pod: &ApiPod) -> Vec<Breach> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let shared = (spec.share_process_namespace == Some(true)).then_some(Breach::SharedProcesses);
    let of_node = (spec.host_pid == Some(true)).then_some(Breach::HostProcesses);
    let ordinary = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ordinary = ordinary.map(|container| (&container.name, container.security_context.as_ref()));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|container| (&container.name, container.security_context.as_ref()));
    let reaching = ordinary.chain(ephemeral).filter_map(|(name, context)| reach(name, context?));
    shared.into_iter().chain(of_node).chain(reaching).collect()
}

fn reach(container: &str, context: &SecurityContext) -> Option<Breach> {
    if context.privileged == Some(true) {
        return Some(Breach::Privileged(container.to_owned()));
    }
    let mut added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    let is_reaching =
        |capability: &&String| REACHING.contains(&capability.strip_prefix("CAP_").unwrap_or(capability));
    added.find(is_reaching).map(|capability| Breach::Capability(container.to_owned(), capability.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api::{FakeApi, Say};

    fn web() -> Pod {
        Pod { name: "web".to_owned(), uid: "uid-1".to_owned() }
    }

    fn pod(spec: &Value) -> Say {
        let metadata = json!({"name": "web", "namespace": "shop", "uid": "uid-1"});
        Say::Json(200, json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
    }

    async fn asked(say: Say) -> Result<Vec<Breach>, String> {
        let api = FakeApi::new(move |_| say.clone());
        let told = PodBoundaries::new(api.client()).breaches("shop", &web()).await;
        assert_eq!(api.asked()[0].path, "/api/v1/namespaces/shop/pods/web");
        told
    }

    #[tokio::test]
    async fn what_lets_containers_reach_each_other_is_named() {
        let with = |field: &str, value: Value| {
            let mut spec = json!({"containers": [{"name": "main"}]});
            spec[field] = value;
            spec
        };
        let container = |context: Value| json!([{"name": "c", "securityContext": context}]);
        let capability = |name: &str| Breach::Capability("c".to_owned(), name.to_owned());
        let privileged = || Breach::Privileged("c".to_owned());

        for (spec, expected) in [
            (with("shareProcessNamespace", json!(true)), vec![Breach::SharedProcesses]),
            (with("hostPID", json!(true)), vec![Breach::HostProcesses]),
            (with("containers", container(json!({"privileged": true}))), vec![privileged()]),
            (with("initContainers", container(json!({"privileged": true}))), vec![privileged()]),
            (with("ephemeralContainers", container(json!({"privileged": true}))), vec![privileged()]),
            (
                with("containers", container(json!({"capabilities": {"add": ["SYS_PTRACE"]}}))),
                vec![capability("SYS_PTRACE")],
            ),
            (
                with("containers", container(json!({"capabilities": {"add": ["CAP_SYS_ADMIN"]}}))),
                vec![capability("CAP_SYS_ADMIN")],
            ),
            (with("containers", container(json!({"capabilities": {"add": ["NET_ADMIN"]}}))), vec![]),
            (with("shareProcessNamespace", json!(false)), vec![]),
        ] {
            assert_eq!(asked(pod(&spec)).await, Ok(expected), "{spec}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_of_which_nobody_tells_or_that_is_another_by_now_is_not_known() {
        let other = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "uid": "uid-2"}});
        for (say, expected) in [
            (Say::Json(200, other), "another pod"),
            (Say::Hang, "no answer within 5 s"),
            (Say::Break, "does not tell"),
        ] {
            let told = asked(say).await.unwrap_err();
            assert!(told.contains(expected) && told.contains("shop/web"), "{told}");
        }
    }
}
