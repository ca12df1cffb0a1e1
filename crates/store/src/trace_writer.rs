//! Writing of a trace: rows in transactions together with how far their input was read, so that an
//! import that was killed goes on where it stopped. Nobody sees the trace before it is finished.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};

use super::event_rows::{current_timestamp, to_sql_integer};
use super::invocation_scan::rows_in_order;
use super::open::{Store, StoreError};
use super::trace_duplicates::{SeenRequests, remove_duplicates, store_leftovers};
use super::trace_rows::{GROUP, PlacedRow, RowPlace, RowStatements};
use cyclometer_core::meter::{Meter, Provenance, Source};
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_trace::import::{FileHeader, ImportBatch, Leftovers, SinkError, TraceSink};
use cyclometer_trace::{CellLabel, RowBatch, TraceNames, TraceRow};

/// Rows of one transaction, after which it is committed with the next batch.
const ROWS: usize = 50_000;

/// Longest time of a transaction: others wait for it.
const LONGEST: Duration = Duration::from_millis(250);

/// Settings of the connection of an import: a log that is copied into the database seldom, and a
/// cache that holds the ends of its tables. References and words are right by construction.
const FAST: &str = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;
    PRAGMA wal_autocheckpoint = 16000; PRAGMA cache_size = -65536;";

/// Settings of any other connection.
const USUAL: &str = "PRAGMA foreign_keys = ON; PRAGMA ignore_check_constraints = OFF;
    PRAGMA wal_autocheckpoint = 1000; PRAGMA cache_size = -2000;";

/// Least offset that is a time since 1970; smaller ones number the rows of a log without times.
const EARLIEST: i64 = 1_000_000_000;

/// Trace that is being written.
pub struct TraceWriter {
    pub(super) store: Store,
    pub(super) recording: i64,
    /// Cells of the names in the database.
    pub(super) cells: Vec<StoredCell>,
    /// Numbers in the database of the instances of the names.
    pub(super) instances: Vec<i64>,
    lanes: HashMap<String, i64>,
    /// Time of the last row that had one, for those that have none.
    pub(super) last_time: i64,
    /// Number in the database of the file that is read.
    pub(super) file: i64,
    pub(super) seen: SeenRequests,
    pending: Option<Pending>,
}

/// Cell in the database, with the number of its rows.
pub(super) struct StoredCell {
    pub id: i64,
    pub rows: i64,
}

/// Transaction that is not committed yet.
struct Pending {
    rows: usize,
    since: Instant,
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
             VALUES (?1, ?2, 'interrupted', ?3, ?4, '{}', 'trace', 1)";
        let values = params![label, current_timestamp(), own_identity(), plan];
        store.retry_while_busy(|| {
            let inserted = store.connection.execute(sql, values);
            inserted.map(drop).map_err(StoreError::for_action("entry of the trace"))
        })?;
        let recording = store.connection.last_insert_rowid();
        Self::with_store(store, recording)
    }

    pub(super) fn with_store(store: Store, recording: i64) -> Result<Self, StoreError> {
        store.connection.execute_batch(FAST).map_err(StoreError::for_action("set-up"))?;
        Ok(Self {
            store,
            recording,
            cells: Vec::new(),
            instances: Vec::new(),
            lanes: HashMap::new(),
            last_time: 0,
            file: 0,
            seen: SeenRequests::new(),
            pending: None,
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
        self.begin_transaction()?;
        // A file that was begun, and of which nothing was stored, is begun again.
        let sql = "INSERT INTO trace_file (recording_id, position, path, format, bytes, identity)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (recording_id, position) DO UPDATE SET path = excluded.path,
                format = excluded.format, bytes = excluded.bytes, identity = excluded.identity
             RETURNING id";
        let values = params![
            self.recording,
            to_sql_integer(input.position as u64),
            input.path,
            input.format,
            input.bytes.map(to_sql_integer),
            input.identity
        ];
        let inserted = self.store.connection.query_row(sql, values, |row| row.get(0));
        self.file = inserted.map_err(StoreError::for_action("entry of a file of the trace"))?;
        Ok(self.file)
    }

    /// Stores rows, and how far their input was read, and commits: for inputs that are at hand.
    ///
    /// # Errors
    /// Fails when the database cannot be written; the import is to be given up then.
    pub fn store_batch(
        &mut self,
        names: &TraceNames,
        batch: &RowBatch,
        progress: &FileProgress,
    ) -> Result<(), StoreError> {
        self.begin_transaction()?;
        let (cells, instances) = (self.cells.len(), self.instances.len());
        self.insert_rows(
            &names.cells()[cells..],
            &names.instances()[instances..],
            batch.rows(),
            &[],
        )
        .and_then(|_| {
            let sql = "UPDATE trace_file SET records = ?2, rows = ?3, digest = ?4, checkpoint = ?5
                 WHERE id = ?1";
            self.store.connection.prepare_cached(sql)?.execute(params![
                progress.file,
                to_sql_integer(progress.records),
                to_sql_integer(progress.rows),
                progress.digest,
                progress.checkpoint
            ])
        })
        .map_err(StoreError::for_action("insertion of rows of the trace"))?;
        self.commit_rows()
    }

    /// Makes safe what was stored.
    fn commit_rows(&mut self) -> Result<(), StoreError> {
        if self.pending.take().is_some() {
            let committed = self.store.connection.execute_batch("COMMIT");
            committed.map_err(StoreError::for_action("commit of rows of the trace"))?;
        }
        Ok(())
    }

    /// Begins a transaction, unless one goes on; waits for those of others.
    fn begin_transaction(&mut self) -> Result<(), StoreError> {
        if self.pending.is_none() {
            let begin = || {
                let begun = self.store.connection.execute_batch("BEGIN IMMEDIATE");
                begun.map_err(StoreError::for_action("start of a transaction"))
            };
            self.store.retry_while_busy(begin)?;
            self.pending = Some(Pending { rows: 0, since: Instant::now() });
        }
        Ok(())
    }

    /// Inserts rows with the names that are new; returns the number of the last row.
    fn insert_rows(
        &mut self,
        new_cells: &[CellLabel],
        new_instances: &[String],
        rows: &[TraceRow],
        lines: &[u64],
    ) -> rusqlite::Result<Option<i64>> {
        let connection = &self.store.connection;
        for label in new_cells {
            let cell = find_or_insert_cell(connection, self.recording, &mut self.lanes, label)?;
            self.cells.push(cell);
        }
        for name in new_instances {
            self.instances.push(find_or_insert_instance(connection, self.recording, name)?);
        }
        // In a loop of its own, so that the processor looks up several at once.
        let known: Vec<bool> = rows
            .iter()
            .map(|row| row.request.as_ref().is_some_and(|request| self.seen.insert(request)))
            .collect();
        let placed = place_rows(rows, &mut self.cells, &self.instances, &mut self.last_time);
        let mut statements = RowStatements::prepare(connection, &placed)?;
        let mut last = None;
        let groups = placed.chunks(GROUP).zip(known.chunks(GROUP)).zip((0..).step_by(GROUP));
        for ((group, known), at) in groups {
            statements.insert(group)?;
            let end = connection.last_insert_rowid();
            last = Some(end);
            // The group's rows have the numbers up to that of its last.
            for (at, (_, before)) in (at..)
                .zip(known.iter().zip((0..group.len()).rev()))
                .filter(|(_, (known, _))| **known)
            {
                let id = end.saturating_sub(to_sql_integer(before as u64));
                let line = lines.get(at).copied().unwrap_or(0);
                insert_candidate(connection, self.recording, self.file, id, line)?;
            }
        }
        Ok(last)
    }

    fn store_import_batch(&mut self, batch: &ImportBatch) -> rusqlite::Result<()> {
        // The number of the last row is asked before that of a candidate, which has it too.
        let last = self.insert_rows(
            &batch.new_cells,
            &batch.new_instances,
            batch.rows.rows(),
            &batch.lines,
        )?;
        let connection = &self.store.connection;
        store_leftovers(connection, self.file, &batch.leftovers)?;
        let checkpoint = &batch.checkpoint;
        let next = if batch.ends_file { None } else { serde_json::to_string(checkpoint).ok() };
        let sql = "UPDATE trace_file SET records = ?2, rows = ?3, digest = ?4, checkpoint = ?5,
                content = ?6, last_invocation = COALESCE(?7, last_invocation),
                rejects_bytes = ?8, rejects_written = ?9
             WHERE id = ?1";
        connection.prepare_cached(sql)?.execute(params![
            self.file,
            to_sql_integer(checkpoint.records),
            to_sql_integer(checkpoint.rows),
            batch.digest,
            next,
            batch.content,
            last,
            to_sql_integer(checkpoint.rejects.0),
            to_sql_integer(checkpoint.rejects.1),
        ])?;
        Ok(())
    }

    /// Removes duplicates, makes the trace visible, and returns the database. `meters` says for
    /// each platform what its formats have and lack.
    ///
    /// # Errors
    /// Fails when the database cannot be written; the trace is not visible then.
    pub fn finish(mut self, meters: &[(String, Meter, Provenance)]) -> Result<Store, StoreError> {
        self.commit_rows()?;
        self.finish_once(meters).map_err(StoreError::for_action("end of the trace"))?;
        self.close()
    }

    /// Leaves the trace as it is, to be gone on with, and returns the database.
    ///
    /// # Errors
    /// Fails when the database cannot be written.
    pub fn close(mut self) -> Result<Store, StoreError> {
        self.commit_rows()?;
        let usual = self.store.connection.execute_batch(USUAL);
        usual.map_err(StoreError::for_action("set-up"))?;
        Ok(self.store)
    }

    fn finish_once(&mut self, meters: &[(String, Meter, Provenance)]) -> rusqlite::Result<()> {
        let recording = self.recording;
        let limit = self.seen.describe_limit();
        let transaction =
            self.store.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        remove_duplicates(&transaction, recording)?;
        if let Some(limit) = limit {
            let mut note = Leftovers::default();
            note.note(limit, None);
            store_leftovers(&transaction, self.file, note.all())?;
        }
        for (platform, meter, provenance) in meters {
            transaction.execute(
                "INSERT OR IGNORE INTO lane_meter (lane_id, start, meter, source, note)
                 SELECT DISTINCT l.id, c.start, ?3, ?4, ?5
                 FROM lane l JOIN cell c ON c.lane_id = l.id
                 WHERE l.recording_id = ?1 AND l.name = ?2",
                params![
                    recording,
                    platform,
                    meter.name(),
                    provenance.source.map(Source::label),
                    provenance.note
                ],
            )?;
        }
        let (first, last, untimed) = find_time_range(&transaction, recording)?;
        if let Some(first) = first.filter(|_| untimed) {
            // Rows before the first that has a time: they are not of 1970.
            transaction.execute(
                "UPDATE invocation SET offset_ns = ?2 WHERE offset_ns < ?3
                    AND cell_id IN (SELECT id FROM cell WHERE recording_id = ?1)",
                params![recording, first, EARLIEST],
            )?;
        }
        transaction.execute(
            "UPDATE cell SET importing = 0, offset_base_ns = ?2 WHERE recording_id = ?1",
            params![recording, first.unwrap_or(0)],
        )?;
        let date = |nanos: Option<i64>| nanos.map(format_unix_nanos);
        transaction.execute(
            "UPDATE recording SET importing = 0, status = 'done', owner = '',
                started_at = COALESCE(?2, started_at), ended_at = COALESCE(?3, ?4) WHERE id = ?1",
            params![recording, date(first), date(last), current_timestamp()],
        )?;
        transaction.commit()
    }
}

/// Returns the first and the last time of a trace, and whether there are rows before the first row
/// that has one: those are numbered from 1.
fn find_time_range(
    connection: &Connection,
    recording: i64,
) -> rusqlite::Result<(Option<i64>, Option<i64>, bool)> {
    let sql = format!(
        "SELECT MIN(CASE WHEN i.offset_ns >= ?2 THEN i.offset_ns END),
            MAX(CASE WHEN i.offset_ns >= ?2 THEN i.offset_ns END),
            COALESCE(MIN(i.offset_ns) < ?2, 0)
         FROM invocation i NOT INDEXED WHERE {}",
        rows_in_order("recording_id = ?1")
    );
    connection.query_row(&sql, params![recording, EARLIEST], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
}

/// Writes nanoseconds since 1970 as recordings write their times.
fn format_unix_nanos(nanos: i64) -> String {
    let since = std::time::Duration::from_nanos(nanos.unsigned_abs());
    let time = std::time::UNIX_EPOCH.checked_add(since).unwrap_or(std::time::UNIX_EPOCH);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Returns what identifies this process, so that another one does not take its import over.
pub(super) fn own_identity() -> String {
    ProcessIdentity::current().map_or_else(|_| String::new(), |own| own.to_string())
}

impl TraceSink for TraceWriter {
    fn begin_file(&mut self, header: &FileHeader) -> Result<(), SinkError> {
        let input = TraceInput {
            position: header.position,
            path: header.path.clone(),
            format: header.format.clone(),
            bytes: header.bytes,
            identity: header.identity.clone(),
        };
        Self::begin_file(self, &input).map(drop).map_err(|error| SinkError(error.to_string()))
    }

    fn store_batch(&mut self, batch: &ImportBatch) -> Result<(), SinkError> {
        let failed = |error: StoreError| SinkError(error.to_string());
        self.begin_transaction().map_err(failed)?;
        let stored = self.store_import_batch(batch);
        stored.map_err(StoreError::for_action("insertion of rows of the trace")).map_err(failed)?;
        let is_due = self.pending.as_mut().is_some_and(|pending| {
            pending.rows += batch.rows.len();
            pending.rows >= ROWS || pending.since.elapsed() >= LONGEST
        });
        if is_due { self.commit_rows().map_err(failed) } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        self.commit_rows().map_err(|error| SinkError(error.to_string()))
    }
}

/// Places rows: in their cells, and at the time of the row before where they have none.
fn place_rows<'a>(
    rows: &'a [TraceRow],
    cells: &mut [StoredCell],
    instances: &[i64],
    last_time: &mut i64,
) -> Vec<PlacedRow<'a>> {
    let place = |row: &'a TraceRow| {
        // Every cell and instance of a row is among the names.
        let cell = cells.get_mut(row.cell.0 as usize)?;
        cell.rows += 1;
        *last_time = row.started_at.unwrap_or(last_time.saturating_add(1));
        let place = RowPlace {
            cell: cell.id,
            sequence: cell.rows,
            offset: *last_time,
            instance: row.instance.and_then(|it| instances.get(it.0 as usize).copied()),
        };
        Some((row, place))
    };
    rows.iter().filter_map(place).collect()
}

fn insert_candidate(
    connection: &Connection,
    recording: i64,
    file: i64,
    invocation: i64,
    line: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO trace_candidate (invocation_id, recording_id, file_id, line)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![invocation, recording, file, to_sql_integer(line)])
        .map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HistoryFilter, RecordingRef};
    use cyclometer_trace::ImportSettings;
    use cyclometer_trace::formats::find_format;
    use cyclometer_trace::import::InputFormat;
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
        let meters: Vec<_> = InputFormat::from(format)
            .meters
            .into_iter()
            .map(|(meter, provenance)| ("aws-lambda".to_owned(), meter, provenance))
            .collect();
        let store = writer.finish(&meters).expect("finished");
        let found = store.find_recording(RecordingRef::Label("mine".into())).expect("there");
        let (listed, counts) =
            store.list_recordings(&HistoryFilter::default()).expect("read").remove(0);
        assert_eq!((listed.id, listed.lanes.as_str()), (found, "aws-lambda"));
        assert_eq!((listed.workloads.as_str(), counts.invocations), ("resize", 3));
        // Wall time, two kinds of memory, and CPU time, which reports do not have.
        assert_eq!(store.meter_sources(found).expect("read").len(), 4);
    }
}
