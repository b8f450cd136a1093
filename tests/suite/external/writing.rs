//! External providers that write their files themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use testing::PodVolume;
use tonic::Code;

use super::provider::{files, with};
use super::world::World;

/// The longest time until a change is visible, on a busy machine.
const SEEN: Duration = Duration::from_secs(30);
/// The steps at which a provider may die: one that writes its files one by one, and one that swaps whole sets.
const STEPS: [(&str, &str); 7] = [
    ("plain", "called"),
    ("plain", "created"),
    ("plain", "half"),
    ("plain", "one"),
    ("plain", "written"),
    ("atomic", "linked"),
    ("atomic", "written"),
];

fn written(how: &str, texts: &[(&str, &str)]) -> Value {
    with(files(texts), &json!({ "write": how }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_writes_itself_is_shown_as_a_volume_of_ours_and_lies_on_no_disk() {
    for how in ["plain", "atomic"] {
        let world = World::new(&written(how, &[("a", "1"), ("b/c", "2")])).await;
        let pod = world.started("web").await;

        assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"));
        assert_eq!(world.node.text(&pod, "b/c").as_deref(), Some("2"));
        let target = world.node.target(&pod);
        assert_eq!(fs::read_link(target.join("a")).unwrap(), Path::new("..data/a"));
        assert!(fs::write(target.join("x"), b"").is_err(), "it is read-only");
        let given = world.provider.requests()[0]["target_path"].as_str().map(PathBuf::from).unwrap();
        assert!(given != target && given.parent() == target.parent(), "{}", given.display());
        assert_eq!(world.node.left_behind(&pod), [target]);
        world.has_nothing_on_disk();
        world.ends(&pod).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_writes_itself_rotates_a_running_pods_files_whole() {
    for how in ["plain", "atomic"] {
        let world = World::new(&written(how, &[("a", "1"), ("b", "1")])).await;
        let pod = world.started("web").await;

        world.provider.does(&written(how, &[("a", "2"), ("c", "2")]));

        world.node.text_becomes(&pod, "a", Some("2"), SEEN).await;
        assert_eq!((world.node.text(&pod, "b"), world.node.text(&pod, "c").as_deref()), (None, Some("2")));
        assert!(
            world.provider.requests().iter().all(|request| request.get("current_object_version").is_none())
        );
        world.ends(&pod).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_wrote_nowhere_or_elsewhere_fails_the_publish() {
    let world = World::new(&written("nowhere", &[("a", "1")])).await;
    let pod = PodVolume::new("web", "app");

    let refused = world.node.publish(&pod).await.unwrap_err();

    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("mountPropagation"), "{refused}");
    world.has_nothing_of(&pod);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_wrote_onto_the_disk_for_it_does_not_see_our_mounts_is_removed() {
    let mut world = World::new(&files(&[])).await;
    world.provider.does(&with(written("plain", &[("a", "1"), ("b/c", "2")]), &json!({ "hang": "written" })));
    world.provider.start_again_apart();
    world.class("    secretfs.dev/timeout: 5s");
    let pod = PodVolume::new("web", "app");

    let publish = world.node.publish(&pod);
    let seen = async {
        while world.on_disk().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (refused, ()) = tokio::join!(publish, seen);

    assert_eq!(refused.unwrap_err().code(), Code::DeadlineExceeded);
    world.has_nothing_of(&pod);
    world.provider.does(&written("plain", &[("a", "1"), ("b/c", "2")]));
    let refused = world.node.publish(&pod).await.unwrap_err();
    assert!(refused.message().contains("mountPropagation"), "{refused}");
    world.has_nothing_of(&pod);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_leads_out_of_what_a_provider_was_given_is_refused() {
    let world = World::new(&written("plain", &[("a", "1")])).await;
    let pod = world.started("web").await;
    for to in ["/etc/passwd", "../../../../../etc/passwd", "/proc/self/environ"] {
        world.provider.does(&with(written("plain", &[("a", "2")]), &json!({ "links": { "l": to } })));
        let other = PodVolume::new("other", "app");
        let refused = world.node.publish(&other).await.unwrap_err();
        assert!(refused.message().contains("leads out"), "{refused}");
        assert_eq!(world.node.left_behind(&other), Vec::<PathBuf>::new());
    }
    assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"));
    world.ends(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_dies_at_any_step_of_writing_leaves_nothing_on_the_disk_and_starts_no_pod() {
    let mut world = World::new(&files(&[])).await;
    for (how, step) in STEPS {
        let pod = PodVolume::new("web", "app");
        let texts = [("a", "first"), ("b/c", "second")];
        world.provider.does(&with(written(how, &texts), &json!({ "die": step })));

        let refused = world.node.publish(&pod).await.unwrap_err();
        world.provider.wait_until_dead();
        assert_eq!(refused.code(), Code::Unavailable, "{how} {step}: {refused}");
        world.has_nothing_of(&pod);

        world.provider.does(&written(how, &texts));
        world.provider.start_again();
        world.node.publish_until_done(&pod).await;
        assert_eq!(world.node.text(&pod, "b/c").as_deref(), Some("second"), "{how} {step}");
        world.ends(&pod).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_dies_at_any_step_of_a_rotation_leaves_the_running_pod_its_files() {
    for (how, step) in STEPS {
        let mut world = World::new(&written(how, &[("a", "1"), ("b", "1")])).await;
        let pod = world.started("web").await;
        world.provider.does(&with(written(how, &[("a", "2"), ("b", "2")]), &json!({ "die": step })));
        world.provider.wait_until_dead();

        assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"), "{how} {step}");
        assert_eq!(world.node.text(&pod, "b").as_deref(), Some("1"), "{how} {step}");
        world.has_nothing_on_disk();

        world.provider.does(&written(how, &[("a", "2"), ("b", "2")]));
        world.provider.start_again();
        world.node.text_becomes(&pod, "a", Some("2"), SEEN).await;
        world.ends(&pod).await;
    }
}

crate::modes::again_in_mode_fuse! {
    what_a_provider_writes_itself_is_shown_as_a_volume_of_ours_and_lies_on_no_disk,
    a_provider_that_writes_itself_rotates_a_running_pods_files_whole,
    a_provider_that_wrote_nowhere_or_elsewhere_fails_the_publish,
    what_a_provider_wrote_onto_the_disk_for_it_does_not_see_our_mounts_is_removed,
    a_link_that_leads_out_of_what_a_provider_was_given_is_refused,
    a_provider_that_dies_at_any_step_of_writing_leaves_nothing_on_the_disk_and_starts_no_pod,
    a_provider_that_dies_at_any_step_of_a_rotation_leaves_the_running_pod_its_files,
}
