//! Opening a database: one that cannot be used is refused before any work, and
//! recordings that were cut off are repaired.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rusqlite_migration::{M, Migrations};
use thiserror::Error;

use super::access::{Access, connect_for_reading, copy_to_migrate, is_writable, may_write};
use super::busy_retry::RetryPolicy;
use super::connection_guard::restrict_connection;
use super::database_file::{has_room_for_index, open_file, path_beside, remove_broken_index};
use super::error_text::{describe_error, describe_missing_room, is_about_place, reached_limit};
use super::event_rows::HAS_FINISHED;
use cyclometer_system::paths::{self, FolderPurpose, TrustError};
use cyclometer_system::procfs::ProcessIdentity;

/// Marks a file as a cyclometer database: "cycm".
const APPLICATION_ID: i32 = 0x6379_636d;

/// All migrations in order; each file states its reason. Never edited once
/// released.
pub(super) const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("../../../db/migrations/20261121060000_first_schema.sql")),
    M::up(include_str!("../../../db/migrations/20261121060100_simulations.sql")),
    M::up(include_str!("../../../db/migrations/20261121060200_public_views.sql")),
    M::up(include_str!("../../../db/migrations/20261121100000_months_and_waste.sql")),
    M::up(include_str!("../../../db/migrations/20261121160000_parts_of_phases.sql")),
    M::up(include_str!("../../../db/migrations/20261121170000_compile_times.sql")),
    M::up(include_str!("../../../db/migrations/20261121180000_footprint_parts.sql")),
    M::up(include_str!("../../../db/migrations/20261128110000_startup_and_throttling.sql")),
    M::up(include_str!("../../../db/migrations/20261128120000_subjects.sql")),
    M::up(include_str!("../../../db/migrations/20261128130000_user_mode_only.sql")),
    M::up(include_str!("../../../db/migrations/20261129010000_settings_of_subjects.sql")),
    M::up(include_str!("../../../db/migrations/20261129020000_cpu_shares.sql")),
    M::up(include_str!("../../../db/migrations/20261129120000_traces.sql")),
    M::up(include_str!("../../../db/migrations/20261129130000_trace_imports.sql")),
];

/// Reason why the database cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or folder is in the way.
    #[error("cannot open the database {}: {cause}; {remedy}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Problem with the file or folder.
        cause: String,
        /// Advice on what to do.
        remedy: &'static str,
    },
    /// Another program holds its lock.
    #[error(
        "cannot open the database {}: another program holds its lock; wait for it to end, or use \
         another file with --db or CYCLOMETER_DB", path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// No database was named, and the default one may not be used.
    #[error("{cause}; {remedy}")]
    NoDefault {
        /// Problem with the default database.
        cause: String,
        /// Advice on what to do.
        remedy: &'static str,
    },
    /// A statement failed.
    #[error("the database {action} failed: {}", describe_error(source))]
    Sql {
        /// The operation that failed.
        action: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// Neither the database nor a copy of it accepted the measurements.
    #[error("{lost} finished invocation(s) could not be stored: {reason}")]
    GaveUp {
        /// Number of finished invocations that are lost.
        lost: usize,
        /// Reason why the last try failed.
        reason: String,
    },
    /// A recording could not go on, but nothing of it is lost.
    #[error("{reason}; {kept}")]
    CutShort {
        /// Reason why it could not go on.
        reason: String,
        /// Location of the measurements.
        kept: String,
    },
    /// No recording has that number or name.
    #[error("{0}")]
    NotFound(String),
}

/// Error that may be one of the database.
pub(super) trait AsStoreError {
    /// Returns the error of the database, if it is one.
    fn as_store_error(&self) -> Option<&StoreError>;
}

impl AsStoreError for StoreError {
    fn as_store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl StoreError {
    pub(super) fn for_action(action: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sql { action, source }
    }
}

/// Recording that was cut off and is now marked `interrupted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredRecording {
    /// Number of the recording.
    pub recording: i64,
    /// Number of its invocations that are kept; `None` if none had finished, in
    /// which case the recording is not kept either.
    pub invocations: Option<i64>,
}

/// An open database.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    path: PathBuf,
    access: Access,
    /// Retry policy for a database that cannot be written; `None`: it waits for
    /// a moment only.
    retry_policy: RefCell<Option<RetryPolicy>>,
}

/// Advice where there is no default database that may be used.
const ADVICE_NO_DEFAULT: &str =
    "name one of yours with --db or CYCLOMETER_DB, or set XDG_DATA_HOME";

/// Returns `$XDG_DATA_HOME/cyclometer/cyclometer.db`, by default under
/// `~/.local/share`. A database is trusted, and written: nobody but this user
/// and root may be able to put another in its place.
///
/// # Errors
/// Fails when there is no home, or others own or can write a folder on the way
/// or a link that stands for one or for the file.
pub fn default_path() -> Result<PathBuf, StoreError> {
    let folder = paths::data_folder().ok_or_else(|| StoreError::NoDefault {
        cause: format!(
            "no database is named, and there is no place for the usual one: {}",
            paths::NO_HOME
        ),
        remedy: ADVICE_NO_DEFAULT,
    })?;
    let path = folder.join("cyclometer.db");
    let examined = paths::check_folder_trust(&folder, FolderPurpose::Read)
        .and_then(|_| paths::check_file_trust(&path, FolderPurpose::Read));
    examined.map_err(|reason: TrustError| StoreError::NoDefault {
        cause: format!("the usual database {} is not used: {reason}", path.display()),
        remedy: ADVICE_NO_DEFAULT,
    })?;
    Ok(path)
}

impl Store {
    /// Time to wait for another process' lock.
    pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

    /// Time that a reader waits for the lock to repair the database.
    pub(super) const READER_TIMEOUT: Duration = Duration::from_millis(250);

    /// Opens the database for writing, and creates it if it does not exist.
    ///
    /// # Errors
    /// Fails when the file is not a cyclometer database, is newer than this
    /// program, read-only, locked, or cannot be created. Nothing is changed
    /// then.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let begun = Instant::now();
        loop {
            // Not every wait for a lock happens within `SQLite`.
            match Self::open_with_timeout(path, Self::BUSY_TIMEOUT) {
                Err(StoreError::Locked { .. }) if begun.elapsed() < Self::BUSY_TIMEOUT => {
                    std::thread::sleep(RetryPolicy::BUSY_TIMEOUT);
                }
                opened => return opened,
            }
        }
    }

    /// Opens the database like [`Self::open`], and retries, then and at every
    /// write, for as long as it takes: until `patience` gives up.
    ///
    /// # Errors
    /// Like [`Self::open`].
    pub(crate) fn open_with_retry(
        path: &Path,
        mut patience: RetryPolicy,
    ) -> Result<Self, StoreError> {
        loop {
            match Self::open_with_timeout(path, RetryPolicy::BUSY_TIMEOUT) {
                Ok(store) => {
                    patience.report_resumed();
                    store.retry_policy.replace(Some(patience));
                    return Ok(store);
                }
                Err(error) if patience.wait_before_retry(&error, path) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs a write, and retries it while the database is locked or full, if it
    /// was opened with a retry policy.
    pub(super) fn retry_while_busy<T, E>(
        &self,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: AsStoreError,
    {
        loop {
            let result = attempt();
            let mut patience = self.retry_policy.borrow_mut();
            let Some(patience) = patience.as_mut() else { return result };
            match &result {
                Err(error)
                    if error
                        .as_store_error()
                        .is_some_and(|it| patience.wait_before_retry(it, &self.path)) => {}
                _ => {
                    patience.report_resumed();
                    return result;
                }
            }
        }
    }

    /// Takes the retry policy out, for a writer that waits by itself.
    pub(super) fn take_retry_policy(&self) -> Option<RetryPolicy> {
        self.retry_policy.take()
    }

    pub(super) fn open_with_timeout(path: &Path, busy: Duration) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            paths::make_private_folder(folder).map_err(|error| StoreError::Open {
                path: path.to_owned(),
                cause: format!("cannot make the folder {}: {error}", folder.display()),
                remedy: "name another file with --db or CYCLOMETER_DB",
            })?;
        }
        refuse_foreign_files(path)?;
        if !has_room_for_index(path) {
            return Err(disk_full_error(path));
        }
        let opened = Self::open_connection(path, busy);
        opened.map(|connection| Self::from_parts(connection, path.to_owned()))
    }

    fn open_connection(path: &Path, busy: Duration) -> Result<Connection, StoreError> {
        // Log and index get the mode of the file. SQLite reports what cannot be
        // created.
        let _ = paths::make_private_file(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let wrong = |error: rusqlite::Error| explain_open_error(path, &error);
        let mut connection = open_file(path, flags).map_err(wrong)?;
        connection.busy_timeout(busy).map_err(wrong)?;
        restrict_connection(&connection).map_err(wrong)?;
        check_schema_version(&connection, path)?;
        // Takes the write lock, so that a read-only or locked file fails now.
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK;") {
            drop(connection);
            if is_about_place(&error) {
                remove_broken_index(path);
            }
            return Err(wrong(error));
        }
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;",
            )
            .map_err(wrong)?;
        let known: i32 = connection
            .pragma_query_value(None, "application_id", |row| row.get(0))
            .map_err(wrong)?;
        if known != APPLICATION_ID {
            connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(wrong)?;
        }
        migrate_schema(&mut connection, path)?;
        Ok(connection)
    }

    /// Opens an empty database in memory, for reading where there is none.
    ///
    /// # Errors
    /// Fails when `SQLite` has no memory.
    pub fn open_empty(path: &Path) -> Result<Self, StoreError> {
        let mut connection =
            Connection::open_in_memory().map_err(|error| explain_open_error(path, &error))?;
        migrate_schema(&mut connection, path)?;
        Ok(Self::read_only(connection, path, Access::Shared))
    }

    /// Opens the database for reading only: it is not created, nothing is left
    /// beside it, and no writer has to wait. A database of an earlier version
    /// is migrated, or a copy of it where it may not be written.
    ///
    /// # Errors
    /// Fails when there is none, it is not a cyclometer database, or it was
    /// made by a newer version of this program.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let (connection, access, version) = connect_for_reading(path)?;
        if version >= MIGRATIONS.len() {
            return Ok(Self::read_only(connection, path, access));
        }
        if is_writable(path) && Self::open(path).is_ok() {
            let (connection, access, _) = connect_for_reading(path)?;
            return Ok(Self::read_only(connection, path, access));
        }
        let (mut connection, access) = copy_to_migrate(&connection, path)?;
        migrate_schema(&mut connection, path)?;
        Ok(Self::read_only(connection, path, access))
    }

    /// Returns whether rows can be added: the file and its folder may be
    /// written, and it was opened for that.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let query_only = self.connection.pragma_query_value(None, "query_only", |row| row.get(0));
        matches!(self.access, Access::Full) && matches!(query_only, Ok(0))
    }

    /// Returns whether the file has changed in a way that only reopening it
    /// shows.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.access.is_outdated(&self.path)
    }

    /// Opens one more connection to the same rows, which only reads.
    pub(super) fn open_another_reader(&self) -> Result<Connection, StoreError> {
        self.access
            .open_connection(&self.path)
            .map_err(StoreError::for_action("opening for reading"))
    }

    /// Checks that the file is a database that this program can use; changes
    /// nothing.
    ///
    /// # Errors
    /// Like [`Self::open`].
    pub fn check_usable(path: &Path) -> Result<(), StoreError> {
        connect_for_reading(path).map(drop)
    }

    pub(super) const fn from_parts(connection: Connection, path: PathBuf) -> Self {
        Self { connection, path, access: Access::Full, retry_policy: RefCell::new(None) }
    }

    /// Creates a store over a connection that only reads, opened in the way
    /// that `access` tells.
    pub(super) fn read_only(connection: Connection, path: &Path, access: Access) -> Self {
        Self { access, ..Self::from_parts(connection, path.to_owned()) }
    }

    /// Retries from now on according to `patience`.
    pub(super) fn with_retry_policy(self, patience: Option<RetryPolicy>) -> Self {
        self.retry_policy.replace(patience);
        self
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Marks recordings whose process is gone as `interrupted`; the rows that
    /// they had stored stay.
    ///
    /// # Errors
    /// Fails when the database cannot be written.
    pub fn recover_interrupted(&self) -> Result<Vec<RecoveredRecording>, StoreError> {
        super::simulation_writer::delete_unfinished_simulations(self)?;
        self.retry_while_busy(|| self.recover_once())
    }

    fn recover_once(&self) -> Result<Vec<RecoveredRecording>, StoreError> {
        let failed = StoreError::for_action;
        let mut running = self
            .connection
            .prepare("SELECT id, owner FROM recording WHERE status = 'running'")
            .map_err(failed("look for unfinished recordings"))?;
        let rows = running
            .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(failed("look for unfinished recordings"))?;
        let mut recovered = Vec::new();
        for (recording, owner) in rows {
            if owner.parse::<ProcessIdentity>().is_ok_and(|owner| owner.is_alive()) {
                continue;
            }
            self.connection
                .execute("UPDATE recording SET status = 'interrupted' WHERE id = ?1", [recording])
                .map_err(failed("mark of an interrupted recording"))?;
            let empty = format!("DELETE FROM recording WHERE id = ?1 AND NOT {HAS_FINISHED}");
            let deleted = self
                .connection
                .execute(&empty, [recording])
                .map_err(failed("mark of an interrupted recording"))?;
            let counted = self.connection.query_row(
                "SELECT COUNT(*) FROM v_invocation WHERE recording = ?1",
                [recording],
                |row| row.get(0),
            );
            let invocations = counted.map_err(failed("count of an interrupted recording"))?;
            let invocations = (deleted == 0).then_some(invocations);
            recovered.push(RecoveredRecording { recording, invocations });
        }
        Ok(recovered)
    }
}

/// Refuses files that somebody else may have put in a folder such as `/tmp`: a
/// link of the database's name, which may lead anywhere, and a log beside a
/// database that only its owner can write, from which `SQLite` would take rows.
pub(super) fn refuse_foreign_files(path: &Path) -> Result<(), StoreError> {
    let own = nix::unistd::geteuid().as_raw();
    let is_known = |uid: u32| uid == own || uid == 0;
    let refuse = |cause: String, remedy| StoreError::Open { path: path.to_owned(), cause, remedy };
    let link = path.symlink_metadata().ok().filter(std::fs::Metadata::is_symlink);
    if let Some(link) = link.filter(|link| !is_known(link.uid())) {
        return Err(refuse(
            format!("it is a link that belongs to {}", paths::describe_user(link.uid())),
            "name the file that is meant with --db or CYCLOMETER_DB",
        ));
    }
    let Ok(database) = path.metadata().map(|data| (data.uid(), data.mode())) else { return Ok(()) };
    for suffix in ["-wal", "-shm", "-journal"] {
        let beside = path_beside(path, suffix);
        let Ok(data) = beside.symlink_metadata() else { continue };
        let shared = database.1 & 0o022 != 0;
        if !is_known(data.uid()) && data.uid() != database.0 && !shared {
            let owner = paths::describe_user(data.uid());
            return Err(refuse(
                format!("{} beside it belongs to {owner}, who does not own it", beside.display()),
                "remove that file, or keep the database in a folder of yours",
            ));
        }
    }
    Ok(())
}

/// Migrates the schema to the latest version.
pub(super) fn migrate_schema(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    let migrated = Migrations::from_slice(MIGRATIONS).to_latest(connection);
    connection.set_transaction_behavior(TransactionBehavior::Deferred);
    // Where two programs migrate at once, the second fails when it gets the
    // lock, and has nothing left to do.
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    if version.is_ok_and(|version: u32| usize::try_from(version) == Ok(MIGRATIONS.len())) {
        return Ok(());
    }
    migrated.map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => explain_open_error(path, &err),
        other => StoreError::Open {
            path: path.to_owned(),
            cause: other.to_string(),
            remedy: "please report this",
        },
    })
}

/// Returns the version of the schema, if the file is a cyclometer database and
/// not newer than this program. Only reads.
pub(super) fn check_schema_version(
    connection: &Connection,
    path: &Path,
) -> Result<usize, StoreError> {
    let wrong = |error: rusqlite::Error| explain_open_error(path, &error);
    let refuse = |cause: String, remedy| StoreError::Open { path: path.to_owned(), cause, remedy };
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = pragma("application_id").map_err(wrong)?;
    let tables: i64 = connection
        .query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0))
        .map_err(wrong)?;
    if application != APPLICATION_ID && (tables > 0 || application != 0) {
        return Err(refuse(
            "it is an SQLite database of another program".to_owned(),
            "name another file with --db or CYCLOMETER_DB",
        ));
    }
    let version = usize::try_from(pragma("user_version").map_err(wrong)?).unwrap_or(usize::MAX);
    let known = MIGRATIONS.len();
    if version > known {
        return Err(refuse(
            format!("its schema has version {version}, and this program knows up to {known}"),
            "use a newer cyclometer, or another file with --db or CYCLOMETER_DB",
        ));
    }
    Ok(version)
}

/// Returns the error for a disk on which nothing more can be written beside the
/// database.
fn disk_full_error(path: &Path) -> StoreError {
    let (cause, remedy) = describe_missing_room();
    StoreError::Open { path: path.to_owned(), cause, remedy }
}

/// Converts an error of `SQLite` to one that says what to do.
pub(super) fn explain_open_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    let (cause, remedy) = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => (
            "it is not an SQLite database".to_owned(),
            "name another file with --db or CYCLOMETER_DB",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            return StoreError::Locked { path: path.to_owned() };
        }
        Some(code)
            if code == ErrorCode::ReadOnly
                || (code == ErrorCode::CannotOpen && path.exists() && !may_write(path)) =>
        {
            (
                "it is read-only".to_owned(),
                "make the file and its folder writable, or use another with --db or CYCLOMETER_DB",
            )
        }
        Some(ErrorCode::DiskFull) => return disk_full_error(path),
        Some(ErrorCode::SystemIoFailure) if reached_limit(error).is_some() => {
            (describe_error(error), "a database takes 1 MiB and more")
        }
        Some(ErrorCode::SystemIoFailure) if !has_room_for_index(path) => {
            return disk_full_error(path);
        }
        Some(ErrorCode::SystemIoFailure) => {
            (describe_error(error), "see to the disk, or use another with --db or CYCLOMETER_DB")
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            (format!("it is damaged: {error}"), "restore it from a copy, or use another with --db")
        }
        _ => {
            (describe_error(error), "check the path and its permissions, or use another with --db")
        }
    };
    StoreError::Open { path: path.to_owned(), cause, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn migrations_are_valid_and_run_once() {
        Migrations::from_slice(MIGRATIONS).validate().expect("they apply to an empty database");
        let folder = folder();
        let path = folder.path().join("deep/er/c.db");
        drop(Store::open(&path).expect("made"));
        drop(Store::open(&path).expect("opened again"));
    }

    fn refused(path: &Path) -> String {
        let before = std::fs::read(path).expect("readable");
        let error = Store::open(path).expect_err("refused").to_string();
        assert_eq!(std::fs::read(path).expect("readable"), before, "it was changed");
        error
    }

    #[test]
    fn foreign_newer_and_broken_files_are_refused_and_left_alone() {
        let folder = folder();
        let text = folder.path().join("text");
        std::fs::write(&text, "this is not a database, but it is long enough for one ".repeat(20))
            .expect("written");
        assert!(refused(&text).contains("not an SQLite database"));

        let foreign = folder.path().join("foreign");
        let other = Connection::open(&foreign).expect("made");
        other.execute_batch("CREATE TABLE t (x)").expect("made");
        drop(other);
        assert!(refused(&foreign).contains("another program"));

        let newer = folder.path().join("newer");
        let store = Store::open(&newer).expect("made");
        store.connection.pragma_update(None, "user_version", 999).expect("set");
        drop(store);
        assert!(refused(&newer).contains("version 999"));
    }

    #[test]
    fn reading_alone_makes_changes_and_locks_nothing() {
        let folder = folder();
        let path = folder.path().join("c.db");
        let missing = Store::open_read_only(&path).expect_err("there is none");
        assert!(matches!(missing, StoreError::NotFound(_)), "{missing}");
        assert!(missing.to_string().contains("`cyclometer record` makes one"), "{missing}");
        assert!(!path.exists(), "and none was made");

        let store = Store::open(&path).expect("made");
        store.connection.execute_batch("BEGIN IMMEDIATE").expect("locked by who writes");
        let reading = Store::open_read_only(&path).expect("all the same");
        assert_eq!(reading.cell_stats(1).expect("read"), []);
        assert!(reading.connection.execute_batch("DELETE FROM recording").is_err());
        store.connection.execute_batch("COMMIT").expect("nobody else holds a lock");
    }

    #[test]
    fn reading_alone_refuses_foreign_and_newer_files() {
        let folder = folder();
        let refused = |name: &str, make: &dyn Fn(&Connection)| {
            let path = folder.path().join(name);
            let store = Store::open(&path).expect("made");
            make(&store.connection);
            drop(store);
            let before = std::fs::read(&path).expect("readable");
            let error = Store::open_read_only(&path).expect_err("refused").to_string();
            assert_eq!(std::fs::read(&path).expect("readable"), before, "it was changed");
            error
        };
        let set = |name: &'static str, value: i32| {
            move |connection: &Connection| {
                connection.pragma_update(None, name, value).expect("set");
            }
        };
        let known = i32::try_from(MIGRATIONS.len()).expect("few");
        assert!(refused("foreign", &set("application_id", 7)).contains("another program"));
        assert!(refused("newer", &set("user_version", known + 1)).contains("use a newer"));
    }

    #[test]
    fn a_locked_database_is_refused() {
        let folder = folder();
        let path = folder.path().join("c.db");
        let store = Store::open(&path).expect("made");
        store.connection.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let error = Store::open(&path).expect_err("refused").to_string();
        assert!(error.contains("another program holds its lock"), "{error}");
    }

    #[test]
    fn recordings_of_the_dead_are_interrupted_and_those_of_the_living_are_not() {
        let folder = folder();
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        let me = ProcessIdentity::current().expect("/proc");
        for owner in [me.to_string(), "1-1-00000000".to_owned()] {
            store
                .connection
                .execute(
                    "INSERT INTO recording (started_at, status, owner, plan, host)
                     VALUES ('2026-11-21T00:00:00Z', 'running', ?1, '{}', '{}')",
                    [owner],
                )
                .expect("inserted");
        }
        let recovered = store.recover_interrupted().expect("recovered");
        assert_eq!(recovered, [RecoveredRecording { recording: 2, invocations: None }]);
        assert_eq!(store.recover_interrupted().expect("nothing more"), []);
    }
}
