//! Typed queries over recordings.

use std::collections::HashSet;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow};

use super::event_rows::HAS_FINISHED;
use super::open::{Store, StoreError};
use super::stored_words::{read_cell_key, read_start};
use super::throttling::ThrottlingCounts;
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::meter::{Phases, mask_ids};
use cyclometer_core::units::{Bytes, Nanos};

/// Most notes of one meter that are shown in one row.
const MOST_NOTES: usize = 4;

/// Recording as a user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordingRef {
    /// The newest recording.
    Latest,
    /// The recording with this number.
    Number(i64),
    /// The newest recording with this label.
    Label(String),
}

/// Returns the message for a name that no recording has.
pub(super) fn unknown_name(name: &str) -> String {
    format!(
        "`{name}` is neither a recording's number nor `latest`, and no recording has that label: \
         `cyclometer history` lists them"
    )
}

impl FromStr for RecordingRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            "" => Err("a recording is named by its number, its label or `latest`".to_owned()),
            _ => Ok(text.parse().map_or_else(|_| Self::Label(text.to_owned()), Self::Number)),
        }
    }
}

/// Results of a cell; times and counts are those of the invocations that ended
/// well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellStats {
    /// Row id of the cell.
    pub cell: i64,
    /// Key of the cell.
    pub key: CellKey,
    /// Size of the parts that must be shipped.
    pub footprint: Option<Bytes>,
    /// Description of the parts that this is the size of.
    pub footprint_of: Option<String>,
    /// Remarks, or the reason why the cell could not be prepared.
    pub note: Option<String>,
    /// Number of invocations that ended well.
    pub ok: u64,
    /// Number of invocations that failed or ran out of time.
    pub bad: u64,
    /// Reason of the first invocation that did not end well.
    pub first_reason: Option<String>,
    /// Each reason of those that did not, with its count, in the order of time.
    pub failures: Vec<(String, u64)>,
    /// Each remark on those that ended well, with its count, in the order of
    /// time.
    pub remarks: Vec<(String, u64)>,
    /// Create and start times together, ascending.
    pub startup: Vec<Nanos>,
    /// Run times, ascending.
    pub run: Vec<Nanos>,
    /// Wall times, ascending.
    pub wall: Vec<Nanos>,
    /// CPU times, ascending.
    pub cpu: Vec<Nanos>,
    /// Run times, in the order of time.
    pub run_series: Vec<Nanos>,
    /// Wall times, in the order of time.
    pub wall_series: Vec<Nanos>,
    /// CPU cycles, ascending.
    pub cycles: Vec<u64>,
    /// Whether the cycles leave out kernel mode.
    pub cycles_user_only: bool,
    /// Ticks of the time-stamp counter, ascending.
    pub ref_cycles: Vec<u64>,
    /// Whether the ticks were estimated from the CPU time in any invocation.
    pub ref_cycles_estimated: bool,
    /// WebAssembly operators, ascending.
    pub wasm_ops: Vec<u64>,
    /// Largest peak of memory.
    pub memory_peak: Option<Bytes>,
    /// Memory that was allocated.
    pub memory_allocated: Option<Bytes>,
    /// Number of invocations that a CPU quota held back, among those that were
    /// not interrupted and had no CPU share.
    pub throttling: ThrottlingCounts,
    /// CPU share of the function in thousandths of a CPU, if it had one.
    pub cpu_share: Option<u64>,
    /// Number of invocations that this share held back.
    pub held_back: u64,
}

/// Source of a meter in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct MeterSource {
    /// Name of the lane.
    pub lane: String,
    /// Kind of start.
    pub start: StartKind,
    /// Name of the meter.
    pub meter: String,
    /// Name of the source; `None` if the meter was not measured.
    pub source: Option<String>,
    /// Note on the source; the reason when there is none.
    pub note: String,
    /// Whether the values leave out kernel mode.
    pub user_only: bool,
}

impl MeterSource {
    fn is_of_same_meter(&self, other: &Self) -> bool {
        (&self.lane, self.start, &self.meter) == (&other.lane, other.start, &other.meter)
    }

    /// Merges the rows of one meter into one.
    fn merge_rows(group: Vec<Self>) -> Option<Self> {
        let is_mixed = group.iter().any(|it| it.source.is_some());
        let (mut sources, mut notes): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for it in &group {
            let note = match &it.source {
                Some(source) => {
                    if !sources.contains(source) {
                        sources.push(source.clone());
                    }
                    it.note.clone()
                }
                None if is_mixed => format!("missing in some invocations: {}", it.note),
                None => it.note.clone(),
            };
            if !note.is_empty() && !notes.contains(&note) {
                notes.push(note);
            }
        }
        let more = notes.len().saturating_sub(MOST_NOTES);
        notes.truncate(MOST_NOTES);
        if more > 0 {
            notes.push(format!("and {more} more, in v_meter_source"));
        }
        let user_only = group.iter().any(|it| it.user_only);
        let first = group.into_iter().next()?;
        let source = (!sources.is_empty()).then(|| sources.join(", "));
        Some(Self { source, note: notes.join("; "), user_only, ..first })
    }
}

pub(super) fn query_list<T>(
    connection: &Connection,
    action: &'static str,
    sql: &str,
    params: impl rusqlite::Params,
    row: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map(params, row)?.collect())
        .map_err(StoreError::for_action(action))
}

impl Store {
    /// Returns the number of a recording.
    ///
    /// # Errors
    /// Fails when there is no such recording.
    pub fn find_recording(&self, recording: RecordingRef) -> Result<i64, StoreError> {
        let found = match &recording {
            RecordingRef::Latest => {
                let sql = format!("SELECT MAX(id) FROM recording WHERE {HAS_FINISHED}");
                self.connection.query_row(&sql, [], |row| row.get(0))
            }
            RecordingRef::Number(number) => {
                let sql = "SELECT id FROM recording WHERE id = ?1 AND importing = 0";
                self.connection.query_row(sql, [number], |row| row.get(0))
            }
            RecordingRef::Label(label) => {
                let sql =
                    format!("SELECT MAX(id) FROM recording WHERE label = ?1 AND {HAS_FINISHED}");
                self.connection.query_row(&sql, [label], |row| row.get::<_, Option<i64>>(0))
            }
        };
        let found = found.optional().map_err(StoreError::for_action("search for the recording"))?;
        found.flatten().ok_or_else(|| {
            StoreError::NotFound(match recording {
                RecordingRef::Latest => {
                    "there is no recording yet: make one with `cyclometer record`".to_owned()
                }
                RecordingRef::Number(number) => {
                    return self.explain_missing(number);
                }
                RecordingRef::Label(label) => unknown_name(&label),
            })
        })
    }

    fn explain_missing(&self, number: i64) -> StoreError {
        let unfinished = self.list_unfinished_imports().unwrap_or_default();
        StoreError::NotFound(if unfinished.iter().any(|it| it.recording == number) {
            format!("trace {number} is not whole yet: `cyclometer history` tells how it goes on")
        } else {
            format!(
                "there is no recording {number}, nor such a trace: `cyclometer history` lists them"
            )
        })
    }

    /// Returns the lanes of a recording that could not run, with the reason.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn unavailable_lanes(&self, recording: i64) -> Result<Vec<(String, String)>, StoreError> {
        query_list(
            &self.connection,
            "list of lanes",
            "SELECT name, unavailable FROM lane
             WHERE recording_id = ?1 AND unavailable IS NOT NULL ORDER BY id",
            [recording],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Returns the sources of the meters of a recording, each source and note
    /// once.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn meter_sources(&self, recording: i64) -> Result<Vec<MeterSource>, StoreError> {
        let mut all: Vec<MeterSource> = query_list(
            &self.connection,
            "list of meter sources",
            "SELECT lane, start, meter, source, note, user_only FROM v_meter_source
             WHERE recording = ?1 ORDER BY lane, start, meter",
            [recording],
            |row| {
                let lane: String = row.get(0)?;
                Ok(MeterSource {
                    start: read_start(row, 1, format_args!("lane {lane}"))?,
                    lane,
                    meter: row.get(2)?,
                    source: row.get(3)?,
                    // Earlier versions kept ids, and so a row for each
                    // invocation.
                    note: mask_ids(row.get_ref(4)?.as_str()?),
                    user_only: row.get(5)?,
                })
            },
        )?;
        let mut seen = HashSet::new();
        all.retain(|it| seen.insert(it.clone()));
        Ok(all)
    }

    /// Returns the sources of the meters of a recording, one row for each lane,
    /// kind of start and meter.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn merged_meter_sources(&self, recording: i64) -> Result<Vec<MeterSource>, StoreError> {
        let mut merged: Vec<Vec<MeterSource>> = Vec::new();
        for source in self.meter_sources(recording)? {
            match merged.last_mut().filter(|group| group[0].is_of_same_meter(&source)) {
                Some(group) => group.push(source),
                None => merged.push(vec![source]),
            }
        }
        Ok(merged.into_iter().filter_map(MeterSource::merge_rows).collect())
    }

    /// Returns the results of each cell of a recording, in the order of the
    /// plan.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn cell_stats(&self, recording: i64) -> Result<Vec<CellStats>, StoreError> {
        let mut cells = query_list(
            &self.connection,
            "list of cells",
            "SELECT c.id, l.name, c.workload, c.preset, c.start, c.footprint_bytes,
                c.footprint_of, c.note,
                EXISTS (SELECT 1 FROM lane_meter m WHERE m.lane_id = c.lane_id
                    AND m.start = c.start AND m.meter = 'ref_cycles' AND m.source = 'estimate'),
                EXISTS (SELECT 1 FROM lane_meter m WHERE m.lane_id = c.lane_id
                    AND m.start = c.start AND m.meter = 'cycles' AND m.user_only)
             FROM cell c JOIN lane l ON l.id = c.lane_id WHERE c.recording_id = ?1 ORDER BY c.id",
            [recording],
            |row| {
                let footprint: Option<i64> = row.get(5)?;
                CellStats::from_cell_row(row, footprint)
            },
        )?;
        let quota = self.cpu_quota(recording)?;
        for cell in &mut cells {
            self.fill_cell_stats(cell)?;
            cell.throttling.quota.clone_from(&quota);
        }
        Ok(cells)
    }

    fn fill_cell_stats(&self, stats: &mut CellStats) -> Result<(), StoreError> {
        let failed = StoreError::for_action;
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT status, reason, create_ns, start_ns, run_ns, wall_ns, cpu_ns, cycles,
                    ref_cycles, wasm_ops, memory_peak_bytes, memory_allocated_bytes, throttled_ns,
                    vcpu_allocated_milli
                 FROM invocation WHERE cell_id = ?1 ORDER BY sequence",
            )
            .map_err(failed("read of a cell"))?;
        let mut rows = statement.query([stats.cell]).map_err(failed("read of a cell"))?;
        while let Some(row) = rows.next().map_err(failed("read of a cell"))? {
            stats.add_invocation_row(row).map_err(failed("read of a cell"))?;
        }
        stats.run_series.clone_from(&stats.run);
        stats.wall_series.clone_from(&stats.wall);
        stats.startup.sort_unstable();
        stats.run.sort_unstable();
        stats.wall.sort_unstable();
        stats.cpu.sort_unstable();
        stats.cycles.sort_unstable();
        stats.ref_cycles.sort_unstable();
        stats.wasm_ops.sort_unstable();
        Ok(())
    }
}

fn read_unsigned(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(at)?.and_then(|value| u64::try_from(value).ok()))
}

fn read_nanos(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Option<Nanos>> {
    Ok(read_unsigned(row, at)?.map(Nanos))
}

/// Increments the count of a text.
fn count_text(texts: &mut Vec<(String, u64)>, text: String) {
    match texts.iter_mut().find(|(other, _)| *other == text) {
        Some((_, count)) => *count += 1,
        None => texts.push((text, 1)),
    }
}

impl CellStats {
    fn from_cell_row(row: &SqlRow<'_>, footprint: Option<i64>) -> rusqlite::Result<Self> {
        let cell: i64 = row.get(0)?;
        Ok(Self {
            cell,
            key: read_cell_key(row, [1, 2, 3, 4], format_args!("cell {cell}"))?,
            footprint: footprint.and_then(|size| u64::try_from(size).ok()).map(Bytes),
            footprint_of: row.get(6)?,
            note: row.get(7)?,
            ok: 0,
            bad: 0,
            first_reason: None,
            failures: Vec::new(),
            remarks: Vec::new(),
            startup: Vec::new(),
            run: Vec::new(),
            wall: Vec::new(),
            cpu: Vec::new(),
            run_series: Vec::new(),
            wall_series: Vec::new(),
            cycles: Vec::new(),
            cycles_user_only: row.get(9)?,
            ref_cycles: Vec::new(),
            ref_cycles_estimated: row.get(8)?,
            wasm_ops: Vec::new(),
            memory_peak: None,
            memory_allocated: None,
            throttling: ThrottlingCounts::default(),
            cpu_share: None,
            held_back: 0,
        })
    }

    fn add_invocation_row(&mut self, row: &SqlRow<'_>) -> rusqlite::Result<()> {
        let status = row.get_ref(0)?.as_str()?;
        self.memory_allocated = self.memory_allocated.max(read_unsigned(row, 11)?.map(Bytes));
        if status == "interrupted" {
            return Ok(());
        }
        let share = read_unsigned(row, 13)?;
        self.cpu_share = self.cpu_share.max(share);
        match (read_unsigned(row, 12)?, share) {
            (Some(time), Some(_)) => self.held_back += u64::from(time > 0),
            (Some(time), None) => {
                self.throttling.known += 1;
                self.throttling.throttled += u64::from(time > 0);
            }
            (None, _) => {}
        }
        if status != "ok" {
            self.bad += 1;
            let reason: Option<String> = row.get(1)?;
            if self.first_reason.is_none() {
                self.first_reason.clone_from(&reason);
            }
            let reason = reason.unwrap_or_else(|| status.to_owned());
            count_text(&mut self.failures, reason);
            return Ok(());
        }
        self.ok += 1;
        if let Some(remark) = row.get::<_, Option<String>>(1)? {
            count_text(&mut self.remarks, remark);
        }
        let phases =
            Phases { create: read_nanos(row, 2)?, start: read_nanos(row, 3)?, ..Phases::default() };
        self.startup.extend(phases.startup_time());
        self.run.extend(read_nanos(row, 4)?);
        self.wall.extend(read_nanos(row, 5)?);
        self.cpu.extend(read_nanos(row, 6)?);
        self.cycles.extend(read_unsigned(row, 7)?);
        self.ref_cycles.extend(read_unsigned(row, 8)?);
        self.wasm_ops.extend(read_unsigned(row, 9)?);
        self.memory_peak = self.memory_peak.max(read_unsigned(row, 10)?.map(Bytes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::open::{MIGRATIONS, migrate_schema};
    use super::*;

    /// Rows of the version before, which had only the note.
    #[test]
    fn what_the_note_of_an_older_row_says_is_kept_as_data() {
        let mut connection = Connection::open_in_memory().expect("memory");
        // All up to the one that this is about.
        let before = 9;
        rusqlite_migration::Migrations::from_slice(&MIGRATIONS[..before])
            .to_latest(&mut connection)
            .expect("the version before");
        connection
            .execute_batch(
                "INSERT INTO recording (id, started_at, status, owner, plan, host)
                    VALUES (1, '', 'done', '', '{}', '{}');
                 INSERT INTO lane (id, recording_id, name) VALUES (1, 1, 'native');
                 INSERT INTO lane_meter (lane_id, start, meter, source, note) VALUES
                    (1, 'cold', 'cycles', 'perf:hw',
                        'user mode only: perf_event_paranoid forbids kernel mode; scaled up'),
                    (1, 'cold', 'instructions', 'perf:hw', 'attached after the start; '
                        || 'user mode only: perf_event_paranoid forbids kernel mode'),
                    (1, 'cold', 'cpu_time', 'perf:sw', ''),
                    (1, 'warm', 'cycles', NULL, 'denied');",
            )
            .expect("rows");
        migrate_schema(&mut connection, Path::new("c.db")).expect("migrated");
        let sql = "SELECT start || ' ' || meter FROM v_meter_source WHERE user_only ORDER BY 1";
        let marked = query_list(&connection, "test", sql, [], |row| row.get::<_, String>(0));
        assert_eq!(marked.expect("read"), ["cold cycles", "cold instructions"]);
    }
}
