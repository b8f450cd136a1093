//! When contents of opened files are taken back at once, and what a caller leaves behind that stops waiting.

use super::*;

/// A volume whose file `a` is open. Returns its value, which otherwise only the engine and the loan hold, and the loan.
async fn opened() -> (Node, SecretBytes, Loan) {
    let node = serving_on_open().await;
    let value = secret();
    node.store.say("a", Say::Secret(value.clone(), Duration::ZERO));
    let loan = node.open("a").await.unwrap();
    node.store.say("a", Say::Value("new"));
    assert!(value.is_held_elsewhere());
    (node, value, loan)
}

/// Lets tasks run until they wait for time to pass.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_ordered_refresh_takes_back_what_is_held_at_once() {
    let (node, value, loan) = opened().await;

    let outcome = node.order().await.unwrap();
    settle().await;

    assert!(matches!(outcome, RefreshOutcome::Refreshed(changed) if changed.len() == 1));
    assert!(text(&loan).is_none() && !value.is_held_elsewhere());
    assert_eq!(text(&node.open("a").await.unwrap()).as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn an_announcement_of_the_store_takes_back_what_is_held_at_once() {
    for logins_hear in [false, true] {
        let node = serving_on_open().await;
        node.store.0.lock().unwrap().logins_hear = logins_hear;
        let value = secret();
        node.store.say("a", Say::Secret(value.clone(), Duration::ZERO));
        let loan = node.open("a").await.unwrap();
        node.store.say("a", Say::Error(ErrorKind::Revoked));

        node.store.announce();
        settle().await;

        assert!(text(&loan).is_none() && !value.is_held_elsewhere());
        assert!(matches!(node.open("a").await, Err(mode::Error::Missing(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_class_takes_back_what_is_held_at_once() {
    let (node, value, loan) = opened().await;

    node.class("b", on_open);
    settle().await;

    assert!(text(&loan).is_none() && !value.is_held_elsewhere());
    assert!(matches!(node.open("a").await, Err(mode::Error::Missing(_))), "it is listed no more");
}

#[tokio::test(start_paused = true)]
async fn an_unpublish_takes_back_what_is_held_and_refuses_who_waits() {
    let (node, value, loan) = opened().await;
    node.store.say("b", Say::Hang);
    let started = Instant::now();
    let unpublished = async {
        sleep(Duration::from_secs(1)).await;
        node.unpublish("v").await;
    };

    let (waited, ()) = tokio::join!(node.open("b"), unpublished);

    assert!(matches!(waited, Err(mode::Error::Missing(_))), "{waited:?}");
    assert!(started.elapsed() < Duration::from_millis(1100), "{:?}", started.elapsed());
    assert!(text(&loan).is_none() && !value.is_held_elsewhere());
    assert!(matches!(node.open("a").await, Err(mode::Error::Missing(_))), "though the mode goes on to ask");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_holds_nothing_of_what_was_opened() {
    let (node, value, loan) = opened().await;

    node.volumes.drain().await;

    assert!(text(&loan).is_none() && !value.is_held_elsewhere());
}

#[tokio::test(start_paused = true)]
async fn tokens_of_another_account_take_back_what_was_read_for_the_one_before() {
    let (node, value, loan) = opened().await;
    let mut later = publish("v");
    later.subject.identity.uid = Some("another".to_owned());

    node.publish_as(later).await.unwrap();
    settle().await;

    assert!(text(&loan).is_none() && !value.is_held_elsewhere());
    assert_eq!(text(&node.open("a").await.unwrap()).as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_was_under_way_at_an_order_is_made_again_for_who_waits() {
    let node = serving_on_open().await;
    let old = secret();
    node.store.say("a", Say::Secret(old.clone(), Duration::from_secs(5)));
    let order = async {
        sleep(Duration::from_secs(2)).await;
        node.store.say("a", Say::Value("new"));
        node.order().await
    };

    let (opened, _) = tokio::join!(node.open("a"), order);

    assert_eq!(text(&opened.unwrap()).as_deref(), Some("new"));
    assert!(!old.is_held_elsewhere());
    assert_eq!(node.store.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_leaves_nothing_and_takes_nothing_from_who_waits_on() {
    let node = serving_on_open().await;
    let value = secret();
    node.store.say("a", Say::Secret(value.clone(), Duration::from_secs(10)));
    let short = || async { node.asks().open("/v", "a", &web(), Duration::from_secs(1)).await };

    let (gone, stays) = tokio::join!(short(), node.open("a"));
    assert!(gone.is_err() && stays.is_ok());
    assert_eq!(node.store.reads(), 1, "the first that came has left, and its reading went on");

    node.order().await;
    drop(stays);
    assert!(short().await.is_err());
    node.store.say("a", Say::Value("1"));
    settle().await;
    assert!(!value.is_held_elsewhere());
    sleep(Duration::from_secs(60)).await;
    assert!(!value.is_held_elsewhere(), "a reading ends with the last who waits for it");
    assert_eq!(node.store.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_opened_is_wiped_though_nobody_lets_go_of_the_loan_and_the_volume_has_a_fault() {
    let (node, value, loan) = opened().await;
    node.volumes.lock().values().for_each(|entry| entry.abandon());

    sleep(HOLD + Duration::from_secs(1)).await;

    assert!(text(&loan).is_none() && !value.is_held_elsewhere());
    node.publish("v").await.unwrap();
    assert_eq!(text(&node.open("a").await.unwrap()).as_deref(), Some("new"));
}
