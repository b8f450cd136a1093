//! What an attacker finds who has everything except the root key.

use std::path::Path;

use provider::SecretBytes;
use provider_store::{Ciphertext, EmbeddedStore, RecordAccounts, RootKeySource, ServiceAccounts, Store};
use rusqlite::Connection;

use crate::fixture::{Fixture, item, one, only, read, values};

const CANARY: &str = "canary-4d1f7a2c9be04f6e";

fn holds(bytes: &[u8], canary: &str) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
}

#[test]
fn the_search_for_a_value_would_find_it() {
    assert!(holds(format!("xx{CANARY}yy").as_bytes(), CANARY));
}

#[test]
fn no_file_of_the_store_ever_holds_a_value() {
    let store = Fixture::new();
    let api = item("shop", "api");
    let check = |when: &str| assert!(!holds(&store.bytes(), CANARY), "{when}");

    store.store().put(&api, Some(only(&["web"])), &values(&[("a", CANARY), ("b", CANARY)])).unwrap();
    check("after a put");
    let record = store.store().bundle().unwrap().seal(&api, 9, &only(&["web"]), &one(CANARY)).unwrap();
    store.store().import(&record, RecordAccounts::MustMatch).unwrap();
    assert!(!holds(&serde_json::to_vec(&record).unwrap(), CANARY));
    assert_eq!(store.read("shop", "web", "item: api").unwrap(), CANARY);
    check("after an import and a read");
    store.owner().rotate_namespaces(None).unwrap();
    store.owner().rotate_root().unwrap();
    check("after rotations");
    store.store().delete(&api, None, Ciphertext::Destroyed).unwrap();
    check("after a delete");
}

#[test]
fn after_a_delete_not_even_the_ciphertext_is_left() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put(&api, CANARY);
    let ciphertext: Vec<u8> = Connection::open(store.directory().join("store.db"))
        .unwrap()
        .query_row("SELECT sealed FROM contents", [], |row| row.get(0))
        .unwrap();
    let part = &ciphertext[20..60];
    let found = |bytes: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(found(&store.bytes()));

    store.store().delete(&api, None, Ciphertext::Destroyed).unwrap();

    assert!(!found(&store.bytes()));
}

#[test]
fn after_a_rotation_nothing_that_was_sealed_to_the_old_keys_is_left() {
    let store = Fixture::new();
    store.owner().put(&item("shop", "api"), None, &one(CANARY)).unwrap();
    store.put(&item("bank", "db"), CANARY);
    let sealed = || -> Vec<Vec<u8>> {
        let connection = Connection::open(store.directory().join("store.db")).unwrap();
        let mut statement = connection
            .prepare("SELECT sealed_key FROM versions UNION SELECT sealed_private FROM namespaces")
            .unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let found = |part: &[u8]| store.bytes().windows(part.len()).any(|window| window == part);
    let before = sealed();
    assert_eq!(before.len(), 3);
    assert!(before.iter().all(|sealed| found(sealed)));

    store.owner().rotate_root().unwrap();
    store.owner().rotate_namespaces(None).unwrap();

    assert!(!before.iter().any(|sealed| found(sealed)));
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), CANARY);
}

/// Puts values as a host without the root key. Returns the host's bundle and a record that it made.
fn put_without_root(store: &Fixture) -> (Vec<u8>, Vec<u8>) {
    std::fs::rename(store.root_file(), store.root_file().with_extension("away")).unwrap();
    let mut writer = store.store();
    writer.put(&item("shop", "api"), None, &one(CANARY)).unwrap();
    writer.put(&item("new", "api"), None, &one(CANARY)).unwrap();
    let bundle = writer.bundle().unwrap();
    let record = bundle.seal(&item("new", "other"), 1, &ServiceAccounts::Any, &one(CANARY)).unwrap();
    (serde_json::to_vec(&bundle).unwrap(), serde_json::to_vec(&record).unwrap())
}

#[test]
fn a_host_with_database_and_bundle_puts_and_cannot_read_even_what_it_put() {
    let store = Fixture::new();
    store.owner().put(&item("shop", "first"), None, &one("x")).unwrap();

    let (bundle, record) = put_without_root(&store);

    // Database, bundle and record hold no plain value, and reading needs the root key.
    for bytes in [&store.bytes(), &bundle, &record] {
        assert!(!holds(bytes, CANARY));
    }
    for namespace in ["shop", "new"] {
        let error = store.read(namespace, "a", "item: api").unwrap_err();
        assert!(error.to_string().contains("root key"), "{error}");
    }
    // Neither a root key of the attacker's own nor a new store around the same ciphertext helps.
    let mine = tempfile::tempdir().unwrap();
    let my_root = RootKeySource::beside(mine.path());
    Store::init(mine.path(), &my_root).unwrap();
    let with_my_root = EmbeddedStore::new(store.directory().to_owned(), my_root.clone());
    assert!(read(&with_my_root, "shop", "a", "item: api").is_err());
    transplant(store.directory(), mine.path());
    for namespace in ["shop", "new"] {
        let error =
            read(&EmbeddedStore::new(mine.path().to_owned(), my_root.clone()), namespace, "a", "item: api");
        assert!(error.unwrap_err().to_string().contains("does not decrypt"));
    }
    // None of its byte strings is a key that opens the values. With the true root key all values can be read.
    std::fs::rename(store.root_file().with_extension("away"), store.root_file()).unwrap();
    for namespace in ["shop", "new"] {
        assert_eq!(store.read(namespace, "a", "item: api").unwrap(), CANARY);
    }
}

/// Copies all ciphertext, names and namespace keys of one store into another.
fn transplant(from: &Path, to: &Path) {
    let connection = Connection::open(to.join("store.db")).unwrap();
    connection.execute("ATTACH ?1 AS victim", [from.join("store.db").to_str().unwrap()]).unwrap();
    for table in ["namespaces", "items", "versions", "contents"] {
        connection.execute(&format!("INSERT INTO main.{table} SELECT * FROM victim.{table}"), []).unwrap();
    }
    connection.execute("UPDATE main.store SET id = (SELECT id FROM victim.store)", []).unwrap();
}

#[test]
fn a_namespace_key_that_a_writer_slipped_in_is_noticed_before_anything_is_sealed_to_it() {
    let (victim, attacker) = (Fixture::new(), Fixture::new());
    for store in [&victim, &attacker] {
        store.owner().put(&item("shop", "api"), None, &one("x")).unwrap();
    }
    let (public, private, signature): (Vec<u8>, Vec<u8>, Vec<u8>) =
        Connection::open(attacker.directory().join("store.db"))
            .unwrap()
            .query_row("SELECT public, sealed_private, signature FROM namespaces", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
    Connection::open(victim.directory().join("store.db"))
        .unwrap()
        .execute(
            "UPDATE namespaces SET public = ?1, sealed_private = ?2, signature = ?3",
            (public, private, signature),
        )
        .unwrap();

    let online = victim.store().put(&item("shop", "api"), None, &one(CANARY)).unwrap_err();
    let offline = victim.store().bundle().unwrap_err();

    for error in [online, offline] {
        assert!(error.to_string().contains("not signed by the root key"), "{error}");
    }
}

#[test]
fn who_edits_the_database_reads_neither_another_namespace_nor_for_another_account() {
    let store = Fixture::new();
    store.put_for(&item("shop", "api"), CANARY, only(&["web"]));
    let edit = |sql: &str| {
        Connection::open(store.directory().join("store.db")).unwrap().execute(sql, []).unwrap();
    };

    edit("UPDATE versions SET accounts = '\"any\"'");
    assert!(store.read("shop", "job", "item: api").unwrap_err().to_string().contains("does not decrypt"));
    edit("UPDATE versions SET accounts = '{\"only\":[\"web\"]}'");
    assert_eq!(store.read("shop", "web", "item: api").unwrap(), CANARY);
    edit("UPDATE items SET namespace = 'bank'");
    assert!(store.read("bank", "web", "item: api").unwrap_err().to_string().contains("does not decrypt"));
}

#[test]
fn nothing_that_can_be_printed_holds_a_value() {
    let store = Fixture::new();
    let put = values(&[("token", CANARY)]);
    let shown = [
        format!("{put:?}"),
        format!("{:?}", SecretBytes::from(CANARY.to_owned())),
        format!("{:?}", store.store().put(&item("shop", "api"), None, &put).unwrap()),
        format!("{:?}", store.store().history(&item("shop", "api")).unwrap()),
        format!("{:?}", store.unlocked()),
        format!("{:?}", store.provider()),
    ];

    let root = std::fs::read_to_string(store.root_file()).unwrap();
    let root = root.lines().find_map(|line| line.strip_prefix("SFSROOT1 ")).unwrap();
    for text in shown {
        assert!(!text.contains(CANARY) && !text.contains(root), "{text}");
    }
}
