//! Reading the database by SQL, with a connection that cannot write.
//!
//! Three safeguards, each sufficient by itself: the connection is `query_only`,
//! an authorizer refuses everything but reading while the statement is
//! prepared, and a statement that `SQLite` itself does not call read-only is
//! not run.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::ErrorCode;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Statement, types::ValueRef};
use thiserror::Error;

pub use rusqlite::types::Value as Datum;
pub use rusqlite::types::ValueRef as SeenDatum;

use super::access::{Access, connect_for_reading};
use super::connection_guard::MOST_BYTES;
use super::error_text::describe_error;
use super::open::{MIGRATIONS, Store, StoreError, explain_open_error};
use cyclometer_core::suggest::find_nearest_name;
use cyclometer_core::units::Bytes;
use cyclometer_pricing::Exact;
use cyclometer_workload::Cancel;

/// Steps of `SQLite`'s virtual machine between two looks at the clock: some
/// microseconds.
const STEPS: i32 = 1_000;

/// Memory of `SQLite` for one query in bytes: larger data are sorted on the
/// disk.
const MEMORY: i64 = 512 << 20;

/// Limits of a statement. Patterns are short, since nothing stops a comparison
/// with one; the other limits bound the time until a statement runs.
const LIMITS: [(Limit, i32); 4] = [
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 500),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 500),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
];

/// Pragmas that only report, whatever argument they get.
const REPORTING_PRAGMAS: [&str; 12] = [
    "compile_options",
    "database_list",
    "foreign_key_check",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas that report without an argument, and change something with one.
const ARGUMENT_FREE_PRAGMAS: [&str; 7] = [
    "application_id",
    "encoding",
    "freelist_count",
    "page_count",
    "page_size",
    "schema_version",
    "user_version",
];

/// Reason why a query gave no result, or no more of it.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The query is not valid, or not allowed: the message says what to do.
    #[error("{0}")]
    Wrong(String),
    /// The query was stopped.
    #[error("{0}")]
    Stopped(QueryStop),
    /// The receiver of the rows accepts no more.
    #[error(transparent)]
    Output(#[from] io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reason why a query was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QueryStop {
    /// The user stopped it.
    #[error("stopped")]
    Cancelled,
    /// The time limit was reached.
    #[error("the time is over: the query took longer than --timeout allows")]
    Timeout,
}

/// Receives the rows of a query, one by one.
pub trait RowSink {
    /// Receives the names of the columns, before the first row.
    ///
    /// # Errors
    /// Fails when they cannot be written.
    fn write_columns(&mut self, names: &[String]) -> io::Result<()>;

    /// Receives a row, whose values may be as large as `SQLite` allows; returns
    /// whether it wants another.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    fn write_row(&mut self, values: &[SeenDatum<'_>]) -> io::Result<bool>;
}

/// Column of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewColumn {
    /// Name of the view.
    pub view: String,
    /// Name of the column.
    pub column: String,
}

/// Database that is only read.
#[derive(Debug)]
pub struct SqlReader {
    connection: Connection,
    /// Reason why the authorizer refused the current statement.
    refused: Arc<Mutex<Option<String>>>,
    /// Reason why the progress handler stopped the current query.
    stopped: Arc<Mutex<Option<QueryStop>>>,
    /// Whether the database was made by an earlier version of this program, and
    /// was not migrated.
    old: bool,
    /// Keeps the copy of the database, if that is what is read.
    access: Access,
}

impl SqlReader {
    /// Opens the database, which must exist.
    ///
    /// # Errors
    /// Fails when there is none, or it cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (connection, access, version) = connect_for_reading(path)?;
        Self::from_connection(connection, access, version, path)
    }

    /// Opens an empty database in memory, for trying statements.
    ///
    /// # Errors
    /// Fails when `SQLite` has no memory.
    pub fn open_empty() -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let connection = Store::open_empty(path)?.connection;
        Self::from_connection(connection, Access::Shared, MIGRATIONS.len(), path)
    }

    fn from_connection(
        connection: Connection,
        access: Access,
        version: usize,
        path: &Path,
    ) -> Result<Self, StoreError> {
        let wrong = |error: rusqlite::Error| explain_open_error(path, &error);
        connection.execute_batch("PRAGMA query_only = ON").map_err(wrong)?;
        // This limit applies to the whole program; a smaller one stays.
        connection
            .pragma_update_and_check(None, "hard_heap_limit", MEMORY, |_| Ok(()))
            .map_err(wrong)?;
        for (limit, most) in LIMITS {
            connection.set_limit(limit, most).map_err(wrong)?;
        }
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        connection.create_aggregate_function("decimal_sum", 1, flags, DecimalSum).map_err(wrong)?;
        let refused = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&refused);
        connection
            .authorizer(Some(move |context: AuthContext<'_>| {
                let Some(reason) = refusal_reason(&context.action) else {
                    return Authorization::Allow;
                };
                seen.lock().get_or_insert(reason);
                Authorization::Deny
            }))
            .map_err(wrong)?;
        Ok(Self {
            connection,
            refused,
            stopped: Arc::new(Mutex::new(None)),
            old: version < MIGRATIONS.len(),
            access,
        })
    }

    /// Returns the folder of the copy that is read, if there is one: a program
    /// that ends without dropping this reader has to remove it.
    #[must_use]
    pub fn copy_folder(&self) -> Option<&Path> {
        self.access.copy_folder()
    }

    /// Stops queries from now on when `cancel` says so or `timeout` is over.
    ///
    /// # Errors
    /// Fails when `SQLite` does not accept the progress handler.
    pub fn watch_queries(
        &self,
        cancel: Cancel,
        timeout: Option<Duration>,
    ) -> Result<(), StoreError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let stopped = Arc::clone(&self.stopped);
        self.connection
            .progress_handler(
                STEPS,
                Some(move || {
                    let stop = if cancel.is_cancelled() {
                        QueryStop::Cancelled
                    } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        QueryStop::Timeout
                    } else {
                        return false;
                    };
                    *stopped.lock() = Some(stop);
                    true
                }),
            )
            .map_err(StoreError::for_action("watch over the query"))
    }

    /// Returns why a query was stopped, if one was.
    #[must_use]
    pub fn stop_reason(&self) -> Option<QueryStop> {
        *self.stopped.lock()
    }

    /// Returns the columns of the public views, in their order.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn view_columns(&self) -> Result<Vec<ViewColumn>, StoreError> {
        super::query::query_list(
            &self.connection,
            "list of views",
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c
             WHERE m.type = 'view' AND m.name LIKE 'v\\_%' ESCAPE '\\' ORDER BY m.name, c.cid",
            [],
            |row| Ok(ViewColumn { view: row.get(0)?, column: row.get(1)? }),
        )
    }

    /// Returns the number of the newest recording or simulation; `None` if
    /// there is none.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn latest_number(&self, what: &str) -> Result<Option<i64>, StoreError> {
        let sql = match what {
            "recording" => "SELECT MAX(recording) FROM v_invocation WHERE status <> 'interrupted'",
            "simulation" => "SELECT MAX(simulation) FROM v_simulation WHERE models IS NOT NULL",
            _ => return Ok(None),
        };
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(StoreError::for_action("search for the newest"))
    }

    /// Returns the number of the newest recording with a label; `None` if there
    /// is none.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn find_label(&self, label: &str) -> Result<Option<i64>, StoreError> {
        self.connection
            .query_row("SELECT MAX(recording) FROM v_recording WHERE label = ?1", [label], |row| {
                row.get(0)
            })
            .map_err(StoreError::for_action("search for a label"))
    }

    /// Returns the names of the parameters of a statement, without their colon.
    ///
    /// # Errors
    /// Fails when the statement is not valid or would not only read.
    pub fn parameter_names(&self, sql: &str) -> Result<Vec<String>, QueryError> {
        let statement = self.prepare_statement(sql)?;
        (1..=statement.parameter_count())
            .map(|index| {
                let name = statement.parameter_name(index);
                name.map(|name| name[1..].to_owned()).ok_or_else(|| {
                    QueryError::Wrong("write parameters with names, such as :recording".to_owned())
                })
            })
            .collect()
    }

    /// Runs one statement and sends its rows to `sink` as they come.
    ///
    /// # Errors
    /// Fails when the statement is not valid, would not only read, was stopped,
    /// or the sink fails.
    pub fn run_query(
        &self,
        sql: &str,
        parameters: &[(String, Datum)],
        sink: &mut dyn RowSink,
    ) -> Result<(), QueryError> {
        let mut statement = self.prepare_statement(sql)?;
        for index in 1..=statement.parameter_count() {
            let name = statement.parameter_name(index).map_or("", |name| &name[1..]);
            let value = parameters.iter().find(|(known, _)| known == name).map(|(_, it)| it);
            statement
                .raw_bind_parameter(index, value)
                .map_err(|error| self.explain_query_error(&error, sql))?;
        }
        let names: Vec<String> =
            statement.column_names().into_iter().map(ToOwned::to_owned).collect();
        sink.write_columns(&names)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|error| self.explain_query_error(&error, sql))? {
            let values: Result<Vec<SeenDatum<'_>>, _> =
                (0..names.len()).map(|at| row.get_ref(at)).collect();
            if !sink.write_row(&values.map_err(|error| self.explain_query_error(&error, sql))?)? {
                break;
            }
        }
        Ok(())
    }

    fn prepare_statement(&self, sql: &str) -> Result<Statement<'_>, QueryError> {
        *self.refused.lock() = None;
        let wrong = |text: &str| QueryError::Wrong(text.to_owned());
        if sql.contains('\0') {
            return Err(wrong("SQL with a zero byte is not text"));
        }
        let statement =
            self.connection.prepare(sql).map_err(|error| self.explain_query_error(&error, sql))?;
        if !statement.readonly() {
            return Err(wrong("this statement would write, and `query` only reads"));
        }
        if statement.column_count() == 0 {
            return Err(wrong("there is nothing to run: give a SELECT"));
        }
        Ok(statement)
    }

    /// Converts an error of `SQLite` to one that says what to do.
    fn explain_query_error(&self, error: &rusqlite::Error, sql: &str) -> QueryError {
        if let Some(reason) = self.refused.lock().take() {
            return QueryError::Wrong(reason);
        }
        if let Some(stop) = self.stop_reason() {
            return QueryError::Stopped(stop);
        }
        let (message, offset) = match error {
            rusqlite::Error::MultipleStatement => {
                return QueryError::Wrong(
                    "one statement at a time: what follows the `;` is another".to_owned(),
                );
            }
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                (msg.clone(), usize::try_from(*offset).ok())
            }
            rusqlite::Error::SqliteFailure(failure, message) => {
                if matches!(failure.code, ErrorCode::SystemIoFailure | ErrorCode::DiskFull) {
                    let text = format!("the database query failed: {}", describe_error(error));
                    return QueryError::Store(StoreError::NotFound(text));
                }
                if let Some(reason) = describe_exceeded_limit(failure.code) {
                    return QueryError::Wrong(reason);
                }
                (message.clone().unwrap_or_else(|| failure.to_string()), None)
            }
            other => (other.to_string(), None),
        };
        let mut text = format!("SQLite says: {message}{}", self.suggest_name(&message, sql));
        if let Some(place) = offset.and_then(|offset| mark_error_position(sql, offset)) {
            text = format!("{text}\n{place}");
        }
        if self.old && message.starts_with("no such") {
            text.push_str(
                "\nThe database was made by an earlier cyclometer: `cyclometer history` brings \
                 its views up to date",
            );
        }
        QueryError::Wrong(text)
    }

    /// Suggests the name that was probably meant.
    fn suggest_name(&self, message: &str, sql: &str) -> String {
        let unknown = |kind: &str| message.strip_prefix(kind).map(str::trim);
        let table = unknown("no such table:");
        let column = unknown("no such column:");
        let (Some(name), Ok(views)) = (table.or(column), self.view_columns()) else {
            return String::new();
        };
        let name = name.rsplit('.').next().unwrap_or(name);
        let mut known: Vec<&str> = if table.is_some() {
            views.iter().map(|it| it.view.as_str()).collect()
        } else {
            let used = views.iter().filter(|it| sql.contains(&it.view));
            used.map(|it| it.column.as_str()).collect()
        };
        known.dedup();
        find_nearest_name(name, known).map_or_else(
            || "; `cyclometer query --schema` lists views and columns".to_owned(),
            |name| format!("; did you mean `{name}`?"),
        )
    }
}

/// Describes the limit that a statement exceeded, if it is one of memory or
/// size.
fn describe_exceeded_limit(code: ErrorCode) -> Option<String> {
    match code {
        ErrorCode::OutOfMemory => {
            Some(format!("the query takes more than {} of memory", Bytes(MEMORY.unsigned_abs())))
        }
        ErrorCode::TooBig => Some(format!(
            "a value or a row is larger than {}",
            Bytes(u64::from(MOST_BYTES.unsigned_abs()))
        )),
        _ => None,
    }
}

/// Returns the line of the statement that is wrong, with a mark below it.
fn mark_error_position(sql: &str, offset: usize) -> Option<String> {
    let before = sql.get(..offset)?;
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    let line = sql[begin..].lines().next()?;
    // Beyond the width of a terminal, the mark would stand anywhere.
    if line.chars().count() > 76 || line.contains('\t') {
        return None;
    }
    let column = sql[begin..offset].chars().count();
    Some(format!("  {line}\n  {:>width$}", '^', width = column + 1))
}

/// Returns the reason why an action of a statement is not allowed; `None` if it
/// only reads.
fn refusal_reason(action: &AuthAction<'_>) -> Option<String> {
    let what = match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => return None,
        AuthAction::Function { function_name } if *function_name != "load_extension" => {
            return None;
        }
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let name = pragma_name.to_ascii_lowercase();
            let asked = pragma_value.is_none() && ARGUMENT_FREE_PRAGMAS.contains(&name.as_str());
            if asked || REPORTING_PRAGMAS.contains(&name.as_str()) {
                return None;
            }
            format!("PRAGMA {name} is not among those that only tell")
        }
        AuthAction::Insert { table_name } => format!("this would add rows to {table_name}"),
        AuthAction::Update { table_name, .. } => format!("this would change {table_name}"),
        AuthAction::Delete { table_name } => format!("this would delete rows of {table_name}"),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            "this would open or close another database".to_owned()
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            "this would begin or end a transaction".to_owned()
        }
        AuthAction::Function { .. } => "this would load an extension".to_owned(),
        _ => "this would change the schema".to_owned(),
    };
    Some(format!(
        "{what}, and `query` only reads; labels and deletions are with `cyclometer history`"
    ))
}

/// Aggregate `decimal_sum(text)`: the exact sum of decimals such as bills.
/// `SQLite`'s own `SUM` would convert them to binary floating point. NULL is
/// left out, and the sum of nothing is NULL, as with `SUM`.
struct DecimalSum;

impl Aggregate<Option<Exact>, Option<String>> for DecimalSum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Option<Exact>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut Option<Exact>) -> rusqlite::Result<()> {
        let wrong = |text: String| {
            rusqlite::Error::UserFunctionError(format!("decimal_sum: {text}").into())
        };
        let term = match context.get_raw(0) {
            ValueRef::Null => return Ok(()),
            ValueRef::Integer(value) => value.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Real(_) => {
                return Err(wrong("a REAL is not exact; give the text itself".to_owned()));
            }
            ValueRef::Blob(_) => return Err(wrong("a BLOB is no decimal".to_owned())),
        };
        let term =
            Exact::parse_signed(&term).map_err(|error| wrong(format!("`{term}` {error}")))?;
        *sum.get_or_insert_default() += &term;
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        sum: Option<Option<Exact>>,
    ) -> rusqlite::Result<Option<String>> {
        Ok(sum.flatten().map(|sum| sum.to_plain_string()))
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
