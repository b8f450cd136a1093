//! The SQLite file: how it is opened, its contents, and the meaning of its errors.

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

/// The name of the database in the store's directory. SQLite's own files beside it begin with the same name.
pub(crate) const FILE: &str = "store.db";
/// "SFS1". SQLite's application id distinguishes a store from other databases.
const APPLICATION: i32 = 0x5346_5331;
/// What a connection is used for. This limits how long it waits and works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads for a volume. With a write-ahead log, readers and writers do not wait for each other. So if a reader has
    /// to wait, another process has locked the whole database.
    Reader,
    /// Runs a command.
    Command,
}

impl Role {
    fn patience(self) -> Duration {
        match self {
            Self::Reader => Duration::from_secs(3),
            // Not all writers use the queue: an older secretfs, or some other program, may write too.
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

/// Why an operation inside the database failed: an error of SQLite, or one of ours.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Told(Error),
}

/// Result of an operation inside the database.
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
    /// Device and inode, to notice that another file replaced this one.
    place: Option<(u64, u64)>,
    steps: Counter,
    /// The form of the database.
    form: i32,
    /// The schema cookie at the last successful check of the schema.
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

    /// Creates directory and database if they do not exist. `identity` makes the identity of the new store.
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

    /// Whether an older secretfs made the database, and it is not upgraded yet.
    pub(crate) fn is_of_the_past(&self) -> bool {
        self.form < schema::VERSION
    }

    /// Whether the path still leads to the opened file, and not to a restored one, and not to nothing.
    pub(crate) fn is_in_place(&self) -> bool {
        self.place.is_some() && place(&self.path) == self.place
    }

    /// Changes whenever another connection commits something.
    pub(crate) fn data_version(&self) -> Result<i32> {
        self.told(|connection| Ok(pragma(connection, "data_version")?))
    }

    /// Runs `work` on one consistent state of the database.
    pub(crate) fn read<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Inside<T>) -> Result<T> {
        self.transaction(TransactionBehavior::Deferred, work)
    }

    /// Waits for the turn to write, then runs `work` as the only writer. Either all of its changes are stored durably,
    /// or none.
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

    /// Removes overwritten data from the write-ahead log too, unless another process is reading right now.
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

/// Form and cookie of the schema. The schema is checked unless its cookie is still the one that was `seen`.
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

/// The store's identity, as the database states it.
pub(crate) fn identity(connection: &Connection) -> Inside<Pin> {
    let row =
        connection.prepare_cached("SELECT id, root_seal, root_verify FROM store")?.query_row([], |row| {
            let root = RootPublic { seal: PublicKey(row.get(1)?), verify: row.get(2)? };
            Ok(Pin { store: StoreId(row.get(0)?), root })
        })?;
    Ok(row)
}

/// A namespace's key pair. Its private half is sealed to the root key.
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
    // Attached before anything of the file is parsed.
    let steps = Counter::attach(connection, role.steps())?;
    connection.busy_timeout(role.patience())?;
    // Without this, the last connection removes the log when it closes. The next one would need a writable directory to
    // create it again, and a group that may only put does not have that.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // With this, SQLite parses a statement once per connection, and not again for each bound value.
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
    // Set-group-id, so that the log gets the directory's group whoever creates it. Set here because the umask may
    // remove it.
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
