//! Limits what SQLite may do for a database that others can write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use rusqlite::limits::Limit;

/// The longest row, in bytes: twice the ciphertext of a version.
const MAX_ROW: i32 = 4 * 1024 * 1024;
/// The longest SQL statement, in bytes. Ours are shorter than one KiB.
const MAX_TEXT: i32 = 16 * 1024;
/// After how many steps of SQLite's virtual machine the limit is checked.
const STRIDE: i32 = 10_000;

/// The most strides of one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps(u32);

impl Steps {
    /// For a read of a volume: about half a second.
    pub(crate) const READ: Self = Self(400);
    /// For a command, which may go through a whole store: about a minute.
    pub(crate) const COMMAND: Self = Self(60_000);
}

/// Counts the steps of a connection's current transaction.
#[derive(Debug)]
pub(crate) struct Counter(Arc<AtomicU32>);

impl Counter {
    /// Limits `connection`: the lengths permanently, and the number of `steps` from each [`restart`](Self::restart) on.
    pub(crate) fn attach(connection: &mut Connection, steps: Steps) -> rusqlite::Result<Self> {
        for (limit, most) in [
            (Limit::SQLITE_LIMIT_LENGTH, MAX_ROW),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_TEXT),
            (Limit::SQLITE_LIMIT_COLUMN, 32),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 32),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 4),
            (Limit::SQLITE_LIMIT_FUNCTION_ARG, 8),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 16),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(limit, most)?;
        }
        let strides = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&strides);
        let exhausted = move || counted.fetch_add(1, Ordering::Relaxed) >= steps.0;
        connection.progress_handler(STRIDE, Some(exhausted))?;
        Ok(Self(strides))
    }

    /// Resets the count, for a new transaction.
    pub(crate) fn restart(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
