//! Unpublish: it always works, without any server, for every volume, and leaves nothing.

use std::fs;

use rustix::mount::MountFlags;
use serde_json::json;

use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_unpublished_volume_leaves_nothing_of_ours_beside_kubelets_own_file() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    let beside = world.node.target(&pod).with_file_name(testing::VOLUME_DATA);
    testing::prepare_target(&world.node.target(&pod), testing::DRIVER);
    world.served(&pod);

    world.unpublish(&pod).is("OK", &[]);

    assert!(beside.exists());
    assert_eq!(world.node.left_behind(&pod), Vec::<std::path::PathBuf>::new());
    assert_eq!(world.node.mounts(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_unpublished_as_often_as_kubelet_likes() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    for _ in 0..3 {
        world.unpublish(&pod).is("OK", &[]);
        world.has_nothing_of(&pod);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_was_never_heard_of_is_gone() {
    let mut world = World::new().await;
    let (with_directory, without) = (world.pod("web"), world.pod("api"));
    fs::create_dir_all(world.node.target(&with_directory)).unwrap();

    world.unpublish(&with_directory).is("OK", &[]);
    world.unpublish(&without).is("OK", &[]);

    world.has_nothing_of(&with_directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpublish_without_id_or_target_or_outside_of_kubelets_pods_is_invalid() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    for request in [
        json!({ "target_path": world.node.target(&pod) }),
        json!({ "volume_id": pod.id() }),
        json!({ "volume_id": pod.id(), "target_path": "/tmp" }),
        json!({ "volume_id": pod.id(), "target_path": world.node.path("kubelet/pods") }),
    ] {
        let answer = world.call("Node/NodeUnpublishVolume", &request);
        assert_eq!(answer.code, "INVALID_ARGUMENT", "{request}: {}", answer.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_does_not_hold_up_an_unpublish() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    world.store_hangs();

    world.unpublish(&pod).is("OK", &[]);
    world.has_nothing_of(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_lie_on_each_other_all_go() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);
    for _ in 0..2 {
        rustix::mount::mount("other", world.node.target(&pod), "tmpfs", MountFlags::empty(), None).unwrap();
    }

    world.unpublish(&pod).is("OK", &[]);

    world.has_nothing_of(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_a_process_still_uses_goes_nevertheless() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);
    let held = fs::File::open(world.node.target(&pod).join("password")).unwrap();

    world.unpublish(&pod).is("OK", &[]);

    world.has_nothing_of(&pod);
    drop(held);
}

crate::modes::again_in_mode_fuse! {
    an_unpublished_volume_leaves_nothing_of_ours_beside_kubelets_own_file,
    a_volume_is_unpublished_as_often_as_kubelet_likes,
    a_volume_that_was_never_heard_of_is_gone,
    an_unpublish_without_id_or_target_or_outside_of_kubelets_pods_is_invalid,
    a_store_that_is_away_does_not_hold_up_an_unpublish,
    mounts_that_lie_on_each_other_all_go,
    a_volume_that_a_process_still_uses_goes_nevertheless,
}
