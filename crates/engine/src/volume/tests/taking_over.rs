//! Volumes that an earlier process mounted.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_next_process_takes_over_mounts_and_ends_the_logins_of_volumes_that_are_gone() {
    let node = Node::leasing().await;
    node.publish("gone").await.unwrap();

    node.mode.0.lock().unwrap().remove(std::path::Path::new("/gone"));
    let node = node.restart();
    assert_eq!(node.volumes.restore().await.unwrap(), 1);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.store.0.lock().unwrap().revoked.len(), 1);

    node.publish("v").await.unwrap();
    assert_eq!(node.file("creds").as_deref(), Some("u1"));
    node.unpublish("v").await;
    sleep(Duration::from_secs(5)).await;
    assert!(node.mounter.blobs.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_taken_over_is_refreshed_without_a_spurious_rotation() {
    let node = Node::serving("a").await;
    let node = node.restart();
    node.volumes.restore().await.unwrap();
    let mut happenings = node.volumes.listen();

    sleep(REFRESH * 3).await;
    assert!(happenings.try_recv().is_err());
    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_taken_over_goes_on_rotating_by_the_class_it_had_where_none_can_be_learnt() {
    let mut node = Node::serving("a").await;
    node.class("b", |_| {});
    node.store.say("b", Say::Value("1"));
    node.file_becomes("b", Some("1")).await;

    for (nothing_learnt, value) in [(FakeClasses::go_away as fn(&_), "2"), (FakeClasses::lose_all, "3")] {
        nothing_learnt(&node.classes);
        node = node.restart();
        node.volumes.restore().await.unwrap();
        node.store.say("b", Say::Value(value));
        node.file_becomes("b", Some(value)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_learnt_late_is_followed_by_a_volume_taken_over() {
    let node = Node::serving("a").await;
    node.classes.go_away();
    let node = node.restart();
    node.volumes.restore().await.unwrap();
    let mut happenings = node.volumes.listen();
    sleep(Duration::from_secs(1)).await;
    assert!(happenings.try_recv().is_err(), "what is not known yet is no news");

    node.store.say("b", Say::Value("1"));
    node.classes.return_again();
    node.class("b", |_| {});
    node.file_becomes("b", Some("1")).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_to_refresh_a_volume_that_was_just_taken_over_is_carried_out() {
    let node = Node::serving("a").await;
    node.store.say("a", Say::Value("2"));
    let node = node.restart();
    node.volumes.restore().await.unwrap();

    let outcome = node.volumes.refresh(&VolumeId("v".to_owned()), Instant::now()).await;
    assert!(matches!(outcome, Some(RefreshOutcome::Refreshed(_))), "{outcome:?}");
    assert_eq!(node.file("a").as_deref(), Some("2"));
}
