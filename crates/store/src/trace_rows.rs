//! Insertion of the rows of a trace: one statement, whose parameters are bound again only where
//! they differ from those of the row before.

use rusqlite::{CachedStatement, Connection};

use super::event_rows::{COLUMNS, to_sql_integer};
use cyclometer_core::invocation::Status;
use cyclometer_trace::TraceRow;

/// Columns before those of the meters, in the order of their parameters.
const FIRST_COLUMNS: [&str; 11] = [
    "cell_id",
    "sequence",
    "status",
    "offset_ns",
    "create_ns",
    "start_ns",
    "run_ns",
    "billed_ns",
    "weight",
    "instance_id",
    "request_id",
];

/// Number of parameters.
const PARAMETERS: usize = FIRST_COLUMNS.len() + COLUMNS.len();

/// Place of a row of a trace in the database.
pub(super) struct RowPlace {
    pub cell: i64,
    pub sequence: i64,
    pub offset: i64,
    pub instance: Option<i64>,
}

/// Statement that inserts rows.
pub(super) struct RowStatement<'a> {
    statement: CachedStatement<'a>,
    bound: [Option<i64>; PARAMETERS],
    status: Option<Status>,
    has_request: bool,
}

impl<'a> RowStatement<'a> {
    pub fn prepare(connection: &'a Connection) -> rusqlite::Result<Self> {
        let columns: Vec<&str> =
            FIRST_COLUMNS.into_iter().chain(COLUMNS.iter().map(|(_, column)| *column)).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!("INSERT INTO invocation ({}) VALUES ({marks})", columns.join(", "));
        let mut statement = connection.prepare_cached(&sql)?;
        statement.clear_bindings();
        Ok(Self { statement, bound: [None; PARAMETERS], status: None, has_request: false })
    }

    /// Inserts a row.
    pub fn insert(&mut self, row: &TraceRow, place: &RowPlace) -> rusqlite::Result<()> {
        self.bind(1, Some(place.cell))?;
        self.bind(2, Some(place.sequence))?;
        if self.status != Some(row.status) {
            self.statement.raw_bind_parameter(3, row.status.label())?;
            self.status = Some(row.status);
        }
        self.bind(4, Some(place.offset))?;
        let phases = &row.usage.phases;
        let spans = [phases.create, phases.start, phases.run, row.billed];
        for (at, span) in (5..).zip(spans) {
            self.bind(at, span.map(|span| to_sql_integer(span.0)))?;
        }
        self.bind(9, (row.weight != 1).then_some(row.weight.into()))?;
        self.bind(10, place.instance)?;
        if let Some(request) = &row.request {
            self.statement.raw_bind_parameter(11, request.0.as_slice())?;
            self.has_request = true;
        } else if self.has_request {
            self.statement.raw_bind_parameter(11, None::<i64>)?;
            self.has_request = false;
        }
        for (at, (meter, _)) in (FIRST_COLUMNS.len() + 1..).zip(COLUMNS) {
            self.bind(at, row.usage.get(meter).map(to_sql_integer))?;
        }
        self.statement.raw_execute().map(drop)
    }

    /// Binds a number to a parameter, or its absence, unless it is bound already.
    fn bind(&mut self, at: usize, value: Option<i64>) -> rusqlite::Result<()> {
        if let Some(bound) = self.bound.get_mut(at - 1)
            && *bound != value
        {
            self.statement.raw_bind_parameter(at, value)?;
            *bound = value;
        }
        Ok(())
    }
}
