//! Events on pods, in a real API server.

use std::time::Instant;

use testing::{Cluster, PodVolume};

use super::world::{SHARED, SOON, World};

/// Waits for an Event with `reason` on `pod` and returns its message.
async fn event(cluster: &Cluster, pod: &PodVolume, reason: &str) -> String {
    let query = format!("involvedObject.uid={},reason={reason}", pod.uid);
    let begun = Instant::now();
    loop {
        let path = "jsonpath={.items[*].reportingComponent} {.items[*].message}";
        let found =
            cluster.kubectl(&["get", "events", "-n", &pod.namespace, "--field-selector", &query, "-o", path]);
        if let Some(words) = found.strip_prefix("secretfs ") {
            return words.to_owned();
        }
        assert!(begun.elapsed() < SOON, "no Event {reason}: {found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_happens_to_a_volume_is_told_on_its_pod_and_never_a_value() {
    let world = World::start(&SHARED, "events").await;
    SHARED.apply(&world.class("v1", "c", "key"));
    let pod = world.pod("web", "c");
    world.published(&pod).await;
    let mounted = event(&SHARED, &pod, "Mounted").await;
    world.store.put("events", "api", "canary-of-an-event");
    let rotated = event(&SHARED, &pod, "Rotated").await;
    world.store.run(&["delete", "api", "--namespace", "events"], b"");
    let revoked = event(&SHARED, &pod, "Revoked").await;

    assert_eq!(mounted, "class events/c: all its files are mounted");
    assert_eq!(rotated, "class events/c: new versions of key");
    assert!(revoked.contains("key"), "{revoked}");
    let all = SHARED.kubectl(&["get", "events", "-n", "events", "-o", "yaml"]);
    assert!(!all.contains("canary-of-an-event"), "{all}");
}
