//! What happens to a node while pods run.

use std::fs;

use rustix::mount::UnmountFlags;
use testing::PodVolume;

use super::world::World;

/// Volumes that kubelet publishes at the same time when a node starts.
const AT_ONCE: usize = 110;

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_driver_takes_over_its_volumes_while_the_store_is_away() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);
    world.bao.stop();

    world.node.restart_node().await;

    world.still_shows(&pod);
    world.republished(&pod);
    world.unpublish(&pod).is("OK", &[]);
    world.has_nothing_of(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_driver_leaves_what_pods_read() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    world.node.stop_node();

    world.still_shows(&pod);
    let answer = world.unpublish(&pod);
    assert!(answer.code == "UNAVAILABLE" && !answer.is_final, "kubelet tries again: {answer:?}");
    world.node.start_node().await;
    world.unpublish(&pod).is("OK", &[]);
    world.has_nothing_of(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_the_same_volumes_are_mounted_in_the_directories_that_stayed() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    world.node.kill_node();
    rustix::mount::unmount(world.node.target(&pod), UnmountFlags::DETACH).unwrap();
    for record in fs::read_dir(world.node.path("state/volumes")).unwrap() {
        fs::remove_file(record.unwrap().path()).unwrap();
    }
    world.node.start_node().await;

    assert!(world.node.target(&pod).exists());
    world.served(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_went_while_the_driver_was_away_are_made_anew() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    world.node.kill_node();
    rustix::mount::unmount(world.node.target(&pod), UnmountFlags::DETACH).unwrap();
    world.node.start_node().await;

    world.republished(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_full_of_pods_is_published_at_once_and_taken_down_at_once() {
    let mut world = World::new().await;
    let pods: Vec<PodVolume> = (0..AT_ONCE).map(|n| world.pod(&format!("web-{n}"))).collect();
    let publishes: Vec<_> = pods.iter().map(|pod| ("Node/NodePublishVolume", world.request(pod))).collect();
    let unpublishes: Vec<_> =
        pods.iter().map(|pod| ("Node/NodeUnpublishVolume", world.unpublish_request(pod))).collect();

    let published = world.call_together(&publishes);

    for (pod, answer) in pods.iter().zip(&published) {
        answer.is("OK", &[]);
        world.still_shows(pod);
    }
    assert_eq!(world.bao.requests("update", "auth/kubernetes/login"), 1, "one service account, one login");

    let unpublished = world.call_together(&unpublishes);

    for (pod, answer) in pods.iter().zip(&unpublished) {
        answer.is("OK", &[]);
        world.has_nothing_of(pod);
    }
}

crate::modes::again_in_mode_fuse! {
    a_restarted_driver_takes_over_its_volumes_while_the_store_is_away,
    after_a_reboot_the_same_volumes_are_mounted_in_the_directories_that_stayed,
    mounts_that_went_while_the_driver_was_away_are_made_anew,
    a_node_full_of_pods_is_published_at_once_and_taken_down_at_once,
}
