//! What happens to a volume whose task, or whose process, ends by itself.

use manifest::{OnRevoked, OnStale};

use super::*;
use crate::volume::freshness::Condition;
use crate::volume::status::VolumeState;

fn state(node: &Node) -> VolumeState {
    node.volumes.states().remove(&VolumeId("v".to_owned())).unwrap()
}

fn is_fresh(state: &VolumeState) -> bool {
    state.failure.is_none() && state.objects.iter().all(|object| object.condition == Condition::Fresh)
}

/// Fails unless volume `v` shows the store's next answer and is fresh then.
async fn follows_its_store_again(node: &Node) {
    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
    sleep(Duration::from_secs(1)).await;
    assert!(is_fresh(&state(node)), "{:?}", state(node));
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_task_ends_by_itself_is_begun_anew_and_told_until_its_store_was_read() {
    let node = Node::serving("a,b").await;
    let mut happenings = node.volumes.listen();
    node.store.say("a", Say::Panic);

    let mut told = None;
    while told.is_none() {
        if let What::BegunAnew(words) = happenings.recv().await.unwrap().what {
            told = Some(words);
        }
    }
    sleep(Duration::from_secs(2)).await;

    let ailing = state(&node);
    assert!(!is_fresh(&ailing), "{ailing:?}");
    let (_, failure) = ailing.failure.clone().unwrap();
    assert_eq!(Some(failure.as_str()), told);
    assert!(!format!("{ailing:?}").contains("hunter2"), "{ailing:?}");
    assert_eq!(node.mode.files("/v").unwrap().len(), 2, "its files stay");
    node.publish("v").await.unwrap();

    follows_its_store_again(&node).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_at_each_read_is_not_begun_anew_without_a_pause_and_takes_orders_to_stop() {
    let node = Node::serving("a").await;
    node.store.say("a", Say::Panic);
    let before = node.store.reads();
    sleep(Duration::from_secs(3600)).await;

    let reads = node.store.reads() - before;
    assert!((10..=100).contains(&reads), "{reads} reads in an hour");
    assert_eq!(node.file("a").as_deref(), Some("1"));
    node.unpublish("v").await;
    assert!(node.volumes.states().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_nobody_refreshes_is_not_fresh_and_a_republish_begins_it_anew() {
    let node = Node::serving("a").await;
    node.volumes.lock().values().for_each(|entry| entry.abandon());
    sleep(Duration::from_secs(1)).await;

    assert!(!is_fresh(&state(&node)), "{:?}", state(&node));
    node.publish("v").await.unwrap();

    follows_its_store_again(&node).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_keeps_the_tokens_that_kubelet_brought_last() {
    let node = Node::start();
    node.store.0.lock().unwrap().wants_tokens = true;
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    publish_with_token(&node).await;
    node.store.say("a", Say::Panic);
    sleep(ROUND).await;

    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
}

async fn publish_with_token(node: &Node) {
    node.volumes.publish(publish("v"), credentials::token(&"t".to_owned().into())).await.unwrap();
}

/// Restarts a node, whose store needs tokens, one to five times at random moments, with and without kubelet's calls in
/// between, for each setting of a class. The files must stay.
#[tokio::test(start_paused = true)]
async fn restarts_take_no_file_whatever_a_class_says_and_whether_or_not_kubelet_comes_by() {
    let settings: [fn(&mut Settings); 5] = [
        |_| {},
        |settings| settings.on_denied = OnDenied::Remove,
        |settings| settings.on_revoked = Some(OnRevoked::Remove),
        |settings| settings.on_revoked = Some(OnRevoked::Keep),
        |settings| {
            settings.on_stale = OnStale::Remove;
            settings.max_stale = Duration::from_secs(90);
        },
    ];
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for (case, edit) in settings.into_iter().enumerate() {
        for restarts in 1..=5 {
            let mut node = Node::start();
            node.store.0.lock().unwrap().wants_tokens = true;
            node.class("a,b", edit);
            node.store.say("a", Say::Value("1"));
            node.store.say("b", Say::Value("1"));
            publish_with_token(&node).await;
            for _ in 0..restarts {
                sleep(Duration::from_millis(random.u64(0..200_000))).await;
                node = node.restart();
                node.volumes.restore().await.unwrap();
                let mut happenings = node.volumes.listen();
                sleep(Duration::from_millis(random.u64(0..200_000))).await;
                let place = format!("seed {seed}, setting {case}, {restarts} restarts");
                while let Ok(happening) = happenings.try_recv() {
                    assert!(!matches!(happening.what, What::Failed(..)), "{place}: {happening:?}");
                }
                assert_eq!(node.mode.files("/v").map(|files| files.len()), Some(2), "{place}");
                if random.bool() {
                    publish_with_token(&node).await;
                }
            }
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(node.mode.files("/v").unwrap().len(), 2, "seed {seed}, setting {case}");
            publish_with_token(&node).await;
            node.store.say("a", Say::Value("2"));
            node.file_becomes("a", Some("2")).await;
        }
    }
}
