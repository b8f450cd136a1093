//! An attacker who can write to the database, and wants an earlier state back, which is authentic but out of date.

use provider::{Error, ErrorKind};
use provider_store::{Anchor, Ciphertext, EmbeddedStore, RootKeySource, Store};
use rusqlite::Connection;

use crate::fixture::{Fixture, KEPT, item, kind, one, only, read};

const TABLES: [&str; 7] = ["contents", "versions", "items", "namespaces", "store", "checkpoints", "purges"];
/// All tables except the one that the root key signs.
const ROWS: [&str; 3] = ["contents", "versions", "items"];
/// Removes everything signed, so that the store looks like one of an older secretfs.
const UNSIGNED: &str = "DROP TABLE checkpoints; DROP TABLE purges; PRAGMA user_version = 1";

/// A kept state of a store, as a writer of its database may have it.
struct Kept(tempfile::NamedTempFile);

fn database(store: &Fixture) -> Connection {
    let database = Connection::open(store.directory().join("store.db")).unwrap();
    database.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    database
}

fn edit(store: &Fixture, sql: &str) {
    database(store).execute_batch(sql).unwrap();
}

impl Kept {
    fn of(store: &Fixture) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        database(store).execute("VACUUM INTO ?1", [file.path().to_str().unwrap()]).unwrap();
        Self(file)
    }

    /// Puts the rows of `tables` back, and leaves the rest unchanged.
    fn put_back(&self, store: &Fixture, tables: &[&str]) {
        let database = database(store);
        database.execute("ATTACH ?1 AS kept", [self.0.path().to_str().unwrap()]).unwrap();
        let back: String = tables
            .iter()
            .map(|table| {
                format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM kept.{table};")
            })
            .collect();
        database.execute_batch(&format!("BEGIN; {back} COMMIT;")).unwrap();
    }
}

fn rolled_back(read: Result<String, Error>) -> String {
    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("was rolled back"), "{error}");
    error.to_string()
}

#[test]
fn rows_of_an_earlier_version_are_refused_by_who_saw_the_later_one_and_by_who_starts_anew() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.owner().put(&api, None, &one("one")).unwrap();
    let earlier = Kept::of(&store);
    store.owner().put(&api, None, &one("two")).unwrap();
    let running = store.provider();
    assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "two");

    for tables in [&ROWS[..], &TABLES] {
        earlier.put_back(&store, tables);

        rolled_back(read(&running, "shop", "a", "item: api"));
        rolled_back(store.read("shop", "a", "item: api"));
        let signed = store.owner().put(&api, None, &one("three")).unwrap_err();
        assert_eq!(signed.kind(), ErrorKind::Denied, "{signed}");
    }
}

#[test]
fn who_was_taken_from_the_list_of_readers_does_not_come_back_with_older_rows() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.owner().put(&api, Some(only(&["job", "web"])), &one("one")).unwrap();
    let earlier = Kept::of(&store);
    store.owner().put(&api, Some(only(&["web"])), &one("two")).unwrap();

    earlier.put_back(&store, &ROWS);

    rolled_back(store.read("shop", "job", "item: api"));
    rolled_back(store.read("shop", "job", "item: api, version: 1"));
}

#[test]
fn what_was_deleted_does_not_come_back_with_older_rows() {
    let store = Fixture::new();
    let (api, db) = (item("shop", "api"), item("shop", "db"));
    store.owner().put(&api, None, &one("by its owner")).unwrap();
    store.put(&db, "by a member");
    let earlier = Kept::of(&store);
    store.owner().delete(&api, None, KEPT).unwrap();
    store.store().delete(&db, None, KEPT).unwrap();
    let running = store.provider();
    for object in ["item: api", "item: db"] {
        assert_eq!(kind(read(&running, "shop", "a", object)), ErrorKind::Revoked);
    }

    earlier.put_back(&store, &ROWS);

    for object in ["item: api", "item: db"] {
        rolled_back(read(&running, "shop", "a", object));
        rolled_back(store.read("shop", "a", object));
    }
}

#[test]
fn a_row_that_vanished_without_a_deletion_mark_is_denied() {
    for gone in [
        "DELETE FROM items",
        "DELETE FROM versions",
        "DELETE FROM versions WHERE version = 2",
        "DELETE FROM contents WHERE version = 2",
        "DELETE FROM namespaces",
        "DELETE FROM checkpoints",
        "UPDATE items SET last_version = 1",
        "UPDATE contents SET sealed = NULL WHERE version = 2",
        "DELETE FROM items; DELETE FROM versions; DELETE FROM contents; DELETE FROM checkpoints",
    ] {
        let store = Fixture::new();
        store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
        store.owner().put(&item("shop", "api"), None, &one("two")).unwrap();
        let running = store.provider();
        read(&running, "shop", "a", "item: api").unwrap();

        edit(&store, gone);

        for read in [read(&running, "shop", "a", "item: api"), store.read("shop", "a", "item: api")] {
            let told = rolled_back(read);
            assert!(!told.contains("two"), "{gone}: {told}");
        }
    }
}

/// Makes the newest version look deleted and without the key, so that the version before it would be read.
const MISNAMED: [&str; 3] = [
    "UPDATE versions SET deleted = 1 WHERE version = 2; DELETE FROM contents WHERE version = 2",
    "UPDATE versions SET deleted = 1, sealed_key = NULL WHERE version = 2;
     UPDATE contents SET key = 'other', sealed = NULL WHERE version = 2",
    "UPDATE versions SET deleted = 1 WHERE version = 2; UPDATE contents SET key = 'other' WHERE version = 2",
];

#[test]
fn a_deletion_that_hides_which_keys_a_version_had_does_not_bring_back_the_version_before() {
    for attack in MISNAMED {
        let store = Fixture::new();
        store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
        store.owner().put(&item("shop", "api"), None, &one("two")).unwrap();
        let running = store.provider();
        read(&running, "shop", "a", "item: api").unwrap();

        edit(&store, attack);

        rolled_back(read(&running, "shop", "a", "item: api"));
        rolled_back(store.read("shop", "a", "item: api"));
        // The next signer must not take the present names for those that were signed before.
        store.owner().put(&item("shop", "db"), None, &one("another")).unwrap();
        rolled_back(read(&running, "shop", "a", "item: api"));
        rolled_back(store.read("shop", "a", "item: api"));
        store.owner().undelete(&item("shop", "api"), Some(2)).unwrap_err();
    }
}

#[test]
fn the_keys_of_a_deleted_version_that_was_read_and_not_signed_are_known_too() {
    for attack in MISNAMED {
        let store = Fixture::new();
        let api = item("shop", "api");
        store.put(&api, "one");
        store.put(&api, "two");
        store.store().delete(&api, Some(2), KEPT).unwrap();
        let running = store.provider();
        assert_eq!(kind(read(&running, "shop", "a", "item: api")), ErrorKind::Revoked);

        edit(&store, attack);

        rolled_back(read(&running, "shop", "a", "item: api"));
        rolled_back(store.read("shop", "a", "item: api"));
        assert_eq!(
            store.open_as_owner().unwrap().put(&api, None, &one("three")).unwrap_err().kind(),
            ErrorKind::Denied
        );
    }
}

#[test]
fn a_deletion_mark_of_anybody_who_may_write_is_honoured() {
    let store = Fixture::new();
    store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();

    edit(&store, "UPDATE versions SET deleted = 1, sealed_key = NULL; UPDATE contents SET sealed = NULL");

    assert_eq!(kind(store.read("shop", "a", "item: api")), ErrorKind::Revoked);
    store.owner().put(&item("shop", "api"), None, &one("two")).unwrap();
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "two");
}

#[test]
fn what_was_altered_under_its_number_is_denied() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.owner().put(&api, None, &one("one")).unwrap();
    store.owner().put(&api, None, &one("two")).unwrap();

    // The row is authentic, but belongs to another version and key. It replaces the contents of this one.
    edit(
        &store,
        "UPDATE contents SET sealed = (SELECT sealed FROM contents WHERE version = 1) WHERE version = 2",
    );

    assert!(rolled_back(store.read("shop", "a", "item: api")).contains("version 2"));
    rolled_back(store.read("shop", "a", "item: api, version: 1"));
    edit(&store, r#"UPDATE versions SET accounts = '{"only":["job"]}' WHERE version = 2"#);
    rolled_back(store.read("shop", "job", "item: api, version: 1"));
}

#[test]
fn newer_puts_without_the_root_key_are_read_and_remembered() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.owner().put(&api, None, &one("one")).unwrap();
    let earlier = Kept::of(&store);
    store.put(&api, "two, by a member");
    let running = store.provider();
    assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "two, by a member");

    earlier.put_back(&store, &TABLES);

    rolled_back(read(&running, "shop", "a", "item: api"));
    rolled_back(store.read("shop", "a", "item: api"));
    assert!(store.owner().put(&api, None, &one("three")).is_err());
}

#[test]
fn a_right_that_a_newer_version_took_away_does_not_come_back_for_who_was_refused() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put(&api, "one");
    let earlier = Kept::of(&store);
    store.put_for(&api, "two", only(&["web"]));
    let running = store.provider();
    assert_eq!(kind(read(&running, "shop", "job", "item: api")), ErrorKind::Denied);

    earlier.put_back(&store, &TABLES);

    rolled_back(read(&running, "shop", "job", "item: api"));
    rolled_back(store.read("shop", "job", "item: api"));
}

#[test]
fn a_reader_that_cannot_write_beside_the_root_key_remembers_until_it_ends() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put(&api, "one");
    let earlier = Kept::of(&store);
    store.put(&api, "two");
    // The directory makes the lock file fail, as a read-only mount would. Root ignores the mode of the directory.
    std::fs::create_dir(store.root().mark_file().with_extension("mark.lock")).unwrap();
    let running = store.provider();
    assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "two");

    earlier.put_back(&store, &TABLES);

    rolled_back(read(&running, "shop", "a", "item: api"));
    assert!(!store.root().mark_file().exists());
}

#[test]
fn a_checkpoint_that_the_root_key_did_not_sign_for_this_namespace_is_refused() {
    for forged in [
        "UPDATE checkpoints SET signature = zeroblob(64) WHERE namespace = 'shop'",
        "UPDATE checkpoints SET sequence = sequence + 1 WHERE namespace = 'shop'",
        "UPDATE checkpoints SET statement = (SELECT statement FROM checkpoints WHERE namespace = 'bank')",
        "DELETE FROM checkpoints WHERE namespace = 'shop';
         UPDATE checkpoints SET namespace = 'shop' WHERE namespace = 'bank'",
    ] {
        let store = Fixture::new();
        store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
        store.owner().put(&item("bank", "api"), None, &one("two")).unwrap();

        edit(&store, forged);

        rolled_back(store.read("shop", "a", "item: api"));
        let put = store.store().put(&item("shop", "api"), None, &one("x")).unwrap_err();
        assert!(put.to_string().contains("was rolled back"), "{forged}: {put}");
    }
}

#[test]
fn a_namespace_key_that_was_rotated_away_is_put_to_by_nobody() {
    let store = Fixture::new();
    store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
    let earlier = Kept::of(&store);
    store.owner().rotate_namespaces(None).unwrap();

    earlier.put_back(&store, &["namespaces"]);

    for error in [
        store.store().put(&item("shop", "api"), None, &one("x")).unwrap_err(),
        store.owner().put(&item("shop", "api"), None, &one("x")).unwrap_err(),
        store.store().bundle().unwrap_err(),
    ] {
        assert!(error.to_string().contains("is not the one that it had last"), "{error}");
    }
}

#[test]
fn a_restore_that_is_said_to_be_one_is_followed_by_every_reader() {
    let store = Fixture::new();
    let (api, anchor) = (item("shop", "api"), Anchor::new(store.root()));
    store.owner().put(&api, None, &one("one")).unwrap();
    let backup = Kept::of(&store);
    store.owner().put(&api, None, &one("two")).unwrap();
    store.put(&item("new", "api"), "since the backup");
    let running = store.provider();
    read(&running, "shop", "a", "item: api").unwrap();
    read(&running, "new", "a", "item: api").unwrap();
    backup.put_back(&store, &TABLES);
    let found = Store::find_older(store.directory(), &anchor).unwrap();
    assert_eq!(found.older.len(), 2, "{found:?}");

    let restored = Store::accept_older(store.directory(), &anchor).unwrap();

    assert_eq!(restored, found);
    for provider in [&running, &store.provider()] {
        assert_eq!(read(provider, "shop", "a", "item: api").unwrap(), "one");
        assert_eq!(kind(read(provider, "new", "a", "item: api")), ErrorKind::NotFound);
    }
    assert_eq!(store.owner().put(&api, None, &one("again")).unwrap().version, 2);
    assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "again");
    assert!(Store::find_older(store.directory(), &anchor).unwrap().older.is_empty());
}

#[test]
fn a_restore_without_the_root_key_is_refused() {
    let store = Fixture::new();
    std::fs::rename(store.root_file(), store.root_file().with_extension("away")).unwrap();
    let anchor = Anchor::new(store.root());

    assert!(Store::accept_older(store.directory(), &anchor).is_err());
    assert_eq!(Store::find_older(store.directory(), &anchor).unwrap_err().kind(), ErrorKind::Denied);
}

/// Turns a store into what an older secretfs would have left.
fn of_the_past(store: &Fixture) {
    edit(store, UNSIGNED);
    for file in [store.root().mark_file(), store.root().public_file()] {
        std::fs::remove_file(file).ok();
    }
}

#[test]
fn a_store_of_the_form_before_is_brought_to_this_one_by_the_first_who_has_its_root_key() {
    for by_reading in [true, false] {
        let store = Fixture::new();
        store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
        let public = std::fs::read(store.root().public_file()).unwrap();
        of_the_past(&store);
        std::fs::write(store.root().public_file(), public).unwrap();
        let asked = store.open_as_writer().unwrap_err().to_string();
        assert!(asked.contains("run `secretfs store list` once where its root key is"), "{asked}");

        if by_reading {
            assert_eq!(store.read("shop", "a", "item: api").unwrap(), "one");
        } else {
            store.owner();
        }

        assert_eq!(store.put(&item("shop", "api"), "two").version, 2);
        edit(&store, "DELETE FROM items WHERE name = 'api'");
        rolled_back(store.read("shop", "a", "item: api"));
    }
}

#[test]
fn two_that_bring_a_store_to_this_form_at_once_are_one() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");
    of_the_past(&store);

    std::thread::scope(|scope| {
        let read = || assert_eq!(store.read("shop", "a", "item: api").unwrap(), "one");
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_store_that_has_the_form_before_again_was_rolled_back() {
    let store = Fixture::new();
    store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
    let running = store.provider();
    read(&running, "shop", "a", "item: api").unwrap();

    edit(&store, UNSIGNED);

    rolled_back(read(&running, "shop", "a", "item: api"));
    rolled_back(store.read("shop", "a", "item: api"));
    assert!(store.open_as_owner().unwrap_err().to_string().contains("was rolled back"));
}

#[test]
fn a_store_that_has_the_form_before_again_is_refused_without_waiting_for_a_turn() {
    let store = Fixture::new();
    store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
    edit(&store, UNSIGNED);
    let queue = std::fs::File::open(store.directory().join("queue.lock")).unwrap();
    queue.lock().unwrap();

    rolled_back(store.read("shop", "a", "item: api"));
    assert!(store.open_as_owner().unwrap_err().to_string().contains("was rolled back"));
}

/// The root key of a second host, without a mark beside it.
fn second_root(store: &Fixture) -> (tempfile::TempDir, RootKeySource) {
    let keys = tempfile::tempdir().unwrap();
    let root = RootKeySource::beside(keys.path());
    std::fs::copy(store.root_file(), keys.path().join("root.key")).unwrap();
    (keys, root)
}

#[test]
fn what_a_host_signs_that_never_saw_the_newest_state_is_refused_by_who_did() {
    for is_of_the_past in [true, false] {
        let store = Fixture::new();
        let api = item("shop", "api");
        store.owner().put(&api, None, &one("one")).unwrap();
        let earlier = Kept::of(&store);
        store.owner().put(&api, None, &one("two")).unwrap();
        let running = store.provider();
        assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "two");
        earlier.put_back(&store, &TABLES);
        if is_of_the_past {
            edit(&store, UNSIGNED);
        }
        let (_keys, second) = second_root(&store);

        let mut other = Store::open(store.directory(), &Anchor::new(second)).unwrap();
        other.put(&item("shop", "db"), None, &one("signed anew")).unwrap();

        rolled_back(read(&running, "shop", "a", "item: api"));
        rolled_back(read(&running, "shop", "a", "item: db"));
        Store::accept_older(store.directory(), &Anchor::new(store.root())).unwrap();
        assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "one");
    }
}

#[test]
fn who_read_a_store_does_not_sign_what_has_the_form_before_again() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.owner().put(&api, None, &one("one")).unwrap();
    let earlier = Kept::of(&store);
    store.owner().put(&api, None, &one("two")).unwrap();
    // The reader has the root key, and cannot write beside it.
    let (_keys, second) = second_root(&store);
    std::fs::create_dir(second.mark_file().with_extension("mark.lock")).unwrap();
    let running = EmbeddedStore::new(store.directory().to_owned(), second);
    assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "two");

    // Another file, so readers open it anew.
    Connection::open(earlier.0.path()).unwrap().execute_batch(UNSIGNED).unwrap();
    for file in ["store.db-wal", "store.db-shm"] {
        std::fs::remove_file(store.directory().join(file)).unwrap();
    }
    std::fs::copy(earlier.0.path(), store.directory().join("next.db")).unwrap();
    std::fs::rename(store.directory().join("next.db"), store.directory().join("store.db")).unwrap();

    rolled_back(read(&running, "shop", "a", "item: api"));
    assert!(store.open_as_writer().unwrap_err().to_string().contains("has the form of an older secretfs"));
}

#[test]
fn who_saw_a_checkpoint_follows_deletions_that_were_undone_and_restores() {
    let store = Fixture::new();
    let (api, anchor) = (item("shop", "api"), Anchor::new(store.root()));
    store.owner().put(&api, None, &one("one")).unwrap();
    let backup = Kept::of(&store);
    store.owner().put(&api, None, &one("two")).unwrap();
    let running = store.provider();
    for _ in 0..2 {
        store.owner().delete(&api, Some(2), KEPT).unwrap();
        assert_eq!(kind(read(&running, "shop", "a", "item: api")), ErrorKind::Revoked);
        store.owner().undelete(&api, Some(2)).unwrap();
        assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "two");
        store.owner().rotate_namespaces(None).unwrap();
        assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "two");
    }
    store.owner().delete(&api, Some(2), Ciphertext::Destroyed).unwrap();
    assert_eq!(kind(read(&running, "shop", "a", "item: api")), ErrorKind::Revoked);

    backup.put_back(&store, &TABLES);
    Store::accept_older(store.directory(), &anchor).unwrap();
    store.owner().put(&item("shop", "db"), None, &one("signed after the restore")).unwrap();

    assert_eq!(read(&running, "shop", "a", "item: api").unwrap(), "one");
}

#[test]
fn a_deletion_in_the_mark_is_not_undone_by_who_read_before_it() {
    let store = Fixture::new();
    let (api, db) = (item("shop", "api"), item("shop", "db"));
    store.put(&api, "one");
    store.put(&db, "another");
    let earlier = Kept::of(&store);
    let running = store.provider();
    read(&running, "shop", "a", "item: api").unwrap();
    store.store().delete(&api, None, KEPT).unwrap();
    assert_eq!(kind(store.read("shop", "a", "item: api")), ErrorKind::Revoked);

    // The reader saves all that it has seen, also the earlier state of the item.
    read(&running, "shop", "a", "item: db").unwrap();

    earlier.put_back(&store, &ROWS);
    rolled_back(store.read("shop", "a", "item: api"));
}

#[test]
fn a_mark_that_is_damaged_or_that_others_may_write_is_refused_and_a_restore_mends_it() {
    use std::os::unix::fs::PermissionsExt;
    let store = Fixture::new();
    store.owner().put(&item("shop", "api"), None, &one("one")).unwrap();
    let mark = store.root().mark_file();
    let whole = std::fs::read(&mark).unwrap();
    for (contents, mode) in [(&b""[..], 0o600), (b"{}", 0o600), (&whole, 0o620)] {
        std::fs::write(&mark, contents).unwrap();
        std::fs::set_permissions(&mark, PermissionsExt::from_mode(mode)).unwrap();

        assert_eq!(kind(store.read("shop", "a", "item: api")), ErrorKind::Denied, "{mode:o}");
    }

    Store::accept_older(store.directory(), &Anchor::new(store.root())).unwrap();

    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "one");
}
