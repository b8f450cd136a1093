//! The tables of a store, and a check that a database has exactly these.
//!
//! An attacker may replace a table by a view, or add a trigger or an index on an expression. It would run the
//! attacker's SQL inside the reader's process. So the text of the schema is compared before anything else is asked.

use std::sync::OnceLock;

use provider::{Error, ErrorKind};
use rusqlite::Connection;

use crate::database::{Fault, Inside};

/// The form that this version of secretfs writes.
pub(crate) const VERSION: i32 = 2;
/// The earlier form, which has neither checkpoints nor undo for deletions.
pub(crate) const BEFORE: i32 = 1;

const FIRST: &str = "
CREATE TABLE store (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id BLOB NOT NULL, root_seal BLOB NOT NULL, root_verify BLOB NOT NULL
) STRICT;
CREATE TABLE namespaces (
    name TEXT PRIMARY KEY, public BLOB NOT NULL, sealed_private BLOB NOT NULL, signature BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE items (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, last_version INTEGER NOT NULL,
    UNIQUE (namespace, name)
) STRICT;
CREATE TABLE versions (
    item INTEGER NOT NULL REFERENCES items, version INTEGER NOT NULL, created INTEGER NOT NULL,
    accounts TEXT NOT NULL, sealed_key BLOB, deleted INTEGER,
    PRIMARY KEY (item, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE contents (
    item INTEGER NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, sealed BLOB,
    PRIMARY KEY (item, version, key),
    FOREIGN KEY (item, version) REFERENCES versions
) STRICT, WITHOUT ROWID;
";

const SECOND: &str = "
CREATE TABLE checkpoints (
    namespace TEXT PRIMARY KEY, sequence INTEGER NOT NULL, statement BLOB NOT NULL, signature BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE purges (
    item INTEGER NOT NULL, version INTEGER NOT NULL, due INTEGER NOT NULL,
    PRIMARY KEY (item, version)
) STRICT, WITHOUT ROWID;
";

/// Type, name, table and SQL text of each object in a schema, in order.
type Schema = Vec<(String, String, String, Option<String>)>;

/// More objects than any form of a store has.
const MOST: usize = 32;

pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(FIRST)?;
    upgrade(connection)
}

/// Creates what the earlier form lacks.
pub(crate) fn upgrade(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SECOND)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// The form that a database states.
pub(crate) fn form(connection: &Connection) -> rusqlite::Result<i32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Refuses a database whose schema differs in any way from that of a store of `form`.
pub(crate) fn check(connection: &Connection, form: i32) -> Inside<()> {
    let expected = expected(form).map_err(Fault::Sql)?;
    if read(connection)? == *expected { Ok(()) } else { Err(foreign().into()) }
}

/// A number that changes whenever somebody changes the schema by SQL. If it is unchanged, the connection does not check
/// the schema again.
pub(crate) fn cookie(connection: &Connection) -> rusqlite::Result<i32> {
    connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

fn expected(form: i32) -> rusqlite::Result<&'static Schema> {
    static PRESENT: OnceLock<Schema> = OnceLock::new();
    static PAST: OnceLock<Schema> = OnceLock::new();
    let known = if form == BEFORE { &PAST } else { &PRESENT };
    if let Some(schema) = known.get() {
        return Ok(schema);
    }
    let model = Connection::open_in_memory()?;
    if form == BEFORE {
        model.execute_batch(FIRST)?
    } else {
        create(&model)?
    }
    let schema = read(&model)?;
    Ok(known.get_or_init(|| schema))
}

fn read(connection: &Connection) -> rusqlite::Result<Schema> {
    let text = format!("SELECT type, name, tbl_name, sql FROM sqlite_schema LIMIT {MOST}");
    let mut statement = connection.prepare(&text)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let mut schema = rows.collect::<rusqlite::Result<Schema>>()?;
    schema.sort();
    Ok(schema)
}

fn foreign() -> Error {
    let text = "the store's database has other tables than secretfs makes: somebody changed it, perhaps to \
                stop or mislead who reads";
    Error::new(ErrorKind::Unavailable, text)
        .remedy("find out who writes to it, and restore it from a backup; nothing in it was read")
}
