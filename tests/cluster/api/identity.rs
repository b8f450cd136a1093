//! Forged tokens: what the author of a pod can write about its service account, and that it gains nothing.

use std::time::Instant;

use serde_json::json;
use testing::{DRIVER, PodVolume};
use tonic::{Code, Status};

use super::world::{SHARED, SOON, World};

const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";
/// The uid that the attacker wants: that of an account that had the same name before.
const WANTED: &str = "uid-of-till";

/// The token that kubelet would send for pod `name` with uid `uid`, if its service account had the wanted uid.
fn forged(world: &World, name: &str, uid: &str) -> String {
    let pod = PodVolume { uid: uid.to_owned(), service_account: "till".to_owned(), ..world.pod(name, "app") };
    let token = pod.unsigned_token("").tokens.remove("").unwrap();
    json!({"": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}}).to_string()
}

/// A pod whose author set this uid, and wrote these tokens into its volume's attributes.
fn manifest(world: &World, name: &str, uid: &str, tokens: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": world.namespace, "uid": uid},
        "spec": {
            "serviceAccountName": "till",
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "secrets", "csi": {
                "driver": DRIVER, "readOnly": true,
                "volumeAttributes": {"secretProviderClass": "app", TOKENS: tokens},
            }}],
        },
    })
    .to_string()
}

/// Creates an object. Returns the API server's message if it refuses.
fn create(world: &World, object: &str) -> Result<String, String> {
    let file = world.node.path("object.json");
    std::fs::write(&file, object).unwrap();
    SHARED.try_kubectl(&["create", "--validate=false", "-f", file.to_str().unwrap()])
}

/// The pod as the API server stores it, with the volume that kubelet publishes if the CSIDriver object has no
/// tokenRequests.
fn published(world: &World, name: &str) -> PodVolume {
    let pod = SHARED.kubectl(&["-n", world.namespace, "get", "pod", name, "-o", "json"]);
    let pod: serde_json::Value = serde_json::from_str(&pod).unwrap();
    let attributes = pod["spec"]["volumes"][0]["csi"]["volumeAttributes"].as_object().unwrap();
    let attributes = attributes.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()));
    PodVolume {
        uid: pod["metadata"]["uid"].as_str().unwrap().to_owned(),
        service_account: "till".to_owned(),
        attributes: attributes.collect(),
        ..world.pod(name, "app")
    }
}

/// Why the pod gets nothing, after the driver has read its class.
async fn refused(world: &World, pod: &PodVolume) -> Status {
    let begun = Instant::now();
    loop {
        let refused = world.node.publish(pod).await.unwrap_err();
        let is_known =
            refused.code() != Code::Unavailable && !refused.message().contains("not found; create");
        if is_known || begun.elapsed() > SOON {
            return refused;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_that_the_author_of_a_pod_writes_tells_the_uid_of_its_account() {
    let world = World::start(&SHARED, "forged").await;
    let namespace = world.namespace;
    SHARED.kubectl(&["-n", namespace, "create", "serviceaccount", "till"]);
    let account = format!("till={WANTED}");
    world.store.run(&["put", "named", "--namespace", namespace, "--service-account", &account], b"one");
    SHARED.apply(&world.class("v1", "app", "key").replace("item: api", "item: named"));

    // The author chooses this uid in the manifest. The API server replaces it.
    let chosen = "11111111-2222-4333-8444-555555555555";
    create(&world, &manifest(&world, "web", chosen, &forged(&world, "web", chosen))).unwrap();
    let pod = published(&world, "web");
    assert_ne!(pod.uid, chosen);
    assert!(pod.attributes[TOKENS].contains("token"), "{:?}", pod.attributes);
    let refused = refused(&world, &pod).await;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("tokenRequests"), "{refused}");

    // The attacker now knows the pod's uid, but the volumes of a pod cannot be changed.
    let tokens = forged(&world, "web", &pod.uid);
    let patch = json!([{
        "op": "replace", "value": tokens,
        "path": format!("/spec/volumes/0/csi/volumeAttributes/{}", TOKENS.replace('/', "~1")),
    }]);
    let patch = ["-n", namespace, "patch", "pod", "web", "--type=json", "-p", &patch.to_string()];
    let changed = SHARED.try_kubectl(&patch).unwrap_err();
    assert!(changed.contains("pod updates may not change fields"), "{changed}");

    // The Secret that kubelet reads for nodePublishSecretRef cannot carry the tokens either: a Secret may not have such
    // a key.
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later", "namespace": namespace},
        "stringData": {TOKENS: tokens},
    });
    let key = create(&world, &secret.to_string()).unwrap_err();
    assert!(key.contains("a valid config key"), "{key}");

    // Only the uid of the pod stopped the attack: a token that kubelet sends is accepted.
    let brought = PodVolume { attributes: [].into(), ..published(&world, "web") }.unsigned_token("");
    world.node.publish(&brought).await.unwrap();
    assert_eq!(world.node.text(&brought, "key").as_deref(), Some("one"));
}
