//! When stores are asked again, and which of their answers are shown.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_rotated_value_reaches_the_mount_within_its_refresh_interval() {
    let node = Node::serving("a").await;

    node.store.say("a", Say::Value("2"));
    sleep(ROUND).await;
    assert_eq!(node.file("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn thirty_volumes_of_one_identity_cost_one_login_and_one_read_per_object_and_refresh() {
    let node = Node::start();
    node.class("a,b", |_| {});
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("2"));

    let names: Vec<_> = (0..30).map(|n| format!("v{n}")).collect();
    let published = futures::future::join_all(names.iter().map(|name| node.publish(name))).await;
    assert!(published.iter().all(Result::is_ok));
    assert_eq!(node.store.reads(), 2);

    let intervals = 20;
    sleep(REFRESH * intervals).await;
    let rounds = node.store.reads() / 2;
    // Each takes between 0.7 and 1 of the interval.
    assert!((20..=29).contains(&rounds), "{rounds} rounds in {intervals} intervals");
    assert_eq!(node.store.0.lock().unwrap().logins, 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_volumes_own_is_read_once_and_not_polled() {
    let node = Node::start();
    node.class("cert!,a", |_| {});
    node.store.say("cert", Say::Value("1"));
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    node.publish("w").await.unwrap();
    sleep(REFRESH * 20).await;

    let reads = node.store.0.lock().unwrap().reads.iter().filter(|read| *read == "cert").count();
    assert_eq!(reads, 2, "one for each volume");
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_volumes_own_is_issued_again_at_two_thirds_of_its_validity() {
    let node = Node::start();
    node.class("cert!", |_| {});
    let validity = Validity { duration: Span::from_secs(900), renewable: false, lease: None };
    node.store.say("cert", Say::Leased("1", validity.clone()));
    node.publish("v").await.unwrap();
    node.store.say("cert", Say::Leased("2", validity));

    sleep(Duration::from_secs(590)).await;
    assert_eq!(node.file("cert").as_deref(), Some("1"));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(node.file("cert").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_shared_reading_that_ends_by_itself_is_made_again_then_and_in_its_turn_afterwards() {
    let node = Node::start();
    node.class("a", |_| {});
    let ends = |seconds| Validity { duration: Span::from_secs(seconds), renewable: false, lease: None };
    node.store.say("a", Say::Leased("1", ends(10)));
    node.publish("v").await.unwrap();
    node.store.say("a", Say::Leased("2", ends(1_000_000)));

    sleep(Duration::from_secs(9)).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(node.file("a").as_deref(), Some("2"));
    let reads = node.store.reads();
    sleep(REFRESH * 10).await;
    assert!((reads + 10..=reads + 15).contains(&node.store.reads()), "{}", node.store.reads() - reads);
}

#[tokio::test(start_paused = true)]
async fn an_outage_changes_nothing_that_a_pod_reads_and_heals_by_itself() {
    let node = Node::serving("a").await;

    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    sleep(Duration::from_secs(12 * 3600)).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));
    let state = node.volumes.states().remove(&VolumeId("v".to_owned())).unwrap();
    assert!(state.failure.is_some() && state.confirmed.unwrap().elapsed() > Duration::from_secs(3600));

    node.store.say("a", Say::Value("2"));
    sleep(Duration::from_secs(45)).await;
    assert_eq!(node.file("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_not_hammered() {
    let node = Node::serving("a").await;

    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    let before = node.store.reads();
    sleep(Duration::from_secs(3600)).await;
    let reads = node.store.reads() - before;
    assert!((100..=400).contains(&reads), "{reads} reads in an hour: one probe each 10 s at most");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_retry_after_is_over() {
    let node = Node::serving("a").await;

    node.store.say("a", Say::Wait(Duration::from_secs(300)));
    sleep(ROUND).await;
    let before = node.store.reads();
    sleep(Duration::from_secs(200)).await;
    assert_eq!(node.store.reads(), before);
}

#[tokio::test(start_paused = true)]
async fn no_number_of_a_store_ends_the_refresh_of_a_volume() {
    const ABSURD: Duration = Duration::from_secs(u64::MAX);
    let node = Node::start();
    node.class("creds,a", |_| {});
    let endless = Validity { duration: ABSURD.into(), renewable: true, lease: lease("l1").lease };
    node.store.say("creds", Say::Leased("u1", endless));
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();

    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
    node.store.say("a", Say::Wait(ABSURD));
    sleep(ROUND).await;
    node.store.say("a", Say::Value("3"));

    node.file_becomes("a", Some("3")).await;
}

#[tokio::test(start_paused = true)]
async fn volumes_of_one_order_share_what_was_read_for_it() {
    let node = Node::serving("a").await;
    node.publish("w").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    node.store.say("a", Say::Value("2"));
    let (before, ordered) = (node.store.reads(), Instant::now());

    for volume in ["v", "w"] {
        // The second volume gets the order after the first one has read.
        sleep(Duration::from_secs(1)).await;
        let outcome = node.volumes.refresh(&VolumeId(volume.to_owned()), ordered).await;
        assert!(matches!(outcome, Some(RefreshOutcome::Refreshed(changed)) if changed.len() == 1));
    }
    assert_eq!(node.store.reads(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_announced_while_a_volume_is_first_read_is_not_missed() {
    announced_while_first_read(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_only_a_login_hears_of_is_not_missed_either() {
    announced_while_first_read(true).await;
}

async fn announced_while_first_read(logins_hear: bool) {
    let node = Node::start();
    node.store.0.lock().unwrap().logins_hear = logins_hear;
    node.class("a,b", |_| {});
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Error(ErrorKind::Unavailable));
    let change = async {
        sleep(Duration::from_millis(50)).await;
        node.store.say("a", Say::Value("2"));
        node.store.say("b", Say::Value("2"));
        node.store.announce();
    };
    let (published, ()) = tokio::join!(node.publish("v"), change);
    published.unwrap();

    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.file("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn keep_previous_leaves_older_versions_beside_the_new() {
    let node = Node::start();
    node.class("a", |settings| settings.keep_previous = 2);
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    for value in ["2", "3", "4"] {
        node.store.say("a", Say::Value(value));
        node.file_becomes("a", Some(value)).await;
    }
    let files = node.mode.files("/v").unwrap();
    let shown: Vec<_> = files.iter().map(|(path, text)| format!("{path}={text}")).collect();
    assert_eq!(shown, ["a=4", "a.previous=3", "a.previous.2=2"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_let_go_with_the_last_volume_that_shows_it() {
    let node = Node::serving("a").await;
    node.publish("w").await.unwrap();
    assert_eq!(node.volumes.parts().stores.readings.count("fake"), 1);

    node.unpublish("v").await;
    assert_eq!(node.volumes.parts().stores.readings.count("fake"), 1);
    node.unpublish("w").await;
    assert_eq!(node.volumes.parts().stores.readings.count("fake"), 0);
}
