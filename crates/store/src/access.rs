//! Opening a database for reading, wherever it lies: beside a running
//! recording, in a folder that nobody may write, on a read-only mount. Reading
//! leaves no file behind.
//!
//! `SQLite` keeps the latest writes in `FILE-wal`, with an index in `FILE-shm`
//! that readers share. Where neither exists and neither can be created, the
//! file alone is the whole database, and is opened as one that does not change.
//! Where only the index is missing, both files are copied.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use rusqlite::{Connection, OpenFlags};

use super::connection_guard::restrict_connection;
use super::database_file::{
    copy_into_file, has_room_for_index, has_whole_index, open_file, open_unchanging_file,
    path_beside, remove_broken_index,
};
use super::error_text::is_about_place;
use super::open::{
    Store, StoreError, check_schema_version, explain_open_error, refuse_foreign_files,
};

/// How a connection reaches the rows of a database.
#[derive(Debug, Clone)]
pub(super) enum Access {
    /// The file, which may be written.
    Full,
    /// The file, shared with whoever writes it.
    Shared,
    /// The file, which nobody writes as long as its stamp is this one.
    Frozen(FileStamp),
    /// A copy, which is removed with its last user.
    Copy(Arc<CopyFolder>, FileStamp),
}

/// Sizes and times of modification, which show whether a file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileStamp(Vec<(u64, Option<SystemTime>)>);

impl FileStamp {
    /// Returns the stamp of a database and its log.
    pub(super) fn for_database(path: &Path) -> Self {
        let files = [path.to_owned(), path_beside(path, "-wal")];
        Self(
            files
                .iter()
                .map(|file| {
                    let data = fs::metadata(file).ok();
                    data.map_or((0, None), |data| (data.len(), data.modified().ok()))
                })
                .collect(),
        )
    }
}

impl FileStamp {
    /// Returns the total size of both files in bytes.
    fn total_bytes(&self) -> u64 {
        self.0.iter().map(|(bytes, _)| bytes).sum()
    }
}

/// Additional bytes for the index of a copy, and for migrating it.
const COPY_SLACK: u64 = 1 << 20;

/// Private folder with the copy of a database.
#[derive(Debug)]
pub(super) struct CopyFolder(PathBuf);

impl CopyFolder {
    /// Creates a folder where so many bytes have room.
    fn with_room_for(bytes: u64) -> std::io::Result<Self> {
        let path =
            cyclometer_system::paths::temporary_folder_with_room(bytes.saturating_add(COPY_SLACK))?
                .join(cyclometer_system::owner::new_name("copy")?);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn database_path(&self) -> PathBuf {
        self.0.join("copy.db")
    }
}

impl Drop for CopyFolder {
    fn drop(&mut self) {
        // `cyclometer clean` finds a folder that cannot be removed now.
        let _ = cyclometer_system::files::remove_tree(&self.0);
    }
}

/// Returns whether the database can be written: this user may, and the disk has
/// room.
#[must_use]
pub fn is_writable(path: &Path) -> bool {
    may_write(path) && has_room_for_index(path)
}

/// Returns whether this user may write the database and create files beside it.
pub(super) fn may_write(path: &Path) -> bool {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let may =
        |path: &Path| faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok();
    may(path) && may(folder)
}

impl Access {
    /// Opens one more connection to the database at `path` in this way.
    pub(super) fn open_connection(&self, path: &Path) -> rusqlite::Result<Connection> {
        let reading = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self {
            Self::Full => {
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = open_file(path, flags)?;
                connection.execute_batch("PRAGMA query_only = ON")?;
                connection
            }
            Self::Shared => open_file(path, reading)?,
            Self::Frozen(_) => open_unchanging_file(path)?,
            Self::Copy(folder, _) => open_file(&folder.database_path(), OpenFlags::default())?,
        };
        connection.busy_timeout(Store::BUSY_TIMEOUT)?;
        restrict_connection(&connection)?;
        Ok(connection)
    }

    /// Returns the folder of the copy, if it is one.
    pub(super) fn copy_folder(&self) -> Option<&Path> {
        match self {
            Self::Copy(folder, _) => Some(&folder.0),
            Self::Full | Self::Shared | Self::Frozen(_) => None,
        }
    }

    /// Returns whether the file has changed since, so that it has to be
    /// reopened.
    pub(super) fn is_outdated(&self, path: &Path) -> bool {
        match self {
            Self::Full | Self::Shared => false,
            Self::Frozen(stamp) | Self::Copy(_, stamp) => *stamp != FileStamp::for_database(path),
        }
    }

    /// Returns the ways in which a database can be read, the best first.
    fn read_modes(path: &Path) -> Vec<ReadMode> {
        let log = fs::metadata(path_beside(path, "-wal")).map_or(0, |data| data.len());
        let mut ways = Vec::new();
        if is_writable(path) {
            ways.push(ReadMode::Full);
        }
        if has_whole_index(path) {
            ways.push(ReadMode::Shared);
        }
        ways.push(if log == 0 { ReadMode::Frozen } else { ReadMode::Copy });
        ways
    }

    /// Copies a database and its log.
    fn copy_database(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Open {
            path: path.to_owned(),
            cause: format!(
                "what was recorded last is in {}, which cannot be read where nothing may be \
                 written beside it, and both could not be copied: {error}",
                path_beside(path, "-wal").display()
            ),
            remedy: "copy both files to a folder of yours and name it with --db",
        };
        let stamp = FileStamp::for_database(path);
        let folder = CopyFolder::with_room_for(stamp.total_bytes()).map_err(failed)?;
        let copy = folder.database_path();
        fs::copy(path, &copy).map_err(failed)?;
        fs::copy(path_beside(path, "-wal"), path_beside(&copy, "-wal")).map_err(failed)?;
        for file in [copy.clone(), path_beside(&copy, "-wal")] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(file, mode).map_err(failed)?;
        }
        Ok(Self::Copy(Arc::new(folder), stamp))
    }
}

/// Way to read a database, before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadMode {
    Full,
    Shared,
    Frozen,
    Copy,
}

/// Opens a connection that only reads; returns it with how it was opened and
/// the version of the schema.
pub(super) fn connect_for_reading(path: &Path) -> Result<(Connection, Access, usize), StoreError> {
    if !path.exists() {
        return Err(no_database(path));
    }
    refuse_foreign_files(path)?;
    let mut first = None;
    let had_index = has_whole_index(path);
    for way in Access::read_modes(path) {
        let access = match way {
            ReadMode::Full => Access::Full,
            ReadMode::Shared => Access::Shared,
            ReadMode::Frozen => Access::Frozen(FileStamp::for_database(path)),
            ReadMode::Copy => Access::copy_database(path)?,
        };
        let opened = access.open_connection(path).map_err(|error| (is_about_place(&error), error));
        let opened = opened.and_then(|connection| {
            // Reads a table, so that a database that cannot be read fails now.
            match connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |_| Ok(())) {
                Ok(()) => Ok(connection),
                Err(error) => Err((is_about_place(&error), error)),
            }
        });
        match opened {
            Ok(connection) => {
                let version = check_schema_version(&connection, path)?;
                return Ok((connection, access, version));
            }
            Err((true, error)) => {
                if way == ReadMode::Full && !had_index {
                    remove_broken_index(path);
                }
                first.get_or_insert(error);
            }
            Err((false, error)) => return Err(explain_open_error(path, &error)),
        }
    }
    Err(first.map_or_else(|| no_database(path), |error| explain_open_error(path, &error)))
}

fn no_database(path: &Path) -> StoreError {
    StoreError::NotFound(format!(
        "there is no database {} yet: `cyclometer record` makes one, or name another with --db \
         or CYCLOMETER_DB",
        path.display()
    ))
}

/// Copies a database of an earlier version so that the copy can be migrated.
pub(super) fn copy_to_migrate(
    connection: &Connection,
    path: &Path,
) -> Result<(Connection, Access), StoreError> {
    let failed = |cause: String| StoreError::Open {
        path: path.to_owned(),
        cause: format!(
            "it was made by an earlier version, may not be written, and cannot be copied to be \
             brought up to date: {cause}"
        ),
        remedy: "make the file and its folder writable, or name a copy with --db",
    };
    let stamp = FileStamp::for_database(path);
    let folder = CopyFolder::with_room_for(stamp.total_bytes())
        .map_err(|error| failed(error.to_string()))?;
    let copy = folder.database_path();
    copy_into_file(connection, &copy).map_err(|error| failed(error.to_string()))?;
    let access = Access::Copy(Arc::new(folder), stamp);
    let copied = access.open_connection(path).map_err(|error| failed(error.to_string()))?;
    Ok((copied, access))
}
