//! The SQLite file: how it is opened, what it holds, and what its errors mean.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use provider::{Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};

use crate::checkpoint::older;
use crate::keys::{NamespaceKey, PublicKey, RootPublic, StoreId};
use crate::limits::{Counter, Steps};
use crate::name::Name;
use crate::pin::Pin;
use crate::queue::{self, Turn};
use crate::root_file::parent;
use crate::schema;

/// The database's name in the store's directory. SQLite's own files beside it begin with the same.
pub(crate) const FILE: &str = "store.db";
/// "SFS1": tells a store from any other SQLite file.
const APPLICATION: i32 = 0x5346_5331;
/// What a connection is for, which bounds how long it waits and works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads for a volume. In a write-ahead log readers and writers do not wait for each other, so
    /// where it waits somebody has locked the whole database.
    Reader,
    /// Runs a command.
    Command,
}

impl Role {
    fn patience(self) -> Duration {
        match self {
            Self::Reader => Duration::from_secs(3),
            // Beside the queue there are an older secretfs and whoever else writes.
            Self::Command => queue::PATIENCE,
        }
    }

    fn steps(self) -> Steps {
        match self {
            Self::Reader => Steps::READ,
            Self::Command => Steps::COMMAND,
        }
    }
}

/// Why something inside the database did not work: SQLite's reason, or ours.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Told(Error),
}

/// Result of something inside the database.
pub(crate) type Inside<T> = std::result::Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

/// One process's connection to a store's database.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
    /// Device and inode, to notice that another file took its place.
    place: Option<(u64, u64)>,
    steps: Counter,
    /// The form it has.
    form: i32,
    /// The schema's cookie when the schema was last found to be ours.
    schema: Option<i32>,
}

impl Database {
    /// Opens the database of an initialised store.
    pub(crate) fn open(directory: &Path, role: Role) -> Result<Self> {
        let mut database = Self::connect(directory, role)?;
        let known = database.told(|connection| Ok(pragma(connection, "application_id")?))?;
        match known {
            APPLICATION => {
                database.form = database.known_form()?;
                Ok(database)
            }
            0 => Err(uninitialised(directory)),
            _ => Err(foreign(&database.path)),
        }
    }

    /// Makes directory and database where they are missing, and asks `identity` who the new store is.
    pub(crate) fn create(directory: &Path, identity: impl FnOnce() -> Result<Pin>) -> Result<Self> {
        make_directory(directory).map_err(|error| unwritable(directory, &error))?;
        let path = directory.join(FILE);
        make_file(&path).map_err(|error| unwritable(&path, &error))?;
        queue::make(directory).map_err(|error| unwritable(directory, &error))?;
        let mut database = Self::connect(directory, Role::Command)?;
        database.begin(TransactionBehavior::Immediate, |transaction| {
            match pragma(transaction, "application_id")? {
                0 => {}
                APPLICATION => return Err(Fault::Told(initialised(directory))),
                _ => return Err(Fault::Told(foreign(&path))),
            }
            let Pin { store, root } = identity()?;
            schema::create(transaction)?;
            transaction.execute(
                "INSERT INTO store VALUES (1, ?1, ?2, ?3)",
                (&store.0, &root.seal.0, &root.verify),
            )?;
            Ok(transaction.pragma_update(None, "application_id", APPLICATION)?)
        })?;
        Ok(database)
    }

    fn connect(directory: &Path, role: Role) -> Result<Self> {
        let path = directory.join(FILE);
        if !path.try_exists().map_err(|error| unreadable(&path, &error))? {
            return Err(uninitialised(directory));
        }
        let place = place(&path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(&path, flags).map_err(|error| refused(&path, &error))?;
        let steps = configure(&mut connection, role).map_err(|error| refused(&path, &error))?;
        Ok(Self { connection, path, place, steps, form: schema::VERSION, schema: None })
    }

    fn known_form(&self) -> Result<i32> {
        match self.told(|connection| Ok(schema::form(connection)?))? {
            form @ (schema::BEFORE | schema::VERSION) => Ok(form),
            other => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "store {} has form {other}, this secretfs knows {}",
                    self.path.display(),
                    schema::VERSION
                ),
            )
            .remedy("use the secretfs that made it, or a newer one")),
        }
    }

    /// Whether an older secretfs made it, and it has yet to be brought to the present form.
    pub(crate) fn is_of_the_past(&self) -> bool {
        self.form < schema::VERSION
    }

    /// Whether the file is still the one that was opened: not restored, moved or removed meanwhile.
    pub(crate) fn is_in_place(&self) -> bool {
        self.place.is_some() && place(&self.path) == self.place
    }

    /// Changes whenever another connection committed something.
    pub(crate) fn data_version(&self) -> Result<i32> {
        self.told(|connection| Ok(pragma(connection, "data_version")?))
    }

    /// Runs `work` on what the database holds at one moment.
    pub(crate) fn read<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Inside<T>) -> Result<T> {
        self.transaction(TransactionBehavior::Deferred, work)
    }

    /// Runs `work` as the only writer, when its turn has come; all of it is kept, durably, or nothing.
    pub(crate) fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Inside<T>) -> Result<T> {
        let _turn = Turn::wait(parent(&self.path))?;
        self.transaction(TransactionBehavior::Immediate, work)
    }

    fn transaction<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Inside<T>,
    ) -> Result<T> {
        let (seen, was) = (self.schema, self.form);
        let (result, form, cookie) = self.begin(behavior, |transaction| {
            let (form, cookie) = checked(transaction, seen, was)?;
            Ok((work(transaction)?, form, cookie))
        })?;
        (self.form, self.schema) = (form, Some(cookie));
        Ok(result)
    }

    fn begin<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Inside<T>,
    ) -> Result<T> {
        self.steps.restart();
        let path = &self.path;
        let told = |fault| tell(path, fault);
        let transaction =
            self.connection.transaction_with_behavior(behavior).map_err(|error| refused(path, &error))?;
        let result = work(&transaction).map_err(told)?;
        transaction.commit().map_err(|error| refused(path, &error))?;
        Ok(result)
    }

    /// Takes what was overwritten out of the log too, unless somebody is reading it just now.
    pub(crate) fn forget_old_pages(&self) {
        let truncated = self.connection.busy_timeout(Role::Reader.patience()).and_then(|()| {
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i32>(0))
        });
        let restored = self.connection.busy_timeout(Role::Command.patience());
        if !matches!((truncated, restored), (Ok(0), Ok(()))) {
            tracing::warn!(
                database = %self.path.display(),
                "the write-ahead log still holds older ciphertext: another process is reading; it goes with a later checkpoint"
            );
        }
    }

    fn told<T>(&self, work: impl FnOnce(&Connection) -> Inside<T>) -> Result<T> {
        work(&self.connection).map_err(|fault| tell(&self.path, fault))
    }
}

/// Form and cookie of a schema that is ours, looked at anew unless the cookie is the one that was `seen`.
fn checked(connection: &Connection, seen: Option<i32>, was: i32) -> Inside<(i32, i32)> {
    let cookie = schema::cookie(connection)?;
    if seen == Some(cookie) {
        return Ok((was, cookie));
    }
    let form = schema::form(connection)?;
    if form < was {
        return Err(older("it has the form of an older secretfs again").into());
    }
    schema::check(connection, form)?;
    Ok((form, cookie))
}

/// Who the store is, as its database says.
pub(crate) fn identity(connection: &Connection) -> Inside<Pin> {
    let row =
        connection.prepare_cached("SELECT id, root_seal, root_verify FROM store")?.query_row([], |row| {
            let root = RootPublic { seal: PublicKey(row.get(1)?), verify: row.get(2)? };
            Ok(Pin { store: StoreId(row.get(0)?), root })
        })?;
    Ok(row)
}

/// A namespace's key pair, its private half sealed to the root.
#[derive(Debug)]
pub(crate) struct NamespaceRow {
    pub(crate) key: NamespaceKey,
    pub(crate) sealed_private: Vec<u8>,
}

/// The key pair of `namespace`, if it has one.
pub(crate) fn namespace_key(connection: &Connection, namespace: &Name) -> Inside<Option<NamespaceRow>> {
    let row = connection
        .prepare_cached("SELECT public, sealed_private, signature FROM namespaces WHERE name = ?1")?
        .query_row([namespace.as_str()], |row| {
            let key = NamespaceKey {
                namespace: namespace.clone(),
                public: PublicKey(row.get(0)?),
                signature: row.get(2)?,
            };
            Ok(NamespaceRow { key, sealed_private: row.get(1)? })
        })
        .optional()?;
    Ok(row)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

fn configure(connection: &mut Connection, role: Role) -> rusqlite::Result<Counter> {
    // Before anything of the file is parsed.
    let steps = Counter::attach(connection, role.steps())?;
    connection.busy_timeout(role.patience())?;
    // Removing the log at the last close would need a writable directory to make it again,
    // which a group that may put does not have.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A statement is parsed once for a connection, not again for each value that it is given.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; PRAGMA synchronous = FULL;",
    )?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    Ok(steps)
}

fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
    // Set-group-id: the log gets the directory's group, whoever makes it. Not left to the umask.
    std::fs::set_permissions(directory, Permissions::from_mode(0o2750))
}

fn make_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o660).open(path) {
        Ok(file) => file.set_permissions(Permissions::from_mode(0o660)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn place(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn tell(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Sql(error) => refused(path, &error),
        Fault::Told(error) => error,
    }
}

fn refused(path: &Path, error: &rusqlite::Error) -> Error {
    let path = path.display();
    let unavailable = |text: String| Error::new(ErrorKind::Unavailable, text);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            unavailable(format!("store {path} is locked by another process")).remedy("try again")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            unavailable(format!("store {path} is damaged")).remedy("restore it from a backup")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            unavailable(format!("store {path} cannot be opened for writing, which reading needs too"))
                .remedy("run as a member of its group, which needs read and write on all of store.db*")
        }
        Some(ErrorCode::TooBig | ErrorCode::OutOfMemory) => {
            unavailable(format!("store {path} holds a row that is longer than any that secretfs writes"))
                .remedy("find out who writes to it, and restore it from a backup")
        }
        Some(ErrorCode::OperationInterrupted) => {
            unavailable(format!("store {path} takes more steps to look through than secretfs takes"))
                .remedy("find out who filled it, and restore it from a backup")
        }
        Some(ErrorCode::DiskFull) => {
            unavailable(format!("no space left for store {path}")).remedy("make space; nothing was changed")
        }
        _ => unavailable(format!("store {path}: {error}")),
    }
}

fn uninitialised(directory: &Path) -> Error {
    let directory = directory.display();
    Error::new(ErrorKind::Unavailable, format!("there is no store in {directory}"))
        .remedy(format!("make one with `secretfs store init --store {directory}`, or give another directory"))
}

fn initialised(directory: &Path) -> Error {
    Error::new(ErrorKind::Invalid, format!("there is a store in {} already", directory.display()))
        .remedy("use it, or give another directory (--store DIR)")
}

fn foreign(path: &Path) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{} is a database of something else", path.display()))
        .remedy("give another directory (--store DIR)")
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot make {}: {error}", path.display()))
        .remedy("run as a user who may, or give another directory (--store DIR)")
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot look at {}: {error}", path.display()))
        .remedy("run as a member of the directory's group")
}
