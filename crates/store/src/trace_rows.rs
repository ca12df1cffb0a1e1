//! Insertion of the rows of a trace: several with one statement, which has only the columns that
//! the rows of a batch use, and whose parameters are bound again only where they differ.

use rusqlite::{CachedStatement, Connection};

use super::event_rows::{COLUMNS, to_sql_integer};
use cyclometer_core::invocation::Status;
use cyclometer_trace::TraceRow;

/// Columns before those of the meters.
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

/// Position of the columns that are no numbers.
const STATUS: usize = 2;
const REQUEST: usize = 10;

/// Columns that every row has: those of which the table demands a value.
const ALWAYS: u64 = 0b1111;

/// Rows of a statement.
pub(super) const GROUP: usize = 32;

/// Place of a row of a trace in the database.
pub(super) struct RowPlace {
    pub cell: i64,
    pub sequence: i64,
    pub offset: i64,
    pub instance: Option<i64>,
}

/// Row with its place.
pub(super) type PlacedRow<'a> = (&'a TraceRow, RowPlace);

/// Statements that insert rows.
pub(super) struct RowStatements<'a> {
    group: RowStatement<'a>,
    single: RowStatement<'a>,
}

impl<'a> RowStatements<'a> {
    /// Prepares the statements for some rows.
    pub fn prepare(connection: &'a Connection, rows: &[PlacedRow<'_>]) -> rusqlite::Result<Self> {
        let columns = find_used_columns(rows);
        Ok(Self {
            group: RowStatement::prepare(connection, &columns, GROUP)?,
            single: RowStatement::prepare(connection, &columns, 1)?,
        })
    }

    /// Inserts rows, as many as a group at most; they are numbered one after the other.
    pub fn insert(&mut self, rows: &[PlacedRow<'_>]) -> rusqlite::Result<()> {
        if rows.len() == GROUP {
            return self.group.insert(rows);
        }
        rows.chunks(1).try_for_each(|row| self.single.insert(row))
    }
}

/// Returns the positions of the columns that some row has a value in.
fn find_used_columns(rows: &[PlacedRow<'_>]) -> Vec<usize> {
    let count = FIRST_COLUMNS.len() + COLUMNS.len();
    let mut used = ALWAYS;
    for (row, place) in rows {
        for at in 0..count {
            if used & (1 << at) == 0
                && (if at == REQUEST {
                    row.request.is_some()
                } else {
                    number_of(row, place, at).is_some()
                })
            {
                used |= 1 << at;
            }
        }
    }
    (0..count).filter(|at| used & (1 << at) != 0).collect()
}

/// Returns the number in a column of a row.
fn number_of(row: &TraceRow, place: &RowPlace, at: usize) -> Option<i64> {
    let phases = &row.usage.phases;
    let span = match at {
        0 => return Some(place.cell),
        1 => return Some(place.sequence),
        3 => return Some(place.offset),
        4 => phases.create,
        5 => phases.start,
        6 => phases.run,
        7 => row.billed,
        8 => return (row.weight != 1).then_some(row.weight.into()),
        9 => return place.instance,
        _ => {
            let (meter, _) = COLUMNS.get(at.checked_sub(FIRST_COLUMNS.len())?)?;
            return row.usage.get(*meter).map(to_sql_integer);
        }
    };
    span.map(|span| to_sql_integer(span.0))
}

/// Statement that inserts a number of rows.
struct RowStatement<'a> {
    statement: CachedStatement<'a>,
    columns: Vec<usize>,
    /// Numbers that are bound, row by row.
    bound: Vec<Option<i64>>,
    /// Status that is bound in each row.
    statuses: Vec<Option<Status>>,
}

impl<'a> RowStatement<'a> {
    fn prepare(
        connection: &'a Connection,
        columns: &[usize],
        rows: usize,
    ) -> rusqlite::Result<Self> {
        let name = |at: &usize| {
            FIRST_COLUMNS.get(*at).copied().unwrap_or_else(|| COLUMNS[at - FIRST_COLUMNS.len()].1)
        };
        let names: Vec<&str> = columns.iter().map(name).collect();
        let marks = format!("({})", vec!["?"; columns.len()].join(","));
        // A failure gives up the import: without `ROLLBACK`, the pages that a statement of several
        // rows changes would be kept for undoing that statement alone.
        let sql = format!(
            "INSERT OR ROLLBACK INTO invocation ({}) VALUES {}",
            names.join(", "),
            vec![marks; rows].join(",")
        );
        let mut statement = connection.prepare_cached(&sql)?;
        statement.clear_bindings();
        Ok(Self {
            statement,
            columns: columns.to_vec(),
            bound: vec![None; columns.len() * rows],
            statuses: vec![None; rows],
        })
    }

    /// Inserts as many rows as the statement has.
    fn insert(&mut self, rows: &[PlacedRow<'_>]) -> rusqlite::Result<()> {
        let mut parameter = 0;
        for ((row, place), status) in rows.iter().zip(&mut self.statuses) {
            for at in &self.columns {
                parameter += 1;
                if *at == STATUS {
                    if *status != Some(row.status) {
                        self.statement.raw_bind_parameter(parameter, row.status.label())?;
                        *status = Some(row.status);
                    }
                } else if *at == REQUEST {
                    let request = row.request.as_ref().map(|request| request.0.as_slice());
                    self.statement.raw_bind_parameter(parameter, request)?;
                } else {
                    let value = number_of(row, place, *at);
                    if self.bound[parameter - 1] != value {
                        self.statement.raw_bind_parameter(parameter, value)?;
                        self.bound[parameter - 1] = value;
                    }
                }
            }
        }
        self.statement.raw_execute().map(drop)
    }
}
