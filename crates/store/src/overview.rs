//! Overviews of recordings and simulations for lists and panels, read in steps:
//! the counts of a finished recording never change, and are read once.

use rusqlite::OptionalExtension;
use serde_json::Value;

use super::history::SimulationInfo;
use super::invocation_scan::rows_in_order;
use super::open::{Store, StoreError};
use super::query::query_list;
use super::simulation_writer::IS_FINISHED;

/// Recording in a list, without the counts of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingSummary {
    /// Number of the recording.
    pub id: i64,
    /// Label that the user gave it.
    pub label: Option<String>,
    /// Time at which it began; UTC, RFC 3339.
    pub started_at: String,
    /// Status: `running`, `done`, `failed` or `interrupted`.
    pub status: String,
    /// Names of its lanes.
    pub lanes: String,
    /// Names of its workloads.
    pub workloads: String,
    /// Whether it is a trace: its lanes are platforms and its workloads their functions.
    pub is_trace: bool,
}

/// Number of invocations of a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordingCounts {
    /// All invocations.
    pub invocations: i64,
    /// Invocations that failed or ran out of time.
    pub bad: i64,
}

/// Details of one recording, except for its cells.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordingDetails {
    /// Number of the recording.
    pub id: i64,
    /// Label that the user gave it.
    pub label: Option<String>,
    /// Time at which it began; UTC, RFC 3339.
    pub started_at: String,
    /// Time at which it ended; UTC, RFC 3339. `None` while it runs, or when it
    /// was cut off.
    pub ended_at: Option<String>,
    /// Status: `running`, `done`, `failed` or `interrupted`.
    pub status: String,
    /// Plan of the recording, as JSON.
    pub plan: Value,
    /// Fingerprint of the machine, as JSON.
    pub host: Value,
    /// Nanoseconds between two samples; `None` without sampling.
    pub sample_interval_ns: Option<i64>,
    /// CPU time of the sampler's own thread, once it is known.
    pub sampler_cpu_ns: Option<i64>,
    /// Number of its readings, once it is known.
    pub sampler_ticks: Option<i64>,
    /// Number of samples that did not fit its buffer.
    pub samples_dropped: i64,
    /// Whether it is a trace: its lanes are platforms and its workloads their functions.
    pub is_trace: bool,
}

/// Number of rows that belong to a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordingSize {
    /// Invocations of the recording.
    pub invocations: i64,
    /// Samples of the invocations.
    pub samples: i64,
    /// Simulations of the recording.
    pub simulations: i64,
}

impl RecordingSummary {
    /// Columns that [`Self::from_row`] reads, of a `recording r`.
    pub(super) const COLUMNS: &str = "r.id, r.label, r.started_at, r.status,
        COALESCE((SELECT group_concat(name, ' ') FROM (SELECT name FROM lane l
            WHERE l.recording_id = r.id AND l.unavailable IS NULL ORDER BY l.id)), ''),
        COALESCE((SELECT group_concat(workload, ' ') FROM (SELECT DISTINCT workload
            FROM cell c WHERE c.recording_id = r.id ORDER BY workload)), ''), r.kind = 'trace'";

    pub(super) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            label: row.get(1)?,
            started_at: row.get(2)?,
            status: row.get(3)?,
            lanes: row.get(4)?,
            workloads: row.get(5)?,
            is_trace: row.get(6)?,
        })
    }
}

impl RecordingDetails {
    /// Columns that [`Self::from_row`] reads, of a `recording`.
    pub(super) const COLUMNS: &str = "id, label, started_at, ended_at, status, plan, host,
        sample_interval_ns, sampler_cpu_ns, sampler_ticks, samples_dropped, kind = 'trace'";

    pub(super) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self {
            id: row.get(0)?,
            label: row.get(1)?,
            started_at: row.get(2)?,
            ended_at: row.get(3)?,
            status: row.get(4)?,
            plan: json(row.get(5)?),
            host: json(row.get(6)?),
            sample_interval_ns: row.get(7)?,
            sampler_cpu_ns: row.get(8)?,
            sampler_ticks: row.get(9)?,
            samples_dropped: row.get(10)?,
            is_trace: row.get(11)?,
        })
    }
}

impl Store {
    /// Counts all recordings and all simulations.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn count_items(&self) -> Result<(i64, i64), StoreError> {
        self.connection
            .query_row(
                &format!(
                    "SELECT (SELECT COUNT(*) FROM recording WHERE importing = 0),
                        (SELECT COUNT(*) FROM simulation s WHERE {IS_FINISHED})"
                ),
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(StoreError::for_action("count of recordings"))
    }

    /// Returns the newest recordings, newest first.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn newest_recordings(&self, limit: u32) -> Result<Vec<RecordingSummary>, StoreError> {
        query_list(
            &self.connection,
            "list of recordings",
            &format!(
                "SELECT {} FROM recording r WHERE r.importing = 0 ORDER BY r.id DESC LIMIT ?1",
                RecordingSummary::COLUMNS
            ),
            [limit],
            RecordingSummary::from_row,
        )
    }

    /// Counts the invocations of a recording.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn count_invocations(&self, recording: i64) -> Result<RecordingCounts, StoreError> {
        let sql = format!(
            "SELECT COUNT(*), COALESCE(SUM(i.status = 'failed' OR i.status = 'timeout'), 0)
             FROM invocation i NOT INDEXED WHERE {}",
            rows_in_order("recording_id = ?1")
        );
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut statement| {
                statement.query_row([recording], |row| {
                    Ok(RecordingCounts { invocations: row.get(0)?, bad: row.get(1)? })
                })
            })
            .map_err(StoreError::for_action("count of invocations"))
    }

    /// Returns one simulation.
    ///
    /// # Errors
    /// Fails when there is none of that number, or the database cannot be read.
    pub fn simulation_info(&self, id: i64) -> Result<SimulationInfo, StoreError> {
        let sql = format!("SELECT {} FROM simulation s WHERE s.id = ?1", SimulationInfo::COLUMNS);
        self.connection
            .query_row(&sql, [id], SimulationInfo::from_row)
            .optional()
            .map_err(StoreError::for_action("read of the simulation"))?
            .ok_or_else(|| StoreError::NotFound(format!("there is no simulation {id}")))
    }

    /// Returns the details of one recording, except for its cells.
    ///
    /// # Errors
    /// Fails when there is none of that number, or the database cannot be read.
    pub fn recording_details(&self, recording: i64) -> Result<RecordingDetails, StoreError> {
        let sql = format!(
            "SELECT {} FROM recording WHERE id = ?1 AND importing = 0",
            RecordingDetails::COLUMNS
        );
        self.connection
            .query_row(&sql, [recording], RecordingDetails::from_row)
            .optional()
            .map_err(StoreError::for_action("read of the recording"))?
            .ok_or_else(|| StoreError::NotFound(format!("there is no recording {recording}")))
    }

    /// Counts the rows that belong to a recording.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn recording_size(&self, recording: i64) -> Result<RecordingSize, StoreError> {
        self.connection
            .query_row(
                "SELECT
                    (SELECT COUNT(*) FROM cell c JOIN invocation i ON i.cell_id = c.id
                        WHERE c.recording_id = ?1),
                    (SELECT COUNT(*) FROM cell c JOIN invocation i ON i.cell_id = c.id
                        JOIN sample s ON s.invocation_id = i.id WHERE c.recording_id = ?1),
                    (SELECT COUNT(*) FROM (SELECT id FROM simulation WHERE recording_id = ?1
                        UNION SELECT simulation_id FROM simulation_recording
                        WHERE recording_id = ?1))",
                [recording],
                |row| {
                    Ok(RecordingSize {
                        invocations: row.get(0)?,
                        samples: row.get(1)?,
                        simulations: row.get(2)?,
                    })
                },
            )
            .map_err(StoreError::for_action("count of what a recording has"))
    }
}
