//! An attacker who can write to the database, and wants to read what others put later.

use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

use provider::ErrorKind;
use provider_store::{Anchor, Bundle, RootKeySource, Store};
use rusqlite::Connection;

use crate::fixture::{Fixture, item, one};

/// Replaces the victim's root key, and perhaps the store's id, by those of the thief.
fn take_over(victim: &Fixture, thief: &Fixture, columns: &[&str]) {
    let database = Connection::open(victim.directory().join("store.db")).unwrap();
    let of_thief = thief.directory().join("store.db");
    database.execute("ATTACH ?1 AS thief", [of_thief.to_str().unwrap()]).unwrap();
    for column in columns {
        let swap = format!("UPDATE main.store SET {column} = (SELECT {column} FROM thief.store)");
        database.execute(&swap, []).unwrap();
    }
    database.execute("DELETE FROM main.namespaces", []).unwrap();
}

fn versions(store: &Fixture) -> i64 {
    let database = Connection::open(store.directory().join("store.db")).unwrap();
    database.query_row("SELECT count(*) FROM versions", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_root_key_that_a_writer_put_in_the_database_is_noticed_before_anything_is_sealed_to_it() {
    for columns in [&["root_seal", "root_verify"][..], &["root_seal"], &["root_verify"], &["id"]] {
        let (victim, thief) = (Fixture::new(), Fixture::new());
        victim.owner().put(&item("shop", "api"), None, &one("x")).unwrap();
        // Hosts that opened the store before the attack must notice it too.
        let opened = [victim.owner(), victim.store()];
        take_over(&victim, &thief, columns);

        for mut store in opened {
            let error = store.put(&item("shop", "api"), None, &one("for the thief")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{columns:?}: {error}");
            assert_eq!(store.bundle().unwrap_err().kind(), ErrorKind::Denied, "{columns:?}");
        }
        for error in [victim.open_as_owner().unwrap_err(), victim.open_as_writer().unwrap_err()] {
            assert!(error.to_string().contains("somebody may have replaced it"), "{columns:?}: {error}");
        }
        assert_eq!(versions(&victim), 1, "{columns:?}");
    }
}

#[test]
fn a_host_that_does_not_know_the_root_keys_public_half_asks_for_it() {
    let store = Fixture::new();
    let stranger = Anchor::new(RootKeySource::File("/nonexistent/root.key".into()));

    let error = Store::open(store.directory(), &stranger).unwrap_err().to_string();

    assert!(error.contains("--root-public FILE"), "{error}");
}

#[test]
fn a_bundle_is_as_good_as_the_public_half() {
    let (store, other) = (Fixture::new(), Fixture::new());
    let given = |bundle: &Bundle| {
        let file = store.root_file().with_extension("bundle");
        std::fs::write(&file, serde_json::to_vec(bundle).unwrap()).unwrap();
        let nowhere = RootKeySource::File("/nonexistent/root.key".into());
        Store::open(store.directory(), &Anchor::new(nowhere).with_public(Some(file)))
    };

    assert!(given(&store.store().bundle().unwrap()).is_ok());
    assert!(given(&other.store().bundle().unwrap()).is_err());
}

#[test]
fn a_public_half_that_others_may_write_or_that_is_none_counts_for_nothing() {
    let store = Fixture::new();
    let public = store.root().public_file();
    let mode = |mode| std::fs::set_permissions(&public, PermissionsExt::from_mode(mode)).unwrap();

    mode(0o664);
    let writable = store.open_as_writer().unwrap_err().to_string();
    assert!(writable.contains("may be written by others (mode 0664)"), "{writable}");
    mode(0o644);
    std::fs::write(&public, "SFSPUB1 AAAA\n").unwrap();
    let damaged = store.open_as_writer().unwrap_err().to_string();
    assert!(damaged.contains("is no public half"), "{damaged}");
}

#[test]
fn where_everybody_may_add_files_those_of_others_count_for_nothing() {
    let store = Fixture::new();
    let (public, stranger) = (store.root().public_file(), Some(65534));
    let directory = public.parent().unwrap();
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o1777)).unwrap();
    assert!(store.open_as_writer().is_ok());
    let link = directory.join("link");
    symlink(&public, &link).unwrap();

    lchown(&link, stranger, None).unwrap();
    let nowhere = RootKeySource::File("/nonexistent/root.key".into());
    let linked = Store::open(store.directory(), &Anchor::new(nowhere).with_public(Some(link)));
    chown(&public, stranger, None).unwrap();
    let of_another = store.open_as_writer();
    chown(&public, Some(0), None).unwrap();
    chown(directory, stranger, None).unwrap();
    let in_anothers = store.open_as_writer();

    for opened in [linked, of_another, in_anothers] {
        let told = opened.unwrap_err().to_string();
        assert!(told.contains("lies where others may write (mode 1777)"), "{told}");
    }
}

#[test]
fn the_public_half_is_written_again_by_who_has_the_root_key() {
    let store = Fixture::new();
    let public = store.root().public_file();
    let before = std::fs::read(&public).unwrap();
    std::fs::remove_file(&public).unwrap();

    store.owner();

    assert_eq!(std::fs::read(&public).unwrap(), before);
    assert!(store.open_as_writer().is_ok());
}

#[test]
fn the_public_half_follows_the_root_key_and_who_knows_the_old_one_alone_is_refused() {
    let store = Fixture::new();
    let kept = store.root_file().with_extension("kept");
    std::fs::copy(store.root().public_file(), &kept).unwrap();
    let mut writer = store.store();

    store.owner().rotate_root().unwrap();

    writer.put(&item("shop", "api"), None, &one("after the rotation")).unwrap();
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "after the rotation");
    let nowhere = RootKeySource::File("/nonexistent/root.key".into());
    let outdated = Store::open(store.directory(), &Anchor::new(nowhere).with_public(Some(kept)));
    assert_eq!(outdated.unwrap_err().kind(), ErrorKind::Denied);
}
