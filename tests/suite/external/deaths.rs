//! The process `node` dies while a directory is lent.

use std::time::Duration;

use program::failpoint::LENDING;
use testing::PodVolume;

use super::provider::{files, with};
use super::world::World;

/// The longest time until a change is visible, on a busy machine.
const SEEN: Duration = Duration::from_secs(30);

fn written(text: &str) -> serde_json::Value {
    with(files(&[("a", text), ("b/c", text)]), &serde_json::json!({ "write": "plain" }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_while_a_directory_is_lent_is_mended_by_the_next_publish_or_by_unpublish() {
    for (step, _) in LENDING {
        for repeated in [true, false] {
            let mut world = World::prepare(&written("1"), &[]);
            let pod = PodVolume::new("web", "app");
            // The first pass of this step checks whether an earlier directory is left.
            let hit = if *step == "lend.unmounted" { "lend.unmounted:2" } else { step };
            world.node.die_at(hit);
            world.node.start_node().await;
            assert!(world.node.publish(&pod).await.is_err(), "{step} was not passed");
            world.node.wait_until_dead();
            world.has_nothing_on_disk();

            world.node.start_node().await;
            if repeated {
                world.node.publish_until_done(&pod).await;
                assert_eq!(world.node.text(&pod, "b/c").as_deref(), Some("1"), "{step}");
                assert_eq!(world.node.left_behind(&pod), [world.node.target(&pod)], "{step}");
            }
            world.ends(&pod).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_while_a_directory_is_lent_for_a_running_pod_leaves_it_its_files() {
    for (step, _) in LENDING {
        let mut world = World::prepare(&written("1"), &[]);
        world.node.start_node().await;
        let pod = world.started("web").await;
        world.node.stop_node();
        world.node.die_at(step);
        world.provider.does(&written("2"));
        world.node.spawn_node();
        world.node.wait_until_dead();
        assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"), "{step}");
        world.has_nothing_on_disk();

        world.node.start_node().await;
        world.node.text_becomes(&pod, "a", Some("2"), SEEN).await;
        world.ends(&pod).await;
    }
}
