//! The history of recordings and simulations: finding, listing, naming.

use std::fmt;
use std::str::FromStr;

use rusqlite::{OptionalExtension, params};

use super::open::{Store, StoreError};
use super::overview::{RecordingCounts, RecordingSummary};
use super::query::{RecordingRef, query_list};
use super::simulation_writer::IS_FINISHED;

/// Recording or simulation as a user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryReference {
    /// `12`, `latest` or a label, which may also be that of a simulation.
    Recording(RecordingRef),
    /// `s12`; `None` is the newest, `slatest`.
    Simulation(Option<i64>),
}

impl FromStr for HistoryReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('s').map(|number| (number, number.parse())) {
            Some(("latest", _)) => Ok(Self::Simulation(None)),
            Some((_, Ok(number))) => Ok(Self::Simulation(Some(number))),
            _ => text.parse().map(Self::Recording),
        }
    }
}

/// Recording or simulation that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HistoryItem {
    /// Number of a recording.
    Recording(i64),
    /// Number of a simulation.
    Simulation(i64),
}

impl fmt::Display for HistoryItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recording(id) => write!(f, "recording {id}"),
            Self::Simulation(id) => write!(f, "simulation {id}"),
        }
    }
}

/// Filter of the recordings or simulations in a list; `None` accepts all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Name of a lane that it has.
    pub lane: Option<String>,
    /// Name of a workload that it has.
    pub workload: Option<String>,
    /// Status of the recording.
    pub status: Option<String>,
    /// Text that its label contains, in capitals or not.
    pub label: Option<String>,
    /// Earliest time at which it began; UTC, RFC 3339.
    pub since: Option<String>,
    /// Time before which it began; UTC, RFC 3339.
    pub until: Option<String>,
    /// Largest number of items, of which the newest are listed.
    pub limit: Option<u32>,
}

impl HistoryFilter {
    fn sql_limit(&self) -> i64 {
        // A negative number is no limit in SQL.
        self.limit.map_or(-1, i64::from)
    }
}

/// Simulation in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulationInfo {
    /// Number of the simulation.
    pub id: i64,
    /// Label that the user gave it.
    pub label: Option<String>,
    /// First recording that was replayed.
    pub recording: i64,
    /// Numbers of all recordings that were replayed, separated by spaces.
    pub recordings: String,
    /// Time at which it was created; UTC, RFC 3339.
    pub created_at: String,
    /// Ids of the price models.
    pub models: String,
    /// Number of invocations that were offered to them.
    pub invocations: i64,
}

impl SimulationInfo {
    /// Returns the numbers of all recordings that were replayed.
    #[must_use]
    pub fn recording_numbers(&self) -> Vec<i64> {
        self.recordings.split_whitespace().filter_map(|it| it.parse().ok()).collect()
    }

    /// Columns that [`Self::from_row`] reads, of a `simulation s`.
    pub(super) const COLUMNS: &str = "s.id, s.label, s.recording_id,
        COALESCE((SELECT group_concat(recording_id, ' ') FROM simulation_recording r
            WHERE r.simulation_id = s.id), s.recording_id || ''),
        s.created_at,
        COALESCE((SELECT group_concat(model, ' ') FROM simulation_model m
            WHERE m.simulation_id = s.id), ''),
        s.invocations";

    pub(super) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            label: row.get(1)?,
            recording: row.get(2)?,
            recordings: row.get(3)?,
            created_at: row.get(4)?,
            models: row.get(5)?,
            invocations: row.get(6)?,
        })
    }
}

impl Store {
    /// Finds the recording or simulation that a reference names.
    ///
    /// # Errors
    /// Fails when there is no such recording or simulation.
    pub fn resolve_reference(
        &self,
        reference: HistoryReference,
    ) -> Result<HistoryItem, StoreError> {
        let simulation = match reference {
            HistoryReference::Recording(RecordingRef::Label(label)) => {
                return self.find_label(&label);
            }
            HistoryReference::Recording(recording) => {
                return self.find_recording(recording).map(HistoryItem::Recording);
            }
            HistoryReference::Simulation(simulation) => simulation,
        };
        let found = match simulation {
            None => self.connection.query_row(
                &format!("SELECT MAX(id) FROM simulation s WHERE {IS_FINISHED}"),
                [],
                |row| row.get(0),
            ),
            Some(id) => self.connection.query_row(
                &format!("SELECT id FROM simulation s WHERE id = ?1 AND {IS_FINISHED}"),
                [id],
                |row| row.get(0),
            ),
        };
        let found: Option<Option<i64>> =
            found.optional().map_err(StoreError::for_action("search for the simulation"))?;
        found.flatten().map(HistoryItem::Simulation).ok_or_else(|| {
            StoreError::NotFound(simulation.map_or_else(
                || "there is no simulation yet: make one with `cyclometer replay`".to_owned(),
                |id| format!("there is no simulation {id}: `cyclometer history` lists them"),
            ))
        })
    }

    /// Names recordings as they are shown: `recording 3`, `trace 4`, `recordings 3, 5`.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn name_recordings(&self, recordings: &[i64]) -> Result<String, StoreError> {
        let mut runs: Vec<(bool, Vec<String>)> = Vec::new();
        for id in recordings {
            let is_trace = self.is_trace(*id)?;
            match runs.last_mut() {
                Some((kind, numbers)) if *kind == is_trace => numbers.push(id.to_string()),
                _ => runs.push((is_trace, vec![id.to_string()])),
            }
        }
        let parts = runs.iter().map(|(is_trace, numbers)| {
            let noun = if *is_trace { "trace" } else { "recording" };
            let plural = if numbers.len() == 1 { "" } else { "s" };
            format!("{noun}{plural} {}", numbers.join(", "))
        });
        Ok(parts.collect::<Vec<_>>().join(", "))
    }

    /// Names a recording or simulation as it is shown; a trace by that word.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn name_item(&self, item: HistoryItem) -> Result<String, StoreError> {
        match item {
            HistoryItem::Recording(id) => self.name_recordings(&[id]),
            HistoryItem::Simulation(_) => Ok(item.to_string()),
        }
    }

    /// Returns the newest recording with a label, or else the newest
    /// simulation.
    fn find_label(&self, label: &str) -> Result<HistoryItem, StoreError> {
        let newest = |sql| {
            self.connection
                .query_row(sql, [label], |row| row.get::<_, Option<i64>>(0))
                .map_err(StoreError::for_action("search for a label"))
        };
        if let Some(id) =
            newest("SELECT MAX(id) FROM recording WHERE label = ?1 AND importing = 0")?
        {
            return Ok(HistoryItem::Recording(id));
        }
        let found = newest("SELECT MAX(id) FROM simulation WHERE label = ?1")?;
        found.map(HistoryItem::Simulation).ok_or_else(|| {
            StoreError::NotFound(format!(
                "`{label}` is neither a recording's number nor `latest`, nor a simulation such as \
                 `s12` or `slatest`, nor a label: `cyclometer history` lists all there is"
            ))
        })
    }

    /// Returns the recordings that pass the filter, newest first, with their
    /// counts.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn list_recordings(
        &self,
        filter: &HistoryFilter,
    ) -> Result<Vec<(RecordingSummary, RecordingCounts)>, StoreError> {
        let recordings = query_list(
            &self.connection,
            "list of recordings",
            &format!(
                "SELECT {}
             FROM recording r
             WHERE r.importing = 0
               AND (?1 IS NULL OR EXISTS (SELECT 1 FROM lane l WHERE l.recording_id = r.id
                    AND l.name = ?1 AND l.unavailable IS NULL))
               AND (?2 IS NULL OR EXISTS (SELECT 1 FROM cell c WHERE c.recording_id = r.id
                    AND c.workload = ?2))
               AND (?3 IS NULL OR r.status = ?3)
               AND (?4 IS NULL OR instr(lower(r.label), lower(?4)) > 0)
               AND (?5 IS NULL OR r.started_at >= ?5)
               AND (?6 IS NULL OR r.started_at < ?6)
             ORDER BY r.id DESC LIMIT ?7",
                RecordingSummary::COLUMNS
            ),
            params![
                filter.lane,
                filter.workload,
                filter.status,
                filter.label,
                filter.since,
                filter.until,
                filter.sql_limit()
            ],
            RecordingSummary::from_row,
        )?;
        let count = |recording: RecordingSummary| {
            let counts = self.count_invocations(recording.id)?;
            Ok((recording, counts))
        };
        recordings.into_iter().map(count).collect()
    }

    /// Returns the simulations that pass the filter, newest first. Lane and
    /// workload are those of their recordings; simulations have no status.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn list_simulations(
        &self,
        filter: &HistoryFilter,
    ) -> Result<Vec<SimulationInfo>, StoreError> {
        let sql = format!(
            "SELECT {} FROM simulation s
             WHERE {IS_FINISHED} AND (?1 IS NULL AND ?2 IS NULL OR EXISTS (
                    SELECT 1 FROM cell c JOIN lane l ON l.id = c.lane_id
                    WHERE (c.recording_id = s.recording_id OR c.recording_id IN (
                        SELECT recording_id FROM simulation_recording r
                        WHERE r.simulation_id = s.id))
                    AND (?1 IS NULL OR l.name = ?1) AND (?2 IS NULL OR c.workload = ?2)))
               AND (?3 IS NULL OR instr(lower(s.label), lower(?3)) > 0)
               AND (?4 IS NULL OR s.created_at >= ?4)
               AND (?5 IS NULL OR s.created_at < ?5)
             ORDER BY s.id DESC LIMIT ?6",
            SimulationInfo::COLUMNS
        );
        query_list(
            &self.connection,
            "list of simulations",
            &sql,
            params![
                filter.lane,
                filter.workload,
                filter.label,
                filter.since,
                filter.until,
                filter.sql_limit()
            ],
            SimulationInfo::from_row,
        )
    }

    /// Changes a label; an empty one removes it.
    ///
    /// # Errors
    /// Fails when the database cannot be written.
    pub fn set_label(&self, item: HistoryItem, label: &str) -> Result<(), StoreError> {
        let (sql, id) = match item {
            HistoryItem::Recording(id) => ("UPDATE recording SET label = ?2 WHERE id = ?1", id),
            HistoryItem::Simulation(id) => ("UPDATE simulation SET label = ?2 WHERE id = ?1", id),
        };
        let label = (!label.is_empty()).then_some(label);
        self.retry_while_busy(|| {
            self.connection
                .execute(sql, params![id, label])
                .map(drop)
                .map_err(StoreError::for_action("change of the label"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_numbers_with_or_without_an_s() {
        let recording = |reference| Ok(HistoryReference::Recording(reference));
        assert_eq!("12".parse(), recording(RecordingRef::Number(12)));
        assert_eq!("latest".parse(), recording(RecordingRef::Latest));
        assert_eq!("s12".parse(), Ok(HistoryReference::Simulation(Some(12))));
        assert_eq!("slatest".parse(), Ok(HistoryReference::Simulation(None)));
        for label in ["s", "x12", "12s", "nightly", "s-", "1 2"] {
            let found = label.parse::<HistoryReference>();
            assert_eq!(found, recording(RecordingRef::Label(label.to_owned())));
        }
        assert!("".parse::<HistoryReference>().is_err());
    }
}
