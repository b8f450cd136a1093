//! Edits of a class while its volumes are served.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_class_that_is_edited_while_its_store_is_first_asked_is_followed() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    node.store.say("b", Say::Value("1"));
    let (published, ()) = tokio::join!(node.publish("v"), async {
        sleep(Duration::from_millis(50)).await;
        node.class("a,b", |_| {});
        node.store.say("a", Say::Value("1"));
    });
    published.unwrap();

    node.file_becomes("b", Some("1")).await;
}

#[tokio::test(start_paused = true)]
async fn an_edited_class_is_applied_to_live_volumes_and_a_deleted_one_changes_nothing() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("2"));
    node.publish("v").await.unwrap();

    node.class("b", |_| {});
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.mode.files("/v").unwrap(), BTreeMap::from([("b".to_owned(), "2".to_owned())]));

    node.classes.remove(&publish("v").class);
    sleep(REFRESH * 3).await;
    assert_eq!(node.file("b").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_asks_for_something_the_store_lacks_leaves_the_old_files() {
    let node = Node::serving("a").await;

    node.class("a,missing", |_| {});
    sleep(REFRESH * 2).await;
    assert_eq!(node.mode.files("/v").unwrap().len(), 1);
    node.store.say("missing", Say::Value("here"));
    node.file_becomes("missing", Some("here")).await;
}
