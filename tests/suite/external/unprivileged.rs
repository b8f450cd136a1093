//! External providers of a node that runs as a user without capabilities.

use serde_json::{Value, json};

use super::provider::{files, with};
use super::world::World;

/// The user of the node.
const USER: u32 = 47_512;

async fn world(control: &Value) -> World {
    let mut world = World::prepare(control, &[]);
    let providers = world.node.path("providers");
    world.node.run_as(USER);
    world.node.mounter_flag("--providers-dir", providers.to_str().unwrap());
    world.node.use_mounter();
    world.node.start_node().await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_only_root_may_connect_to_is_asked() {
    let asked = files(&[("a", "1"), ("b/c", "2")]);
    for control in [asked.clone(), with(asked, &json!({ "write": "plain" }))] {
        let world = world(&control).await;
        std::os::unix::fs::chown(world.node.path("providers/test.sock"), Some(0), Some(0)).unwrap();

        let pod = world.started("web").await;

        assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"));
        assert_eq!(world.node.text(&pod, "b/c").as_deref(), Some("2"));
        world.ends(&pod).await;
    }
}
