//! Reading invocations for a replay: only the requested columns, in the order
//! in which the rows lie in the database.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params_from_iter};

use super::calendar::PeriodSplit;
use super::event_rows::COLUMNS;
use super::open::{Store, StoreError};
use super::stored_words::read_cell_key;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::meter::{Phases, Usage};
use cyclometer_core::units::Nanos;
use cyclometer_pricing::Phase;
use cyclometer_pricing::compile::{Signal, SignalSet};
use cyclometer_replay::{CellIndex, CellKey, UsageColumns, UsageRequest, UsageRow, UsageSource};

/// Selection of invocations to replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Numbers of the recordings.
    pub recordings: Vec<i64>,
    /// Names of the lanes; empty for all.
    pub lanes: Vec<String>,
    /// Names of the workloads; empty for all.
    pub workloads: Vec<String>,
    /// Kind of start; `None` for both.
    pub start: Option<StartKind>,
}

const PHASES: [(Phase, &str); 4] = [
    (Phase::Create, "create_ns"),
    (Phase::Start, "start_ns"),
    (Phase::Run, "run_ns"),
    (Phase::Teardown, "teardown_ns"),
];

/// SQL condition: an invocation that providers bill. Failures are included, but
/// neither invocations that were cut off nor those that never started. What ended
/// well may have no wall time: some logs do not have it. Not
/// written with IN: `SQLite` would look each row up in a table of the three,
/// and the first comparison is true for nearly all.
pub(super) const BILLABLE: &str =
    "(status = 'ok' OR (wall_ns IS NOT NULL AND (status = 'failed' OR status = 'timeout')))";

/// Returns an SQL condition on an `invocation i NOT INDEXED`: it is of a cell that fulfils another
/// condition. The rows are read in the order in which they lie. By way of their cells each would
/// be looked up, which takes a minute for ten million.
pub(super) fn rows_in_order(of_cell: &str) -> String {
    format!(
        "i.id BETWEEN
            (SELECT MIN((SELECT MIN(id) FROM invocation WHERE cell_id = cell.id))
             FROM cell WHERE {of_cell})
         AND
            (SELECT MAX((SELECT MAX(id) FROM invocation WHERE cell_id = cell.id))
             FROM cell WHERE {of_cell})
         AND i.cell_id IN (SELECT id FROM cell WHERE {of_cell})"
    )
}

/// Returns the signals of a set that the database has, with their columns.
pub(super) fn signal_columns(wanted: SignalSet) -> Vec<(Signal, &'static str)> {
    let meters = COLUMNS.iter().map(|(meter, column)| (Signal::Meter(*meter), *column));
    let phases = PHASES.iter().map(|(phase, column)| (Signal::Phase(*phase), *column));
    meters.chain(phases).filter(|(signal, _)| wanted.contains(*signal)).collect()
}

/// Returns the cells of a selection.
pub(super) fn select_cells(
    connection: &Connection,
    selection: &Selection,
) -> Result<HashMap<i64, CellKey>, StoreError> {
    let failed = StoreError::for_action;
    let marks = vec!["?"; selection.recordings.len()].join(", ");
    let sql = format!(
        "SELECT c.id, l.name, c.workload, c.preset, c.start
         FROM cell c JOIN lane l ON l.id = c.lane_id WHERE c.recording_id IN ({marks})"
    );
    let mut statement = connection.prepare(&sql).map_err(failed("list of cells"))?;
    let rows = statement.query_map(params_from_iter(&selection.recordings), |row| {
        let cell: i64 = row.get(0)?;
        Ok((cell, read_cell_key(row, [1, 2, 3, 4], format_args!("cell {cell}"))?))
    });
    let named = |wanted: &[String], name: &str| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted == name)
    };
    let chosen = |key: &CellKey| {
        named(&selection.lanes, &key.lane)
            && named(&selection.workloads, &key.workload)
            && selection.start.is_none_or(|start| start == key.start)
    };
    let all: Vec<(i64, CellKey)> =
        rows.and_then(Iterator::collect).map_err(failed("list of cells"))?;
    Ok(all.into_iter().filter(|(_, key)| chosen(key)).collect())
}

/// Returns the numbers of the first and the last invocation of some cells.
pub(super) fn invocation_range(
    connection: &Connection,
    cells: &HashMap<i64, CellKey>,
) -> Result<Option<(i64, i64)>, StoreError> {
    let mut extent: Option<(i64, i64)> = None;
    // Separately they are the ends of an index; both at once would read all of
    // it.
    let mut statement = connection
        .prepare(
            "SELECT (SELECT MIN(id) FROM invocation WHERE cell_id = ?1),
                (SELECT MAX(id) FROM invocation WHERE cell_id = ?1)",
        )
        .map_err(StoreError::for_action("search for invocations"))?;
    for cell in cells.keys() {
        let found: (Option<i64>, Option<i64>) = statement
            .query_row([cell], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(StoreError::for_action("search for invocations"))?;
        if let (Some(first), Some(last)) = found {
            let (low, high) = extent.unwrap_or((first, last));
            extent = Some((low.min(first), high.max(last)));
        }
    }
    Ok(extent)
}

/// Number of a cell, of one of its instances where they are told apart, and position of the
/// period where rows are split by periods.
type InstanceKey = (i64, Option<i64>, usize);

/// Usage of the billable invocations of some cells, between two numbers.
pub(super) struct RecordedUsage<'a, C> {
    connection: C,
    cells: &'a HashMap<i64, CellKey>,
    range: (i64, i64),
    split: Option<PeriodSplit>,
}

impl<'a, C: Borrow<Connection>> RecordedUsage<'a, C> {
    pub const fn new(connection: C, cells: &'a HashMap<i64, CellKey>, range: (i64, i64)) -> Self {
        Self { connection, cells, range, split: None }
    }

    /// Splits the rows by periods of the calendar, which then stand in the presets of the keys.
    pub(super) fn split_by(self, split: PeriodSplit) -> Self {
        Self { split: Some(split), ..self }
    }

    /// Returns the key of the rows of a cell, and of a period.
    fn row_key(&self, id: InstanceKey) -> Option<CellKey> {
        let key = self.cells.get(&id.0)?;
        Some(match &self.split {
            None => key.clone(),
            Some(split) => split.split_key(key, id.2),
        })
    }

    /// Returns the query for the rows, whose first columns are cell, offset and
    /// whether the invocation failed.
    fn row_query(
        &self,
        request: UsageRequest,
        columns: &[(Signal, &'static str)],
        has_traces: bool,
    ) -> String {
        // Rows lie in the order of their numbers; another order costs a sort,
        // and only where it matters is the offset needed.
        // Requests share an instance only with those of their own.
        let (offset, instance, order) = if request.in_request_order {
            ("offset_ns", "instance_id", "cell_id, instance_id, offset_ns, id")
        } else {
            (if self.split.is_some() { "offset_ns" } else { "0" }, "NULL", "id")
        };
        let mut names = vec!["cell_id", offset, "status <> 'ok'", instance];
        // Far back in a row, which takes time to find, and only traces have it.
        names.push(if has_traces { "weight" } else { "NULL" });
        names.extend(columns.iter().map(|(_, column)| *column));
        format!(
            "SELECT {} FROM invocation
             WHERE id BETWEEN ?1 AND ?2 AND {BILLABLE} ORDER BY {order}",
            names.join(", ")
        )
    }

    fn read_blocks(
        &self,
        request: UsageRequest,
        take: &mut dyn FnMut(&mut UsageColumns),
    ) -> rusqlite::Result<()> {
        let columns = signal_columns(request.signals);
        let connection = self.connection.borrow();
        let has_traces = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM recording WHERE kind = 'trace')",
            [],
            |row| row.get(0),
        )?;
        // A provider bills what failed; here it only says what a failure took.
        let billed_failures = find_trace_cells(connection, has_traces)?;
        let sql = self.row_query(request, &columns, has_traces);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([self.range.0, self.range.1])?;
        let mut block = UsageColumns::for_request(request);
        let mut known: HashMap<InstanceKey, Option<CellIndex>> = HashMap::new();
        let mut current: Option<(InstanceKey, Option<CellIndex>)> = None;
        let mut values = Vec::with_capacity(columns.len());
        while let Some(row) = rows.next()? {
            let offset: i64 = row.get(1)?;
            let period = self.split.as_ref().map_or(0, |split| split.find_period(offset));
            let id: InstanceKey = (row.get(0)?, row.get(3)?, period);
            let cell = match current {
                Some((last, cell)) if last == id => cell,
                _ => *known
                    .entry(id)
                    .or_insert_with(|| self.row_key(id).map(|key| block.add_cell(key))),
            };
            current = Some((id, cell));
            let Some(cell) = cell else { continue };
            let offset = Nanos(u64::try_from(offset).unwrap_or(0));
            // A row of a sampled log stands for several invocations.
            let weight = read_weight(row, 4)?;
            let failed = row.get(2)? && !billed_failures.contains(&id.0);
            read_values(row, &columns, &mut values)?;
            for _ in 0..weight {
                block.push_row(cell, offset, failed);
                for (signal, value) in &values {
                    block.set_value(*signal, *value);
                }
                if block.is_full() {
                    take(&mut block);
                    block.clear_rows();
                }
            }
        }
        if !block.is_empty() {
            take(&mut block);
        }
        Ok(())
    }
}

/// Returns the cells of traces, if there are any.
fn find_trace_cells(connection: &Connection, has_traces: bool) -> rusqlite::Result<HashSet<i64>> {
    if !has_traces {
        return Ok(HashSet::new());
    }
    connection
        .prepare(
            "SELECT c.id FROM recording r JOIN cell c ON c.recording_id = r.id
             WHERE r.kind = 'trace'",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Most invocations that a row may stand for: more would keep a replay busy for minutes.
const MAX_WEIGHT: i64 = 10_000_000;

/// Returns how many invocations a row stands for.
fn read_weight(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<u64> {
    let weight: Option<i64> = row.get(at)?;
    match weight {
        None => Ok(1),
        Some(weight @ 1..=MAX_WEIGHT) => Ok(weight.unsigned_abs()),
        Some(weight) => Err(rusqlite::Error::IntegralValueOutOfRange(at, weight)),
    }
}

/// Reads the measured values of a row, whose columns begin at 5.
fn read_values(
    row: &SqlRow<'_>,
    columns: &[(Signal, &'static str)],
    values: &mut Vec<(Signal, u64)>,
) -> rusqlite::Result<()> {
    values.clear();
    for (at, (signal, _)) in (5..).zip(columns) {
        let value: Option<i64> = row.get(at)?;
        values.extend(value.and_then(|it| u64::try_from(it).ok()).map(|it| (*signal, it)));
    }
    Ok(())
}

impl<C: Borrow<Connection>> UsageSource for RecordedUsage<'_, C> {
    type Error = StoreError;

    fn read_usage(
        &mut self,
        request: UsageRequest,
        take: &mut dyn FnMut(&mut UsageColumns),
    ) -> Result<(), StoreError> {
        self.read_blocks(request, take).map_err(StoreError::for_action("read of invocations"))
    }
}

/// Returns all columns of a usage, after number, cell, offset and the phases;
/// the parts of phases come last, followed only by whether the invocation
/// failed.
fn usage_columns() -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|(_, column)| *column).collect();
    format!(
        "id, cell_id, offset_ns, create_ns, start_ns, run_ns, teardown_ns,
         counter_coverage_ppm, {}, deserialize_ns, instantiate_ns, release_ns, status <> 'ok'",
        names.join(", ")
    )
}

fn read_row(row: &SqlRow<'_>, key: &CellKey) -> rusqlite::Result<UsageRow> {
    let unsigned = |at: usize| {
        let value: Option<i64> = row.get(at)?;
        Ok::<_, rusqlite::Error>(value.and_then(|value| u64::try_from(value).ok()))
    };
    let time = |at: usize| unsigned(at).map(|value| value.map(Nanos));
    let mut usage = Usage::new(key.start == StartKind::Cold);
    let parts = 8 + COLUMNS.len();
    usage.phases = Phases {
        create: time(3)?,
        start: time(4)?,
        run: time(5)?,
        teardown: time(6)?,
        deserialize: time(parts)?,
        instantiate: time(parts + 1)?,
        release: time(parts + 2)?,
    };
    usage.counter_coverage_ppm = row.get(7)?;
    for (index, (meter, _)) in COLUMNS.iter().enumerate() {
        usage.set(*meter, unsigned(8 + index)?);
    }
    let offset = time(2)?.unwrap_or(Nanos(0));
    let failed = row.get(parts + 3)?;
    Ok(UsageRow { invocation: row.get(0)?, key: key.clone(), offset, failed, usage })
}

/// Calls `each` with every billable invocation of `cells`, in the order of
/// their numbers; a row of a sampled log comes as often as it counts.
pub(super) fn for_each_billable<E: From<StoreError>>(
    connection: &Connection,
    cells: &HashMap<i64, CellKey>,
    mut each: impl FnMut(UsageRow) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |source| E::from(StoreError::Sql { action: "read of invocations", source });
    let Some((first, last)) = invocation_range(connection, cells)? else { return Ok(()) };
    let columns = usage_columns();
    let sql = format!(
        "SELECT {columns}, weight FROM invocation
         WHERE id BETWEEN ?1 AND ?2 AND {BILLABLE} ORDER BY id"
    );
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let weight_column = statement.column_count() - 1;
    let mut rows = statement.query([first, last]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let cell: i64 = row.get(1).map_err(failed)?;
        if let Some(key) = cells.get(&cell) {
            let weight = read_weight(row, weight_column).map_err(failed)?;
            let row = read_row(row, key).map_err(failed)?;
            for _ in 1..weight {
                each(row.clone())?;
            }
            each(row)?;
        }
    }
    Ok(())
}

/// Page of billable invocations.
pub(super) struct RowPage {
    pub rows: Vec<UsageRow>,
    /// Number at which the next page begins; `None` if this is the last.
    pub next: Option<i64>,
}

/// Reads billable invocations of `cells` between two numbers, at most `most`:
/// no statement stays open between two pages.
pub(super) fn billable_page(
    connection: &Connection,
    cells: &HashMap<i64, CellKey>,
    (first, last): (i64, i64),
    most: u32,
) -> Result<RowPage, StoreError> {
    let failed = |source| StoreError::Sql { action: "read of invocations", source };
    let sql = format!(
        "SELECT {} FROM invocation WHERE id BETWEEN ?1 AND ?2 AND {BILLABLE} ORDER BY id LIMIT ?3",
        usage_columns()
    );
    let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
    let mut rows = statement.query((first, last, most)).map_err(failed)?;
    let mut page = RowPage { rows: Vec::new(), next: None };
    let mut seen = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        seen += 1;
        let id: i64 = row.get(0).map_err(failed)?;
        page.next = id.checked_add(1).filter(|_| seen == most);
        let cell: i64 = row.get(1).map_err(failed)?;
        if let Some(key) = cells.get(&cell) {
            page.rows.push(read_row(row, key).map_err(failed)?);
        }
    }
    Ok(page)
}

impl Store {
    /// Calls `each` with every billable invocation of a selection.
    ///
    /// # Errors
    /// Returns the first error of the database or of `each`.
    pub fn for_each_invocation<E: From<StoreError>>(
        &self,
        selection: &Selection,
        each: impl FnMut(UsageRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let cells = select_cells(&self.connection, selection)?;
        for_each_billable(&self.connection, &cells, each)
    }

    /// Returns one invocation by its number, with the number of its recording.
    ///
    /// # Errors
    /// Fails when the database cannot be read, or has no such invocation.
    pub fn find_invocation(&self, number: i64) -> Result<(i64, UsageRow), StoreError> {
        let action = "read of an invocation";
        let recording: Option<i64> = self
            .connection
            .query_row(
                "SELECT c.recording_id FROM invocation i JOIN cell c ON c.id = i.cell_id
                 WHERE i.id = ?1",
                [number],
                |row| row.get(0),
            )
            .optional()
            .map_err(StoreError::for_action(action))?;
        let Some(recording) = recording else {
            return Err(StoreError::NotFound(format!(
                "there is no invocation {number}: `cyclometer query \"SELECT invocation, workload, \
                 lane, start FROM v_invocation WHERE recording = ...\"` lists them"
            )));
        };
        let selection = Selection { recordings: vec![recording], ..Selection::default() };
        let cells = select_cells(&self.connection, &selection)?;
        let sql = format!("SELECT {} FROM invocation WHERE id = ?1", usage_columns());
        let row = self
            .connection
            .query_row(&sql, [number], |row| {
                let cell: i64 = row.get(1)?;
                let key = cells.get(&cell).ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                read_row(row, key)
            })
            .map_err(StoreError::for_action(action))?;
        Ok((recording, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billed_is_what_ran_and_was_not_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        store
            .connection
            .execute_batch(
                "INSERT INTO recording (id, started_at, status, owner, plan, host)
                    VALUES (1, '', 'done', '', '{}', '{}');
                 INSERT INTO lane (id, recording_id, name) VALUES (1, 1, 'native');
                 INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
                    VALUES (1, 1, 1, 'nop', 'quick', 'cold');
                 INSERT INTO invocation (id, cell_id, sequence, status, offset_ns, wall_ns)
                    VALUES (1, 1, 1, 'ok', 0, 9), (2, 1, 2, 'interrupted', 1, 9),
                        (3, 1, 3, 'failed', 2, 9), (4, 1, 4, 'failed', 3, NULL),
                        (5, 1, 5, 'timeout', 4, 9), (6, 1, 6, 'interrupted', 5, NULL);",
            )
            .expect("filled");
        let recordings = vec![1];
        let selection = Selection { recordings, lanes: vec![], workloads: vec![], start: None };
        let mut billed = Vec::new();
        store
            .for_each_invocation(&selection, |row| {
                billed.push(row.invocation);
                Ok::<_, StoreError>(())
            })
            .expect("read");
        assert_eq!(billed, [1, 3, 5]);
    }
}
