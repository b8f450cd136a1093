use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use provider::{ErrorKind, Provider as _};
use provider_kubernetes::{Kubernetes, KubernetesConfig};
use serde_json::json;
use testing::{Answer, Cluster, Component, Scope};

use crate::fixture::{
    Namespace, PanicsOnce, Scripted, announced, changes, event, is_watch, pod, read, secret, session, source,
    stream, until,
};

fn contents(object: Result<provider::Object, provider::Error>) -> Result<String, ErrorKind> {
    object.map(|object| object.contents.expose_str().unwrap().to_owned()).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_change_is_announced_to_every_volume_and_can_be_read_then() {
    let namespace = Namespace::new("pushed");
    let source = namespace.source("web", "k");
    let session = session(&*source, &namespace.pod_of("till")).await;
    let mut volumes = [changes(&*source, &*session), changes(&*source, &*session)];
    read(&*source, &*session).await.unwrap();

    for value in ["two", "three", "four"] {
        let before = Instant::now();
        namespace.put("web", value);
        for volume in &mut volumes {
            announced(&mut **volume).await;
        }
        println!("put and announced in {:?}", before.elapsed());
        assert_eq!(contents(read(&*source, &*session).await).as_deref(), Ok(value));
    }
}

#[tokio::test]
async fn a_deletion_is_announced_and_is_a_revocation_until_the_secret_is_back() {
    let namespace = Namespace::new("deleted");
    let source = namespace.source("web", "k");
    let session = session(&*source, &namespace.pod_of("till")).await;
    let mut changes = changes(&*source, &*session);
    read(&*source, &*session).await.unwrap();

    namespace.delete("web");
    announced(&mut *changes).await;
    assert_eq!(contents(read(&*source, &*session).await), Err(ErrorKind::Revoked));
    assert_eq!(contents(read(&*source, &*session).await), Err(ErrorKind::Revoked));

    namespace.put("web", "back");
    announced(&mut *changes).await;
    assert_eq!(contents(read(&*source, &*session).await).as_deref(), Ok("back"));
}

/// An API server that deletes the Secret before the watch opens. `remembers` says whether it remembers changes since a
/// version.
async fn deleted_before_the_watch_began(remembers: bool) -> Result<(), ErrorKind> {
    let deleted = Arc::new(AtomicBool::new(false));
    let is_deleted = Arc::clone(&deleted);
    let scripted = Scripted::new(move |seen| {
        let gone = is_deleted.load(Ordering::SeqCst);
        match (is_watch(seen), gone) {
            (true, false) => Answer::json(503, &json!({"kind": "Status"})),
            (true, true) if seen.target.contains("resourceVersion=") && remembers => {
                stream(&[event("DELETED", "2")])
            }
            (true, true) if seen.target.contains("resourceVersion=") => {
                Answer::json(410, &json!({"kind": "Status", "code": 410}))
            }
            (true, true) => stream(&[]),
            (false, true) => Answer::json(404, &json!({"kind": "Status", "message": "not found"})),
            (false, false) => secret("1"),
        }
    });
    let source = scripted.source();
    let session = session(&*source, &pod("shop", "till", "t")).await;
    let mut changes = changes(&*source, &*session);
    read(&*source, &*session).await.unwrap();
    deleted.store(true, Ordering::SeqCst);
    loop {
        announced(&mut *changes).await;
        match read(&*source, &*session).await.map(drop).map_err(|error| error.kind()) {
            // The gap is announced before it is known what happened in it.
            Err(ErrorKind::NotFound) => {}
            read => return read,
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_deleted_between_its_reading_and_its_watch_is_known_as_deleted() {
    assert_eq!(deleted_before_the_watch_began(true).await, Err(ErrorKind::Revoked));
}

#[tokio::test]
async fn a_secret_that_is_deleted_in_a_gap_of_its_watch_is_known_as_deleted() {
    assert_eq!(deleted_before_the_watch_began(false).await, Err(ErrorKind::Revoked));
}

#[tokio::test]
async fn a_secret_that_is_replaced_within_a_moment_is_not_taken_back() {
    let scripted = Scripted::new(|seen| match is_watch(seen) {
        true if seen.target.contains("resourceVersion=") => Answer::Hang,
        true => stream(&[event("ADDED", "1"), event("DELETED", "2"), event("ADDED", "3")]),
        false => secret("3"),
    });
    let source = scripted.source();
    let session = session(&*source, &pod("shop", "till", "t")).await;
    let mut changes = changes(&*source, &*session);

    announced(&mut *changes).await;

    assert_eq!(contents(read(&*source, &*session).await).as_deref(), Ok("one"));
}

#[tokio::test]
async fn a_secret_that_is_gone_without_the_watchs_word_is_not_found() {
    let namespace = Namespace::new("unwatched");
    let source = namespace.source("web", "k");
    let session = session(&*source, &namespace.pod_of("till")).await;
    read(&*source, &*session).await.unwrap();

    namespace.delete("web");

    assert_eq!(contents(read(&*source, &*session).await), Err(ErrorKind::NotFound));
}

#[tokio::test]
async fn a_secret_that_appears_later_is_announced() {
    let namespace = Namespace::new("later");
    let source = namespace.source("absent", "k");
    let session = session(&*source, &namespace.pod_of("till")).await;
    let mut changes = changes(&*source, &*session);
    namespace.put("absent", "one");
    // The first event of a watch is the state that every volume reads anyway, so it is not announced.
    until("the secret", || namespace.cluster.field(&["-n", "later", "secret/absent"], ".kind").is_some())
        .await;
    read(&*source, &*session).await.unwrap();

    namespace.put("absent", "two");
    announced(&mut *changes).await;
    assert_eq!(contents(read(&*source, &*session).await).as_deref(), Ok("two"));
}

#[tokio::test]
async fn who_may_not_watch_reads_all_the_same() {
    let namespace = Namespace::with_verbs("polled", "get");
    let source = namespace.source("web", "k");
    let session = session(&*source, &namespace.pod_of("till")).await;
    let mut changes = changes(&*source, &*session);
    read(&*source, &*session).await.unwrap();

    namespace.put("web", "two");

    let quiet = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
    assert!(quiet.is_err(), "nobody can announce it");
    assert_eq!(contents(read(&*source, &*session).await).as_deref(), Ok("two"));
    // The reading itself announces the change to the volumes that still show the old value.
    announced(&mut *changes).await;
}

#[tokio::test]
async fn an_api_server_that_was_away_is_an_outage_and_is_watched_again() {
    static OWN: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Scope::ApiServer));
    let namespace = Namespace::on(&OWN, "away", "get, watch");
    let source = namespace.source("web", "k");
    let session = session(&*source, &namespace.pod_of("till")).await;
    let mut changes = changes(&*source, &*session);
    read(&*source, &*session).await.unwrap();

    OWN.kill(Component::ApiServer);
    assert_eq!(contents(read(&*source, &*session).await), Err(ErrorKind::Unavailable));

    OWN.start_again(Component::ApiServer);
    namespace.put("web", "two");
    loop {
        announced(&mut *changes).await;
        if contents(read(&*source, &*session).await).as_deref() == Ok("two") {
            break;
        }
    }
}

#[tokio::test]
async fn volumes_of_one_account_share_a_watch_that_ends_with_the_last() {
    // A server that sends answers very slowly, and notices when nobody reads them.
    let slow = || Answer::Drip(vec![b' '; 10_000], Duration::from_millis(20));
    let scripted = Scripted::new(move |seen| if is_watch(seen) { slow() } else { secret("1") });
    let source = scripted.source();
    let session = session(&*source, &pod("shop", "till", "t")).await;
    let volumes: Vec<_> = (0..20).map(|_| changes(&*source, &*session)).collect();
    until("a watch", || !scripted.watches().is_empty()).await;
    read(&*source, &*session).await.unwrap();

    assert_eq!(scripted.watches().len(), 1);
    drop((volumes, session));
    until("no connection", || scripted.server.open() == 0).await;
}

#[tokio::test]
async fn different_accounts_have_watches_of_their_own() {
    let scripted = Scripted::new(|_| Answer::Hang);
    let source = scripted.source();
    let mut volumes = Vec::new();
    for (namespace, account) in [("shop", "till"), ("shop", "desk"), ("yard", "till")] {
        let session = session(&*source, &pod(namespace, account, account)).await;
        volumes.push(changes(&*source, &*session));
    }

    until("three watches", || scripted.watches().len() == 3).await;
    let as_whom = |token: &str| {
        let bearer = format!("Bearer {token}");
        scripted.watches().iter().filter(|seen| seen.header("authorization") == Some(&bearer)).count()
    };
    assert_eq!((as_whom("till"), as_whom("desk")), (2, 1));
}

#[tokio::test]
async fn past_the_bound_secrets_are_polled() {
    let mut scripted = Scripted::new(|seen| if is_watch(seen) { Answer::Hang } else { secret("1") });
    scripted.config = KubernetesConfig { most_watches: 1, ..scripted.config.clone() };
    let provider = Kubernetes::new(&scripted.config).unwrap();
    let (first, second) = (source(&provider, "web", "k"), source(&provider, "other", "k"));
    let session = session(&*first, &pod("shop", "till", "t")).await;

    let held = (changes(&*first, &*session), changes(&*second, &*session));
    until("a watch", || !scripted.watches().is_empty()).await;
    read(&*second, &*session).await.unwrap();
    assert_eq!(scripted.watches().len(), 1);

    drop(held);
    let _other = changes(&*second, &*session);
    until("the place is free again", || scripted.watches().len() == 2).await;
}

#[tokio::test]
async fn a_namespace_with_many_secrets_leaves_watches_for_those_of_others() {
    let mut scripted = Scripted::new(|seen| if is_watch(seen) { Answer::Hang } else { secret("1") });
    scripted.config = KubernetesConfig { most_watches: 4, ..scripted.config.clone() };
    let provider = Kubernetes::new(&scripted.config).unwrap();
    let sources: Vec<_> = (0..9).map(|n| source(&provider, &format!("web-{n}"), "k")).collect();
    let (greedy, other) = (
        session(&*sources[0], &pod("shop", "till", "t")).await,
        session(&*sources[0], &pod("bank", "till", "t")).await,
    );

    let _held: Vec<_> = sources.iter().map(|source| changes(&**source, &*greedy)).collect();
    until("as many watches as one namespace may have", || scripted.watches().len() == 2).await;
    let _other = changes(&*sources[0], &*other);

    until("a watch of another namespace", || scripted.watches().len() == 3).await;
    assert_eq!(scripted.watches().iter().filter(|seen| seen.target.contains("/namespaces/bank/")).count(), 1);
}

#[tokio::test]
async fn a_stream_that_ends_goes_on_where_it_ended() {
    let scripted = Scripted::new(|seen| match is_watch(seen) {
        true if seen.target.contains("resourceVersion=") => Answer::Hang,
        true => stream(&[event("ADDED", "7"), event("BOOKMARK", "9")]),
        false => secret("7"),
    });
    let source = scripted.source();
    let session = session(&*source, &pod("shop", "till", "t")).await;
    let _changes = changes(&*source, &*session);

    until("the next stream", || scripted.watches().len() == 2).await;
    let targets: Vec<_> = scripted.watches().into_iter().map(|seen| seen.target).collect();
    assert!(!targets[0].contains("resourceVersion="), "{targets:?}");
    assert!(targets[1].contains("resourceVersion=9"), "{targets:?}");
    assert!(targets[0].contains("fieldSelector=metadata.name%3Dweb"), "{targets:?}");
}

#[tokio::test]
async fn a_stream_that_missed_something_begins_anew_and_announces() {
    let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410}}"#.to_owned() + "\n";
    let scripted = Scripted::new(move |seen| match is_watch(seen) {
        true if seen.target.contains("resourceVersion=7") => stream(std::slice::from_ref(&gone)),
        true if seen.target.contains("resourceVersion=") => Answer::Hang,
        true => stream(&[event("ADDED", "7")]),
        false => secret("7"),
    });
    let source = scripted.source();
    let session = session(&*source, &pod("shop", "till", "t")).await;
    let mut changes = changes(&*source, &*session);

    announced(&mut *changes).await;
    until("a stream from now on", || {
        scripted.watches().iter().filter(|seen| !seen.target.contains("resourceVersion=")).count() > 1
    })
    .await;
}

#[tokio::test]
async fn a_watch_whose_token_has_ended_goes_on_with_the_next_that_comes() {
    let scripted = Scripted::new(|seen| match seen.header("authorization") {
        Some("Bearer new") => Answer::Hang,
        _ => Answer::json(401, &serde_json::json!({"kind": "Status", "message": "Unauthorized"})),
    });
    let source = scripted.source();
    let session = session(&*source, &pod("shop", "till", "old")).await;
    let _changes = changes(&*source, &*session);
    until("the first try", || !scripted.watches().is_empty()).await;

    session.hand_over(&pod("shop", "stranger", "foreign"));
    session.hand_over(&pod("shop", "till", "new"));

    until("the second", || {
        scripted.watches().last().is_some_and(|seen| seen.header("authorization") == Some("Bearer new"))
    })
    .await;
    assert!(!scripted.watches().iter().any(|seen| seen.header("authorization") == Some("Bearer foreign")));
}

/// The watch panics when it writes to the log that it was refused.
#[tokio::test]
async fn a_watch_that_ends_by_itself_is_counted_and_begun_anew_and_its_volumes_read_again() {
    let refused = AtomicBool::new(false);
    let scripted = Scripted::new(move |seen| match is_watch(seen) {
        true if !refused.swap(true, Ordering::SeqCst) => {
            Answer::json(403, &json!({"kind": "Status", "code": 403}))
        }
        true => Answer::Hang,
        false => secret("1"),
    });
    let provider = Kubernetes::new(&scripted.config).unwrap();
    let source = source(&provider, "web", "k");
    let session = session(&*source, &pod("shop", "till", "t")).await;
    let _log = tracing::subscriber::set_default(PanicsOnce::default());
    let mut changes = changes(&*source, &*session);
    read(&*source, &*session).await.unwrap();

    announced(&mut *changes).await;

    until("another watch", || scripted.watches().len() == 2).await;
    assert_eq!(provider.watch_restarts(), 1);
    assert_eq!(contents(read(&*source, &*session).await).as_deref(), Ok("one"));
}

#[tokio::test]
async fn a_watch_asks_for_no_values() {
    let scripted = Scripted::new(|_| Answer::Hang);
    let source = scripted.source();
    let session = session(&*source, &pod("shop", "till", "t")).await;
    let _changes = changes(&*source, &*session);

    until("a watch", || !scripted.watches().is_empty()).await;
    let watches = scripted.watches();
    let accept = watches[0].header("accept").unwrap();
    assert!(accept.contains("as=PartialObjectMetadata"), "{accept}");
}
