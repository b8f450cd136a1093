//! Which readings a volume may start with.

use futures::future::join_all;

use super::*;

/// A node with a class that refreshes once in a hundred years.
async fn serving_for_ever(start: Start) -> Node {
    let node = Node::start();
    node.class("a,b", |settings| {
        settings.refresh = Some(Duration::from_secs(100 * 365 * 86_400));
        settings.start = start;
    });
    ["a", "b"].iter().for_each(|object| node.store.say(object, Say::Value("1")));
    node.publish("v").await.unwrap();
    node
}

#[tokio::test(start_paused = true)]
async fn a_volume_starts_on_what_its_store_said_within_a_minute_whatever_its_class_says() {
    let node = serving_for_ever(Start::Fresh).await;
    assert_eq!(node.store.reads(), 2);

    sleep(Duration::from_secs(59)).await;
    node.publish("w").await.unwrap();
    assert_eq!(node.store.reads(), 2, "what was read within the minute is shared");

    sleep(Duration::from_secs(2)).await;
    let volumes: Vec<_> = (0..30).map(|n| format!("x{n}")).collect();
    let together = join_all(volumes.iter().map(|volume| node.publish(volume))).await;
    assert!(together.iter().all(Result::is_ok));
    assert_eq!(node.store.reads(), 4, "those that start together are one");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_was_withdrawn_stops_new_pods_within_a_minute_and_hurts_none_that_runs() {
    for start in [Start::Fresh, Start::Cached] {
        let node = serving_for_ever(start).await;
        node.store.say("b", Say::Error(ErrorKind::Denied));

        sleep(Duration::from_secs(61)).await;
        let refused = node.publish("w").await.unwrap_err();

        assert_eq!(refused.provider_kind(), Some(ErrorKind::Denied), "{start:?}: {refused}");
        assert_eq!(node.file("b").as_deref(), Some("1"), "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn start_cached_takes_nothing_that_the_store_refuses_while_it_fails_with_the_rest() {
    let node = serving_for_ever(Start::Cached).await;
    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    node.store.say("b", Say::Error(ErrorKind::Denied));

    sleep(Duration::from_secs(61)).await;
    let refused = node.publish("w").await.unwrap_err();
    assert!(refused.to_string().contains("object b"), "{refused}");

    node.store.say("b", Say::Value("1"));
    node.publish("w").await.unwrap();
    assert_eq!(node.mode.file("/w", "a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_one_call_that_tries_is_enough_for_a_pod_with_several_objects() {
    let node = Node::start();
    node.class("a,b,c", |_| {});
    ["a", "b", "c"].iter().for_each(|object| node.store.say(object, Say::Error(ErrorKind::Unavailable)));
    node.publish("v").await.unwrap_err();
    node.publish("v").await.unwrap_err();
    ["a", "b", "c"].iter().for_each(|object| node.store.say(object, Say::Value("1")));
    // Until the store is tried again.
    sleep(Duration::from_secs(10)).await;

    let started = Instant::now();
    node.publish("v").await.unwrap();

    println!("{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_mount_is_gone_and_is_refused_now_is_told_as_one_that_waits() {
    let node = Node::serving("a").await;
    node.mode.0.lock().unwrap().remove(std::path::Path::new("/v"));
    node.store.say("a", Say::Error(ErrorKind::Denied));
    sleep(Duration::from_secs(300)).await;

    let refused = node.publish("v").await.unwrap_err();

    let waiting = node.volumes.refusals();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0].reason, refused.to_string());
    node.store.say("a", Say::Value("2"));
    node.publish("v").await.unwrap();
    assert!(node.volumes.refusals().is_empty());
}

#[tokio::test(start_paused = true)]
async fn start_cached_starts_a_second_volume_of_one_identity_while_the_store_is_away() {
    let node = Node::start();
    node.class("a", |settings| settings.start = Start::Cached);
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    sleep(ROUND * 2).await;

    let mut happenings = node.volumes.listen();
    node.publish("w").await.unwrap();
    assert_eq!(node.mode.file("/w", "a").as_deref(), Some("1"));
    let told = std::iter::from_fn(|| happenings.try_recv().ok().map(|happening| happening.what));
    let cached = told.filter_map(|what| match what {
        What::StartedCached(cached) => Some(cached),
        _ => None,
    });
    let cached: Vec<_> = cached.collect();
    assert!(cached.len() == 1 && cached[0].age >= ROUND && cached[0].reason.contains("store"), "{cached:?}");

    let mut stranger = publish("x");
    stranger.subject.identity.name = "other".to_owned();
    assert!(node.publish_as(stranger).await.is_err(), "another identity does not");
}

#[tokio::test(start_paused = true)]
async fn start_fresh_waits_while_the_store_is_away() {
    let node = Node::serving("a").await;
    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    sleep(ROUND * 2).await;
    assert!(node.publish("w").await.is_err());
}
