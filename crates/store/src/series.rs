//! Series of measurements: the cells of several recordings together, invocation
//! by invocation, in the order of time.

use super::open::{Store, StoreError};
use super::overview::RecordingDetails;
use super::query::query_list;
use super::stored_words::read_cell_key;
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::units::{Bytes, Nanos};

/// Cell over all recordings that have it: the same lane, workload, preset and
/// kind of start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellSeries {
    /// Key of the cell.
    pub key: CellKey,
    /// Size of the parts that are shipped with the function.
    pub function: Option<Bytes>,
    /// Size of the parts that exist once for all functions.
    pub runtime: Option<Bytes>,
    /// Remarks, or the reason why the cell could not be prepared.
    pub note: Option<String>,
    /// Number of invocations that failed or ran out of time.
    pub failed: u64,
    /// Reason of the first of them.
    pub reason: Option<String>,
    /// Invocations that ended well, in the order of time.
    pub runs: Vec<SeriesRun>,
    /// Times of the compilations that were made to be measured.
    pub compiles: Vec<Nanos>,
}

/// Times and counts of one invocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeriesRun {
    /// Time from the request to the end.
    pub wall: Option<Nanos>,
    /// Time to create the sandbox.
    pub create: Option<Nanos>,
    /// Time from there to the first instruction.
    pub start: Option<Nanos>,
    /// Time of the function.
    pub run: Option<Nanos>,
    /// Time to take the sandbox down.
    pub teardown: Option<Nanos>,
    /// CPU time.
    pub cpu: Option<Nanos>,
    /// CPU time of user and kernel mode by the kernel's own accounts, which is
    /// the same whatever else counts.
    pub cpu_accounted: Option<Nanos>,
    /// WebAssembly operators.
    pub wasm_ops: Option<u64>,
    /// Time that a CPU quota or share held it back.
    pub throttled: Option<Nanos>,
    /// Peak of memory.
    pub memory_peak: Option<Bytes>,
}

const CELLS: &str = "SELECT c.id, l.name, c.workload, c.preset, c.start, c.note,
        (SELECT SUM(bytes) FROM footprint WHERE cell_id = c.id AND kind = 'function'),
        (SELECT SUM(bytes) FROM footprint WHERE cell_id = c.id AND kind = 'runtime')
    FROM cell c JOIN lane l ON l.id = c.lane_id WHERE c.recording_id = ?1 ORDER BY c.id";

const RUNS: &str = "SELECT status, reason, wall_ns, create_ns, start_ns, run_ns, teardown_ns,
        cpu_ns, COALESCE(wasm_ops, (SELECT wasm_ops FROM cell WHERE id = ?1)),
        cpu_user_ns + cpu_system_ns, throttled_ns, memory_peak_bytes
    FROM invocation WHERE cell_id = ?1 AND status <> 'interrupted' ORDER BY offset_ns, id";

impl Store {
    /// Returns the cells of `recordings`, which are read in that order.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn cell_series(&self, recordings: &[i64]) -> Result<Vec<CellSeries>, StoreError> {
        let mut all: Vec<CellSeries> = Vec::new();
        for recording in recordings {
            let cells = query_list(&self.connection, "read of cells", CELLS, [recording], |row| {
                let size = |at: usize| {
                    let size: Option<i64> = row.get(at)?;
                    Ok::<_, rusqlite::Error>(size.and_then(|it| u64::try_from(it).ok()).map(Bytes))
                };
                let cell: i64 = row.get(0)?;
                let series = CellSeries {
                    note: row.get(5)?,
                    function: size(6)?,
                    runtime: size(7)?,
                    ..CellSeries::new(read_cell_key(
                        row,
                        [1, 2, 3, 4],
                        format_args!("cell {cell}"),
                    )?)
                };
                Ok((cell, series))
            })?;
            for (id, found) in cells {
                let at = all.iter().position(|other| other.key == found.key);
                let at = at.unwrap_or_else(|| {
                    all.push(found.clone());
                    all.len() - 1
                });
                self.add_runs(id, &mut all[at])?;
                all[at].function = found.function.or(all[at].function);
                all[at].runtime = found.runtime.or(all[at].runtime);
                all[at].note = found.note.or_else(|| all[at].note.take());
            }
        }
        Ok(all)
    }

    fn add_runs(&self, cell: i64, series: &mut CellSeries) -> Result<(), StoreError> {
        let action = "read of invocations";
        let runs = query_list(&self.connection, action, RUNS, [cell], |row| {
            let unsigned = |at: usize| {
                let value: Option<i64> = row.get(at)?;
                Ok::<_, rusqlite::Error>(value.and_then(|value| u64::try_from(value).ok()))
            };
            let time = |at: usize| unsigned(at).map(|value| value.map(Nanos));
            let run = SeriesRun {
                wall: time(2)?,
                create: time(3)?,
                start: time(4)?,
                run: time(5)?,
                teardown: time(6)?,
                cpu: time(7)?,
                wasm_ops: unsigned(8)?,
                cpu_accounted: time(9)?,
                throttled: time(10)?,
                memory_peak: unsigned(11)?.map(Bytes),
            };
            let status: String = row.get(0)?;
            let reason: Option<String> = row.get(1)?;
            Ok((status == "ok", reason, run))
        })?;
        for (well, reason, run) in runs {
            if well {
                series.runs.push(run);
            } else {
                series.failed += 1;
                series.reason = series.reason.take().or(reason);
            }
        }
        let sql = "SELECT duration_ns FROM compile WHERE cell_id = ?1 ORDER BY sequence";
        let compiles = query_list(&self.connection, "read of compile times", sql, [cell], |row| {
            row.get::<_, i64>(0)
        })?;
        let nanos = compiles.into_iter().filter_map(|took| u64::try_from(took).ok());
        series.compiles.extend(nanos.map(Nanos));
        Ok(())
    }

    /// Returns the recordings whose plan has `key` at its top level, oldest
    /// first.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn recordings_with_plan_key(&self, key: &str) -> Result<Vec<RecordingDetails>, StoreError> {
        let sql = format!(
            "SELECT {} FROM recording
             WHERE json_valid(plan) AND json_type(plan, '$.' || ?1) IS NOT NULL ORDER BY id",
            RecordingDetails::COLUMNS
        );
        let action = "read of recordings";
        query_list(&self.connection, action, &sql, [key], RecordingDetails::from_row)
    }
}

impl CellSeries {
    /// Creates the series of a cell without any measurements.
    #[must_use]
    pub const fn new(key: CellKey) -> Self {
        Self {
            key,
            function: None,
            runtime: None,
            note: None,
            failed: 0,
            reason: None,
            runs: Vec::new(),
            compiles: Vec::new(),
        }
    }

    /// Returns the number of invocations that were tried.
    #[must_use]
    pub fn tried_invocations(&self) -> u64 {
        self.runs.len() as u64 + self.failed
    }
}

/// Lane as recordings keep it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredLane {
    /// Name of the lane.
    pub name: String,
    /// Runtime and version.
    pub version: String,
    /// Remarks on the lane.
    pub note: String,
    /// Reason why it could not run.
    pub unavailable: Option<String>,
}

impl Store {
    /// Returns the lanes of `recordings`, each once, as the latest recording
    /// that has it describes it.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn lanes_of_recordings(&self, recordings: &[i64]) -> Result<Vec<StoredLane>, StoreError> {
        let sql = "SELECT name, version, note, unavailable FROM lane WHERE recording_id = ?1
            ORDER BY id";
        let mut all: Vec<StoredLane> = Vec::new();
        for recording in recordings {
            let found = query_list(&self.connection, "read of lanes", sql, [recording], |row| {
                Ok(StoredLane {
                    name: row.get(0)?,
                    version: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
                    note: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                    unavailable: row.get(3)?,
                })
            })?;
            for lane in found {
                match all.iter_mut().find(|other| other.name == lane.name) {
                    Some(known) => *known = lane,
                    None => all.push(lane),
                }
            }
        }
        Ok(all)
    }
}
