//! Protection of a connection from databases that others made.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

/// Most bytes of one value or row. A text of that size fills a terminal for
/// hours.
pub(super) const MOST_BYTES: i32 = 64 << 20;

/// Size in bytes to which the log is cut when it restarts.
const LOG_BYTES: i64 = 64 << 20;

/// Restricts a connection so that a schema cannot harm whoever opens it: by
/// running triggers, calling functions with side effects, or changing the
/// schema by hand.
pub(super) fn restrict_connection(connection: &Connection) -> rusqlite::Result<()> {
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
