//! Trees: files that only the store's answers tell.

use provider::{Leaf, Reading, SecretBytes};

use super::*;

/// The store's answer to a listing: the path of each file, and its value or why there is none.
fn listing(files: &[(&str, Result<&str, ErrorKind>)]) -> Say {
    let leaf = |(path, found): &(&str, Result<&str, ErrorKind>)| {
        let value = found.map(|text| Reading::new(SecretBytes::from(text.to_owned())));
        let found = value.map_err(|kind| provider::Error::new(kind, "the store said so of one"));
        Leaf { path: (*path).to_owned(), name: format!("/{path}"), found }
    };
    let leaves: Vec<_> = files.iter().map(leaf).collect();
    Say::Secret(Leaf::pack(&leaves, 100).unwrap().body, Duration::ZERO)
}

fn values(files: &[(&str, &'static str)]) -> Say {
    listing(&files.iter().map(|(path, text)| (*path, Ok(*text))).collect::<Vec<_>>())
}

/// A node whose volume `v` shows the object `a` and, below `conf`, the files that the store lists.
async fn listing_node(adapt: impl FnOnce(&mut Settings), files: &[(&str, &'static str)]) -> Node {
    let node = Node::start();
    node.class("a,conf/=list", adapt);
    node.store.say("a", Say::Value("1"));
    node.store.say("list", values(files));
    node.publish("v").await.unwrap();
    node
}

#[tokio::test(start_paused = true)]
async fn what_a_listing_finds_is_shown_and_new_names_appear() {
    let node = listing_node(|_| {}, &[("db/user", "u"), ("key", "k")]).await;
    assert_eq!(node.file("conf/db/user").as_deref(), Some("u"));
    assert_eq!(node.file("conf/key").as_deref(), Some("k"));
    assert_eq!(node.file("a").as_deref(), Some("1"));

    node.store.say("list", values(&[("db/user", "u2"), ("key", "k"), ("new", "n")]));
    node.file_becomes("conf/new", Some("n")).await;
    assert_eq!(node.file("conf/db/user").as_deref(), Some("u2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_no_more_stays_as_what_is_denied_does() {
    let node = listing_node(|_| {}, &[("old", "o"), ("key", "k")]).await;

    node.store.say("list", values(&[("key", "k2")]));
    node.file_becomes("conf/key", Some("k2")).await;
    sleep(REFRESH * 5).await;
    assert_eq!(node.file("conf/old").as_deref(), Some("o"));
    node.publish("w").await.expect("a new pod has what there is now");
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_no_more_goes_where_what_is_denied_goes_and_comes_back_with_the_listing() {
    let node =
        listing_node(|settings| settings.on_denied = OnDenied::Remove, &[("old", "o"), ("key", "k")]).await;

    node.store.say("list", values(&[("key", "k")]));
    let unlisted = Instant::now();
    node.file_becomes("conf/old", None).await;
    assert!(unlisted.elapsed() > Duration::from_secs(30), "after two answers: {:?}", unlisted.elapsed());
    assert_eq!(node.file("conf/key").as_deref(), Some("k"));

    node.store.say("list", values(&[("key", "k"), ("old", "again")]));
    node.file_becomes("conf/old", Some("again")).await;
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_or_is_denied_is_no_empty_tree() {
    let node = listing_node(|_| {}, &[("key", "k")]).await;

    for kind in [ErrorKind::Denied, ErrorKind::Unavailable, ErrorKind::NotFound, ErrorKind::Invalid] {
        node.store.say("list", Say::Error(kind));
        sleep(REFRESH * 5).await;
        assert_eq!(node.file("conf/key").as_deref(), Some("k"), "{kind:?}");
        assert!(node.publish(&format!("{kind:?}")).await.is_err(), "{kind:?}: a new pod is refused");
    }
    node.store.say("list", values(&[("key", "k2")]));
    node.file_becomes("conf/key", Some("k2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_listing_of_nothing_is_refused_unless_it_may_be_empty() {
    let node = Node::start();
    node.class("conf/=list", |_| {});
    node.store.say("list", values(&[]));
    let refused = node.publish("v").await.unwrap_err().to_string();
    assert!(refused.contains("lists nothing") && refused.contains("optional: true"), "{refused}");

    node.class("a,conf/=list?", |_| {});
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    node.store.say("list", values(&[("key", "k")]));
    node.file_becomes("conf/key", Some("k")).await;
}

#[tokio::test(start_paused = true)]
async fn more_files_than_may_be_are_an_error_and_not_a_part_of_them() {
    let node = Node::start();
    node.class("conf/=list", |_| {});
    node.store.say("list", values(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")]));

    let refused = node.publish("v").await.unwrap_err().to_string();

    assert!(refused.contains("more than 4 files") && refused.contains("maxFiles"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_no_path_or_two_files_in_one_place_are_refused_and_files_stay() {
    let node = listing_node(|_| {}, &[("key", "k")]).await;

    for (files, told) in [
        (&[("../escape", "x"), ("key", "k")][..], "../escape"),
        (&[("/etc/passwd", "x")][..], "absolute"),
        (&[("key", "k"), ("key/below", "x")][..], "conf/key"),
        (&[("key", "k"), ("key", "x")][..], "conf/key"),
    ] {
        node.store.say("list", values(files));
        sleep(REFRESH * 3).await;
        assert_eq!(node.file("conf/key").as_deref(), Some("k"), "{files:?}");
        let refused = node.publish("w").await.unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_file_that_is_denied_holds_up_new_pods_and_takes_no_other_along() {
    let node = listing_node(|_| {}, &[("key", "k"), ("other", "o")]).await;

    node.store.say("list", listing(&[("key", Err(ErrorKind::Denied)), ("other", Ok("o2"))]));
    node.file_becomes("conf/other", Some("o2")).await;
    assert_eq!(node.file("conf/key").as_deref(), Some("k"));
    let refused = node.publish("w").await.unwrap_err().to_string();
    assert!(refused.contains("conf/key") && refused.contains("said so of one"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_without_a_value_is_not_there() {
    let node = Node::start();
    node.class("conf/=list", |_| {});
    node.store.say("list", listing(&[("key", Ok("k")), ("bare", Err(ErrorKind::NotFound))]));

    node.publish("v").await.unwrap();

    assert_eq!((node.file("conf/key").as_deref(), node.file("conf/bare")), (Some("k"), None));
}

/// A file that is made of the object `a` and of `name`.
fn composed(name: &str) -> Composed {
    Composed {
        path: "app.json".try_into().unwrap(),
        format: ComposedFormat::Json,
        from: vec![("A".to_owned(), "a".to_owned()), ("B".to_owned(), name.to_owned())],
        mode: None,
    }
}

#[tokio::test(start_paused = true)]
async fn no_pod_starts_without_a_composed_file_of_what_is_listed_without_a_value() {
    let node = Node::start();
    node.class("a,conf/=list", |settings| settings.files = vec![composed("conf/bare")]);
    node.store.say("a", Say::Value("1"));
    node.store.say("list", listing(&[("key", Ok("k")), ("bare", Err(ErrorKind::NotFound))]));
    let refused = node.publish("v").await.unwrap_err().to_string();
    assert!(refused.contains("made of conf/bare"), "{refused}");

    node.store.say("list", values(&[("key", "k"), ("bare", "b")]));
    node.publish("v").await.unwrap();
    node.store.say("list", listing(&[("key", Ok("k2")), ("bare", Err(ErrorKind::Revoked))]));
    node.file_becomes("app.json", None).await;
    node.file_becomes("conf/key", Some("k2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_composed_file_names_what_a_listing_finds_and_goes_with_it() {
    let node = Node::start();
    node.class("a,conf/=list", |settings| settings.files = vec![composed("conf/other")]);
    node.store.say("a", Say::Value("1"));
    node.store.say("list", values(&[("key", "k")]));
    let refused = node.publish("v").await.unwrap_err().to_string();
    assert!(refused.contains("made of conf/other"), "{refused}");

    node.class("a,conf/=list", |settings| {
        settings.files = vec![composed("conf/key")];
        settings.on_denied = OnDenied::Remove;
    });
    node.publish("v").await.unwrap();
    assert!(node.file("app.json").unwrap().contains(r#""B": "k""#));

    node.store.say("list", values(&[("else", "e")]));
    node.file_becomes("conf/key", None).await;
    sleep(REFRESH * 3).await;
    assert_eq!((node.file("app.json"), node.file("conf/else").as_deref()), (None, Some("e")));
}

#[tokio::test(start_paused = true)]
async fn a_restart_during_an_outage_keeps_what_was_found_and_goes_on_with_it() {
    let node = listing_node(|_| {}, &[("key", "k"), ("old", "o")]).await;
    node.store.say("list", Say::Error(ErrorKind::Unavailable));

    let node = node.restart();
    node.volumes.restore().await.unwrap();
    sleep(REFRESH * 3).await;
    assert_eq!(node.file("conf/key").as_deref(), Some("k"));

    node.store.say("list", values(&[("key", "k2")]));
    node.file_becomes("conf/key", Some("k2")).await;
    assert_eq!(node.file("conf/old").as_deref(), Some("o"), "as without a restart");
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_moves_a_listing_moves_its_files() {
    let node = listing_node(|_| {}, &[("key", "k")]).await;

    node.class("a,moved/=list", |_| {});
    node.file_becomes("moved/key", Some("k")).await;

    assert_eq!(node.file("conf/key"), None);
    node.class("a", |_| {});
    node.file_becomes("moved/key", None).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));
}
