//! Files that are opened as databases by name: every connection to a file is
//! opened here.
//!
//! `SQLite` takes a name that begins with `file:` for a URI, and `:memory:` or
//! an empty one for no file at all, and the version built into this program
//! does so whatever the flags say. A name from outside is that of a file:
//! links, modes and owners are checked under that name, and no other file may
//! be opened.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use cyclometer_system::paths;
use cyclometer_system::sys::file_size_limit;

/// Size in bytes of the index (`-shm`) of a log that is not large.
pub(super) const INDEX_BYTES: u64 = 32 << 10;
/// Bytes that must be free for an index and the first page of a log.
const ROOM_BYTES: u64 = INDEX_BYTES + (8 << 10);

/// Returns `path` in a form that `SQLite` takes for nothing but a file.
fn name_as_file(path: &Path) -> Cow<'_, Path> {
    if path.is_absolute() { Cow::Borrowed(path) } else { Cow::Owned(Path::new(".").join(path)) }
}

/// Opens the file of that name, whatever it looks like.
#[expect(clippy::disallowed_methods, reason = "the one place where files are opened")]
pub(super) fn open_file(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = flags.difference(OpenFlags::SQLITE_OPEN_URI);
    Connection::open_with_flags(name_as_file(path), flags)
}

/// Opens the file of that name as one that does not change.
#[expect(clippy::disallowed_methods, reason = "a URI of this program, in which nothing is as is")]
pub(super) fn open_unchanging_file(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(immutable_uri(path), flags)
}

/// Copies everything that a connection sees to the file of that name, which is
/// empty or does not exist.
pub(super) fn copy_into_file(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    // Passed as bytes, for a name need not be UTF-8.
    let name = name_as_file(path);
    let name = name.as_os_str().as_bytes();
    connection.execute("VACUUM INTO CAST(?1 AS TEXT)", [name]).map(drop)
}

/// Returns the path of a file beside the database, such as its log: beside the
/// file itself where `path` is a link to it.
pub(super) fn path_beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name =
        fs::canonicalize(path).map_or_else(|_| OsString::from(path), PathBuf::into_os_string);
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns `file:PATH?immutable=1`, with every character quoted that has a
/// meaning there.
fn immutable_uri(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Returns whether the database has an index of its log that can be used as it
/// is.
pub(super) fn has_whole_index(path: &Path) -> bool {
    fs::metadata(path_beside(path, "-shm")).is_ok_and(|data| data.len() >= INDEX_BYTES)
}

/// Returns whether there is an index, or one can be created: the disk has room,
/// and files may be that large. Where this cannot be determined, there is room.
pub(super) fn has_room_for_index(path: &Path) -> bool {
    if has_whole_index(path) {
        return true;
    }
    if file_size_limit().is_some_and(|limit| limit < INDEX_BYTES) {
        return false;
    }
    let real = path_beside(path, "");
    let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty());
    paths::has_room(folder.unwrap_or(Path::new(".")), ROOM_BYTES)
}

/// Removes the beginning of an index that there was no room for. `SQLite`
/// leaves it when a connection fails.
pub(super) fn remove_broken_index(path: &Path) {
    let index = path_beside(path, "-shm");
    if !index.exists() || has_whole_index(path) {
        return;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(connection) = open_file(path, flags) else { return };
    // Whoever uses the index holds a lock on the file, too: nobody does while
    // this connection has all of it, which itself needs no index then.
    let taken = connection
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE")
        .and_then(|()| connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |_| Ok(())));
    if taken.is_ok() {
        let _ = fs::remove_file(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_quoted_for_sqlite() {
        assert_eq!(
            immutable_uri(Path::new("/a b/50%?#x/ä.db")),
            "file:/a%20b/50%25%3F%23x/%C3%A4.db?immutable=1"
        );
    }

    #[test]
    fn no_name_is_a_uri_or_a_database_in_memory() {
        for (name, file) in [
            ("file:q.db", "./file:q.db"),
            ("file:/tmp/q.db", "./file:/tmp/q.db"),
            (":memory:", "./:memory:"),
            ("", "./"),
            ("q.db", "./q.db"),
            ("/tmp/file:q.db", "/tmp/file:q.db"),
        ] {
            assert_eq!(name_as_file(Path::new(name)), Path::new(file));
        }
    }

    #[test]
    fn a_copy_has_the_name_that_it_is_given_byte_by_byte() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff.db"));
        let source = Connection::open_in_memory().expect("memory");
        source.execute_batch("CREATE TABLE t (x)").expect("made");
        copy_into_file(&source, &path).expect("copied");
        assert!(path.metadata().expect("there").len() > 0);
    }
}
