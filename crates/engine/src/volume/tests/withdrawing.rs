//! Which files go when a store refuses or revokes objects that it gave before.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_denied_object_stays_and_the_others_go_on_being_refreshed() {
    let node = Node::serving("a,b").await;

    node.store.say("a", Say::Error(ErrorKind::Denied));
    node.store.say("b", Say::Value("2"));
    node.file_becomes("b", Some("2")).await;
    sleep(REFRESH * 5).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));
    assert!(node.publish("new").await.is_err(), "a new pod is refused");
}

#[tokio::test(start_paused = true)]
async fn on_denied_remove_takes_a_denied_object_back() {
    let node = Node::start();
    node.class("a,b", |settings| settings.on_denied = OnDenied::Remove);
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("1"));
    node.publish("v").await.unwrap();

    node.store.say("a", Say::Error(ErrorKind::Denied));
    node.file_becomes("a", None).await;
    assert_eq!(node.file("b").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_object_goes_after_two_polls_thirty_seconds_apart_and_comes_back_with_the_store() {
    let node = Node::serving("a,b").await;

    node.store.say("a", Say::Error(ErrorKind::Revoked));
    let revoked = Instant::now();
    node.file_becomes("a", None).await;
    let waited = revoked.elapsed();
    assert!(waited > Duration::from_secs(70) && waited < Duration::from_secs(100), "{waited:?}");
    assert_eq!(node.file("b").as_deref(), Some("1"));

    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_composed_file_goes_with_an_object_that_was_withdrawn() {
    let node = Node::start();
    let composed = Composed {
        path: "app.json".try_into().unwrap(),
        format: ComposedFormat::Json,
        from: vec![("A".to_owned(), "a".to_owned()), ("B".to_owned(), "b".to_owned())],
        mode: None,
    };
    node.class("a,b", |settings| settings.files = vec![composed]);
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("2"));
    node.publish("v").await.unwrap();
    let composed = node.file("app.json").unwrap();
    assert!(composed.contains(r#""A": "1""#) && composed.contains(r#""B": "2""#), "{composed}");

    node.store.say("a", Say::Error(ErrorKind::Revoked));
    node.file_becomes("a", None).await;
    assert_eq!(node.file("app.json"), None);
    assert_eq!(node.file("b").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_template_shows_the_newest_of_all_its_objects_together() {
    let node = Node::start();
    let files =
        "- {path: app.conf, format: template, from: {A: a, B: b}, template: 'a={{ A | json }} b={{ B }}'}";
    node.class("a,b", |settings| settings.set("secretfs.dev/files", files).unwrap());
    node.store.say("a", Say::Value("\"1\""));
    node.store.say("b", Say::Value("2"));
    node.publish("v").await.unwrap();
    assert_eq!(node.file("app.conf").as_deref(), Some(r#"a="\"1\"" b=2"#));

    node.store.say("b", Say::Value("{{ A }}"));
    node.file_becomes("app.conf", Some(r#"a="\"1\"" b={{ A }}"#)).await;
}

#[tokio::test(start_paused = true)]
async fn a_class_whose_composed_files_would_fill_the_memory_is_refused() {
    let node = Node::start();
    let file = |n| {
        format!("- {{path: f{n}, format: template, from: {{A: a}}, template: '{}'}}\n", "{{ A }}".repeat(32))
    };
    node.class("a", |settings| {
        settings.set("secretfs.dev/files", &(0..100).map(file).collect::<String>()).unwrap();
    });
    node.store.say("a", Say::Value("x".repeat(64 * 1024).leak()));

    let refused = node.publish("v").await.unwrap_err().to_string();

    assert!(refused.contains("larger than a volume may be"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_ordered_refresh_finds_a_revocation_at_once() {
    let node = Node::serving("a,b").await;

    node.store.say("a", Say::Error(ErrorKind::Revoked));
    sleep(Duration::from_secs(1)).await;
    let outcome = node.volumes.refresh(&VolumeId("v".to_owned()), Instant::now()).await;
    assert!(matches!(outcome, Some(RefreshOutcome::Failed(_))));
    assert_eq!(node.file("a"), None);
}

#[tokio::test(start_paused = true)]
async fn many_objects_that_turn_together_are_an_outage() {
    let node = Node::start();
    let names: Vec<_> = (0..12).map(|n| format!("o{n}")).collect();
    node.class(&names.join(","), |_| {});
    names.iter().for_each(|name| node.store.say(name, Say::Value("1")));
    node.publish("v").await.unwrap();

    names.iter().for_each(|name| node.store.say(name, Say::Error(ErrorKind::Revoked)));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(node.mode.files("/v").unwrap().len(), 12);
}
