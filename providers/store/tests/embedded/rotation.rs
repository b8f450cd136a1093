use std::sync::atomic::{AtomicBool, Ordering};

use provider::ErrorKind;
use provider_store::{Ciphertext, RecordAccounts, ServiceAccounts};

use crate::fixture::{Fixture, item, kind, one, read};

/// A store with items sealed to the root key, items sealed to a namespace's key, and deleted items.
fn filled() -> Fixture {
    let store = Fixture::new();
    store.put(&item("bank", "db"), "without a key");
    store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
    store.owner().put(&item("shop", "api"), None, &one("two")).unwrap();
    store.put(&item("shop", "gone"), "deleted");
    store.store().delete(&item("shop", "gone"), None, Ciphertext::Destroyed).unwrap();
    store
}

fn assert_readable(store: &Fixture) {
    assert_eq!(store.read("bank", "a", "item: db").unwrap(), "without a key");
    assert_eq!(store.read("shop", "a", "item: api, version: 1").unwrap(), "one");
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "two");
    assert_eq!(kind(store.read("shop", "a", "item: gone")), ErrorKind::Revoked);
}

fn sealed_to(store: &Fixture, namespace: &str, name: &str) -> Option<String> {
    store.store().history(&item(namespace, name)).unwrap()[0].sealed_to.clone()
}

#[test]
fn rotating_namespace_keys_keeps_values_readable_and_gives_every_namespace_a_key() {
    let store = filled();
    let before = (sealed_to(&store, "bank", "db"), sealed_to(&store, "shop", "api"));

    let rotated = store.owner().rotate_namespaces(None).unwrap();

    assert_eq!((rotated.namespaces.len(), rotated.versions, rotated.damaged.len()), (2, 3, 0));
    assert_ne!(sealed_to(&store, "bank", "db"), before.0);
    assert_ne!(sealed_to(&store, "shop", "api"), before.1);
    assert_readable(&store);
}

#[test]
fn one_namespace_can_be_rotated_alone() {
    let store = filled();
    let before = sealed_to(&store, "bank", "db");

    let rotated = store.owner().rotate_namespaces(Some(&"shop".parse().unwrap())).unwrap();

    assert_eq!(rotated.versions, 2);
    assert_eq!(sealed_to(&store, "bank", "db"), before);
    assert_readable(&store);
    let nowhere = store.owner().rotate_namespaces(Some(&"nowhere".parse().unwrap()));
    assert_eq!(kind(nowhere), ErrorKind::NotFound);
}

#[test]
fn a_bundle_from_before_a_rotation_is_told_so_at_import() {
    let store = filled();
    let bundle = store.store().bundle().unwrap();
    store.owner().rotate_namespaces(None).unwrap();

    let record = bundle.seal(&item("shop", "api"), 9, &ServiceAccounts::Any, &one("late")).unwrap();
    let refusal = store.store().import(&record, RecordAccounts::MustMatch).unwrap_err().to_string();

    assert!(refusal.contains("rotated away") && refusal.contains("export-public"), "{refusal}");
}

#[test]
fn rotating_the_root_key_keeps_values_readable_and_makes_the_old_one_useless() {
    let store = filled();
    let old = std::fs::read(store.root_file()).unwrap();
    let reader = store.provider();
    assert!(read(&reader, "shop", "a", "item: api").is_ok());

    let rotated = store.owner().rotate_root().unwrap();

    assert_eq!(rotated.damaged, Vec::<String>::new());
    assert_eq!(read(&reader, "shop", "a", "item: api").unwrap(), "two");
    assert_readable(&store);
    assert!(!store.root_file().with_extension("key.next").exists());

    std::fs::write(store.root_file(), old).unwrap();
    for (namespace, object) in
        [("shop", "item: api"), ("shop", "item: api, version: 1"), ("bank", "item: db")]
    {
        let refusal = store.read(namespace, "a", object).unwrap_err();
        assert!(refusal.to_string().contains("the store was sealed to"), "{refusal}");
    }
}

#[test]
fn rotations_can_follow_each_other_and_puts_go_on() {
    let store = filled();

    for round in 0..3 {
        store.owner().rotate_root().unwrap();
        store.owner().rotate_namespaces(None).unwrap();
        store.put(&item("new", "item"), &format!("round {round}"));
        assert_eq!(store.read("new", "a", "item: item").unwrap(), format!("round {round}"));
    }

    assert_readable(&store);
}

#[test]
fn reads_go_on_while_keys_rotate() {
    let store = filled();
    let ended = AtomicBool::new(false);

    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (provider, mut reads) = (store.provider(), 0);
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(read(&provider, "shop", "a", "item: api").unwrap(), "two");
                reads += 1;
            }
            reads
        });
        for _ in 0..20 {
            store.owner().rotate_root().unwrap();
            store.owner().rotate_namespaces(None).unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });

    assert!(reads > 0);
}

#[test]
fn what_was_damaged_is_told_and_does_not_stop_a_rotation() {
    let store = filled();
    let root_sealed = store
        .store()
        .bundle()
        .unwrap()
        .seal(&item("else", "x"), 1, &ServiceAccounts::Any, &one("x"))
        .unwrap();
    let moved = serde_json::to_string(&root_sealed).unwrap().replace("\"else\"", "\"bank\"");
    let moved = provider_store::Record::from_json(moved.as_bytes()).unwrap();
    store.store().import(&moved, RecordAccounts::MustMatch).unwrap();

    let rotated = store.owner().rotate_namespaces(None).unwrap();

    assert_eq!(rotated.damaged, ["version 1 of item x of namespace bank"]);
    assert_readable(&store);
}

#[test]
fn without_the_root_key_nothing_is_rotated() {
    let store = filled();
    let moved = store.root_file().with_extension("elsewhere");
    std::fs::rename(store.root_file(), &moved).unwrap();

    assert!(store.owner().rotate_namespaces(None).is_err());
    assert!(store.owner().rotate_root().is_err());

    std::fs::rename(&moved, store.root_file()).unwrap();
    assert_readable(&store);
}
