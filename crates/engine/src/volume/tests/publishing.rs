//! The results of publishes and unpublishes.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_volume_is_mounted_with_all_its_objects_or_not_at_all() {
    let node = Node::start();
    node.class("a,b", |_| {});
    node.store.say("a", Say::Value("1"));

    let error = node.publish("v").await.unwrap_err();
    assert_eq!(error.provider_kind(), Some(ErrorKind::NotFound));
    assert!(error.to_string().contains("object b"), "{error}");
    assert!(node.mode.files("/v").is_none());

    node.store.say("b", Say::Value("2"));
    node.publish("v").await.unwrap();
    assert_eq!(node.mode.files("/v").unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_optional_object_may_be_missing_and_appears_when_it_is_there() {
    let node = Node::start();
    node.class("a,b?", |_| {});
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    assert_eq!(node.file("b"), None);

    node.store.say("b", Say::Value("2"));
    node.file_becomes("b", Some("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_republish_asks_no_store_even_if_the_class_is_gone() {
    let node = Node::serving("a").await;
    let reads = node.store.reads();

    node.publish("v").await.unwrap();
    node.classes.remove(&publish("v").class);
    node.publish("v").await.unwrap();

    assert_eq!(node.store.reads(), reads);
    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_asks_for_something_else_is_refused_and_the_volume_stays() {
    let node = Node::serving("a").await;

    let elsewhere = Publish { target: "/other".into(), ..publish("v") };
    assert!(matches!(node.publish_as(elsewhere).await, Err(Error::Published { elsewhere: true, .. })));
    let mut grouped = publish("v");
    grouped.appearance.fs_group = Some(7);
    assert!(matches!(node.publish_as(grouped).await, Err(Error::Published { elsewhere: false, .. })));
    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_mount_of_a_volume_that_is_known_is_audited_like_a_first_one() {
    let node = Node::audited();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    let mut other = publish("v");
    other.appearance.fs_group = Some(7);

    node.publish_as(other).await.unwrap_err();

    let record = |operation: &str, outcome: &str| (operation.to_owned(), outcome.to_owned());
    assert_eq!(node.audit(), [record("publish", "success"), record("publish", "failure")]);
    assert!(node.volumes.refusals().is_empty(), "it is mounted");

    node.mode.0.lock().unwrap().remove(Path::new("/v"));
    node.store.say("a", Say::Error(ErrorKind::Denied));
    sleep(ROUND).await;
    node.publish("v").await.unwrap_err();
    assert_eq!(node.audit().last(), Some(&record("deny", "failure")));
    assert_eq!(node.volumes.refusals().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_publish_waits_a_little_for_classes_that_nobody_knows_yet() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.classes.go_away();

    let never = node.publish("v").await;
    let (late, ()) = tokio::join!(node.publish("w"), async {
        sleep(Duration::from_secs(1)).await;
        node.classes.return_again();
    });

    assert!(matches!(never, Err(Error::ClassNotYet(_))), "{never:?}");
    assert!(late.is_ok(), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_republish_hands_its_token_to_the_login_and_asks_no_store() {
    let node = Node::serving("a").await;
    let reads = node.store.reads();

    node.volumes.publish(publish("v"), credentials::token(&"newer".to_owned().into())).await.unwrap();
    sleep(Duration::from_millis(10)).await;

    assert_eq!(node.store.0.lock().unwrap().handed, ["newer"]);
    assert_eq!(node.store.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_up_no_republish_and_no_unpublish() {
    let node = Node::serving("a").await;
    node.store.say("a", Say::Hang);
    sleep(ROUND).await;

    let started = Instant::now();
    node.publish("v").await.unwrap();
    node.unpublish("v").await;
    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_runs_out_of_time_names_what_it_waits_for_and_leaves_nothing() {
    let node = Node::start();
    node.class("a,b", |settings| settings.timeout = Duration::from_secs(20));
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Hang);

    let error = node.publish("v").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(node.mode.files("/v").is_none());
    assert_eq!(std::fs::read_dir(node.state.path().join("volumes")).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_longer_wait_than_there_was() {
    let node = Node::start();
    node.class("a", |settings| settings.timeout = Duration::from_secs(100));
    node.store.say("a", Say::Hang);

    // More than are served at the same time, and for longer than the last one waits.
    let volumes: Vec<String> = (0..70).map(|number| format!("v{number}")).collect();
    let patient = futures::future::join_all(volumes.iter().map(|volume| node.publish(volume)));
    let last = async {
        sleep(Duration::from_secs(1)).await;
        node.class("a", |settings| settings.timeout = Duration::from_secs(20));
        let started = Instant::now();
        (node.publish("last").await.unwrap_err(), started.elapsed())
    };
    let (_, (error, most)) = tokio::join!(patient, last);

    let Error::Deadline { waited, .. } = error else { panic!("{error}") };
    assert!(waited <= most, "{waited:?} is told after {most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_call_for_a_volume_in_work_is_told_so() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Hang);
    let first = node.publish("v");
    let second = async {
        sleep(Duration::from_secs(1)).await;
        node.publish("v").await
    };
    let (_, second) = tokio::join!(first, second);
    assert!(matches!(second, Err(Error::Busy(_))));
}

#[tokio::test(start_paused = true)]
async fn unpublish_of_a_volume_never_heard_of_is_fine() {
    let node = Node::start();
    node.unpublish("unknown").await;
}

#[tokio::test(start_paused = true)]
async fn a_stopping_process_takes_no_new_volume_and_leaves_the_mounts() {
    let node = Node::serving("a").await;
    node.volumes.drain().await;
    assert!(matches!(node.publish("w").await, Err(Error::Stopping)));
    assert_eq!(node.file("a").as_deref(), Some("1"));
}
