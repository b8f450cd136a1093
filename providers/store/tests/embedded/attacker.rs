//! An attacker who can write to every file of a store except its root key, and who reads, alters, replays, deletes or
//! blocks. After every attack each reader gets the right value, or nothing.

use std::fs;
use std::time::{Duration, Instant};

use provider_store::{EmbeddedStore, RootKeySource};
use rusqlite::Connection;

use crate::fixture::{Fixture, KEPT, item, one, only, read};

/// Much longer than any answer takes.
const SOON: Duration = Duration::from_secs(60);

/// Who reads what, and the only value that each of them may get.
const READERS: [(&str, &str, &str, Option<&str>); 8] = [
    ("shop", "web", "item: api", Some("two")),
    ("shop", "web", "item: api, version: 1", Some("one")),
    ("shop", "job", "item: api", None),
    ("shop", "job", "item: api, version: 1", None),
    ("shop", "web", "item: gone", None),
    ("bank", "clerk", "item: db", Some("balance")),
    ("bank", "clerk", "item: api", None),
    ("nowhere", "web", "item: api", None),
];

/// A store, a reader that has run since before the attack, and the states that the attacker kept.
struct Target {
    store: Fixture,
    running: EmbeddedStore,
    earlier: tempfile::NamedTempFile,
    present: tempfile::NamedTempFile,
}

impl Target {
    fn new() -> Self {
        let store = Fixture::new();
        store.owner().put(&item("shop", "api"), Some(only(&["job", "web"])), &one("one")).unwrap();
        store.owner().put(&item("shop", "gone"), None, &one("deleted")).unwrap();
        store.put(&item("bank", "db"), "earlier balance");
        let earlier = copy(&store);
        store.owner().put(&item("shop", "api"), Some(only(&["web"])), &one("two")).unwrap();
        store.owner().delete(&item("shop", "gone"), None, KEPT).unwrap();
        store.put(&item("bank", "db"), "balance");
        let running = store.provider();
        let target = Self { present: copy(&store), running, earlier, store };
        assert_eq!(target.answers("before the attack"), Self::wanted());
        target
    }

    fn database(&self) -> Connection {
        let database = Connection::open(self.store.directory().join("store.db")).unwrap();
        database.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
        database
    }

    fn wanted() -> usize {
        2 * READERS.iter().filter(|(.., value)| value.is_some()).count()
    }

    /// Lets everybody read, and counts the answers. Fails if a reader gets a value that it should not get.
    fn answers(&self, attack: &str) -> usize {
        let anew = self.store.provider();
        let mut answers = 0;
        for (namespace, account, object, wanted) in READERS {
            for (who, provider) in [("the running", &self.running), ("a new", &anew)] {
                let began = Instant::now();
                let answer = read(provider, namespace, account, object).ok();
                assert!(began.elapsed() < SOON, "{attack}: {who} reader of {object} waits");
                assert!(
                    answer.is_none() || answer.as_deref() == wanted,
                    "{attack}: {who} reader {namespace}/{account} of {object} got {answer:?}"
                );
                answers += usize::from(answer.is_some());
            }
        }
        answers
    }

    /// Lets writers put. Fails if the attacker's root key opens any of the new values.
    fn puts(&self, attack: &str, thief: &Fixture) {
        let api = item("shop", "api");
        for opened in [self.store.open_as_owner(), self.store.open_as_writer()] {
            let _ = opened.and_then(|mut store| store.put(&api, None, &one("put later")));
        }
        let stolen = EmbeddedStore::new(self.store.directory().to_owned(), thief.root());
        for account in ["web", "job"] {
            // The attacker may read only the attacker's own bait.
            let read = read(&stolen, "shop", account, "item: api").ok();
            assert_ne!(read.as_deref(), Some("put later"), "{attack}: the thief reads");
        }
    }

    /// Replaces the rows of `tables` by those of a kept state.
    fn replay(&self, kept: &tempfile::NamedTempFile, tables: &[String]) {
        let database = self.database();
        database.execute("ATTACH ?1 AS kept", [kept.path().to_str().unwrap()]).unwrap();
        let swap =
            |table| format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM kept.{table};");
        let swaps: String = tables.iter().map(swap).collect();
        database.execute_batch(&format!("BEGIN; {swaps} COMMIT;")).unwrap();
    }

    /// Undoes an attack. A reader that saw a deletion keeps it in mind; then a new store is used instead.
    fn mend(&mut self) {
        self.undo();
        if self.answers("after it was mended") < Self::wanted() {
            *self = Self::new();
        }
    }

    fn undo(&self) {
        self.replay(&self.present, &self.tables());
    }

    fn tables(&self) -> Vec<String> {
        names(&self.database(), "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    }

    fn columns(&self, table: &str) -> Vec<String> {
        names(&self.database(), &format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"))
    }
}

fn names(database: &Connection, query: &str) -> Vec<String> {
    let mut statement = database.prepare(query).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn copy(store: &Fixture) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let database = Connection::open(store.directory().join("store.db")).unwrap();
    database.execute("VACUUM INTO ?1", [file.path().to_str().unwrap()]).unwrap();
    file
}

/// Values to write into a column of `table`, as SQL.
fn values(table: &str, column: &str) -> Vec<String> {
    let plain =
        ["NULL", "0", "-1", "9223372036854775807", "''", "'bank'", "zeroblob(32)", "zeroblob(5000000)"];
    let accounts = ["'\"any\"'", "'{\"only\":[\"job\"]}'"];
    let mut values: Vec<String> = plain.iter().chain(&accounts).map(|value| (*value).to_owned()).collect();
    values.push(format!("(SELECT min(o.{column}) FROM {table} o)"));
    values.push(format!("(SELECT max(o.{column}) FROM {table} o)"));
    values
}

#[test]
fn no_column_can_be_altered_so_that_anybody_reads_what_they_should_not() {
    let mut target = Target::new();
    let (mut tried, mut refused) = (0, 0);
    for table in target.tables() {
        for column in target.columns(&table) {
            for value in values(&table, &column) {
                let attack = format!("UPDATE {table} SET {column} = {value}");
                // If the schema itself refuses the statement, it is no attack.
                if target.database().execute_batch(&attack).is_err() {
                    continue;
                }
                tried += 1;
                if target.answers(&attack) < Target::wanted() {
                    refused += 1;
                    target.mend();
                } else {
                    target.undo();
                }
            }
        }
    }

    println!("{tried} alterations, {refused} of which kept somebody from reading");
    assert!(tried > 100 && refused > 40, "{tried} tried, {refused} refused");
}

#[test]
fn no_part_of_an_earlier_state_brings_anything_back() {
    let target = Target::new();
    let tables = target.tables();
    for subset in 1..1_u32 << tables.len() {
        let chosen = tables.iter().enumerate().filter(|(index, _)| subset >> index & 1 == 1);
        let chosen: Vec<String> = chosen.map(|(_, table)| table.clone()).collect();

        target.replay(&target.earlier, &chosen);

        target.answers(&format!("earlier {chosen:?}"));
        target.undo();
    }
    assert_eq!(target.answers("after all was mended"), Target::wanted());
}

#[test]
fn whatever_is_deleted_takes_away_and_gives_nothing() {
    let mut target = Target::new();
    for table in target.tables() {
        for column in target.columns(&table) {
            for which in ["min", "max"] {
                let attack =
                    format!("DELETE FROM {table} WHERE {column} = (SELECT {which}({column}) FROM {table})");
                target.database().execute_batch(&attack).unwrap();
                target.answers(&attack);
                target.mend();
            }
        }
        let attack = format!("DELETE FROM {table}");
        target.database().execute_batch(&attack).unwrap();
        assert!(table == "purges" || target.answers(&attack) < Target::wanted(), "{attack} is not noticed");
        target.mend();
    }
}

#[test]
fn no_column_of_a_thiefs_own_store_makes_others_put_for_the_thief() {
    let thief = Fixture::new();
    thief.owner().put(&item("shop", "api"), None, &one("bait")).unwrap();
    let (of_thief, tables) = (copy(&thief), Target::new().tables());
    for table in tables {
        let target = Target::new();
        for column in target.columns(&table) {
            let attack = format!("{table}.{column} of the thief's");
            let database = target.database();
            database.execute("ATTACH ?1 AS thief", [of_thief.path().to_str().unwrap()]).unwrap();
            // If the schema itself refuses the statement, it is no attack.
            let _ = database.execute_batch(&format!(
                "UPDATE main.{table} SET {column} = (SELECT {column} FROM thief.{table} LIMIT 1)"
            ));
            target.puts(&attack, &thief);
        }
        let target = Target::new();
        target.replay(&of_thief, std::slice::from_ref(&table));
        target.answers(&format!("{table} of the thief's"));
        target.puts(&format!("{table} of the thief's"), &thief);
    }
    let target = Target::new();
    target.replay(&of_thief, &target.tables());
    target.answers("all tables of the thief's");
    target.puts("all tables of the thief's", &thief);
}

/// Overwrites the file in place. A file that SQLite maps is not shortened here: that would end the process that maps
/// it, as SECURITY.md says.
fn overwrite(path: &std::path::Path, contents: &[u8], cut: bool) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, contents, 0).unwrap();
    if cut {
        file.set_len(contents.len() as u64).unwrap();
    }
}

#[test]
fn files_that_are_cut_overwritten_or_exchanged_give_nothing() {
    let thief = Fixture::new();
    for name in ["store.db", "store.db-wal", "store.db-shm", "queue.lock"] {
        let target = Target::new();
        let path = target.store.directory().join(name);
        let whole = fs::read(&path).unwrap();
        let foreign = fs::read(thief.directory().join(name)).unwrap();
        let half = whole[..whole.len() / 2].to_vec();
        for contents in [half, vec![0; whole.len()], vec![0xa5; whole.len()], foreign, Vec::new()] {
            overwrite(&path, &contents, name != "store.db-shm");
            let anew = target.store.provider();
            for (namespace, account, object, wanted) in READERS {
                let answer = read(&anew, namespace, account, object).ok();
                assert!(answer.is_none() || answer.as_deref() == wanted, "{name}: {object} is {answer:?}");
            }
        }
    }
}

#[test]
fn who_writes_beside_the_root_key_too_fools_neither_who_has_it_nor_who_saw_more() {
    let (target, thief) = (Target::new(), Fixture::new());
    fs::copy(thief.root().public_file(), target.store.root().public_file()).unwrap();
    target.replay(&copy(&thief), &["store".to_owned(), "namespaces".to_owned()]);
    target.store.open_as_owner().unwrap_err();

    target.replay(&target.earlier, &target.tables());
    fs::remove_file(target.store.root().mark_file()).unwrap();

    for (namespace, account, object, wanted) in READERS {
        let answer = read(&target.running, namespace, account, object).ok();
        assert!(answer.is_none() || answer.as_deref() == wanted, "{object} is {answer:?}");
    }
}

#[test]
fn who_holds_every_lock_stalls_and_no_more() {
    let target = Target::new();
    let queue = fs::File::open(target.store.directory().join("queue.lock")).unwrap();
    rustix::fs::flock(&queue, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(target.answers("the queue is held"), Target::wanted());

    // SQLite gives this lock only while nobody else uses the database. Readers that come later have to wait for it.
    let lock = target.database();
    let Target { store, running, .. } = target;
    drop(running);
    lock.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let began = Instant::now();
    let held = read(&store.provider(), "shop", "web", "item: api").unwrap_err();
    println!("a reader gave up after {:?}", began.elapsed());
    assert!(began.elapsed() < SOON && held.to_string().contains("is locked by another process"), "{held}");

    drop((lock, queue));
    assert_eq!(read(&store.provider(), "shop", "web", "item: api").unwrap(), "two");
}

#[test]
fn with_everything_but_the_root_key_nothing_is_read() {
    let target = Target::new();
    let mine = tempfile::tempdir().unwrap();
    let my_root = RootKeySource::beside(mine.path());
    provider_store::Store::init(&mine.path().join("store"), &my_root).unwrap();

    let stolen = EmbeddedStore::new(target.store.directory().to_owned(), my_root);

    for (namespace, account, object, _) in READERS {
        assert!(read(&stolen, namespace, account, object).is_err(), "{object}");
    }
    for value in ["one", "two", "balance", "deleted"] {
        let bytes = target.store.bytes();
        let needle = format!("{value}\0");
        assert!(!bytes.windows(needle.len()).any(|window| window == needle.as_bytes()), "{value}");
    }
}
