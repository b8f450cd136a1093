//! Open connections for reads, with fair turns.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use provider::{Error, ErrorKind, Result};
use rusqlite::Transaction;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::change::migrate;
use crate::database::{Database, Inside, Role};
use crate::memory::Memory;
use crate::name::Name;

/// The most reads of one namespace at the same time. A namespace with slow reads delays only itself.
const READS_OF_A_NAMESPACE: usize = 2;
/// The most connections that stay open while nothing reads.
const MOST_IDLE: usize = 4;

/// Connections to one store's database. Each read uses a connection of its own while it runs.
#[derive(Debug)]
pub(crate) struct Pool {
    directory: PathBuf,
    memory: Arc<Memory>,
    idle: Mutex<Vec<Database>>,
}

impl Pool {
    /// A pool for the store in `directory`. A store in an older form is upgraded, unless `memory` has seen it in the
    /// present form.
    pub(crate) fn new(directory: PathBuf, memory: Arc<Memory>) -> Self {
        Self { directory, memory, idle: Mutex::default() }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `work` on one consistent state of the database. Blocks.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Inside<T>) -> Result<T> {
        let mut database = match self.take() {
            Some(open) if open.is_in_place() => open,
            _ => self.open()?,
        };
        let result = database.read(work);
        // After an error of the database itself, the connection is not used again.
        if !matches!(&result, Err(error) if error.kind() == ErrorKind::Unavailable) {
            self.give_back(database);
        }
        result
    }

    fn open(&self) -> Result<Database> {
        let database = Database::open(&self.directory, Role::Reader)?;
        if !database.is_of_the_past() {
            return Ok(database);
        }
        migrate(&mut Database::open(&self.directory, Role::Command)?, &self.memory)?;
        Database::open(&self.directory, Role::Reader)
    }

    fn take(&self) -> Option<Database> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, database: Database) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(database);
        }
    }
}

/// The turns to read, separately for each namespace.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Name, Arc<Semaphore>>>);

impl Turns {
    /// Waits until fewer than two reads of `namespace` run. The wait occupies no thread.
    ///
    /// # Errors
    ///
    /// None: the semaphore is never closed.
    pub(crate) async fn of(&self, namespace: &Name) -> Result<OwnedSemaphorePermit> {
        let closed = |_| Error::new(ErrorKind::Unavailable, "the read was stopped: secretfs is ending");
        self.semaphore(namespace).acquire_owned().await.map_err(closed)
    }

    fn semaphore(&self, namespace: &Name) -> Arc<Semaphore> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Forget the other namespaces that have no running or waiting read.
        turns.retain(|name, turns| name == namespace || Arc::strong_count(turns) > 1);
        let new = || Arc::new(Semaphore::new(READS_OF_A_NAMESPACE));
        Arc::clone(turns.entry(namespace.clone()).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::root_file::RootKeySource;
    use crate::store::Store;

    #[test]
    fn a_namespace_waits_for_its_own_reads_and_for_no_others() {
        let turns = Turns::default();
        let (slow, quick): (Name, Name) = ("slow".parse().unwrap(), "quick".parse().unwrap());
        let now = |name: &Name| turns.semaphore(name).try_acquire_owned().ok();

        let (first, _second) = (now(&slow).unwrap(), now(&slow).unwrap());

        assert!(now(&slow).is_none());
        assert!(now(&quick).is_some());
        drop(first);
        assert!(now(&slow).is_some());
        assert_eq!(turns.0.lock().unwrap().len(), 1, "what is known of those that nobody reads");
    }

    #[test]
    fn a_read_that_takes_its_time_keeps_no_other_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let root = RootKeySource::beside(directory.path());
        Store::init(directory.path(), &root).unwrap();
        let pool = Pool::new(directory.path().to_owned(), Arc::new(Memory::new(root)));
        let (answer, answered) = std::sync::mpsc::channel();

        pool.read(|_| {
            std::thread::scope(|scope| {
                scope.spawn(|| answer.send(pool.read(|_| Ok("read")).unwrap()).unwrap());
                assert_eq!(answered.recv_timeout(Duration::from_secs(60)).unwrap(), "read");
            });
            Ok(())
        })
        .unwrap();
    }
}
