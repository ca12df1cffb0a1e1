//! Descriptions of `SQLite`'s errors: which operation failed, and why, where
//! that is known.

use rusqlite::{ErrorCode, ffi};

use super::database_file::INDEX_BYTES;
use cyclometer_core::units::Bytes;
use cyclometer_system::sys::{file_size_limit, reached_file_size_limit};

/// Descriptions of failed operations, by the extended code of an error of input
/// or output.
const OPERATIONS: [(i32, &str); 23] = [
    (ffi::SQLITE_IOERR_READ, "the file cannot be read"),
    (ffi::SQLITE_IOERR_SHORT_READ, "the file is shorter than it was"),
    (ffi::SQLITE_IOERR_WRITE, "the file or its log cannot be written"),
    (ffi::SQLITE_IOERR_FSYNC, "what was written cannot be brought to the disk"),
    (ffi::SQLITE_IOERR_DIR_FSYNC, "the folder cannot be brought to the disk"),
    (ffi::SQLITE_IOERR_TRUNCATE, "the size of the file or its log cannot be set"),
    (ffi::SQLITE_IOERR_FSTAT, "the file cannot be looked at"),
    (ffi::SQLITE_IOERR_UNLOCK, "a lock cannot be let go"),
    (ffi::SQLITE_IOERR_RDLOCK, "the file cannot be locked for reading"),
    (ffi::SQLITE_IOERR_DELETE, "its log cannot be removed"),
    (ffi::SQLITE_IOERR_NOMEM, "there is not enough memory to read or write it"),
    (ffi::SQLITE_IOERR_ACCESS, "the files beside it cannot be looked at"),
    (ffi::SQLITE_IOERR_CHECKRESERVEDLOCK, "its locks cannot be looked at"),
    (ffi::SQLITE_IOERR_LOCK, "the file cannot be locked"),
    (ffi::SQLITE_IOERR_CLOSE, "the file cannot be closed"),
    (ffi::SQLITE_IOERR_SHMOPEN, "the index of its log (-shm) cannot be opened or made"),
    (ffi::SQLITE_IOERR_SHMSIZE, "the index of its log (-shm) cannot grow"),
    (ffi::SQLITE_IOERR_SHMLOCK, "the index of its log (-shm) cannot be locked"),
    (ffi::SQLITE_IOERR_SHMMAP, "the index of its log (-shm) cannot be mapped into memory"),
    (ffi::SQLITE_IOERR_SEEK, "a place in the file cannot be reached"),
    (ffi::SQLITE_IOERR_DELETE_NOENT, "its log has vanished"),
    (ffi::SQLITE_IOERR_MMAP, "the file cannot be mapped into memory"),
    (ffi::SQLITE_IOERR_GETTEMPPATH, "there is no folder for its temporary files"),
];

/// Describes an error: the message of `SQLite`, with the operation that failed.
pub(super) fn describe_error(error: &rusqlite::Error) -> String {
    if let Some(limit) = reached_limit(error) {
        return describe_file_size_limit(limit);
    }
    if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
        return "the disk is full: free some space, or use another disk with --db".to_owned();
    }
    match failed_operation(error) {
        Some(operation) => format!("{error}: {operation}"),
        None => error.to_string(),
    }
}

/// Describes an error for a file that would exceed the limit on file sizes.
fn describe_file_size_limit(bytes: u64) -> String {
    format!(
        "a file would grow beyond the file size limit of {} (ulimit -f): `ulimit -f unlimited`, \
         where that is allowed, lifts it",
        Bytes(bytes)
    )
}

/// Describes why no index can be created where there is none, and what to do.
pub(super) fn describe_missing_room() -> (String, &'static str) {
    match file_size_limit().filter(|limit| *limit < INDEX_BYTES) {
        Some(limit) => (describe_file_size_limit(limit), "a database takes 1 MiB and more"),
        None => (
            "the disk is full".to_owned(),
            "free some space, or use another disk with --db or CYCLOMETER_DB",
        ),
    }
}

/// Returns the system operation that failed, if it is known.
fn failed_operation(error: &rusqlite::Error) -> Option<&'static str> {
    let extended = error.sqlite_error()?.extended_code;
    OPERATIONS.iter().find(|(code, _)| *code == extended).map(|(_, words)| *words)
}

/// Returns the limit on file sizes in bytes, if the error is due to it.
pub(super) fn reached_limit(error: &rusqlite::Error) -> Option<u64> {
    let extended = error.sqlite_error()?.extended_code;
    let grows = [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_TRUNCATE, ffi::SQLITE_IOERR_SHMSIZE];
    reached_file_size_limit().filter(|_| grows.contains(&extended))
}

/// Returns whether an error depends on what may be written at a place, so that
/// another way to read may work.
pub(super) fn is_about_place(error: &rusqlite::Error) -> bool {
    let Some(code) = error.sqlite_error() else { return false };
    let reading = [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_IOERR_NOMEM];
    match code.code {
        ErrorCode::CannotOpen
        | ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::DiskFull => true,
        ErrorCode::SystemIoFailure => !reading.contains(&code.extended_code),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(extended: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(extended), None)
    }

    #[test]
    fn every_error_of_input_and_output_names_its_operation() {
        // Numbers from SQLite's list of result codes: SQLITE_IOERR_READ is 266.
        let text = describe_error(&failure(266));
        assert!(text.ends_with(": the file cannot be read"), "{text}");
        // SQLITE_IOERR_SHMSIZE is 4874.
        let text = describe_error(&failure(4874));
        assert!(text.ends_with("(-shm) cannot grow"), "{text}");
        // SQLITE_FULL is 13.
        let text = describe_error(&failure(13));
        assert!(text.starts_with("the disk is full: free some space"), "{text}");
    }

    #[test]
    fn another_way_is_tried_where_writing_fails_and_not_where_reading_does() {
        for code in [ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_FULL] {
            assert!(is_about_place(&failure(code)), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_NOTADB, ffi::SQLITE_CORRUPT] {
            assert!(!is_about_place(&failure(code)), "{code}");
        }
    }
}
