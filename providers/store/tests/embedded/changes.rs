use std::sync::Arc;
use std::time::{Duration, Instant};

use provider_store::{Anchor, Store};

use crate::fixture::{Fixture, fetch, item, source, workload};

/// Much longer than a change takes, so that a test fails only if a change is lost.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_put_is_announced_to_every_subscriber_after_it_can_be_read() {
    let store = Fixture::new();
    let provider = store.provider();
    let source = source(&provider, "item: api");
    let mut subscribers = [source.changes().unwrap(), source.changes().unwrap()];

    for round in 0..20 {
        let before = Instant::now();
        store.put(&item("shop", "api"), &format!("round {round}"));

        for changes in &mut subscribers {
            let noticed = tokio::time::timeout(SOON, changes.changed()).await.unwrap();
            assert!(noticed >= before);
        }
        let object = fetch(&*source, &workload("shop", "a")).await.unwrap();
        assert_eq!(object.contents.expose_str().unwrap(), format!("round {round}"));
    }
}

#[tokio::test]
async fn reading_announces_nothing() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");
    let provider = store.provider();
    let source = source(&provider, "item: api");
    let mut changes = source.changes().unwrap();

    for _ in 0..10 {
        fetch(&*source, &workload("shop", "a")).await.unwrap();
    }
    std::fs::write(store.directory().join("unrelated"), "x").unwrap();
    store.put(&item("shop", "api"), "two");

    tokio::time::timeout(SOON, changes.changed()).await.unwrap();
    let object = fetch(&*source, &workload("shop", "a")).await.unwrap();
    assert_eq!(object.contents.expose_str().unwrap(), "two");
}

#[tokio::test]
async fn a_store_that_appears_later_is_announced() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("store");
    let root = provider_store::RootKeySource::beside(&place);
    let provider = provider_store::EmbeddedStore::new(place.clone(), root.clone());
    let mut changes = source(&provider, "item: api").changes().unwrap();

    Store::init(&place, &root).unwrap();

    tokio::time::timeout(SOON, changes.changed()).await.unwrap();
}

#[tokio::test]
async fn a_restored_store_is_announced_and_read() {
    let (store, backup) = (Fixture::new(), Fixture::new());
    store.put(&item("shop", "api"), "one");
    let provider = store.provider();
    let source = source(&provider, "item: api");
    fetch(&*source, &workload("shop", "a")).await.unwrap();
    let mut changes = source.changes().unwrap();

    backup.put(&item("shop", "api"), "restored");
    std::fs::copy(backup.root_file(), store.root_file()).unwrap();
    for file in ["store.db-shm", "store.db-wal", "store.db"] {
        std::fs::rename(backup.directory().join(file), store.directory().join(file)).unwrap();
    }
    Store::accept_older(store.directory(), &Anchor::new(store.root())).unwrap();

    loop {
        tokio::time::timeout(SOON, changes.changed()).await.unwrap();
        let object = fetch(&*source, &workload("shop", "a")).await;
        if object.is_ok_and(|object| object.contents.expose_str() == Some("restored")) {
            break;
        }
    }
}

#[tokio::test]
async fn the_watching_thread_ends_with_the_last_subscriber() {
    let store = Fixture::new();
    let provider = Arc::new(store.provider());
    let mine = store.directory().join("store.db");
    let watched = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        open.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path == mine))
    };
    let first = source(&provider, "item: api").changes().unwrap();
    let second = source(&provider, "item: other").changes().unwrap();
    drop(first);
    drop(provider);
    assert!(watched());
    drop(second);

    // Dropping it joins the thread, and closes the thread's connection.
    assert!(!watched());
}
