//! Classes in a real API server: created, edited, deleted, and used while the API server is away.

use std::time::{Duration, Instant};

use testing::Component;
use tonic::Code;

use super::world::{SHARED, SOON, World, api_server};

#[tokio::test]
async fn a_class_of_either_version_is_served_and_an_edit_reaches_the_mounted_volume() {
    let world = World::start(&SHARED, "edited").await;
    for version in ["v1", "v1alpha1"] {
        let pod = world.pod(version, version);
        SHARED.apply(&world.class(version, version, "key"));
        world.published(&pod).await;
        assert_eq!(world.node.text(&pod, "key").as_deref(), Some("one"));

        SHARED.apply(&world.class(version, version, "renamed"));
        world.node.text_becomes(&pod, "renamed", Some("one"), SOON).await;
        assert_eq!(world.node.text(&pod, "key"), None);
    }
}

#[tokio::test]
async fn a_class_that_is_missing_is_told_in_the_words_that_upstreams_users_search_for() {
    let world = World::start(&SHARED, "missing").await;

    let refused = world.node.publish(&world.pod("a", "nowhere")).await.unwrap_err();

    assert_eq!(refused.code(), Code::NotFound);
    let text =
        "failed to get secretproviderclass missing/nowhere: not found; create it in the pod's namespace";
    assert!(refused.message().starts_with(text), "{refused}");
}

#[tokio::test]
async fn a_class_that_breaks_or_goes_leaves_its_volumes_as_they_are_even_through_a_restart() {
    let mut world = World::start(&SHARED, "broken").await;
    SHARED.apply(&world.class("v1", "c", "key"));
    let pod = world.pod("old", "c");
    world.published(&pod).await;

    SHARED.apply(&world.class("v1", "c", "../escape"));
    let refused = loop {
        let young = world.pod("young", "c");
        match world.node.publish(&young).await {
            Ok(()) => world.node.unpublish(&young).await.unwrap(),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    SHARED.kubectl(&["delete", "secretproviderclass", "-n", "broken", "c"]);
    world.node.restart_node().await;
    world.store.put("broken", "api", "two");

    world.node.text_becomes(&pod, "key", Some("two"), SOON).await;
}

#[tokio::test]
async fn without_the_api_server_volumes_rotate_republish_and_outlive_a_kill_and_known_classes_are_served() {
    let cluster = api_server();
    let mut world = World::start(&cluster, "away").await;
    cluster.apply(&world.class("v1", "c", "key"));
    let (old, young) = (world.pod("old", "c"), world.pod("young", "c"));
    world.published(&old).await;

    cluster.kill(Component::ApiServer);
    world.node.publish(&old).await.unwrap();
    world.node.publish(&young).await.unwrap();
    world.store.put("away", "api", "two");
    world.node.text_becomes(&old, "key", Some("two"), SOON).await;
    world.node.text_becomes(&young, "key", Some("two"), SOON).await;

    world.node.restart_node().await;
    world.node.publish(&old).await.unwrap();
    world.store.put("away", "api", "three");
    world.node.text_becomes(&old, "key", Some("three"), SOON).await;
    let unknown = world.node.publish(&world.pod("new", "c")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unavailable, "{unknown}");
    assert_eq!(world.node.http("/readyz").await, "not ready, missing: classes\n");

    cluster.start_again(Component::ApiServer);
    world.published(&world.pod("new", "c")).await;
    // One class can be known before all are.
    let begun = Instant::now();
    while world.node.http("/readyz").await != "ready\n" {
        assert!(begun.elapsed() < SOON, "{}", world.node.http("/readyz").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
