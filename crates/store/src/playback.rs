//! Reading a recording for playback: which invocations ran when, part by part,
//! in the order in which they ended.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row as SqlRow, params};

use super::invocation_scan::{BILLABLE, signal_columns};
use super::open::{Store, StoreError};
use super::query::{MeterSource, query_list};
use super::stored_words::read_cell_key;
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::meter::Meter;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_pricing::compile::{Signal, SignalSet};
use cyclometer_replay::{SignalValues, UsageRow};
use cyclometer_workload::{Sample, Status};

/// SQL expression: end of an invocation. One that never ran ended with the last
/// phase that it reached.
const END: &str = "offset_ns + COALESCE(wall_ns,
    COALESCE(create_ns, 0) + COALESCE(start_ns, 0) + COALESCE(run_ns, 0))";

/// SQL expression: time until which the instance was busy, as replays see it.
const BUSY_UNTIL: &str =
    "offset_ns + COALESCE(create_ns, 0) + COALESCE(start_ns, 0) + COALESCE(run_ns, 0)";

/// Most samples of one meter that are kept of an invocation.
const SAMPLES: usize = 2_000;

/// Recording in its current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybackRecording {
    /// Number of the recording.
    pub id: i64,
    /// Label that the user gave it.
    pub label: Option<String>,
    /// Time at which it began; UTC, RFC 3339.
    pub started_at: String,
    /// Status: `running`, `done`, `failed` or `interrupted`.
    pub status: String,
    /// Time between two samples; `None` if sampling was off.
    pub sample_interval: Option<Nanos>,
    /// Lanes of the recording, in the order they were opened.
    pub lanes: Vec<PlaybackLane>,
    /// Cells of the recording, in the order of the plan.
    pub cells: Vec<PlaybackCell>,
    /// Sources of its meters.
    pub sources: Vec<MeterSource>,
    /// Number of invocations that ended.
    pub invocations: u64,
    /// Number of the newest invocation; 0 without any.
    pub newest: i64,
    /// End of the last invocation, since the recording began.
    pub end: Nanos,
}

/// Lane of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybackLane {
    /// Name of the lane.
    pub name: Arc<str>,
    /// Reason why it could not run.
    pub unavailable: Option<Arc<str>>,
}

/// Cell of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybackCell {
    /// Row id of the cell.
    pub id: i64,
    /// Index of the lane in [`PlaybackRecording::lanes`].
    pub lane: usize,
    /// Key of the cell.
    pub key: CellKey,
    /// Whether cycles leave out kernel mode.
    pub user_only: bool,
    /// Whether ticks were estimated from CPU time.
    pub estimated: bool,
}

/// Part of a recording: a number of invocations after a given one, in the order
/// of their ends. Invocations recorded meanwhile are left out, so that the part
/// can be read twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordingPart {
    /// Number of the recording.
    pub recording: i64,
    /// End and number of the last invocation before the part.
    pub after: (i64, i64),
    /// Number of the newest invocation that is included.
    pub newest: i64,
    /// Most invocations in the part.
    pub limit: usize,
}

/// Invocation of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaybackRow {
    /// Number of the invocation in the database.
    pub id: i64,
    /// Row id of its cell.
    pub cell: i64,
    /// Sequence number in the cell.
    pub sequence: u32,
    /// Status of the invocation.
    pub status: Status,
    /// Time of the request, since the recording began.
    pub offset: Nanos,
    /// End of the invocation, since the recording began.
    pub end: Nanos,
    /// Nanoseconds to create the sandbox.
    pub create: Option<u64>,
    /// Nanoseconds to bring the function to its first instruction.
    pub start: Option<u64>,
    /// Nanoseconds from there to the end.
    pub run: Option<u64>,
    /// CPU time in nanoseconds.
    pub cpu: Option<u64>,
    /// CPU cycles.
    pub cycles: Option<u64>,
    /// Ticks of the time-stamp counter.
    pub ref_cycles: Option<u64>,
    /// Largest memory resident at one time.
    pub peak: Option<Bytes>,
    /// Memory that the invocation was given.
    pub allocated: Option<Bytes>,
}

/// Invocation with all details.
#[derive(Debug, Clone)]
pub struct PlaybackInvocation {
    /// Usage of the invocation.
    pub row: UsageRow,
    /// Sequence number in the cell.
    pub sequence: u32,
    /// Status of the invocation.
    pub status: Status,
    /// Reason why it did not end well, or a remark.
    pub reason: Option<String>,
    /// Time series since the request; long ones are thinned out.
    pub samples: Vec<Sample>,
}

/// Number of an invocation, with a time series of one meter: moments since the
/// request, and values.
pub(crate) type TimeSeries = (i64, Vec<(Nanos, u64)>);

/// Warm invocations of a cell that overlap each other, directly or through
/// others: per-instance time depends on all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlapGroup {
    /// Numbers of the invocations.
    pub invocations: Vec<i64>,
}

fn parse_status(text: &str) -> Status {
    let all = [Status::Ok, Status::Failed, Status::Timeout];
    all.into_iter().find(|status| status.label() == text).unwrap_or(Status::Interrupted)
}

fn read_unsigned(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(at)?.and_then(|value| u64::try_from(value).ok()))
}

fn read_nanos(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Nanos> {
    Ok(Nanos(read_unsigned(row, at)?.unwrap_or(0)))
}

fn read_text(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Arc<str>> {
    Ok(row.get_ref(at)?.as_str()?.into())
}

/// Returns the query for the rows of a part: those after its beginning, in the
/// order of their ends.
fn part_query(names: &str) -> String {
    format!(
        "SELECT {names} FROM invocation
         WHERE cell_id IN (SELECT id FROM cell WHERE recording_id = ?1) AND id <= ?2
            AND ({END} > ?3 OR ({END} = ?3 AND id > ?4))
         ORDER BY {END}, id LIMIT ?5"
    )
}

impl Store {
    /// Returns the facts about a recording that its playback needs.
    ///
    /// # Errors
    /// Fails when there is no such recording, or the database cannot be read.
    pub fn playback_recording(&self, recording: i64) -> Result<PlaybackRecording, StoreError> {
        let found = self.connection.query_row(
            "SELECT label, started_at, status, sample_interval_ns FROM recording WHERE id = ?1 AND importing = 0",
            [recording],
            |row| {
                Ok(PlaybackRecording {
                    id: recording,
                    label: row.get(0)?,
                    started_at: row.get(1)?,
                    status: row.get(2)?,
                    sample_interval: read_unsigned(row, 3)?.map(Nanos),
                    lanes: Vec::new(),
                    cells: Vec::new(),
                    sources: Vec::new(),
                    invocations: 0,
                    newest: 0,
                    end: Nanos(0),
                })
            },
        );
        let found = found.optional().map_err(StoreError::for_action("read of the recording"))?;
        let mut played = found.ok_or_else(|| {
            StoreError::NotFound(format!("there is no recording {recording} any more"))
        })?;
        let sql = format!(
            "SELECT COUNT(*), MAX(id), MAX({END}) FROM invocation
             WHERE cell_id IN (SELECT id FROM cell WHERE recording_id = ?1)"
        );
        (played.invocations, played.newest, played.end) = self
            .connection
            .query_row(&sql, [recording], |row| {
                let newest: Option<i64> = row.get(1)?;
                Ok((read_unsigned(row, 0)?.unwrap_or(0), newest.unwrap_or(0), read_nanos(row, 2)?))
            })
            .map_err(StoreError::for_action("count of invocations"))?;
        // Read before the lanes: while it is recorded, a lane that comes in
        // between has no cell here yet, but never a cell no lane.
        let cells = self.playback_cells(recording)?;
        let (ids, lanes) = self.playback_lanes(recording)?;
        let in_lanes =
            cells.into_iter().map(|(lane, cell)| match ids.iter().position(|id| *id == lane) {
                Some(lane) => Ok(PlaybackCell { lane, ..cell }),
                None => Err(StoreError::NotFound(format!(
                    "cell {} of recording {recording} is in a lane of another recording; \
                 was the database edited by hand?",
                    cell.id
                ))),
            });
        played.cells = in_lanes.collect::<Result<_, _>>()?;
        played.lanes = lanes;
        played.sources = self.meter_sources(recording)?;
        Ok(played)
    }

    fn playback_lanes(&self, recording: i64) -> Result<(Vec<i64>, Vec<PlaybackLane>), StoreError> {
        let lanes = query_list(
            &self.connection,
            "list of lanes",
            "SELECT id, name, unavailable FROM lane WHERE recording_id = ?1 ORDER BY id",
            [recording],
            |row| {
                let unavailable: Option<String> = row.get(2)?;
                let name = read_text(row, 1)?;
                let lane = PlaybackLane { name, unavailable: unavailable.map(Into::into) };
                Ok((row.get::<_, i64>(0)?, lane))
            },
        )?;
        Ok(lanes.into_iter().unzip())
    }

    /// Returns the cells, each after the row id of its lane, whose index is not
    /// known yet.
    fn playback_cells(&self, recording: i64) -> Result<Vec<(i64, PlaybackCell)>, StoreError> {
        query_list(
            &self.connection,
            "list of cells",
            "SELECT c.id, c.lane_id, COALESCE(l.name, ''), c.workload, c.preset, c.start,
                EXISTS (SELECT 1 FROM lane_meter m WHERE m.lane_id = c.lane_id
                    AND m.start = c.start AND m.meter = 'cycles' AND m.user_only),
                EXISTS (SELECT 1 FROM lane_meter m WHERE m.lane_id = c.lane_id
                    AND m.start = c.start AND m.meter = 'ref_cycles' AND m.source = 'estimate')
             FROM cell c LEFT JOIN lane l ON l.id = c.lane_id
             WHERE c.recording_id = ?1 ORDER BY c.id",
            [recording],
            |row| {
                let id: i64 = row.get(0)?;
                let cell = PlaybackCell {
                    id,
                    lane: usize::MAX,
                    key: read_cell_key(row, [2, 3, 4, 5], format_args!("cell {id}"))?,
                    user_only: row.get(6)?,
                    estimated: row.get(7)?,
                };
                Ok((row.get(1)?, cell))
            },
        )
    }

    /// Returns the invocations of a part, in the order of their ends.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn playback_rows(&self, part: &RecordingPart) -> Result<Vec<PlaybackRow>, StoreError> {
        let sql = part_query(&format!(
            "id, cell_id, sequence, status, offset_ns, {END}, create_ns, start_ns, run_ns,
             cpu_ns, cycles, ref_cycles, memory_peak_bytes, memory_allocated_bytes"
        ));
        query_list(&self.connection, "read of invocations", &sql, part.query_bounds(), |row| {
            Ok(PlaybackRow {
                id: row.get(0)?,
                cell: row.get(1)?,
                sequence: row.get(2)?,
                status: parse_status(row.get_ref(3)?.as_str()?),
                offset: read_nanos(row, 4)?,
                end: read_nanos(row, 5)?,
                create: read_unsigned(row, 6)?,
                start: read_unsigned(row, 7)?,
                run: read_unsigned(row, 8)?,
                cpu: read_unsigned(row, 9)?,
                cycles: read_unsigned(row, 10)?,
                ref_cycles: read_unsigned(row, 11)?,
                peak: read_unsigned(row, 12)?.map(Bytes),
                allocated: read_unsigned(row, 13)?.map(Bytes),
            })
        })
    }

    /// Reads the rows of [`Self::playback_rows`] for bills: whether each is
    /// billed, and its values of the signals in `wanted`.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub(crate) fn playback_signals(
        &self,
        part: &RecordingPart,
        wanted: SignalSet,
        mut each: impl FnMut(bool, SignalSet, &SignalValues),
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Sql { action: "read of invocations", source };
        let columns = signal_columns(wanted);
        let mut names = vec![BILLABLE];
        names.extend(columns.iter().map(|(_, column)| *column));
        let sql = part_query(&names.join(", "));
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query(part.query_bounds()).map_err(failed)?;
        let mut values: SignalValues = [0; Signal::COUNT];
        while let Some(row) = rows.next().map_err(failed)? {
            let mut present = SignalSet::default();
            for (at, (signal, _)) in columns.iter().enumerate() {
                if let Some(value) = read_unsigned(row, at + 1).map_err(failed)? {
                    values[signal.column_index()] = value;
                    present.insert(*signal);
                }
            }
            each(row.get(0).map_err(failed)?, present, &values);
        }
        Ok(())
    }

    /// Counts the invocations that ended before a part begins.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn count_before_part(&self, part: &RecordingPart) -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT COUNT(*) FROM invocation
             WHERE cell_id IN (SELECT id FROM cell WHERE recording_id = ?1) AND id <= ?2
                AND ({END} < ?3 OR ({END} = ?3 AND id <= ?4))"
        );
        let (end, id) = part.after;
        self.connection
            .query_row(&sql, params![part.recording, part.newest, end, id], |row| {
                Ok(read_unsigned(row, 0)?.unwrap_or(0))
            })
            .map_err(StoreError::for_action("count of invocations"))
    }

    /// Returns the billed warm invocations that overlap others of their cell.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn overlap_groups(
        &self,
        recording: i64,
        newest: i64,
    ) -> Result<Vec<OverlapGroup>, StoreError> {
        let failed = |source| StoreError::Sql { action: "search for overlaps", source };
        let sql = format!(
            "SELECT id, cell_id, offset_ns, {BUSY_UNTIL} FROM invocation
             WHERE cell_id IN (SELECT id FROM cell WHERE recording_id = ?1 AND start = 'warm')
                AND id <= ?2 AND {BILLABLE} ORDER BY cell_id, offset_ns, id"
        );
        let mut statement = self.connection.prepare(&sql).map_err(failed)?;
        let mut rows = statement.query([recording, newest]).map_err(failed)?;
        let mut found = Vec::new();
        let mut open: Vec<i64> = Vec::new();
        let (mut cell, mut until) = (0, 0);
        let mut close = |open: &mut Vec<i64>| {
            let invocations = std::mem::take(open);
            if invocations.len() > 1 {
                found.push(OverlapGroup { invocations });
            }
        };
        while let Some(row) = rows.next().map_err(failed)? {
            let get = |at: usize| row.get::<_, i64>(at).map_err(failed);
            let (of, from, to) = (get(1)?, get(2)?, get(3)?);
            // Compared with the request, which comes before the instance is
            // busy: invocations that are separated here never overlap,
            // whichever of them have ended.
            if of != cell || from >= until {
                close(&mut open);
                (cell, until) = (of, 0);
            }
            until = until.max(to);
            open.push(get(0)?);
        }
        close(&mut open);
        Ok(found)
    }

    /// Returns an invocation with all details.
    ///
    /// # Errors
    /// Fails when the database cannot be read, or has no such invocation.
    pub fn playback_invocation(&self, id: i64) -> Result<PlaybackInvocation, StoreError> {
        let (_, row) = self.find_invocation(id)?;
        let (sequence, status, reason) = self
            .connection
            .query_row(
                "SELECT sequence, status, reason FROM invocation WHERE id = ?1",
                [id],
                |row| Ok((row.get(0)?, parse_status(row.get_ref(1)?.as_str()?), row.get(2)?)),
            )
            .map_err(StoreError::for_action("read of an invocation"))?;
        let samples = query_list(
            &self.connection,
            "read of samples",
            "SELECT at_ns, meter, value FROM sample WHERE invocation_id = ?1 ORDER BY at_ns",
            [id],
            |row| {
                let meter = Meter::from_name(row.get_ref(1)?.as_str()?);
                let (at, value) = (read_nanos(row, 0)?, read_unsigned(row, 2)?);
                Ok(meter.zip(value).map(|(meter, value)| Sample { at, meter, value }))
            },
        )?;
        let samples: Vec<Sample> = samples.into_iter().flatten().collect();
        let samples = thin_out_samples(&samples);
        Ok(PlaybackInvocation { row, sequence, status, reason, samples })
    }

    /// Returns the samples of CPU time of the newest invocations of a cell that
    /// ended well, each as moments since the request and values.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn cpu_samples(
        &self,
        cell: i64,
        newest: i64,
        most: u32,
    ) -> Result<Vec<TimeSeries>, StoreError> {
        let rows = query_list(
            &self.connection,
            "read of samples",
            "SELECT invocation_id, at_ns, value FROM sample
             WHERE meter = 'cpu_time' AND invocation_id IN (
                SELECT id FROM invocation WHERE cell_id = ?1 AND id <= ?2 AND status = 'ok'
                ORDER BY id DESC LIMIT ?3)
             ORDER BY invocation_id, at_ns",
            params![cell, newest, most],
            |row| Ok((row.get(0)?, read_nanos(row, 1)?, read_unsigned(row, 2)?.unwrap_or(0))),
        )?;
        let mut series: Vec<TimeSeries> = Vec::new();
        for (id, at, value) in rows {
            match series.last_mut() {
                Some((last, points)) if *last == id => points.push((at, value)),
                _ => series.push((id, vec![(at, value)])),
            }
        }
        Ok(series)
    }
}

impl RecordingPart {
    /// Returns the first part of a recording in its current state.
    #[must_use]
    pub const fn first_of(recording: i64, newest: i64, limit: usize) -> Self {
        Self { recording, after: (-1, 0), newest, limit }
    }

    fn query_bounds(&self) -> [i64; 5] {
        let (end, id) = self.after;
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        [self.recording, self.newest, end, id, limit]
    }
}

/// Thins out the samples of each meter to every n-th and the last.
fn thin_out_samples(samples: &[Sample]) -> Vec<Sample> {
    let meters = [Meter::CpuTime, Meter::MemoryRss];
    let mut kept = Vec::new();
    for meter in meters {
        let of: Vec<Sample> = samples.iter().filter(|it| it.meter == meter).copied().collect();
        let step = of.len().div_ceil(SAMPLES).max(1);
        let last = of.len().saturating_sub(1);
        let chosen = of.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
        kept.extend(chosen.map(|(_, sample)| *sample));
    }
    kept
}

#[cfg(test)]
#[path = "playback_tests.rs"]
mod tests;
