//! Files that another driver left on the node's own disk, at a place where a volume should have been mounted.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::mount::{MountFlags, UnmountFlags};

use super::upstream::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_was_never_taken_over_is_unpublished() {
    let mut world = World::new(&[]);
    world.mount_and_write("1");
    world.node.start_node().await;

    world.unpublish_leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_on_the_disk_below_a_target_are_removed_and_told_and_nothing_else_is() {
    for with_mounter in [false, true] {
        let mut world = World::new(&[]);
        let outside = world.node.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "the node's own").unwrap();
        fs::create_dir_all(world.target().join("..2026/db")).unwrap();
        fs::write(world.target().join("..2026/db/user"), "left").unwrap();
        symlink("..2026", world.target().join("..data")).unwrap();
        symlink(&outside, world.target().join("elsewhere")).unwrap();
        if with_mounter {
            world.node.use_mounter();
        }
        world.node.start_node().await;

        world.unpublish_leaves_nothing().await;

        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "the node's own");
        // The mounter is another process. Its log may come after the answer.
        let is_told = || world.node.log().contains("secrets in them should be changed");
        testing::until(is_told, || world.node.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_on_the_disk_below_a_volume_of_ours_go_with_it() {
    let mut world = World::new(&[]);
    world.put("1");
    fs::write(world.target().join("password"), "left").unwrap();
    world.node.start_node().await;

    world.node.publish(&world.pod).await.unwrap();
    assert_eq!(world.node.text(&world.pod, "password").as_deref(), Some("pass-1"));

    world.unpublish_leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_below_a_target_is_somebodys_and_holds_up_the_unpublish() {
    let mut world = World::new(&[]);
    let below = world.target().join("db");
    fs::create_dir(&below).unwrap();
    rustix::mount::mount("other", &below, "tmpfs", MountFlags::empty(), None).unwrap();
    fs::write(below.join("live"), "somebody's").unwrap();
    world.node.start_node().await;

    let refused = world.node.unpublish(&world.pod).await.unwrap_err();

    assert!(refused.message().contains("something is mounted below it; unmount that"), "{refused}");
    assert_eq!(fs::read_to_string(below.join("live")).unwrap(), "somebody's");
    rustix::mount::unmount(&below, UnmountFlags::empty()).unwrap();
    world.unpublish_leaves_nothing().await;
}
