//! Orders to take secrets back: what they take from running volumes, from volumes that start, and from those that a
//! later process takes over.

use super::*;
use crate::revocation::{Given, Revocation, Target};

/// Longest time from an order to its effect.
const AT_ONCE: Duration = Duration::from_secs(1);

fn named(name: &str, target: Target) -> Revocation {
    let reason = Some("it leaked".to_owned());
    Revocation { given: Given::InNamespace("ns".to_owned()), name: name.to_owned(), target, reason }
}

fn object(name: &str) -> Target {
    Target { object: Some(name.to_owned()), ..Target::default() }
}

impl Node {
    /// Gives these orders in place of those before, and waits for the longest time that they may take.
    async fn revoke(&self, targets: impl IntoIterator<Item = Target>) {
        self.in_force.set_of_cluster(targets.into_iter().map(|target| named("leak", target)).collect());
        sleep(AT_ONCE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_order_covers_is_taken_back_at_once_without_asking_the_store_and_comes_back_with_its_end() {
    let node = Node::serving("a,b").await;
    let reads = node.store.reads();

    node.revoke([object("a")]).await;
    assert_eq!((node.file("a"), node.file("b").as_deref()), (None, Some("1")));
    assert_eq!(node.store.reads(), reads);
    sleep(REFRESH * 3).await;
    assert_eq!(node.file("a"), None);
    assert!(
        !node.store.0.lock().unwrap().reads[reads..].contains(&"a".to_owned()),
        "it is not read meanwhile"
    );
    node.store.say("b", Say::Value("2"));
    node.file_becomes("b", Some("2")).await;

    node.revoke([]).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn an_order_waits_for_no_store() {
    let node = Node::serving("a,b").await;
    node.store.say("a", Say::Hang);
    node.store.announce();
    sleep(AT_ONCE).await;

    node.revoke([object("b")]).await;

    assert_eq!((node.file("a").as_deref(), node.file("b")), (Some("1"), None));
}

#[tokio::test(start_paused = true)]
async fn an_order_is_followed_although_the_class_asks_for_something_that_the_store_lacks() {
    let node = Node::serving("a,b").await;
    node.class("a,b,missing", |_| {});
    sleep(ROUND).await;

    node.revoke([object("a")]).await;

    assert_eq!((node.file("a"), node.file("b").as_deref()), (None, Some("1")));
}

#[tokio::test(start_paused = true)]
async fn orders_of_others_take_nothing() {
    let node = Node::serving("a").await;
    let of = |namespace: &str| Some(namespace.to_owned());
    let elsewhere = Target { namespace: of("other"), ..Target::default() };
    let pod = Target { pod: of("w"), ..Target::default() };

    node.revoke([elsewhere, pod, object("b")]).await;

    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_does_not_start_on_what_an_order_covers_and_starts_when_the_order_is_gone() {
    let node = Node::start();
    node.class("a,b?", |_| {});
    ["a", "b"].iter().for_each(|name| node.store.say(name, Say::Value("1")));

    node.revoke([object("a")]).await;
    let refused = node.publish("v").await.unwrap_err();
    assert_eq!(refused.provider_kind(), Some(ErrorKind::Revoked));
    assert!(refused.to_string().contains("revoked by Revocation ns/leak: it leaked"), "{refused}");
    assert_eq!(node.store.reads(), 0);

    node.revoke([object("b")]).await;
    node.publish("v").await.unwrap();
    assert_eq!((node.file("a").as_deref(), node.file("b")), (Some("1"), None));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_reading_when_the_order_comes_does_not_start() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Secret(b"1".to_vec().into(), Duration::from_secs(5)));
    let orders = Arc::clone(&node.in_force);
    let later = async move {
        sleep(AT_ONCE).await;
        orders.set_of_cluster(vec![named("leak", object("a"))]);
    };

    let (refused, ()) = tokio::join!(node.publish("v"), later);

    assert_eq!(refused.unwrap_err().provider_kind(), Some(ErrorKind::Revoked));
    assert!(node.mode.files("/v").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_taken_over_loses_what_is_covered_before_it_is_served() {
    for target in [object("a"), object("fake-path-of-nothing"), Target::default()] {
        let whole = target == Target::default();
        let gone = whole || target == object("a");
        let node = Node::serving("a,b").await;
        node.classes.lose_all();
        assert!(node.in_force.of_cluster().is_empty());
        let node = node.restart();
        node.in_force.set_of_cluster(vec![named("leak", target)]);

        node.volumes.restore().await.unwrap();

        assert_eq!(node.file("a").is_none(), gone);
        assert_eq!(node.file("b").is_none(), whole);
        node.revoke([]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_from_a_volume_before_it_was_served_comes_back_with_the_end_of_the_order() {
    let node = Node::serving("a,b").await.restart();
    node.in_force.set_of_cluster(vec![named("leak", object("a"))]);
    node.volumes.restore().await.unwrap();
    sleep(ROUND).await;
    assert_eq!((node.file("a"), node.file("b").as_deref()), (None, Some("1")));

    node.revoke([]).await;

    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_composed_file_and_older_versions_go_with_the_object_also_before_the_volume_is_served() {
    let class = "{apiVersion: secrets-store.csi.x-k8s.io/v1, kind: SecretProviderClass, \
                 metadata: {name: c, namespace: ns}, spec: {provider: fake, parameters: {objects: 'a,b', \
                 secretfs.dev/refresh: 60s, secretfs.dev/keep-previous: '1', \
                 secretfs.dev/files: '- {path: app.json, format: json, from: {A: a, B: b}}'}}}";
    let node = Node::start();
    node.classes.set(Class::read(class).unwrap().remove(0));
    ["a", "b"].iter().for_each(|name| node.store.say(name, Say::Value("1")));
    node.publish("v").await.unwrap();
    node.store.say("a", Say::Value("2"));
    node.file_becomes("a.previous", Some("1")).await;
    let node = node.restart();
    node.in_force.set_of_cluster(vec![named("leak", object("a"))]);

    node.volumes.restore().await.unwrap();

    let left = node.mode.files("/v").unwrap();
    assert_eq!(left.into_keys().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_class_that_keeps_what_is_revoked_keeps_its_files_is_told_of_once_and_starts_no_pod() {
    let node = Node::start();
    node.class("a", |settings| settings.set("secretfs.dev/on-revoked", "keep").unwrap());
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    let mut happenings = node.volumes.listen();

    node.revoke([object("a")]).await;
    sleep(REFRESH * 3).await;

    assert_eq!(node.file("a").as_deref(), Some("1"));
    let told: Vec<_> = std::iter::from_fn(|| happenings.try_recv().ok()).collect();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(matches!(&told.what, What::Failed(ErrorKind::Revoked, words, _) if words.contains("it leaked")));
    assert!(node.publish("new").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_order_is_audited_and_told_with_its_name_and_reason() {
    let node = Node::audited();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    let mut happenings = node.volumes.listen();

    node.revoke([object("a")]).await;

    let told = happenings.try_recv().unwrap().what;
    let What::Withdrawn(withdrawn) = told else { panic!("{told:?}") };
    assert_eq!(withdrawn.order.as_deref(), Some("revoked by Revocation ns/leak: it leaked"));
    let text = std::fs::read_to_string(node.state.path().join("audit")).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["api"]["operation"], "withdraw");
    assert_eq!(last["resources"][0]["name"], "a");
    let order = serde_json::json!({"provider": "revocation", "name": "Revocation ns/leak"});
    assert_eq!(last["resources"][1], order);
}

#[tokio::test(start_paused = true)]
async fn the_login_behind_a_lease_that_an_order_covers_ends_with_it() {
    let node = Node::leasing().await;

    node.revoke([object("creds")]).await;
    sleep(Duration::from_secs(5)).await;

    assert_eq!(node.file("creds"), None);
    assert_eq!(node.store.0.lock().unwrap().revoked.len(), 1);
}
