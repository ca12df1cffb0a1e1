//! Imports that are not finished, and the files of traces.

use rusqlite::{Connection, OptionalExtension, params};

use super::open::{Store, StoreError};
use super::trace_duplicates::add_stored_requests;
use super::trace_writer::{StoredCell, TraceWriter, own_identity};
use cyclometer_core::invocation::StartKind;
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_trace::import::{FileCheckpoint, Leftover, LeftoverKind, ResumePoint};
use cyclometer_trace::{CellLabel, TraceNames};

/// Import that was not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedImport {
    /// Number of the trace.
    pub recording: i64,
    /// Label.
    pub label: Option<String>,
    /// Time at which it began.
    pub started_at: String,
    /// Process that imports it, if it still runs.
    pub process: Option<i32>,
    /// What was asked for, as JSON.
    pub plan: String,
    /// Rows that are stored.
    pub rows: u64,
    /// Path of the file that was read last.
    pub path: Option<String>,
}

/// Trace that has a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedFile {
    /// Number of the trace.
    pub recording: i64,
    /// Path by which it was read.
    pub path: String,
    /// Digest of the content, if it was read to its end.
    pub content: Option<String>,
}

/// File of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFile {
    /// Position in the order of reading, from 0.
    pub position: usize,
    /// Path.
    pub path: String,
    /// Format; empty for a file that was left out.
    pub format: String,
    /// Size in bytes, if it has one.
    pub bytes: Option<u64>,
    /// Records that were read.
    pub records: u64,
    /// Rows that are stored.
    pub rows: u64,
    /// Digest of all rows of the trace up to the end of this file.
    pub digest: String,
    /// Records that gave no row, and remarks.
    pub leftovers: Vec<Leftover>,
    /// Digest of the content, if it was read to its end at once.
    pub content: Option<String>,
    /// Records in the file of rejected records.
    pub rejects_written: u64,
}

/// What a trace has in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOverview {
    /// Invocations that are stored.
    pub rows: u64,
    /// Functions.
    pub functions: u64,
    /// Platforms.
    pub platforms: Vec<String>,
    /// Times of the first and the last invocation, if the log has times.
    pub first: Option<String>,
    /// See `first`.
    pub last: Option<String>,
    /// Meters with their sources, or why they are missing.
    pub meters: Vec<TraceMeter>,
}

/// Meter of a platform of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceMeter {
    /// Platform.
    pub platform: String,
    /// Name of the meter.
    pub meter: String,
    /// Source; `None` if it is missing.
    pub source: Option<String>,
    /// Remark, or why it is missing.
    pub note: String,
}

impl Store {
    /// Returns what a trace has in all.
    ///
    /// # Errors
    /// Fails when there is no such trace, or the database cannot be read.
    pub fn trace_overview(&self, recording: i64) -> Result<TraceOverview, StoreError> {
        read_overview(&self.connection, recording)
            .map_err(StoreError::for_action("reading of a trace"))
    }

    /// Returns the imports that were not finished, those that still run included.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn list_unfinished_imports(&self) -> Result<Vec<UnfinishedImport>, StoreError> {
        let failed = StoreError::for_action;
        let sql = "SELECT r.id, r.label, r.started_at, r.owner, r.plan,
                (SELECT TOTAL(f.rows) FROM trace_file f WHERE f.recording_id = r.id),
                (SELECT f.path FROM trace_file f WHERE f.recording_id = r.id
                    ORDER BY f.position DESC LIMIT 1)
             FROM recording r WHERE r.importing = 1 ORDER BY r.id";
        let mut statement =
            self.connection.prepare(sql).map_err(failed("list of unfinished imports"))?;
        let found = statement.query_map([], |row| {
            let owner: String = row.get(3)?;
            let rows: f64 = row.get(5)?;
            Ok(UnfinishedImport {
                recording: row.get(0)?,
                label: row.get(1)?,
                started_at: row.get(2)?,
                process: living_process(&owner),
                plan: row.get(4)?,
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count"
                )]
                rows: rows as u64,
                path: row.get(6)?,
            })
        });
        found.and_then(Iterator::collect).map_err(failed("list of unfinished imports"))
    }

    /// Removes an import that was not finished, with all rows that it has stored.
    ///
    /// # Errors
    /// Fails when there is none of that number, or a process still imports it.
    pub fn discard_import(&self, recording: i64) -> Result<u64, StoreError> {
        let all = self.list_unfinished_imports()?;
        let Some(found) = all.iter().find(|it| it.recording == recording) else {
            let known: Vec<String> = all.iter().map(|it| it.recording.to_string()).collect();
            let known = if known.is_empty() {
                "there is none".to_owned()
            } else {
                format!("unfinished are {}", known.join(", "))
            };
            return Err(StoreError::NotFound(format!(
                "{recording} is no unfinished import: {known}; `cyclometer history delete` removes \
                 a trace"
            )));
        };
        let own = i32::try_from(std::process::id()).ok();
        if let Some(process) = found.process.filter(|process| Some(*process) != own) {
            return Err(StoreError::NotFound(format!(
                "trace {recording} is being imported by process {process}: stop that first"
            )));
        }
        self.retry_while_busy(|| {
            let deleted =
                self.connection.execute("DELETE FROM recording WHERE id = ?1", [recording]);
            deleted.map(drop).map_err(StoreError::for_action("removal of an unfinished import"))
        })?;
        Ok(found.rows)
    }

    /// Finds the finished trace that has a file, by what identifies the file before it is read.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn find_imported_file(&self, identity: &str) -> Result<Vec<ImportedFile>, StoreError> {
        let failed = StoreError::for_action;
        let sql = "SELECT f.recording_id, f.path, f.content
             FROM trace_file f JOIN recording r ON r.id = f.recording_id
             WHERE f.identity = ?1 AND f.identity <> '' AND f.format <> '' AND r.importing = 0
             ORDER BY f.recording_id DESC";
        let mut statement =
            self.connection.prepare_cached(sql).map_err(failed("search for a file"))?;
        let found = statement.query_map([identity], |row| {
            Ok(ImportedFile { recording: row.get(0)?, path: row.get(1)?, content: row.get(2)? })
        });
        found.and_then(Iterator::collect).map_err(failed("search for a file"))
    }

    /// Returns the files of a trace in the order of reading; none for a recording.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn trace_files(&self, recording: i64) -> Result<Vec<TraceFile>, StoreError> {
        read_trace_files(&self.connection, recording, -1)
            .map_err(StoreError::for_action("list of the files of a trace"))
    }

    /// Keeps the digest of a file's content that was read in several parts.
    ///
    /// # Errors
    /// Fails when the database cannot be written.
    pub fn set_content_digest(
        &self,
        recording: i64,
        position: usize,
        content: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE trace_file SET content = ?3 WHERE recording_id = ?1 AND position = ?2";
        self.retry_while_busy(|| {
            let position = i64::try_from(position).unwrap_or(i64::MAX);
            let updated = self.connection.execute(sql, params![recording, position, content]);
            updated.map(drop).map_err(StoreError::for_action("entry of a digest"))
        })
    }
}

fn read_overview(connection: &Connection, recording: i64) -> rusqlite::Result<TraceOverview> {
    let (rows, functions, has_times, first, last) = connection.query_row(
        "SELECT (SELECT COUNT(*) FROM cell c JOIN invocation i ON i.cell_id = c.id
                WHERE c.recording_id = r.id),
            (SELECT COUNT(DISTINCT workload) FROM cell c WHERE c.recording_id = r.id),
            (SELECT MAX(offset_base_ns) > 0 FROM cell c WHERE c.recording_id = r.id),
            r.started_at, r.ended_at
         FROM recording r WHERE r.id = ?1",
        [recording],
        |row| {
            let times: Option<bool> = row.get(2)?;
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                times == Some(true),
                row.get::<_, Option<String>>(3)?,
                row.get::<_, Option<String>>(4)?,
            ))
        },
    )?;
    let mut statement = connection.prepare(
        "SELECT DISTINCT l.name, m.meter, m.source, m.note
         FROM lane_meter m JOIN lane l ON l.id = m.lane_id WHERE l.recording_id = ?1
         ORDER BY l.name, m.rowid",
    )?;
    let meters = statement.query_map([recording], |row| {
        Ok(TraceMeter {
            platform: row.get(0)?,
            meter: row.get(1)?,
            source: row.get(2)?,
            note: row.get(3)?,
        })
    })?;
    Ok(TraceOverview {
        rows: rows.unsigned_abs(),
        functions: functions.unsigned_abs(),
        platforms: read_platforms(connection, recording)?,
        first: first.filter(|_| has_times),
        last: last.filter(|_| has_times),
        meters: meters.collect::<Result<_, _>>()?,
    })
}

fn read_platforms(connection: &Connection, recording: i64) -> rusqlite::Result<Vec<String>> {
    let mut statement =
        connection.prepare("SELECT name FROM lane WHERE recording_id = ?1 ORDER BY name")?;
    statement.query_map([recording], |row| row.get(0))?.collect()
}

fn living_process(owner: &str) -> Option<i32> {
    let owner = owner.parse::<ProcessIdentity>().ok()?;
    owner.is_alive().then(|| owner.pid())
}

/// Reads the first files of a trace; all if `most` is negative.
pub(super) fn read_trace_files(
    connection: &Connection,
    recording: i64,
    most: i64,
) -> rusqlite::Result<Vec<TraceFile>> {
    let mut statement = connection.prepare(
        "SELECT id, position, path, format, bytes, records, rows, digest, content, rejects_written
         FROM trace_file WHERE recording_id = ?1 ORDER BY position LIMIT ?2",
    )?;
    let mut rows = statement.query([recording, most])?;
    let mut files = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        files.push(TraceFile {
            position: usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
            path: row.get(2)?,
            format: row.get(3)?,
            bytes: row.get::<_, Option<i64>>(4)?.map(number),
            records: number(row.get(5)?),
            rows: number(row.get(6)?),
            digest: row.get(7)?,
            leftovers: read_leftovers(connection, row.get(0)?)?,
            content: row.get(8)?,
            rejects_written: number(row.get(9)?),
        });
    }
    Ok(files)
}

fn read_leftovers(connection: &Connection, file: i64) -> rusqlite::Result<Vec<Leftover>> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, cause, records, first_lines FROM trace_leftover WHERE file_id = ?1
         ORDER BY kind, records DESC, cause",
    )?;
    let found = statement.query_map([file], |row| {
        let lines: String = row.get(3)?;
        Ok(Leftover {
            kind: LeftoverKind::from_label(&row.get::<_, String>(0)?).unwrap_or(LeftoverKind::Note),
            cause: row.get::<_, String>(1)?.into(),
            records: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
            first_lines: serde_json::from_str(&lines).unwrap_or_default(),
        })
    })?;
    found.collect()
}

impl TraceWriter {
    /// Returns the files of the trace so far.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn files(&self) -> Result<Vec<TraceFile>, StoreError> {
        self.store.trace_files(self.recording)
    }

    /// Returns the platforms of the trace so far.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn platforms(&self) -> Result<Vec<String>, StoreError> {
        read_platforms(&self.store.connection, self.recording)
            .map_err(StoreError::for_action("list of platforms"))
    }

    /// Goes on with an import that was not finished.
    ///
    /// # Errors
    /// Fails when another process goes on with it, or the database cannot be used.
    pub fn resume(store: Store, recording: i64) -> Result<(Self, ResumePoint), StoreError> {
        take_over(&store, recording)?;
        let mut writer = Self::with_store(store, recording)?;
        let point = writer
            .load_state()
            .map_err(StoreError::for_action("reading of an unfinished import"))?;
        Ok((writer, point))
    }

    fn load_state(&mut self) -> rusqlite::Result<ResumePoint> {
        let connection = &self.store.connection;
        let mut point = ResumePoint {
            names: load_names(connection, self.recording, &mut self.cells, &mut self.instances)?,
            ..ResumePoint::default()
        };
        let last = connection
            .query_row(
                "SELECT id, position, checkpoint, digest, rejects_bytes, rejects_written
                 FROM trace_file WHERE recording_id = ?1 ORDER BY position DESC LIMIT 1",
                [self.recording],
                |row| {
                    let extent: (i64, i64) = (row.get(4)?, row.get(5)?);
                    let checkpoint: Option<String> = row.get(2)?;
                    Ok((row.get(0)?, row.get::<_, i64>(1)?, checkpoint, row.get(3)?, extent))
                },
            )
            .optional()?;
        let Some((file, position, checkpoint, digest, extent)) = last else { return Ok(point) };
        let position = usize::try_from(position).unwrap_or(0);
        point.digest = digest;
        point.rejects = (extent.0.unsigned_abs(), extent.1.unsigned_abs());
        match checkpoint {
            None => point.file = position + 1,
            Some(text) => {
                point.file = position;
                point.checkpoint = serde_json::from_str::<FileCheckpoint>(&text).ok();
                point.leftovers = read_leftovers(connection, file)?;
                if point.checkpoint.is_none() {
                    // It was begun only: what came before is with the file before.
                    load_end_before(connection, self.recording, position, &mut point)?;
                }
            }
        }
        let last_row = connection
            .query_row(
                "SELECT i.offset_ns FROM trace_file f JOIN invocation i ON i.id = f.last_invocation
                 WHERE f.recording_id = ?1 ORDER BY f.last_invocation DESC LIMIT 1",
                [self.recording],
                |row| row.get(0),
            )
            .optional()?;
        self.last_time = last_row.unwrap_or(0);
        add_stored_requests(connection, self.recording, &mut self.seen)?;
        Ok(point)
    }
}

fn load_end_before(
    connection: &Connection,
    recording: i64,
    position: usize,
    point: &mut ResumePoint,
) -> rusqlite::Result<()> {
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let before = connection
        .query_row(
            "SELECT digest, rejects_bytes, rejects_written FROM trace_file
             WHERE recording_id = ?1 AND position < ?2 ORDER BY position DESC LIMIT 1",
            params![recording, position],
            |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
        )
        .optional()?;
    let (digest, bytes, written) = before.unwrap_or_default();
    point.digest = digest;
    point.rejects = (bytes.unsigned_abs(), written.unsigned_abs());
    Ok(())
}

/// Makes this process the one that imports a trace.
fn take_over(store: &Store, recording: i64) -> Result<(), StoreError> {
    let failed = StoreError::for_action;
    store.retry_while_busy(|| {
        let begun = store.connection.execute_batch("BEGIN IMMEDIATE");
        begun.map_err(failed("start of a transaction"))
    })?;
    let owner = store
        .connection
        .query_row(
            "SELECT owner FROM recording WHERE id = ?1 AND importing = 1",
            [recording],
            |row| row.get::<_, String>(0),
        )
        .map_err(failed("reading of an unfinished import"));
    let taken = owner.and_then(|owner| match living_process(&owner) {
        Some(process) => Err(StoreError::NotFound(format!(
            "trace {recording} is being imported by process {process}"
        ))),
        None => store
            .connection
            .execute(
                "UPDATE recording SET owner = ?2 WHERE id = ?1",
                params![recording, own_identity()],
            )
            .map(drop)
            .map_err(failed("entry of the trace")),
    });
    let end = if taken.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = store.connection.execute_batch(end).map_err(failed("entry of the trace"));
    taken.and(ended)
}

fn load_names(
    connection: &Connection,
    recording: i64,
    cells: &mut Vec<StoredCell>,
    instances: &mut Vec<i64>,
) -> rusqlite::Result<TraceNames> {
    let mut names = TraceNames::default();
    let mut statement = connection.prepare(
        "SELECT c.id, l.name, c.workload, c.preset, c.region, c.start,
            (SELECT COUNT(*) FROM invocation i WHERE i.cell_id = c.id)
         FROM cell c JOIN lane l ON l.id = c.lane_id WHERE c.recording_id = ?1 ORDER BY c.id",
    )?;
    let mut rows = statement.query([recording])?;
    while let Some(row) = rows.next()? {
        let start: String = row.get(5)?;
        let label = CellLabel {
            platform: row.get(1)?,
            function: row.get(2)?,
            configuration: row.get(3)?,
            region: row.get(4)?,
            start: start.parse().unwrap_or(StartKind::Warm),
        };
        // They were taken before.
        let _ = names.find_or_add_cell(&label);
        cells.push(StoredCell { id: row.get(0)?, rows: row.get(6)? });
    }
    let mut statement = connection
        .prepare("SELECT id, name FROM trace_instance WHERE recording_id = ?1 ORDER BY id")?;
    let mut rows = statement.query([recording])?;
    while let Some(row) = rows.next()? {
        let _ = names.find_or_add_instance(&row.get::<_, String>(1)?);
        instances.push(row.get(0)?);
    }
    Ok(names)
}
