use std::time::Duration;

use provider::ErrorKind;
use provider_store::{Ciphertext, RecordAccounts, ServiceAccounts, version_by_clock};
use rusqlite::Connection;

use crate::fixture::{Fixture, KEPT, item, kind, one, read};

#[test]
fn what_was_deleted_last_is_brought_back_as_it_was_by_who_has_the_root_key() {
    let store = Fixture::new();
    let api = item("shop", "api");
    for value in ["one", "two", "three"] {
        store.put(&api, value);
    }
    store.owner().delete(&api, Some(1), KEPT).unwrap();
    let deleted = store.store().delete(&api, None, KEPT).unwrap();
    assert_eq!(deleted.versions, [2, 3]);
    assert!(deleted.restorable_until.is_some());
    let running = store.provider();
    assert_eq!(kind(read(&running, "shop", "a", "item: api")), ErrorKind::Revoked);
    assert_eq!(kind(store.store().undelete(&api, None)), ErrorKind::Denied);

    assert_eq!(store.owner().undelete(&api, None).unwrap().versions, [2, 3]);

    // Both a provider that saw the deletion and a new one accept this.
    for provider in [&running, &store.provider()] {
        assert_eq!(read(provider, "shop", "a", "item: api").unwrap(), "three");
        assert_eq!(kind(read(provider, "shop", "a", "item: api, version: 1")), ErrorKind::Revoked);
    }
    assert_eq!(store.owner().undelete(&api, Some(1)).unwrap().versions, [1]);
    assert_eq!(store.read("shop", "a", "item: api, version: 1").unwrap(), "one");
    assert_eq!(kind(store.owner().undelete(&api, None)), ErrorKind::NotFound);
}

#[test]
fn what_was_purged_is_destroyed_and_what_was_deleted_before_with_it() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put(&api, "one");
    store.put(&api, "two");
    store.owner().delete(&api, Some(1), KEPT).unwrap();

    let deleted = store.owner().delete(&api, None, Ciphertext::Destroyed).unwrap();

    assert_eq!((deleted.versions, deleted.restorable_until), (vec![1, 2], None));
    assert_eq!(kind(store.owner().undelete(&api, None)), ErrorKind::NotFound);
    assert_eq!(kind(store.owner().delete(&api, None, Ciphertext::Destroyed)), ErrorKind::Revoked);
    assert!(store.store().history(&api).unwrap().iter().all(|version| version.sealed_to.is_none()));
}

#[test]
fn what_is_not_brought_back_in_time_is_destroyed_by_the_next_command_that_writes() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put(&api, "one");
    store.owner().delete(&api, None, Ciphertext::Kept(Duration::ZERO)).unwrap();

    store.put(&item("bank", "db"), "something else");

    assert_eq!(kind(store.owner().undelete(&api, None)), ErrorKind::NotFound);
    let sealed: i64 = Connection::open(store.directory().join("store.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM contents WHERE sealed IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sealed, 1);
}

#[test]
fn a_deletion_can_be_taken_back_after_keys_were_rotated() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.owner().put(&api, None, &one("one")).unwrap();
    store.owner().delete(&api, None, KEPT).unwrap();
    store.owner().rotate_namespaces(None).unwrap();
    store.owner().rotate_root().unwrap();

    store.owner().undelete(&api, None).unwrap();

    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "one");
}

#[test]
fn who_takes_the_deletion_mark_away_by_hand_brings_nothing_back() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.owner().put(&api, None, &one("one")).unwrap();
    store.owner().delete(&api, None, KEPT).unwrap();
    let edit = |sql: &str| {
        Connection::open(store.directory().join("store.db")).unwrap().execute_batch(sql).unwrap();
    };

    edit("UPDATE versions SET deleted = NULL; DELETE FROM purges");
    let read = store.read("shop", "a", "item: api").unwrap_err();
    assert!(read.to_string().contains("was deleted, and is back"), "{read}");

    edit("UPDATE versions SET deleted = 1; UPDATE contents SET sealed = zeroblob(300)");
    let undeleted = store.owner().undelete(&api, None).unwrap_err();
    assert!(undeleted.to_string().contains("is not what was deleted"), "{undeleted}");
}

#[test]
fn an_item_that_was_deleted_can_be_put_again_and_keeps_its_number() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put(&api, "one");
    store.store().delete(&api, None, KEPT).unwrap();
    let record = store.store().bundle().unwrap();
    let record = record.seal(&api, version_by_clock(), &ServiceAccounts::Any, &one("two")).unwrap();

    store.store().import(&record, RecordAccounts::MustMatch).unwrap();

    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "two");
    assert_eq!(kind(store.read("shop", "a", "item: api, version: 1")), ErrorKind::Revoked);
}
