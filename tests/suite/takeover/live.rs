//! Takes over mounts of another driver while pods read them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use tonic::Code;

use super::upstream::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_another_driver_mounted_is_refreshed_in_place_under_its_running_pods() {
    for with_mounter in [false, true] {
        let mut world = World::new(&[]);
        world.put("2");
        world.mount_and_write("1");
        symlink("nowhere", world.target().join("..data_tmp")).unwrap();
        world.start_container();
        if with_mounter {
            world.node.use_mounter();
        }
        world.node.start_node().await;

        world.node.publish(&world.pod).await.unwrap();
        world.comes_to_show("2").await;
        world.comes_to_be_tidy().await;
        assert_eq!(world.node.mounts().iter().filter(|point| **point == world.target()).count(), 1);
        world.put("3");
        world.comes_to_show("3").await;

        world.stop_container();
        world.unpublish_leaves_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_over_gets_the_limits_and_the_look_of_our_own() {
    let mut world = World::new(&[]);
    world.pod.fs_group = Some(2000);
    world.put("1");
    world.mount_and_write("1");
    world.start_container();
    world.node.start_node().await;

    world.node.publish(&world.pod).await.unwrap();
    let file = world.target().join("password");
    let looks = || fs::metadata(&file).map(|file| (file.mode() & 0o777, file.gid())).unwrap();
    let started = std::time::Instant::now();
    while looks() != (0o440, 2000) {
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", looks());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }

    let root = fs::metadata(world.target()).unwrap();
    assert_eq!((root.mode() & 0o7777, root.gid()), (0o750, 2000));
    let limits = rustix::fs::statvfs(world.target()).unwrap();
    assert_eq!(limits.f_blocks * limits.f_frsize, 1 << 20);
    world.stop_container();
    world.unpublish_leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_missing_secret_nor_a_missing_class_hurts_what_is_taken_over() {
    let mut world = World::new(&[]);
    world.mount_and_write("1");
    world.start_container();
    let (there, away) = (world.node.path("classes/app.yaml"), world.node.path("away"));
    fs::rename(&there, &away).unwrap();
    world.node.start_node().await;

    world.node.publish(&world.pod).await.unwrap();
    world.node.publish(&world.pod).await.unwrap();
    fs::rename(&away, &there).unwrap();
    world.node.publish(&world.pod).await.unwrap();
    assert!(world.shows("1"));

    world.put("2");
    world.comes_to_show("2").await;
    world.stop_container();
    world.unpublish_leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_follows_goes_on_with_what_was_taken_over() {
    let mut world = World::new(&[]);
    world.put("1");
    world.mount_and_write("1");
    world.start_container();
    world.node.start_node().await;
    world.node.publish(&world.pod).await.unwrap();

    world.node.restart_node().await;
    world.put("2");

    world.comes_to_show("2").await;
    world.stop_container();
    world.unpublish_leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_provider_wrote_by_itself_get_the_layout_and_are_never_missing() {
    let mut world = World::new(&[]);
    world.put("2");
    world.mount_and_write_plainly("1");
    fs::write(world.target().join("password.tmp-1234"), "half").unwrap();
    world.start_container();
    world.node.start_node().await;

    world.node.publish(&world.pod).await.unwrap();
    let started = std::time::Instant::now();
    while !world.shows("2") {
        assert!(world.read("password").is_some() && world.read("db/user").is_some());
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{}", world.node.log());
    }

    world.comes_to_be_tidy().await;
    world.put("3");
    world.comes_to_show("3").await;
    world.stop_container();
    world.unpublish_leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_step_of_a_take_over_is_mended_by_the_next_process() {
    for (step, plainly) in [("rotate.written", true), ("rotate.swapped", true), ("rotate.hidden", false)] {
        let mut world = World::new(&[]);
        world.put("2");
        if plainly {
            world.mount_and_write_plainly("1")
        } else {
            world.mount_and_write("1")
        }
        world.start_container();
        world.node.die_at(step);
        world.node.start_node().await;
        // The process may die before it has answered.
        let _ = world.node.publish(&world.pod).await;
        world.node.wait_until_dead();

        world.node.start_node().await;
        world.node.publish(&world.pod).await.unwrap();

        world.comes_to_show("2").await;
        world.comes_to_be_tidy().await;
        world.stop_container();
        world.unpublish_leaves_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_another_driver_did_not_finish_is_filled_and_no_failure_on_the_way_is_final() {
    for half_written in [false, true] {
        let mut world = World::new(&[]);
        world.mount();
        if half_written {
            world.write_version("half");
        }
        world.start_container();
        world.node.start_node().await;

        let refused = world.node.publish(&world.pod).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(refused.message().contains("stays as it is"), "{refused}");
        assert!(world.node.mounts().contains(&world.target()));

        world.put("1");
        world.node.publish_until_done(&world.pod).await;
        assert!(world.shows("1"));
        world.comes_to_be_tidy().await;
        world.stop_container();
        world.unpublish_leaves_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_out_of_the_volume_is_not_followed() {
    let mut world = World::new(&[]);
    let outside = world.node.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("password"), "the node's own").unwrap();
    world.put("1");
    world.mount();
    symlink(&outside, world.target().join("..data")).unwrap();
    symlink(outside.join("password"), world.target().join("password")).unwrap();
    world.start_container();
    world.node.start_node().await;

    world.node.publish(&world.pod).await.unwrap();

    assert!(world.shows("1"));
    assert_eq!(fs::read_to_string(outside.join("password")).unwrap(), "the node's own");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    world.stop_container();
    world.unpublish_leaves_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rotation_is_off_what_is_taken_over_stays_until_a_person_orders_otherwise() {
    let mut world = World::new(&["--enable-secret-rotation=false"]);
    world.put("2");
    world.mount_and_write("1");
    world.start_container();
    world.node.start_node().await;
    world.node.publish(&world.pod).await.unwrap();

    world.put("3");
    world.node.publish(&world.pod).await.unwrap();
    assert!(world.shows("1"));

    let ordered = std::process::Command::new(env!("CARGO_BIN_EXE_secretfs"))
        .args(["refresh", "--all", "--socket"])
        .arg(world.node.path("admin"))
        .output()
        .unwrap();
    assert!(ordered.status.success(), "{ordered:?}");
    assert!(world.shows("3"));
    world.stop_container();
    world.unpublish_leaves_nothing().await;
}

/// The steps of upstream's atomic writer and of its unpublish, one by one.
#[tokio::test(flavor = "multi_thread")]
async fn on_the_way_back_a_mount_that_is_made_writable_takes_what_upstream_does_with_it() {
    let mut world = World::new(&[]);
    world.put("1");
    world.node.start_node().await;
    world.node.publish(&world.pod).await.unwrap();
    world.start_container();
    world.node.stop_node();

    world.make_writable();
    let old = fs::read_link(world.target().join("..data")).unwrap();
    world.write_version("2");
    world.point_data_at_the_version();
    world.remove(&world.target().join(old));

    assert!(world.shows("2"));
    world.stop_container();
    fs::read_dir(world.target()).unwrap().for_each(|entry| world.remove(&entry.unwrap().path()));
    world.unmount();
    fs::remove_dir(world.target()).unwrap();
}
