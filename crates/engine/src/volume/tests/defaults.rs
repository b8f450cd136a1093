//! The defaults for classes that do not set a value.

use manifest::OnRevoked;

use super::*;
use crate::volume::parts::{Defaults, Rotation};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node with these defaults, and volume `v` of a class that sets nothing for its object `a`.
async fn serving_under(defaults: Defaults) -> Node {
    let node = Node::under(Limits { defaults, ..Limits::default() });
    node.class("a", |settings| settings.refresh = None);
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    node
}

fn rotating(rotation: Rotation) -> Defaults {
    Defaults { rotation, ..Defaults::default() }
}

#[tokio::test(start_paused = true)]
async fn where_rotation_is_off_a_volume_stays_as_it_was_mounted() {
    let node = serving_under(rotating(Rotation::Off)).await;
    let reads = node.store.reads();

    node.store.say("a", Say::Value("2"));
    node.store.announce();
    node.class("b", |settings| settings.refresh = None);
    node.publish("v").await.unwrap();
    sleep(DAY).await;

    assert_eq!(node.file("a").as_deref(), Some("1"));
    assert_eq!(node.store.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn where_rotation_is_off_neither_a_revocation_nor_a_restart_changes_a_volume_but_an_order_does() {
    let node = serving_under(rotating(Rotation::Off)).await;
    node.store.say("a", Say::Error(ErrorKind::Revoked));
    sleep(DAY).await;

    let node = node.restart();
    node.volumes.restore().await.unwrap();
    node.publish("v").await.unwrap();
    sleep(DAY).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));

    node.volumes.refresh(&VolumeId("v".to_owned()), Instant::now()).await.unwrap();
    assert_eq!(node.file("a"), None);
}

#[tokio::test(start_paused = true)]
async fn where_rotation_is_off_new_volumes_read_and_leases_are_still_kept() {
    let node = Node::under(Limits { defaults: rotating(Rotation::Off), ..Limits::default() });
    node.class("creds", |settings| settings.refresh = None);
    node.store.say("creds", Say::Leased("u1", lease("l1")));
    node.publish("v").await.unwrap();
    node.class("a", |settings| settings.refresh = None);
    node.store.say("a", Say::Value("1"));
    node.publish("w").await.unwrap();

    sleep(DAY).await;
    node.store.say("a", Say::Value("2"));
    node.publish("x").await.unwrap();

    assert!(node.store.0.lock().unwrap().renewed > 100);
    assert_eq!(node.mode.file("/x", "a").as_deref(), Some("2"));
    assert_eq!(node.mode.file("/w", "a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_class_that_says_how_often_is_read_again_whatever_the_default_is() {
    let node = serving_under(rotating(Rotation::Off)).await;
    node.class("a", |_| {});
    node.publish("w").await.unwrap();

    node.store.say("a", Say::Value("2"));
    sleep(ROUND).await;

    assert_eq!(node.mode.file("/w", "a").as_deref(), Some("2"));
    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn the_default_interval_is_the_administrators() {
    let node = serving_under(rotating(Rotation::Every(Duration::from_secs(600)))).await;

    node.store.say("a", Say::Value("2"));
    sleep(Duration::from_secs(400)).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));
    sleep(Duration::from_secs(210)).await;
    assert_eq!(node.file("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn in_a_drop_in_what_the_store_took_back_stays_unless_the_class_says_otherwise() {
    let defaults = Defaults { on_revoked: OnRevoked::Keep, ..Defaults::default() };
    for (said, stays) in [(None, true), (Some(OnRevoked::Remove), false)] {
        let node = Node::under(Limits { defaults, ..Limits::default() });
        node.class("a", |settings| settings.on_revoked = said);
        node.store.say("a", Say::Value("1"));
        node.publish("v").await.unwrap();

        node.store.say("a", Say::Error(ErrorKind::Revoked));
        sleep(Duration::from_secs(600)).await;

        assert_eq!(node.file("a").is_some(), stays, "{said:?}");
    }
}
