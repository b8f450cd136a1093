//! An attacker who can write to the database, and wants its readers to hang or to fill their memory.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use provider::{Error, ErrorKind};
use rusqlite::Connection;

use crate::fixture::{Fixture, fetch, item, source, workload};

/// Much longer than a refusal takes, and much shorter than a hostile query would take.
const SOON: Duration = Duration::from_secs(60);

fn edited(sql: &str) -> Fixture {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");
    let database = Connection::open(store.directory().join("store.db")).unwrap();
    database.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).unwrap();
    store
}

/// The result of a read, if it ends in time.
fn read_soon(store: Fixture, object: &'static str) -> Result<String, Error> {
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || answer.send(store.read("shop", "a", object)).is_ok());
    let hangs = |_| Err(Error::new(ErrorKind::Invalid, "the read hangs"));
    answered.recv_timeout(SOON).unwrap_or_else(hangs)
}

#[test]
fn a_schema_that_is_not_ours_is_refused_before_anything_of_it_runs() {
    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    let endless = format!(
        "DROP TABLE contents; CREATE VIEW contents AS {ENDLESS} SELECT 1 AS item, i AS version, 'none' AS key, NULL AS sealed FROM n"
    );
    let large = "DROP TABLE contents; CREATE VIEW contents AS
                 SELECT 1 AS item, 1 AS version, 'value' AS key, zeroblob(900000000) AS sealed";
    let trigger = "CREATE TRIGGER more AFTER INSERT ON items BEGIN DELETE FROM versions; END";
    let index = "CREATE INDEX more ON contents (hex(sealed))";
    for hostile in
        [&endless, large, trigger, index, "CREATE TABLE more (a)", "ALTER TABLE items ADD COLUMN more TEXT"]
    {
        let store = edited(hostile);
        let opened = store.open_as_writer().unwrap_err();

        let error = read_soon(store, "item: api").unwrap_err();

        for error in [error, opened] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{hostile}: {error}");
            assert!(error.to_string().contains("has other tables than secretfs makes"), "{hostile}: {error}");
        }
    }
}

#[test]
fn a_schema_that_changes_under_an_open_store_is_noticed() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");
    let (provider, mut opened) = (store.provider(), store.store());
    crate::fixture::read(&provider, "shop", "a", "item: api").unwrap();

    Connection::open(store.directory().join("store.db"))
        .unwrap()
        .execute_batch("CREATE TABLE more (a)")
        .unwrap();

    let read = crate::fixture::read(&provider, "shop", "a", "item: api").unwrap_err().to_string();
    let listed = opened.list(None).unwrap_err().to_string();
    for error in [read, listed] {
        assert!(error.contains("has other tables than secretfs makes"), "{error}");
    }
}

#[test]
fn a_row_longer_than_any_of_ours_is_refused_and_not_loaded() {
    let store = edited("UPDATE contents SET sealed = zeroblob(64 * 1024 * 1024)");

    let error = read_soon(store, "item: api").unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("longer than any that secretfs writes"), "{error}");
}

/// A store with an item that has more rows than a read may look at.
fn filled_with_rows() -> Fixture {
    edited(
        "PRAGMA synchronous = OFF;
         WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n LIMIT 1500000)
         INSERT INTO contents SELECT 1, i, 'k', NULL FROM n;",
    )
}

#[test]
fn a_store_that_was_filled_with_rows_is_given_up_after_so_many_steps() {
    let store = filled_with_rows();

    let error = read_soon(store, "item: api, key: none").unwrap_err();

    assert!(error.to_string().contains("more steps to look through"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_slow_to_read_keeps_no_other_waiting() {
    let store = filled_with_rows();
    store.put(&item("bank", "db"), "quick");
    let provider = store.provider();
    let (slow, quick) = (source(&provider, "item: api, key: none"), source(&provider, "item: db"));
    let slow_reads: Vec<_> = (0..8)
        .map(|_| {
            let slow = Arc::clone(&slow);
            tokio::spawn(async move { fetch(&*slow, &workload("shop", "a")).await.is_err() })
        })
        .collect();
    tokio::task::yield_now().await;

    let object = tokio::time::timeout(SOON, fetch(&*quick, &workload("bank", "a"))).await.unwrap().unwrap();

    assert_eq!(object.contents.expose_str().unwrap(), "quick");
    let unfinished = slow_reads.iter().filter(|read| !read.is_finished()).count();
    assert!(unfinished > 0, "all slow reads had ended: the test shows nothing");
    for read in slow_reads {
        assert!(read.await.unwrap());
    }
}
