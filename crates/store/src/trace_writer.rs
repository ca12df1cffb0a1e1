//! Writing of a trace: batches of rows, each in one transaction with how far its input was read,
//! so that an import that was killed goes on where it stopped. Nobody sees the trace before it is
//! finished.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior, params};

use super::event_rows::{COLUMNS, current_timestamp, to_sql_integer};
use super::open::{Store, StoreError};
use cyclometer_trace::{CellLabel, FormatMeter, RowBatch, TraceNames, TraceRow};

/// Trace that is being written.
pub struct TraceWriter {
    store: Store,
    recording: i64,
    /// Numbers in the database of the cells of the names, and how many rows each has.
    cells: Vec<StoredCell>,
    /// Numbers in the database of the instances of the names.
    instances: Vec<i64>,
    lanes: HashMap<String, i64>,
    /// Time of the last row that had one, for those that have none.
    last_time: i64,
}

struct StoredCell {
    id: i64,
    rows: i64,
}

/// Progress of an input, which is stored with a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileProgress {
    /// Number of the file in the database.
    pub file: i64,
    /// Records that were read.
    pub records: u64,
    /// Rows that were stored.
    pub rows: u64,
    /// Digest of all rows so far, in hexadecimal.
    pub digest: String,
    /// Where to go on, as JSON; `None`: the file was read to its end.
    pub checkpoint: Option<String>,
}

/// Input of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceInput {
    /// Position in the order of reading, from 0.
    pub position: usize,
    /// Path as the user wrote it.
    pub path: String,
    /// Name of the format.
    pub format: String,
    /// Size in bytes; `None` for standard input.
    pub bytes: Option<u64>,
    /// Digest by which the same file is noticed.
    pub identity: String,
}

impl TraceWriter {
    /// Creates a trace that nobody sees yet. `plan` is what was asked for, as JSON.
    ///
    /// # Errors
    /// Fails when the database cannot be written.
    pub fn begin(store: Store, label: Option<&str>, plan: &str) -> Result<Self, StoreError> {
        let sql = "INSERT INTO recording (label, started_at, status, owner, plan, host, kind,
                importing)
             VALUES (?1, ?2, 'interrupted', '', ?3, '{}', 'trace', 1)";
        let values = params![label, current_timestamp(), plan];
        store.retry_while_busy(|| {
            let inserted = store.connection.execute(sql, values);
            inserted.map(drop).map_err(StoreError::for_action("entry of the trace"))
        })?;
        let recording = store.connection.last_insert_rowid();
        Ok(Self {
            store,
            recording,
            cells: Vec::new(),
            instances: Vec::new(),
            lanes: HashMap::new(),
            last_time: 0,
        })
    }

    /// Returns the number of the trace, which is that of a recording.
    #[must_use]
    pub const fn recording(&self) -> i64 {
        self.recording
    }

    /// Inserts an input, and returns its number.
    ///
    /// # Errors
    /// Fails when the database cannot be written.
    pub fn begin_file(&mut self, input: &TraceInput) -> Result<i64, StoreError> {
        let sql = "INSERT INTO trace_file (recording_id, position, path, format, bytes, identity)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![
            self.recording,
            to_sql_integer(input.position as u64),
            input.path,
            input.format,
            input.bytes.map(to_sql_integer),
            input.identity
        ];
        let inserted = self.store.connection.execute(sql, values);
        inserted.map_err(StoreError::for_action("entry of a file of the trace"))?;
        Ok(self.store.connection.last_insert_rowid())
    }

    /// Stores a batch of rows, and how far its input was read, all or nothing.
    ///
    /// # Errors
    /// Fails when the database cannot be written; nothing of the batch is stored then.
    pub fn store_batch(
        &mut self,
        names: &TraceNames,
        batch: &RowBatch,
        progress: &FileProgress,
    ) -> Result<(), StoreError> {
        let known = (self.cells.len(), self.instances.len(), self.last_time);
        let counts: Vec<i64> = self.cells.iter().map(|cell| cell.rows).collect();
        let stored = self.store_batch_once(names, batch, progress);
        if stored.is_err() {
            self.cells.truncate(known.0);
            self.instances.truncate(known.1);
            self.last_time = known.2;
            self.lanes.clear();
            for (cell, rows) in self.cells.iter_mut().zip(counts) {
                cell.rows = rows;
            }
        }
        stored.map_err(StoreError::for_action("insertion of rows of the trace"))
    }

    fn store_batch_once(
        &mut self,
        names: &TraceNames,
        batch: &RowBatch,
        progress: &FileProgress,
    ) -> rusqlite::Result<()> {
        let Self { store, recording, cells, instances, lanes, last_time } = self;
        let transaction =
            store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for label in names.cells().iter().skip(cells.len()) {
            cells.push(find_or_insert_cell(&transaction, *recording, lanes, label)?);
        }
        for name in names.instances().iter().skip(instances.len()) {
            instances.push(find_or_insert_instance(&transaction, *recording, name)?);
        }
        insert_rows(&transaction, batch.rows(), cells, instances, last_time)?;
        transaction
            .prepare_cached(
                "UPDATE trace_file SET records = ?2, rows = ?3, digest = ?4, checkpoint = ?5
             WHERE id = ?1",
            )?
            .execute(params![
                progress.file,
                to_sql_integer(progress.records),
                to_sql_integer(progress.rows),
                progress.digest,
                progress.checkpoint
            ])?;
        transaction.commit()
    }

    /// Makes the trace visible, and returns the database. `meters` says for each platform what its
    /// format has and lacks.
    ///
    /// # Errors
    /// Fails when the database cannot be written; the trace is not visible then.
    pub fn finish(mut self, meters: &[(String, FormatMeter)]) -> Result<Store, StoreError> {
        self.finish_once(meters).map_err(StoreError::for_action("end of the trace"))?;
        Ok(self.store)
    }

    fn finish_once(&mut self, meters: &[(String, FormatMeter)]) -> rusqlite::Result<()> {
        let recording = self.recording;
        let transaction =
            self.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (platform, meter) in meters {
            transaction.execute(
                "INSERT OR IGNORE INTO lane_meter (lane_id, start, meter, source, note)
                 SELECT DISTINCT l.id, c.start, ?3, ?4, ?5
                 FROM lane l JOIN cell c ON c.lane_id = l.id
                 WHERE l.recording_id = ?1 AND l.name = ?2",
                params![
                    recording,
                    platform,
                    meter.meter.name(),
                    meter.source.map(cyclometer_core::meter::Source::label),
                    meter.note
                ],
            )?;
        }
        let (first, last): (Option<i64>, Option<i64>) = transaction.query_row(
            "SELECT MIN(i.offset_ns), MAX(i.offset_ns)
             FROM cell c JOIN invocation i ON i.cell_id = c.id
             WHERE c.recording_id = ?1 AND i.offset_ns >= 1000000000",
            [recording],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        transaction.execute(
            "UPDATE cell SET importing = 0, offset_base_ns = ?2 WHERE recording_id = ?1",
            params![recording, first.unwrap_or(0)],
        )?;
        let date = |nanos: Option<i64>| nanos.map(format_unix_nanos);
        transaction.execute(
            "UPDATE recording SET importing = 0, status = 'done',
                started_at = COALESCE(?2, started_at), ended_at = COALESCE(?3, ?4) WHERE id = ?1",
            params![recording, date(first), date(last), current_timestamp()],
        )?;
        transaction.commit()
    }
}

/// Writes nanoseconds since 1970 as recordings write their times.
fn format_unix_nanos(nanos: i64) -> String {
    let since = std::time::Duration::from_nanos(nanos.unsigned_abs());
    let time = std::time::UNIX_EPOCH.checked_add(since).unwrap_or(std::time::UNIX_EPOCH);
    humantime::format_rfc3339_millis(time).to_string()
}

fn find_or_insert_cell(
    connection: &Connection,
    recording: i64,
    lanes: &mut HashMap<String, i64>,
    label: &CellLabel,
) -> rusqlite::Result<StoredCell> {
    let lane = find_or_insert_lane(connection, recording, lanes, &label.platform)?;
    let values = params![
        lane,
        label.function,
        label.configuration,
        label.start.label(),
        label.region,
        recording
    ];
    let found = connection
        .prepare_cached(
            "SELECT id, (SELECT COUNT(*) FROM invocation i WHERE i.cell_id = c.id) FROM cell c
             WHERE lane_id = ?1 AND workload = ?2 AND preset = ?3 AND start = ?4 AND region IS ?5
                AND recording_id = ?6",
        )?
        .query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?
        .next()
        .transpose()?;
    if let Some((id, rows)) = found {
        return Ok(StoredCell { id, rows });
    }
    connection
        .prepare_cached(
            "INSERT INTO cell (lane_id, workload, preset, start, region, recording_id, importing)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1)",
        )?
        .execute(values)?;
    Ok(StoredCell { id: connection.last_insert_rowid(), rows: 0 })
}

fn find_or_insert_lane(
    connection: &Connection,
    recording: i64,
    lanes: &mut HashMap<String, i64>,
    platform: &str,
) -> rusqlite::Result<i64> {
    if let Some(lane) = lanes.get(platform) {
        return Ok(*lane);
    }
    let values = params![recording, platform];
    connection
        .execute("INSERT OR IGNORE INTO lane (recording_id, name) VALUES (?1, ?2)", values)?;
    let sql = "SELECT id FROM lane WHERE recording_id = ?1 AND name = ?2";
    let lane = connection.query_row(sql, values, |row| row.get(0))?;
    lanes.insert(platform.to_owned(), lane);
    Ok(lane)
}

fn find_or_insert_instance(
    connection: &Connection,
    recording: i64,
    name: &str,
) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO trace_instance (recording_id, name) VALUES (?1, ?2)",
        )?
        .execute(params![recording, name])?;
    connection
        .prepare_cached("SELECT id FROM trace_instance WHERE recording_id = ?1 AND name = ?2")?
        .query_row(params![recording, name], |row| row.get(0))
}

/// Returns the statement that inserts a row: what a trace never has is left out.
fn insert_row_sql() -> String {
    let meters: Vec<&str> = COLUMNS.iter().map(|(_, column)| *column).collect();
    let marks = vec!["?"; 11 + meters.len()].join(", ");
    format!(
        "INSERT INTO invocation (cell_id, sequence, status, offset_ns, create_ns, start_ns,
            run_ns, billed_ns, weight, instance_id, request_id, {})
         VALUES ({marks})",
        meters.join(", ")
    )
}

fn insert_rows(
    connection: &Connection,
    rows: &[TraceRow],
    cells: &mut [StoredCell],
    instances: &[i64],
    last_time: &mut i64,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&insert_row_sql())?;
    for row in rows {
        // Every cell and instance of a row is among the names.
        let Some(cell) = cells.get_mut(row.cell.0 as usize) else { continue };
        cell.rows += 1;
        let instance = row.instance.and_then(|it| instances.get(it.0 as usize));
        *last_time = row.started_at.unwrap_or(last_time.saturating_add(1));
        let phases = &row.usage.phases;
        let spans = [phases.create, phases.start, phases.run, row.billed];
        statement.raw_bind_parameter(1, cell.id)?;
        statement.raw_bind_parameter(2, cell.rows)?;
        statement.raw_bind_parameter(3, row.status.label())?;
        statement.raw_bind_parameter(4, *last_time)?;
        for (at, span) in (5..).zip(spans) {
            statement.raw_bind_parameter(at, span.map(|span| to_sql_integer(span.0)))?;
        }
        statement.raw_bind_parameter(9, (row.weight != 1).then_some(row.weight))?;
        statement.raw_bind_parameter(10, instance)?;
        statement.raw_bind_parameter(11, row.request.as_ref().map(|it| it.0.as_slice()))?;
        for (at, (meter, _)) in (12..).zip(COLUMNS) {
            statement.raw_bind_parameter(at, row.usage.get(meter).map(to_sql_integer))?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HistoryFilter, RecordingRef};
    use cyclometer_trace::ImportSettings;
    use cyclometer_trace::formats::find_format;
    use cyclometer_trace::testing::read_lines;

    const LOG: &str = "REPORT RequestId: 94f4a28a-dbe3-4114-9f2b-0b3ae40f4dbc\tDuration: 155.51 ms\t\
        Billed Duration: 156 ms\tMemory Size: 1769 MB\tMax Memory Used: 40 MB\t\n";

    #[test]
    fn a_trace_is_seen_when_it_is_finished() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.db");
        let format = find_format("aws-lambda-report").expect("a format");
        let settings = ImportSettings { function: Some("resize".into()), ..Default::default() };
        let input = read_lines(format, &settings, &LOG.repeat(3));
        let mut batch = RowBatch::default();
        input.rows.iter().for_each(|row| batch.push(row.clone()));
        let store = Store::open(&path).expect("made");
        let mut writer = TraceWriter::begin(store, Some("mine"), "{}").expect("begun");
        let file = TraceInput {
            position: 0,
            path: "a.log".into(),
            format: format.name.into(),
            bytes: Some(1),
            identity: "x".into(),
        };
        let file = writer.begin_file(&file).expect("a file");
        let progress = FileProgress { file, rows: 3, ..FileProgress::default() };
        writer.store_batch(&input.names, &batch, &progress).expect("stored");
        let other = Store::open(&path).expect("opened");
        assert_eq!(other.list_recordings(&HistoryFilter::default()).expect("read"), []);
        assert!(other.find_recording(RecordingRef::Latest).is_err());
        let meters: Vec<_> =
            format.meters.iter().map(|meter| ("aws-lambda".to_owned(), *meter)).collect();
        let store = writer.finish(&meters).expect("finished");
        let found = store.find_recording(RecordingRef::Label("mine".into())).expect("there");
        let (listed, counts) =
            store.list_recordings(&HistoryFilter::default()).expect("read").remove(0);
        assert_eq!((listed.id, listed.lanes.as_str()), (found, "aws-lambda"));
        assert_eq!((listed.workloads.as_str(), counts.invocations), ("resize", 3));
        assert_eq!(store.meter_sources(found).expect("read").len(), 3);
    }
}
