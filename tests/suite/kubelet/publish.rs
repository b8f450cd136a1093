//! The first publish of a volume: the rules for the request, and the code for every kind of failure.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};
use testing::PodVolume;

use super::client::Answer;
use super::world::{Class, FILE, World};

/// A class with a short timeout for its store.
const FAST: Class = ("fast", "app", "password", "    secretfs.dev/timeout: 1s");

/// A change of kubelet's request, the code of the answer, and a word of its message.
type Rule = (fn(&mut Value), &'static str, &'static str);

fn context<'r>(request: &'r mut Value, key: &str) -> &'r mut Value {
    &mut request["volume_context"][key]
}

fn forget(request: &mut Value, key: &str) {
    request["volume_context"].as_object_mut().unwrap().remove(key);
}

const INVALID: &str = "INVALID_ARGUMENT";
const UNVOUCHED: &str = "FAILED_PRECONDITION";

const RULES: &[Rule] = &[
    (|r| r["volume_id"] = json!(""), INVALID, "volume_id"),
    (|r| r["target_path"] = json!(""), INVALID, "target_path"),
    (|r| r["volume_capability"] = Value::Null, INVALID, "volume_capability"),
    (|r| r["volume_capability"] = json!({ "access_mode": {} }), INVALID, "access type"),
    (|r| r["volume_capability"] = json!({ "block": {} }), INVALID, "block"),
    (|r| r["staging_target_path"] = json!("/staging"), INVALID, "staging_target_path"),
    (|r| r["readonly"] = json!(false), INVALID, "readOnly: true"),
    (
        |r| r["volume_capability"]["mount"]["volume_mount_group"] = json!("staff"),
        INVALID,
        "volume_mount_group",
    ),
    (|r| r["volume_capability"]["mount"]["mount_flags"] = json!(["suid"]), INVALID, "mount flag"),
    (|r| r["volume_capability"]["mount"]["mount_flags"] = json!(["context="]), INVALID, "mount flag"),
    (|r| *context(r, "csi.storage.k8s.io/ephemeral") = json!("false"), UNVOUCHED, "podInfoOnMount"),
    (|r| forget(r, "csi.storage.k8s.io/ephemeral"), UNVOUCHED, "podInfoOnMount"),
    (|r| forget(r, "csi.storage.k8s.io/pod.name"), UNVOUCHED, "pod.name"),
    (|r| forget(r, "csi.storage.k8s.io/pod.namespace"), UNVOUCHED, "pod.namespace"),
    (|r| forget(r, "csi.storage.k8s.io/pod.uid"), UNVOUCHED, "pod.uid"),
    (|r| forget(r, "csi.storage.k8s.io/serviceAccount.name"), UNVOUCHED, "serviceAccount.name"),
    (|r| *context(r, "csi.storage.k8s.io/pod.uid") = json!("another"), UNVOUCHED, "another"),
    (|r| *context(r, "csi.storage.k8s.io/unheard-of") = json!("x"), INVALID, "unheard-of"),
    (|r| *context(r, "padding") = json!("x".repeat(65 << 10)), INVALID, "bytes"),
    (|r| forget(r, "secretProviderClass"), INVALID, "secretProviderClass"),
    (|r| r["volume_id"] = json!("csi-0"), INVALID, "volume_id"),
    (|r| r["target_path"] = json!("/tmp/target"), INVALID, "target path"),
    (
        |r| {
            let target = r["target_path"].as_str().unwrap().replace("/pods/", "/pods/../pods/");
            r["target_path"] = json!(target);
        },
        INVALID,
        "target path",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_on_the_request_has_its_code_and_leaves_nothing_behind() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    for (rule, (change, code, word)) in RULES.iter().enumerate() {
        let mut request = world.request(&pod);
        change(&mut request);

        let answer = world.call("Node/NodePublishVolume", &request);

        assert_eq!(answer.code, *code, "rule {rule}, {word}: {}", answer.message);
        assert!(answer.is_final && answer.message.contains(word), "rule {rule}, {word}: {}", answer.message);
        world.has_nothing_of(&pod);
    }
    assert_eq!(world.front.seen().len(), 0, "no rule asks the store");
    world.served(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_volume_shows_the_secret_and_belongs_to_the_pods_group() {
    let mut world = World::new().await;
    let mut pod = world.pod("web");
    pod.fs_group = Some(2000);

    world.served(&pod);

    assert_eq!(fs::metadata(world.node.target(&pod).join(FILE)).unwrap().gid(), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_found_where_an_older_kubelet_puts_them() {
    const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";
    let mut world = World::new().await;
    let pod = world.pod("web");
    let mut request = world.request(&pod);
    request["volume_context"][TOKENS] = request["secrets"].as_object_mut().unwrap().remove(TOKENS).unwrap();

    world.call("Node/NodePublishVolume", &request).is("OK", &[]);

    world.still_shows(&pod);
}

/// Publishes, and fails unless the answer has `code` and `words` and nothing is left.
#[track_caller]
fn fails(world: &mut World, pod: &PodVolume, code: &str, words: &[&str]) -> Answer {
    let answer = world.publish(pod);
    answer.is(code, words);
    world.has_nothing_of(pod);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_the_token_that_the_class_needs_waits_for_the_admin() {
    let mut world = World::new().await;
    let pod = PodVolume::new("web", "app");

    fails(&mut world, &pod, "FAILED_PRECONDITION", &["vault", "tokenRequests"]);

    let pod = world.pod("web");
    world.served(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_does_not_exist_is_not_found_until_it_does() {
    let mut world = World::new().await;
    let pod = world.pod_of("web", "later");

    fails(&mut world, &pod, "NOT_FOUND", &["shop/later", "secretProviderClass"]);

    world.class(("later", "app", "password", ""));
    world.served(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_makes_no_sense_is_invalid() {
    let mut world = World::of(&[("odd", "app", "password", "    secretfs.dev/mode: papyrus")]).await;
    let pod = world.pod_of("web", "odd");

    let answer = fails(&mut world, &pod, "INVALID_ARGUMENT", &["secretfs.dev/mode"]);

    assert!(answer.is_final);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_there_is_waited_for_and_named_with_where_it_was_looked_for() {
    let mut world = World::new().await;
    world.node.class(
        "strange",
        "apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: strange, namespace: shop}
spec: {provider: papyrus, parameters: {objects: \"[]\"}}
",
    );
    let pod = world.pod_of("web", "strange");

    // The provider may be an external one that has not started yet.
    fails(&mut world, &pod, "UNAVAILABLE", &["papyrus.sock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_is_not_found() {
    let mut world =
        World::of(&[("gone", "missing", "password", ""), ("keyless", "app", "no-such-key", "")]).await;

    let pods = [world.pod_of("web", "gone"), world.pod_of("api", "keyless")];

    fails(&mut world, &pods[0], "NOT_FOUND", &[FILE, "missing"]);
    let keyless = fails(&mut world, &pods[1], "NOT_FOUND", &["no-such-key"]);
    assert_eq!(keyless.message.matches("object password").count(), 1, "{}", keyless.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_the_policy_forbids_is_denied_with_who_asked() {
    let mut world = World::of(&[("secret", "forbidden", "password", "")]).await;
    let pod = world.pod_of("web", "secret");

    fails(&mut world, &pod, "PERMISSION_DENIED", &[FILE, "role app"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_store_does_not_accept_is_unauthenticated() {
    let mut world = World::new().await;
    let pod = PodVolume::new("web", "app").unsigned_token("vault");

    fails(&mut world, &pod, "UNAUTHENTICATED", &["role"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_or_overloaded_is_unavailable_and_kubelet_tries_again() {
    let mut world = World::of(&[FAST]).await;
    for status in [429, 500, 502, 503] {
        let pod = world.pod_of("web", "fast");
        world.store_answers(status);

        let answer = fails(&mut world, &pod, "UNAVAILABLE", &[]);

        assert!(!answer.is_final, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_is_told_with_what_was_waited_for_and_served_when_it_heals() {
    let mut world = World::of(&[FAST]).await;
    let pod = world.pod_of("web", "fast");
    world.store_hangs();

    let answer = fails(&mut world, &pod, "DEADLINE_EXCEEDED", &["vault"]);

    assert!(!answer.is_final);
    world.store_heals();
    world.node.publish_until_done(&pod).await;
    world.still_shows(&pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_little_time_hears_the_cause_before_its_own_deadline() {
    let mut world = World::new().await;
    let pod = world.pod("web");
    world.store_hangs();
    let request = world.request(&pod);
    let mut command = super::client::call(&world.node.path("csi.sock"), "Node/NodePublishVolume", &request);
    command["timeout_ms"] = json!(8000);

    let answer = world.kubelet.run(&command);

    answer.is("DEADLINE_EXCEEDED", &["provider vault"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_too_large_exhausts_its_resources() {
    let mut world = World::with(&[], &["--max-volume-bytes", "1048576"]).await;
    world.bao.put("kv", "app", &json!({ "password": "x".repeat(700 << 10) }));
    let pod = world.pod("web");

    let answer = fails(&mut world, &pod, "RESOURCE_EXHAUSTED", &[]);

    assert!(!answer.is_final);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_a_volume_that_is_busy_is_aborted() {
    let mut world = World::of(&[FAST]).await;
    let pod = world.pod_of("web", "fast");
    world.store_hangs();
    let (publish, unpublish) = (world.request(&pod), world.unpublish_request(&pod));

    let answers = world
        .call_together(&[("Node/NodePublishVolume", publish.clone()), ("Node/NodePublishVolume", publish)]);

    let mut codes: Vec<_> = answers.iter().map(|answer| answer.code.as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["ABORTED", "DEADLINE_EXCEEDED"]);
    assert!(answers.iter().all(|answer| !answer.is_final));
    world.call("Node/NodeUnpublishVolume", &unpublish).is("OK", &[]);
}

crate::modes::again_in_mode_fuse! {
    every_rule_on_the_request_has_its_code_and_leaves_nothing_behind,
    a_published_volume_shows_the_secret_and_belongs_to_the_pods_group,
    tokens_are_found_where_an_older_kubelet_puts_them,
    a_pod_without_the_token_that_the_class_needs_waits_for_the_admin,
    a_class_that_does_not_exist_is_not_found_until_it_does,
    a_class_that_makes_no_sense_is_invalid,
    a_provider_that_is_not_there_is_waited_for_and_named_with_where_it_was_looked_for,
    a_secret_that_is_not_there_is_not_found,
    a_secret_that_the_policy_forbids_is_denied_with_who_asked,
    a_token_that_the_store_does_not_accept_is_unauthenticated,
    a_store_that_is_away_or_overloaded_is_unavailable_and_kubelet_tries_again,
    a_store_that_hangs_is_told_with_what_was_waited_for_and_served_when_it_heals,
    a_caller_with_little_time_hears_the_cause_before_its_own_deadline,
    a_set_that_is_too_large_exhausts_its_resources,
    a_call_for_a_volume_that_is_busy_is_aborted,
}
