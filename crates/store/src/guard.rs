//! What a connection does not do, whatever a database that others made has in
//! it.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

/// The most bytes of one value or row. A text of that size fills a terminal for
/// hours.
pub(super) const MOST_BYTES: i32 = 64 << 20;

/// Bytes to which the log is cut when it begins anew.
const LOG_BYTES: i64 = 64 << 20;

/// Makes a connection refuse what a schema could do to who opens it: run
/// triggers, call functions that act, and change the schema by hand.
pub(super) fn guard(connection: &Connection) -> rusqlite::Result<()> {
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    ] {
        connection.set_db_config(setting, on)?;
    }
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MOST_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1_000_000),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    Ok(())
}
