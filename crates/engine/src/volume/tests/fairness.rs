//! What one namespace does must not disturb another.

use super::*;

/// How many volumes hang.
const HANGING: usize = 500;

fn of(namespace: &str, volume: &str) -> Publish {
    let mut publish = publish(volume);
    publish.class.namespace = namespace.to_owned();
    publish.subject.identity.namespace = namespace.to_owned();
    publish
}

impl Node {
    /// A class of `namespace` that reads `objects` from `store`.
    fn class_of(&self, namespace: &str, store: &str, objects: &str) {
        let parameter = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        self.classes.set(Class {
            namespace: namespace.to_owned(),
            name: "c".to_owned(),
            provider: "fake".to_owned(),
            parameters: BTreeMap::from([parameter("objects", objects), parameter("store", store)]),
            settings: Settings { refresh: Some(REFRESH), ..Settings::default() },
            own: BTreeMap::new(),
            secret_objects: Vec::new(),
        });
    }

    /// Makes volumes of eight namespaces wait for a store that never answers a login.
    async fn hang(&self) {
        self.store.0.lock().unwrap().hanging.insert("hangs".to_owned());
        for index in 0..HANGING {
            let namespace = format!("evil-{}", index % 8);
            self.class_of(&namespace, "hangs", "a");
            let (volumes, wish) = (Arc::clone(&self.volumes), of(&namespace, &format!("hang-{index}")));
            drop(tokio::spawn(async move { volumes.publish(wish, Credentials::default()).await.map(drop) }));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn volumes_that_hang_at_login_hold_up_no_publish_no_change_and_no_revocation_of_another_namespace() {
    let node = Node::serving("a").await;
    node.hang().await;

    let started = Instant::now();
    node.publish("w").await.unwrap();
    node.store.say("a", Say::Value("2"));
    node.store.announce();
    node.file_becomes("a", Some("2")).await;
    node.store.say("a", Say::Error(ErrorKind::Revoked));
    node.store.announce();
    node.file_becomes("a", None).await;

    println!("{:?} beside {HANGING} that hang", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn logins_of_a_store_that_hangs_hold_up_the_end_of_no_others() {
    let node = Node::leasing().await;
    node.store.say("l", Say::Leased("u", lease("l")));
    for index in 0..100 {
        node.class_of("evil", "hangs", "l");
        node.publish_as(of("evil", &format!("e{index}"))).await.unwrap();
    }
    node.store.0.lock().unwrap().hanging.insert("hangs".to_owned());
    for index in 0..100 {
        node.unpublish(&format!("e{index}")).await;
    }
    sleep(Duration::from_millis(10)).await;

    let started = Instant::now();
    node.unpublish("v").await;
    while node.store.0.lock().unwrap().revoked.is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    println!("ended after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(node.store.0.lock().unwrap().revoked, ["login-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_no_length_is_not_issued_again_without_end() {
    let node = Node::start();
    node.class("creds", |_| {});
    let nothing = Validity { duration: provider::Span::ZERO, ..lease("l") };
    node.store.say("creds", Say::Leased("u", Validity { renewable: false, ..nothing }));
    node.publish("v").await.unwrap();

    sleep(Duration::from_secs(60)).await;

    let logins = node.store.0.lock().unwrap().logins;
    println!("{logins} logins in a minute");
    assert!((2..=14).contains(&logins), "{logins}");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_whose_store_ends_no_login_gets_no_more_of_them_and_another_does() {
    let node = Node::start();
    node.store.0.lock().unwrap().revoke_fails = true;
    node.store.say("l", Say::Leased("u", lease("l")));
    node.class_of("evil", "hostile", "l");
    node.class_of("shop", "healthy", "l");

    let mut refused = None;
    for index in 0..20_000 {
        let volume = format!("e{index}");
        if let Err(error) = node.publish_as(of("evil", &volume)).await {
            refused = Some(error.to_string());
            println!("after {index}: {error}");
            break;
        }
        node.unpublish(&volume).await;
    }

    let refused = refused.expect("a bound");
    assert!(refused.contains("the kept logins of namespace evil take all the room"), "{refused}");
    let kept: usize = node.mounter.blobs.lock().unwrap().values().map(Vec::len).sum();
    println!("{kept} bytes are kept");
    assert!(kept < 4 << 20, "{kept}");
    node.publish_as(of("shop", "v")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_store_told_one_namespace_is_not_told_to_another() {
    let node = Node::start();
    node.store.say("path-of-another", Say::Error(ErrorKind::Unavailable));
    node.store.say("own", Say::Value("1"));
    node.class_of("other", "shared", "path-of-another");
    node.class_of("shop", "shared", "own");
    node.publish_as(of("other", "o")).await.unwrap_err();
    node.publish_as(of("other", "p")).await.unwrap_err();

    let mut wish = of("shop", "v");
    wish.timeout = Duration::from_secs(2);
    let told = node.publish_as(wish).await.unwrap_err().to_string();

    println!("{told}");
    assert!(told.contains("the store is away") && !told.contains("path-of-another"), "{told}");
}
