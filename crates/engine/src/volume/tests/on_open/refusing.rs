//! Which callers get no contents, and why.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test(start_paused = true)]
async fn who_may_not_open_a_file_is_refused_and_the_store_is_not_asked() {
    let node = serving_on_open().await;
    let open = || async { node.asks().open("/v", "a", &caller("stranger"), PATIENCE).await };

    let refused = open().await.unwrap_err();
    assert!(matches!(refused, mode::Error::Refused(_)), "{refused:?}");
    assert_eq!((node.store.reads(), node.logins()), (0, 0));

    node.open("a").await.unwrap();
    assert!(matches!(open().await, Err(mode::Error::Refused(_))), "though it is held");
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_shows_files_with_their_contents_is_no_mode_for_it() {
    let node = asking();
    node.class("a", |settings| settings.fetch = FetchWhen::OnOpen);

    let refused = node.publish("v").await.unwrap_err();

    assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
    assert_eq!(
        refused.to_string(),
        "class ns/c: secretfs.dev/fetch: on-open is not for mode tmpfs, which shows files with their contents; \
         write secretfs.dev/mode: fuse, or write secretfs.dev/fetch: eager"
    );
    assert_eq!(node.store.reads(), 0);
    assert!(node.mode.files("/v").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_class_that_cannot_be_read_file_by_file_is_refused_at_the_mount() {
    let node = asking();
    node.class("cert!", on_open);

    let refused = node.publish("v").await.unwrap_err();

    assert!(refused.to_string().contains("object \"cert\" is made for one volume alone"), "{refused}");
    assert!(node.volumes.parts().records.load().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_store_says_becomes_what_a_program_is_told() {
    let node = asking();
    node.class("a,b?", on_open);
    node.publish("v").await.unwrap();
    node.store.say("b", Say::Error(ErrorKind::NotFound));
    for path in ["b", "unlisted"] {
        let told = node.open(path).await.unwrap_err();
        assert!(matches!(told, mode::Error::Missing(_)), "{path}: {told:?}");
    }
    for (kind, wanted) in [
        (ErrorKind::Denied, "Refused"),
        (ErrorKind::Unauthenticated, "Refused"),
        (ErrorKind::NotFound, "Missing"),
        (ErrorKind::Revoked, "Missing"),
        (ErrorKind::Invalid, "Unread"),
        (ErrorKind::Unavailable, "Unread"),
    ] {
        node.store.say("a", Say::Error(kind));
        let told = node.open("a").await.unwrap_err();
        assert!(format!("{told:?}").starts_with(wanted), "{kind:?}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_left_alone_is_not_asked_by_who_opens() {
    let node = serving_on_open().await;
    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    for _ in 0..20 {
        node.open("a").await.unwrap_err();
    }
    let (before, started) = (node.store.reads(), Instant::now());

    for _ in 0..20 {
        let away = node.open("a").await.unwrap_err();
        assert!(matches!(away, mode::Error::Unread(_)), "{away:?}");
    }

    let reads = node.store.reads() - before;
    assert!(before <= 10 && reads == 0, "{before} reads, then {reads}");
    assert!(started.elapsed() < Duration::from_secs(1), "who opens is told at once");
}

#[tokio::test(start_paused = true)]
async fn what_hangs_on_a_lease_is_not_given_and_its_login_is_ended() {
    let node = serving_on_open().await;
    node.store.say("a", Say::Leased("u", lease("l")));

    let refused = node.open("a").await.unwrap_err();
    sleep(Duration::from_secs(1)).await;

    assert!(refused.to_string().contains("hangs on a lease"), "{refused}");
    assert!(!node.store.0.lock().unwrap().revoked.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fault_while_one_file_is_read_is_told_to_who_opens_it_and_to_nobody_else() {
    let node = serving_on_open().await;
    node.store.say("a", Say::Panic);

    let unread = node.open("a").await.unwrap_err();

    assert!(matches!(unread, mode::Error::Unread(_)), "{unread:?}");
    assert!(!format!("{unread:?}").contains("hunter2"), "{unread:?}");
    node.open("b").await.unwrap();
    node.store.say("a", Say::Value("1"));
    node.open("a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_volume_that_wait_are_bounded_and_hold_up_no_other_volume() {
    let node = serving_on_open().await;
    node.publish("w").await.unwrap();
    node.store.say("a", Say::Hang);
    let crowded = AtomicUsize::new(0);
    let hostile = join_all((0..1000).map(|_| async {
        if matches!(node.open("a").await, Err(mode::Error::Unread(_))) {
            crowded.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let other = async {
        sleep(Duration::from_secs(1)).await;
        node.asks().open("/w", "b", &web(), PATIENCE).await
    };

    let (_, opened) = tokio::join!(hostile, other);

    assert_eq!(crowded.load(Ordering::SeqCst), 1000 - 128);
    assert!(opened.is_ok());
    assert!(node.open("b").await.is_ok(), "who waited no more leaves no trace");
}

#[tokio::test(start_paused = true)]
async fn what_one_volume_holds_is_bounded_and_the_oldest_of_it_goes_first() {
    const MIB: usize = 1 << 20;
    let node = asking();
    let names: Vec<_> = (0..6).map(|n| format!("o{n}")).collect();
    node.class(&format!("{},large", names.join(",")), on_open);
    node.publish("v").await.unwrap();
    let bytes = |size: usize| Say::Secret(vec![b'x'; size].into(), Duration::ZERO);
    names.iter().for_each(|name| node.store.say(name, bytes(MIB)));
    node.store.say("large", bytes(9 * MIB));

    let mut loans = Vec::new();
    for name in &names {
        loans.push(node.open(name).await.unwrap());
        sleep(Duration::from_millis(10)).await;
    }

    let held: Vec<_> = loans.iter().map(|loan| loan.read(<[u8]>::len).is_some()).collect();
    assert_eq!(held, [false, false, true, true, true, true]);
    assert!(matches!(node.open("large").await, Err(mode::Error::TooLarge(_))));
}
