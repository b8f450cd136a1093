//! Several readings in one call.

use manifest::OnStale;

use super::*;

const TEN: &str = "a,b,c,d,e,f,g,h,i,j";

/// A node whose store takes up to `most` requests in a call, with volume `v` of ten objects.
async fn together(most: usize) -> Node {
    let node = Node::start();
    node.store.0.lock().unwrap().together = most;
    node.class(TEN, |_| {});
    TEN.split(',').for_each(|object| node.store.say(object, Say::Value("1")));
    node.publish("v").await.unwrap();
    node
}

fn calls(node: &Node) -> Vec<usize> {
    std::mem::take(&mut node.store.0.lock().unwrap().calls)
}

#[tokio::test(start_paused = true)]
async fn what_a_store_takes_together_is_one_call() {
    let node = together(4).await;

    let mut sizes = calls(&node);
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 4, 4]);
    assert_eq!(node.mode.files("/v").unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_made_of_what_is_due_and_shared_by_all_volumes_of_an_identity() {
    let node = together(20).await;
    assert_eq!(calls(&node), [10]);

    let publishes = (0..30).map(|n| {
        let node = &node;
        async move { node.publish(&format!("w{n}")).await.unwrap() }
    });
    futures::future::join_all(publishes).await;
    assert_eq!(calls(&node), [0; 0], "ten fresh readings are good enough for thirty volumes");

    sleep(ROUND).await;
    assert_eq!(calls(&node), [10], "thirty-one volumes are refreshed by one call");
}

#[tokio::test(start_paused = true)]
async fn one_object_of_a_call_may_fail_and_the_others_are_shown() {
    let node = together(20).await;
    node.store.say("c", Say::Error(ErrorKind::Unavailable));
    TEN.split(',').filter(|object| *object != "c").for_each(|object| node.store.say(object, Say::Value("2")));

    node.file_becomes("d", Some("2")).await;

    assert_eq!(node.file("c").as_deref(), Some("1"));
    let breakers = node.volumes.parts().stores.breakers();
    assert_eq!((breakers.closed, breakers.open.len()), (1, 0), "a store that answers is not away");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_as_a_whole_is_one_failure() {
    let node = together(20).await;
    TEN.split(',').for_each(|object| node.store.say(object, Say::Error(ErrorKind::Unavailable)));
    calls(&node);

    while node.store.0.lock().unwrap().calls.is_empty() {
        sleep(Duration::from_millis(100)).await;
    }

    assert_eq!(calls(&node), [10]);
    assert!(node.volumes.parts().stores.breakers().open.is_empty(), "ten objects are not ten failures");
}

#[tokio::test(start_paused = true)]
async fn what_a_store_vouches_for_is_not_read_again_and_is_as_fresh_as_if_it_were() {
    let node = Node::start();
    node.store.0.lock().unwrap().vouches = true;
    node.class("a,b", |settings| {
        settings.max_stale = Duration::from_secs(600);
        settings.on_stale = OnStale::Remove;
    });
    ["a", "b"].into_iter().for_each(|object| node.store.say(object, Say::Value("1")));
    node.publish("v").await.unwrap();
    let reads = node.store.reads();

    sleep(20 * ROUND).await;
    assert_eq!(node.store.reads(), reads);
    assert_eq!(node.file("a").as_deref(), Some("1"), "it has not grown stale");

    node.store.say("b", Say::Value("2"));
    node.file_becomes("b", Some("2")).await;
    assert_eq!(node.store.reads(), reads + 1);
}
