//! SecretProviderClassPodStatus objects in a real API server.

use std::time::Instant;

use testing::{Cluster, Component, PodVolume};

use super::world::{SHARED, SOON, World, api_server};

const KIND: &str = "secretproviderclasspodstatus";

/// Waits until a field of the status of `pod` and class `c` equals `wanted`.
async fn becomes(cluster: &Cluster, pod: &PodVolume, path: &str, wanted: &str) {
    let name = format!("{KIND}/{}-{}-{}", pod.pod, pod.namespace, pod.class);
    let begun = Instant::now();
    loop {
        let found = cluster.field(&["-n", &pod.namespace, &name], path);
        if found.as_deref() == Some(wanted) {
            return;
        }
        assert!(begun.elapsed() < SOON, "{path} of {name} is {found:?}, not {wanted}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_status_follows_its_volume_from_mount_through_rotation_to_unmount() {
    let world = World::start(&SHARED, "status").await;
    SHARED.apply(&world.class("v1", "c", "key"));
    let pod = world.pod("web", "c");
    world.published(&pod).await;

    becomes(&SHARED, &pod, ".status.mounted", "true").await;
    becomes(&SHARED, &pod, ".status.podName", "web").await;
    becomes(&SHARED, &pod, ".status.secretProviderClassName", "c").await;
    becomes(&SHARED, &pod, ".status.targetPath", world.node.target(&pod).to_str().unwrap()).await;
    becomes(&SHARED, &pod, ".status.objects[*].id", "key").await;
    becomes(&SHARED, &pod, ".metadata.ownerReferences[*].uid", &pod.uid).await;
    becomes(&SHARED, &pod, r".metadata.labels.internal\.secrets-store\.csi\.k8s\.io/node-name", "test-node")
        .await;
    becomes(&SHARED, &pod, ".status.objects[0].version", "1").await;

    world.store.put("status", "api", "two");
    becomes(&SHARED, &pod, ".status.objects[0].version", "2").await;

    world.node.unpublish(&pod).await.unwrap();
    becomes(&SHARED, &pod, ".status.mounted", "false").await;
}

#[tokio::test]
async fn a_status_that_was_due_while_the_api_server_was_away_is_written_when_it_is_back() {
    let cluster = api_server();
    let mut world = World::start(&cluster, "late").await;
    cluster.apply(&world.class("v1", "c", "key"));
    let (old, young) = (world.pod("old", "c"), world.pod("young", "c"));
    world.published(&old).await;
    becomes(&cluster, &old, ".status.objects[0].version", "1").await;

    cluster.kill(Component::ApiServer);
    world.node.publish(&young).await.unwrap();
    world.store.put("late", "api", "two");
    world.node.text_becomes(&old, "key", Some("two"), SOON).await;
    world.node.restart_node().await;
    cluster.start_again(Component::ApiServer);

    becomes(&cluster, &old, ".status.objects[0].version", "2").await;
    becomes(&cluster, &young, ".status.objects[0].version", "2").await;
}
