//! Republishes of a volume. Kubelet sends them about every minute and whenever it restarts. After a final code it could
//! forget a volume that a pod reads.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::PodVolume;

use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_asks_no_store_and_changes_nothing() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);
    let asked = world.front.seen().len();
    let opened = fs::File::open(world.node.target(&pod).join("password")).unwrap();

    for _ in 0..5 {
        world.republished(&pod);
    }

    assert_eq!(world.front.seen().len(), asked);
    let (before, now) =
        (opened.metadata().unwrap(), fs::metadata(world.node.target(&pod).join("password")).unwrap());
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&before), std::os::unix::fs::MetadataExt::ino(&now));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_other_secrets_and_no_token_are_the_same_arguments() {
    let mut world = World::new().await;
    let mut pod = world.pod("web");
    world.served(&pod);

    let newer = world.pod("web");
    world.republished(&newer);
    pod.secrets.insert("token".to_owned(), "new".to_owned());
    world.republished(&pod);
    world.republished(&PodVolume::new("web", "app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_cannot_be_read_do_not_hurt_a_volume_that_is_served() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);
    let mut request = world.request(&pod);
    request["secrets"]["csi.storage.k8s.io/serviceAccount.tokens"] = json!("{");

    world.call("Node/NodePublishVolume", &request).is("OK", &[]);

    world.still_shows(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_hangs_or_refuses_does_not_fail_a_republish() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    for status in [403, 404, 429, 500, 503] {
        world.store_answers(status);
        world.republished(&pod);
    }
    world.store_hangs();
    world.republished(&pod);
    world.bao.stop();
    world.store_heals();
    world.republished(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_was_edited_spoiled_or_deleted_does_not_fail_a_republish() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    world.class(("app", "app", "no-such-key", ""));
    new_pods_get(&mut world, "NOT_FOUND", "no-such-key");
    world.republished(&pod);

    world.class(("app", "app", "password", "    vaultSkipTLSVerify: perhaps"));
    new_pods_get(&mut world, "INVALID_ARGUMENT", "vaultSkipTLSVerify");
    world.republished(&pod);

    fs::remove_file(world.node.path("classes/app.yaml")).unwrap();
    new_pods_get(&mut world, "NOT_FOUND", "not found; create it");
    world.republished(&pod);
}

/// Waits until the driver has noticed the change of the class.
#[track_caller]
fn new_pods_get(world: &mut World, code: &str, word: &str) {
    let started = Instant::now();
    let other = world.pod("other");
    loop {
        let answer = world.publish(&other);
        if answer.code == code && answer.message.contains(word) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{answer:?}");
        world.unpublish(&other).is("OK", &[]);
    }
}

/// A change to the arguments of a repeated request, and the code of the answer.
type Difference = (fn(&mut Value), &'static str);

const DIFFERENCES: &[Difference] = &[
    (|r| r["volume_capability"]["mount"]["volume_mount_group"] = json!("2000"), "ALREADY_EXISTS"),
    (
        |r| r["volume_capability"]["mount"]["mount_flags"] = json!(["context=system_u:object_r:t:s0"]),
        "ALREADY_EXISTS",
    ),
    (|r| r["volume_context"]["secretProviderClass"] = json!("other"), "ALREADY_EXISTS"),
    (|r| r["volume_context"]["own"] = json!("setting"), "ALREADY_EXISTS"),
    (|r| r["volume_context"]["csi.storage.k8s.io/serviceAccount.name"] = json!("other"), "ALREADY_EXISTS"),
    (|r| r["volume_context"]["csi.storage.k8s.io/pod.namespace"] = json!("other"), "ALREADY_EXISTS"),
    (|r| r["readonly"] = json!(false), "INVALID_ARGUMENT"),
];

#[tokio::test(flavor = "multi_thread")]
async fn other_arguments_for_a_served_volume_are_refused_and_it_stays_as_it_is() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);
    for (number, (change, code)) in DIFFERENCES.iter().enumerate() {
        let mut request = world.request(&pod);
        change(&mut request);

        let answer = world.call("Node/NodePublishVolume", &request);

        assert_eq!(answer.code, *code, "difference {number}: {}", answer.message);
        world.still_shows(&pod);
    }
    world.republished(&pod);
}

/// Kubelet's id is the hash of uid and volume name without a separator, so two targets can have the same id.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_at_another_target_fails_the_precondition() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);
    let mut request = world.request(&pod);
    let elsewhere = world.node.path("kubelet/pods/uid-webs/volumes/kubernetes.io~csi/ecrets/mount");
    fs::create_dir_all(elsewhere.parent().unwrap()).unwrap();
    request["target_path"] = json!(elsewhere);
    request["volume_context"]["csi.storage.k8s.io/pod.uid"] = json!("uid-webs");

    let answer = world.call("Node/NodePublishVolume", &request);

    answer.is("FAILED_PRECONDITION", &["already published"]);
    assert!(!elsewhere.exists());
    world.still_shows(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_mount_was_taken_away_is_mounted_again() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.served(&pod);

    let detach = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(world.node.target(&pod), detach).unwrap();

    world.republished(&pod);
}

crate::modes::again_in_mode_fuse! {
    the_same_again_asks_no_store_and_changes_nothing,
    another_token_other_secrets_and_no_token_are_the_same_arguments,
    tokens_that_cannot_be_read_do_not_hurt_a_volume_that_is_served,
    a_store_that_is_away_hangs_or_refuses_does_not_fail_a_republish,
    a_class_that_was_edited_spoiled_or_deleted_does_not_fail_a_republish,
    other_arguments_for_a_served_volume_are_refused_and_it_stays_as_it_is,
    the_same_id_at_another_target_fails_the_precondition,
    a_volume_whose_mount_was_taken_away_is_mounted_again,
}
