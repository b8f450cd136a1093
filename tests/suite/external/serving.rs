//! External providers that answer with files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use testing::PodVolume;
use tonic::Code;

use super::provider::{Provider, files, with};
use super::world::World;

/// The longest time until a change is visible, on a busy machine.
const SEEN: Duration = Duration::from_secs(30);

fn attributes(request: &Value) -> Value {
    serde_json::from_str(request["attributes"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_provider_is_told_what_upstreams_driver_tells_and_its_files_are_shown() {
    let control = json!({ "files": {
        "user": { "contents": "shop", "mode": 0o400 },
        "tls/key": { "contents": "k", "mode": 0 },
    }});
    let world = World::new(&control).await;
    let mut pod = PodVolume::new("web", "app").unsigned_token("vault");

    world.node.publish(&pod).await.unwrap();

    assert_eq!(world.node.text(&pod, "user").as_deref(), Some("shop"));
    let mode =
        |file: &str| fs::metadata(world.node.target(&pod).join(file)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("user"), mode("tls/key")), (0o400, 0), "0 is a mode, not a default");

    let request = world.provider.requests().remove(0);
    let told = attributes(&request);
    assert_eq!(told["objects"], "all of <them>");
    assert_eq!(told["secretProviderClass"], "app");
    assert_eq!(told["csi.storage.k8s.io/pod.name"], "web");
    assert_eq!(told["csi.storage.k8s.io/pod.namespace"], "shop");
    assert_eq!(told["csi.storage.k8s.io/pod.uid"], "uid-web");
    assert_eq!(told["csi.storage.k8s.io/serviceAccount.name"], "shop");
    assert_eq!(told["csi.storage.k8s.io/ephemeral"], "true");
    let tokens: Value =
        serde_json::from_str(told["csi.storage.k8s.io/serviceAccount.tokens"].as_str().unwrap()).unwrap();
    assert_eq!(tokens["vault"]["expirationTimestamp"], "2099-01-01T00:00:00Z");
    assert!(told.as_object().unwrap().keys().all(|key| !key.starts_with("secretfs.dev/")));
    assert_eq!((&request["secrets"], &request["permission"]), (&json!("null"), &json!("420")));
    assert_eq!(request.get("current_object_version"), None);

    pod.secrets.insert("id".to_owned(), "s3cret".to_owned());
    let other = PodVolume { uid: "uid-2".to_owned(), ..pod.clone() };
    world.node.publish(&other).await.unwrap();
    let request = world.provider.requests().pop().unwrap();
    assert_eq!(request["secrets"], r#"{"id":"s3cret"}"#);

    world.node.unpublish(&other).await.unwrap();
    world.ends(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_at_an_external_provider_reaches_the_pod_and_a_file_that_it_dropped_goes() {
    let world = World::new(&files(&[("a", "1"), ("b", "1"), ("c", "1")])).await;
    let pod = world.started("web").await;

    world
        .provider
        .does(&with(files(&[("a", "2"), ("b", "1"), ("d", "1")]), &json!({ "versions": { "a": "7" } })));

    world.node.text_becomes(&pod, "a", Some("2"), SEEN).await;
    assert_eq!(world.node.text(&pod, "c"), None);
    assert_eq!(
        (world.node.text(&pod, "b").as_deref(), world.node.text(&pod, "d").as_deref()),
        (Some("1"), Some("1"))
    );
    assert!(!world.node.audit().contains("withdraw"), "{}", world.node.audit());

    let before = world.provider.requests().len();
    world.provider.is_asked_after(before).await;
    let request = world.provider.requests().pop().unwrap();
    assert_eq!(request["current_object_version"], json!([{ "id": "a", "version": "7" }]));
    world.ends(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_told_of_versions_finds_what_it_gave_in_the_target() {
    let control = with(files(&[("a/b", "1"), ("c", "2")]), &json!({ "reload": true }));
    let world = World::new(&control).await;
    let pod = world.started("web").await;

    for _ in 0..3 {
        world.provider.is_asked_after(world.provider.requests().len()).await;
    }

    assert_eq!(world.node.text(&pod, "a/b").as_deref(), Some("1"));
    assert!(!world.node.log().contains("reload:"), "{}", world.node.log());
    world.ends(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_one_service_account_never_share_what_an_external_provider_answered() {
    let world = World::new(&files(&[("a", "1")])).await;
    world.started("web").await;
    let other = PodVolume::new("other", "app");

    world.provider.does(&files(&[("a", "the other's")]));
    world.node.publish(&other).await.unwrap();

    assert_eq!(world.node.text(&other, "a").as_deref(), Some("the other's"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_keep_reading_while_an_external_provider_is_away_and_its_next_process_is_found() {
    let mut world = World::new(&files(&[("a", "1")])).await;
    let pod = world.started("web").await;
    world.provider.kill();

    let waits = world.node.publish(&PodVolume::new("late", "app")).await.unwrap_err();
    assert_eq!(waits.code(), Code::Unavailable, "{waits}");
    assert!(waits.message().contains("test.sock"), "{waits}");
    assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"));
    world.node.publish(&pod).await.unwrap();

    world.provider.does(&files(&[("a", "2")]));
    world.provider.start_again();
    world.node.text_becomes(&pod, "a", Some("2"), SEEN).await;
    world.started("late").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_another_provider_replaced_is_found_at_the_next_call() {
    let world = World::new(&files(&[("a", "old")])).await;
    let pod = world.started("web").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let _next = Provider::start(elsewhere.path(), &files(&[("a", "new")]));

    // The old process still listens, but its socket has lost its name.
    fs::rename(elsewhere.path().join("test.sock"), world.node.path("providers/test.sock")).unwrap();

    world.node.text_becomes(&pod, "a", Some("new"), SEEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_takes_an_external_providers_volumes_over_and_refreshes_them() {
    let mut world = World::new(&files(&[("a", "1"), ("b", "1")])).await;
    let pod = world.started("web").await;
    world.provider.kill();
    world.node.restart_node().await;
    assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"));
    world.node.publish(&pod).await.unwrap();

    world.provider.does(&files(&[("a", "2")]));
    world.provider.start_again();
    world.node.text_becomes(&pod, "a", Some("2"), SEEN).await;
    assert_eq!(world.node.text(&pod, "b"), None);
    world.ends(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_hangs_holds_up_nobody_but_the_pod_that_starts() {
    let world = World::of("    secretfs.dev/timeout: 2s", &files(&[("a", "1")])).await;
    let pod = world.started("web").await;
    world.provider.does(&with(files(&[("a", "1")]), &json!({ "hang": "called" })));
    world.provider.is_asked_after(world.provider.requests().len()).await;

    let late = PodVolume::new("late", "app");
    let waits = world.node.publish(&late).await.unwrap_err();
    assert_eq!(waits.code(), Code::DeadlineExceeded, "{waits}");
    assert_eq!(world.node.left_behind(&late), Vec::<std::path::PathBuf>::new());
    world.node.publish(&pod).await.unwrap();
    assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"));

    // The process dies in the middle of a call.
    world.ends(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_almost_four_mib_is_shown_and_a_larger_one_is_refused_with_what_to_do() {
    let large = |size: usize| json!({ "files": { "a": { "size": size, "mode": 0o444 } } });
    let world = World::new(&large((4 << 20) - 1024)).await;
    let pod = world.started("web").await;
    assert_eq!(world.node.read(&pod, "a").unwrap().len(), (4 << 20) - 1024);

    world.provider.does(&large(4 << 20));
    let other = PodVolume::new("other", "app");
    let refused = world.node.publish(&other).await.unwrap_err();

    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("--max-call-recv-msg-size"), "{refused}");
    assert_eq!(world.node.read(&pod, "a").unwrap().len(), (4 << 20) - 1024);
    world.ends(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_paths_of_an_external_provider_are_refused_and_a_served_volume_stays() {
    let world = World::new(&files(&[("a", "1")])).await;
    let pod = world.started("web").await;
    for hostile in ["../../escaped", "/etc/escaped", "..data", "a//b", ""] {
        world.provider.does(&files(&[("a", "2"), (hostile, "x")]));
        let other = PodVolume::new("other", "app");
        let refused = world.node.publish(&other).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{hostile}: {refused}");
        assert_eq!(world.node.left_behind(&other), Vec::<std::path::PathBuf>::new());
    }
    world.provider.is_asked_after(world.provider.requests().len()).await;
    assert_eq!(world.node.text(&pod, "a").as_deref(), Some("1"));
    world.ends(&pod).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_providers_own_words_and_code_reach_kubelet() {
    let world = World::new(&json!({ "code": 7, "message": "role shop may not read kv/db" })).await;
    let pod = PodVolume::new("web", "app");
    let refused = world.node.publish(&pod).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("role shop may not read kv/db"), "{refused}");

    world.provider.does(&with(files(&[("a", "1")]), &json!({ "error": "BackendBroken" })));
    let refused = world.node.publish(&pod).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("BackendBroken"), "{refused}");

    world.provider.does(&with(files(&[("a", "1")]), &json!({ "versions": {} })));
    let refused = world.node.publish(&pod).await.unwrap_err();
    assert!(refused.message().contains("missing object versions"), "{refused}");
    world.has_nothing_of(&pod);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_not_on_the_node_is_named_with_the_directories_that_were_searched() {
    let mut world = World::prepare(&files(&[]), &["--additional-providers-dirs", "/nowhere,/elsewhere"]);
    fs::remove_file(world.node.path("providers/test.sock")).unwrap();
    world.node.start_node().await;

    let waits = world.node.publish(&PodVolume::new("web", "app")).await.unwrap_err();

    assert_eq!(waits.code(), Code::Unavailable);
    let providers = world.node.path("providers").display().to_string();
    for word in ["test.sock", "/nowhere, /elsewhere", &providers, "DaemonSet", "vault"] {
        assert!(waits.message().contains(word), "{waits}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_composed_file_holds_what_an_external_provider_gave() {
    let composed = "    secretfs.dev/files: |
      - {path: env, format: dotenv, from: {USER: db/user, PASS: db/pass}}";
    let world = World::of(composed, &files(&[("db/user", "shop"), ("db/pass", "p w")])).await;
    let pod = world.started("web").await;
    assert_eq!(world.node.text(&pod, "env").as_deref(), Some("USER='shop'\nPASS='p w'\n"));

    world.provider.does(&files(&[("db/user", "shop")]));
    let other = world.node.publish(&PodVolume::new("other", "app")).await.unwrap_err();
    assert!(other.message().contains("db/pass"), "{other}");
    world.ends(&pod).await;
}

crate::modes::again_in_mode_fuse! {
    an_external_provider_is_told_what_upstreams_driver_tells_and_its_files_are_shown,
    a_rotation_at_an_external_provider_reaches_the_pod_and_a_file_that_it_dropped_goes,
    a_provider_that_is_told_of_versions_finds_what_it_gave_in_the_target,
    pods_of_one_service_account_never_share_what_an_external_provider_answered,
    pods_keep_reading_while_an_external_provider_is_away_and_its_next_process_is_found,
    a_socket_that_another_provider_replaced_is_found_at_the_next_call,
    a_restarted_node_takes_an_external_providers_volumes_over_and_refreshes_them,
    a_provider_that_hangs_holds_up_nobody_but_the_pod_that_starts,
    an_answer_of_almost_four_mib_is_shown_and_a_larger_one_is_refused_with_what_to_do,
    hostile_paths_of_an_external_provider_are_refused_and_a_served_volume_stays,
    a_providers_own_words_and_code_reach_kubelet,
    a_provider_that_is_not_on_the_node_is_named_with_the_directories_that_were_searched,
    a_composed_file_holds_what_an_external_provider_gave,
}
