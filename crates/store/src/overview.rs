//! What lists and panels show of recordings and simulations, read in steps: the
//! counts of a recording that is over never change, and are read once.

use rusqlite::OptionalExtension;
use serde_json::Value;

use super::history::SimulationInfo;
use super::keep::IS_FINISHED;
use super::open::{Store, StoreError};
use super::query::list;

/// A recording in a list, without what has to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingHead {
    /// Its number.
    pub id: i64,
    /// The person's own words.
    pub label: Option<String>,
    /// UTC, RFC 3339.
    pub started_at: String,
    /// `running`, `done`, `failed` or `interrupted`.
    pub status: String,
    /// Names of its lanes.
    pub lanes: String,
    /// Names of its workloads.
    pub workloads: String,
}

/// How many invocations a recording has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub invocations: i64,
    /// Those that failed or ran out of time.
    pub bad: i64,
}

/// Everything about one recording but its cells.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordingAbout {
    /// Its number.
    pub id: i64,
    /// The person's own words.
    pub label: Option<String>,
    /// UTC, RFC 3339.
    pub started_at: String,
    /// UTC, RFC 3339; `None` while it runs, or when it was cut off.
    pub ended_at: Option<String>,
    /// `running`, `done`, `failed` or `interrupted`.
    pub status: String,
    /// What was planned.
    pub plan: Value,
    /// The machine's fingerprint.
    pub host: Value,
    /// `None`: no sampling.
    pub sample_interval_ns: Option<i64>,
    /// CPU time of the sampler's own thread, once it is known.
    pub sampler_cpu_ns: Option<i64>,
    /// How often it read, once it is known.
    pub sampler_ticks: Option<i64>,
    /// Samples that did not fit its buffer.
    pub samples_dropped: i64,
}

/// Rows that hang on a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Invocations.
    pub invocations: i64,
    /// Their samples.
    pub samples: i64,
    /// Simulations of it.
    pub simulations: i64,
}

impl Store {
    /// How many recordings and simulations there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn totals(&self) -> Result<(i64, i64), StoreError> {
        self.connection
            .query_row(
                &format!(
                    "SELECT (SELECT COUNT(*) FROM recording),
                        (SELECT COUNT(*) FROM simulation s WHERE {IS_FINISHED})"
                ),
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(StoreError::sql("count of recordings"))
    }

    /// The newest recordings, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn newest_recordings(&self, limit: u32) -> Result<Vec<RecordingHead>, StoreError> {
        list(
            &self.connection,
            "list of recordings",
            "SELECT r.id, r.label, r.started_at, r.status,
                COALESCE((SELECT group_concat(name, ' ') FROM (SELECT name FROM lane l
                    WHERE l.recording_id = r.id AND l.unavailable IS NULL ORDER BY l.id)), ''),
                COALESCE((SELECT group_concat(workload, ' ') FROM (SELECT DISTINCT workload
                    FROM cell c WHERE c.recording_id = r.id ORDER BY workload)), '')
             FROM recording r ORDER BY r.id DESC LIMIT ?1",
            [limit],
            |row| {
                Ok(RecordingHead {
                    id: row.get(0)?,
                    label: row.get(1)?,
                    started_at: row.get(2)?,
                    status: row.get(3)?,
                    lanes: row.get(4)?,
                    workloads: row.get(5)?,
                })
            },
        )
    }

    /// Counts the invocations of a recording.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tally(&self, recording: i64) -> Result<Tally, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT COUNT(*), COALESCE(SUM(i.status IN ('failed', 'timeout')), 0)
                 FROM cell c JOIN invocation i ON i.cell_id = c.id WHERE c.recording_id = ?1",
            )
            .and_then(|mut statement| {
                statement.query_row([recording], |row| {
                    Ok(Tally { invocations: row.get(0)?, bad: row.get(1)? })
                })
            })
            .map_err(StoreError::sql("count of invocations"))
    }

    /// One simulation.
    ///
    /// # Errors
    /// When there is none of that number, or the database cannot be read.
    pub fn simulation(&self, id: i64) -> Result<SimulationInfo, StoreError> {
        let sql = format!("SELECT {} FROM simulation s WHERE s.id = ?1", SimulationInfo::COLUMNS);
        self.connection
            .query_row(&sql, [id], SimulationInfo::of)
            .optional()
            .map_err(StoreError::sql("read of the simulation"))?
            .ok_or_else(|| StoreError::NotFound(format!("there is no simulation {id}")))
    }

    /// Everything about one recording but its cells.
    ///
    /// # Errors
    /// When there is none of that number, or the database cannot be read.
    pub fn about(&self, recording: i64) -> Result<RecordingAbout, StoreError> {
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
        self.connection
            .query_row(
                "SELECT id, label, started_at, ended_at, status, plan, host, sample_interval_ns,
                    sampler_cpu_ns, sampler_ticks, samples_dropped
                 FROM recording WHERE id = ?1",
                [recording],
                |row| {
                    Ok(RecordingAbout {
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
                    })
                },
            )
            .optional()
            .map_err(StoreError::sql("read of the recording"))?
            .ok_or_else(|| StoreError::NotFound(format!("there is no recording {recording}")))
    }

    /// How much hangs on a recording.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn size_of(&self, recording: i64) -> Result<Size, StoreError> {
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
                    Ok(Size {
                        invocations: row.get(0)?,
                        samples: row.get(1)?,
                        simulations: row.get(2)?,
                    })
                },
            )
            .map_err(StoreError::sql("count of what a recording has"))
    }
}
