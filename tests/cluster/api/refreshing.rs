//! Requests to read a class now, written as an annotation that every node sees.

use std::time::Instant;

use class::ClassName;
use futures::future::join_all;
use kubernetes::{connection, refresh_requests};
use serde_json::json;
use testing::{Issuer, OpenBao, PodVolume, RunningNode};

use super::world::{SHARED, SOON};

/// How many pods mount the class.
const PODS: usize = 50;
/// The pause between readings because of requests, in seconds.
const PAUSE: f64 = 10.0;

/// A node whose pods mount a class that it reads every hour, and the store of the class.
async fn serving(namespace: &str) -> (RunningNode, Vec<PodVolume>, OpenBao, Issuer) {
    let (bao, issuer) = (OpenBao::start(), Issuer::start());
    bao.mount_kv2("secret");
    bao.auth_kubernetes("kubernetes", &issuer);
    bao.policy("shop", &[("secret/*", &["read"])]);
    let role = json!({
        "bound_service_account_names": "shop", "bound_service_account_namespaces": namespace, "audience": "vault",
        "token_policies": "shop", "token_ttl": "1h",
    });
    bao.write("auth/kubernetes/role/shop", &role);
    bao.put("secret", "app", &json!({"key": "v1"}));
    SHARED.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"));
    let parameters = json!({
        "vaultAddress": bao.address(), "roleName": "shop", "secretfs.dev/refresh": "1h",
        "objects": "- {objectName: key, secretPath: secret/data/app, secretKey: key}",
    });
    let class = json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {"provider": "vault", "parameters": parameters},
    });
    SHARED.apply(&class.to_string());
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.ask(SHARED.kubeconfig());
    node.start_node().await;
    let pods: Vec<_> = (0..PODS).map(|n| issuer.pod(namespace, "shop", &format!("web-{n}"), "app")).collect();
    join_all(pods.iter().map(|pod| node.publish_until_done(pod))).await;
    (node, pods, bao, issuer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_annotated_is_read_at_once_for_all_its_volumes() {
    let (node, pods, bao, _issuer) = serving("asked").await;
    bao.put("secret", "app", &json!({"key": "v2"}));

    let kubeconfig = SHARED.kubeconfig().display().to_string();
    let words = ["refresh", "--cluster", "--class", "asked/app", "--kubeconfig", &kubeconfig];
    let told = std::process::Command::new(env!("CARGO_BIN_EXE_secretfs")).args(words).output().unwrap();
    let asked = Instant::now();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    join_all(pods.iter().map(|pod| node.text_becomes(pod, "key", Some("v2"), SOON))).await;

    println!("the last of {PODS} volumes shows it {} ms after the command", asked.elapsed().as_millis());
    let annotation = SHARED.field(
        &["-n", "asked", "secretproviderclass", "app"],
        r".metadata.annotations.secretfs\.dev/refresh-requested",
    );
    assert!(annotation.is_some_and(|moment| moment.starts_with("20") && moment.ends_with('Z')));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_cost_the_store_one_reading_for_each_pause() {
    let (node, _pods, bao, _issuer) = serving("hurried").await;
    let client = connection::connect(Some(SHARED.kubeconfig())).await.unwrap();
    let class = ClassName { namespace: "hurried".to_owned(), name: "app".to_owned() };
    let reads = || bao.requests("read", "secret/data/app");
    let before = reads();

    let begun = Instant::now();
    for n in 0..1000 {
        refresh_requests::request(&client, &class, &format!("2026-01-01T00:00:00.{n:03}Z")).await.unwrap();
    }
    let took = begun.elapsed().as_secs_f64();
    // The last request is followed at the end of its pause.
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;

    let read = reads() - before;
    println!("1,000 requests in {took:.1} s cost {read} readings of a class that {PODS} volumes show");
    let most = ((took + PAUSE + 1.0) / PAUSE).ceil() as usize + 1;
    assert!((2..=most).contains(&read), "{read} readings, at most {most}\n{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_annotated_has_its_class_read_at_once_where_the_node_may_watch_its_pods() {
    let (mut node, pods, bao, _issuer) = serving("asking").await;
    node.switch("--refresh-requests-on-pods");
    node.restart_node().await;
    for pod in &pods {
        node.publish(pod).await.unwrap();
    }
    let spec = json!({"nodeName": "test-node", "containers": [{"name": "main", "image": "busybox"}]});
    SHARED.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: asking}\n");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-7", "namespace": "asking"}, "spec": spec,
    });
    SHARED.apply(&pod.to_string());
    // Whatever a restart reads was read by then.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    bao.put("secret", "app", &json!({"key": "v2"}));

    let kubeconfig = SHARED.kubeconfig().display().to_string();
    let words = ["refresh", "--cluster", "asking/web-7", "--kubeconfig", &kubeconfig];
    let told = std::process::Command::new(env!("CARGO_BIN_EXE_secretfs")).args(words).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    node.text_becomes(&pods[7], "key", Some("v2"), SOON).await;
}
