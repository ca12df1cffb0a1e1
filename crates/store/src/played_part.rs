//! Part of a recording in memory, with indices by lane and time.

use std::sync::Arc;

use super::open::{Store, StoreError};
use super::playback::{PlaybackRecording, PlaybackRow, RecordingPart};
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::Nanos;
use cyclometer_workload::Status;

/// Most invocations that are in memory at a time.
pub const MAX_PART_INVOCATIONS: usize = 250_000;

/// Optional value in 8 bytes; `u64::MAX` stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactOption(u64);

impl CompactOption {
    /// Returns the value.
    #[must_use]
    pub const fn get(self) -> Option<u64> {
        if self.0 == u64::MAX { None } else { Some(self.0) }
    }

    /// Returns the value, or 0 as a neutral summand.
    #[must_use]
    pub(crate) const fn or_zero(self) -> u64 {
        if self.0 == u64::MAX { 0 } else { self.0 }
    }
}

impl From<Option<u64>> for CompactOption {
    fn from(value: Option<u64>) -> Self {
        Self(value.unwrap_or(u64::MAX))
    }
}

/// Invocation in a compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactInvocation {
    /// Id in the database.
    pub id: i64,
    /// Index of the cell.
    pub cell: u32,
    /// Sequence number in the cell.
    pub sequence: u32,
    /// Final status.
    pub status: Status,
    /// Time of the request.
    pub offset: Nanos,
    /// Time of the end.
    pub end: Nanos,
    /// Duration of creating the sandbox, in nanoseconds.
    pub create: CompactOption,
    /// Duration from there to the first instruction, in nanoseconds.
    pub start: CompactOption,
    /// Duration from there to the end, in nanoseconds.
    pub run: CompactOption,
    /// CPU time in nanoseconds.
    pub cpu: CompactOption,
    /// CPU cycles.
    pub cycles: CompactOption,
    /// Ticks of the time-stamp counter.
    pub ref_cycles: CompactOption,
    /// Memory peak in bytes.
    pub peak: CompactOption,
    /// Allocated memory in bytes.
    pub allocated: CompactOption,
}

impl CompactInvocation {
    fn from_row(row: &PlaybackRow, cell: usize) -> Self {
        Self {
            id: row.id,
            cell: u32::try_from(cell).unwrap_or(u32::MAX),
            sequence: row.sequence,
            status: row.status,
            offset: row.offset,
            end: row.end,
            create: row.create.into(),
            start: row.start.into(),
            run: row.run.into(),
            cpu: row.cpu.into(),
            cycles: row.cycles.into(),
            ref_cycles: row.ref_cycles.into(),
            peak: row.peak.map(|it| it.0).into(),
            allocated: row.allocated.map(|it| it.0).into(),
        }
    }

    /// Returns the index of the cell.
    #[must_use]
    pub fn cell_index(&self) -> usize {
        usize::try_from(self.cell).unwrap_or(usize::MAX)
    }

    /// Returns the time when the function began to run; everything before is start-up.
    #[must_use]
    pub fn run_begin(&self) -> Nanos {
        let at = self.offset.0.saturating_add(self.create.or_zero());
        Nanos(at.saturating_add(self.start.or_zero()).min(self.end.0.max(self.offset.0)))
    }

    /// Whether it ended unsuccessfully.
    #[must_use]
    pub const fn is_unsuccessful(&self) -> bool {
        !matches!(self.status, Status::Ok)
    }
}

/// Invocations of a lane, as indices into [`PlayedPart::rows`].
#[derive(Debug, Default)]
struct LaneIndex {
    by_end: Vec<u32>,
    by_offset: Vec<u32>,
    /// Earliest request among the invocations from each position of `by_end` on: none
    /// of those began before it.
    earliest: Vec<Nanos>,
}

/// Part of a recording.
pub struct PlayedPart {
    /// Recording at the time of reading.
    pub about: PlaybackRecording,
    /// Key that the part was read by.
    pub key: RecordingPart,
    /// Index of the part, from 0.
    pub part: usize,
    /// Number of parts.
    pub parts: usize,
    /// Invocations in the order of their ends.
    pub rows: Vec<CompactInvocation>,
    /// Beginning of the part.
    pub begin: Nanos,
    /// End of the part.
    pub end: Nanos,
    lanes: Vec<LaneIndex>,
}

impl std::fmt::Debug for PlayedPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "recording {} part {}, {} rows", self.about.id, self.part, self.rows.len())
    }
}

impl PlayedPart {
    /// Reads the part of a recording that follows an invocation.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn from_store(
        store: &Store,
        recording: i64,
        part: usize,
        after: (i64, i64),
        limit: usize,
    ) -> Result<Self, StoreError> {
        let about = store.playback_recording(recording)?;
        let key = RecordingPart { recording, after, newest: about.newest, limit };
        let rows = store.playback_rows(&key)?;
        Ok(Self::from_rows(about, key, part, &rows))
    }

    /// Reads a part that `before` invocations precede; the first part in its place, if
    /// other invocations precede it by now. Lanes that race write their invocations
    /// nearly, but not exactly, in the order of their ends: a late one may belong to an
    /// earlier part, which has to be read again.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn from_store_in_order(
        store: &Store,
        recording: i64,
        part: usize,
        after: (i64, i64),
        limit: usize,
        before: usize,
    ) -> Result<Self, StoreError> {
        let played = Self::from_store(store, recording, part, after, limit)?;
        if part > 0 && store.count_before_part(&played.key)? != before as u64 {
            return Self::from_store(store, recording, 0, (-1, 0), limit);
        }
        Ok(played)
    }

    /// Indexes rows that are in the order of their ends.
    #[must_use]
    pub fn from_rows(
        about: PlaybackRecording,
        key: RecordingPart,
        part: usize,
        rows: &[PlaybackRow],
    ) -> Self {
        let place = |cell: i64| about.cells.iter().position(|it| it.id == cell);
        let mut known = (i64::MIN, None);
        let compact = rows.iter().filter_map(|row| {
            if known.0 != row.cell {
                known = (row.cell, place(row.cell));
            }
            known.1.map(|cell| CompactInvocation::from_row(row, cell))
        });
        let rows: Vec<CompactInvocation> = compact.collect();
        let mut lanes: Vec<LaneIndex> = about.lanes.iter().map(|_| LaneIndex::default()).collect();
        for (at, row) in (0_u32..).zip(&rows) {
            let Some(order) =
                about.cells.get(row.cell_index()).and_then(|it| lanes.get_mut(it.lane))
            else {
                continue;
            };
            order.by_end.push(at);
        }
        for order in &mut lanes {
            let mut least = Nanos(u64::MAX);
            let offsets = order.by_end.iter().rev().map(|at| {
                least = least.min(rows[*at as usize].offset);
                least
            });
            order.earliest = offsets.collect();
            order.earliest.reverse();
            order.by_offset = order.by_end.clone();
            order.by_offset.sort_by_key(|at| rows[*at as usize].offset);
        }
        let parts = usize::try_from(about.invocations).unwrap_or(0).div_ceil(key.limit.max(1));
        let parts = parts.max(part + 1);
        let last = rows.last().map_or(Nanos(0), |row| row.end);
        let begin = Nanos(u64::try_from(key.after.0).unwrap_or(0));
        let end = if part + 1 == parts { about.end.max(last) } else { last };
        Self { about, key, part, parts, rows, begin, end: end.max(begin), lanes }
    }

    /// Returns end and id of the last invocation, which the next part follows; `None`
    /// if this is the last part.
    #[must_use]
    pub fn next_after(&self) -> Option<(i64, i64)> {
        let last = self.rows.last().filter(|_| self.part + 1 < self.parts)?;
        Some((i64::try_from(last.end.0).unwrap_or(i64::MAX), last.id))
    }

    /// Returns the number of invocations that had ended at a moment.
    #[must_use]
    pub fn count_ended(&self, at: Nanos) -> usize {
        self.rows.partition_point(|row| row.end <= at)
    }

    fn row_at(&self, at: u32) -> &CompactInvocation {
        &self.rows[at as usize]
    }

    /// Returns the newest invocation of a lane that had begun at a moment. One that is
    /// requested at exactly this moment does not count, since the previous one has just
    /// ended there, unless it is the first.
    #[must_use]
    pub fn invocation_at(&self, lane: usize, at: Nanos) -> Option<&CompactInvocation> {
        let order = &self.lanes.get(lane)?.by_offset;
        let before = order.partition_point(|it| self.row_at(*it).offset < at);
        let here = order.get(before).filter(|it| self.row_at(**it).offset == at);
        before.checked_sub(1).and_then(|it| order.get(it)).or(here).map(|it| self.row_at(*it))
    }

    /// Returns the next moment when an invocation of a lane ends.
    #[must_use]
    pub fn next_end(&self, lane: usize, at: Nanos) -> Option<Nanos> {
        let order = &self.lanes.get(lane)?.by_end;
        let next = order.partition_point(|it| self.row_at(*it).end <= at);
        order.get(next).map(|it| self.row_at(*it).end)
    }

    /// Returns the last moment before `at` when an invocation of a lane ended.
    #[must_use]
    pub fn previous_end(&self, lane: usize, at: Nanos) -> Option<Nanos> {
        let order = &self.lanes.get(lane)?.by_end;
        let before = order.partition_point(|it| self.row_at(*it).end < at);
        before.checked_sub(1).and_then(|it| order.get(it)).map(|it| self.row_at(*it).end)
    }

    /// Returns the invocations of a lane that may overlap a span of time.
    pub fn invocations_between(
        &self,
        lane: usize,
        from: Nanos,
        to: Nanos,
    ) -> impl Iterator<Item = &CompactInvocation> {
        let (places, earliest): (&[u32], &[Nanos]) =
            self.lanes.get(lane).map_or((&[], &[]), |order| (&order.by_end, &order.earliest));
        let first = places.partition_point(|it| self.row_at(*it).end < from);
        let last = earliest.partition_point(|offset| *offset <= to);
        places[first..last.max(first)]
            .iter()
            .map(|it| self.row_at(*it))
            .filter(move |row| row.offset <= to)
    }

    /// Returns all invocations of a lane in the order of their ends.
    pub fn lane_invocations(&self, lane: usize) -> impl Iterator<Item = &CompactInvocation> {
        let places: &[u32] = self.lanes.get(lane).map_or(&[], |order| &order.by_end);
        places.iter().map(|it| self.row_at(*it))
    }

    /// Returns the lane of an invocation.
    #[must_use]
    pub fn lane_of(&self, row: &CompactInvocation) -> usize {
        self.about.cells.get(row.cell_index()).map_or(0, |cell| cell.lane)
    }

    /// Returns the name of a lane.
    #[must_use]
    pub fn lane_name(&self, lane: usize) -> Arc<str> {
        self.about.lanes.get(lane).map_or_else(|| "".into(), |it| Arc::clone(&it.name))
    }

    /// Returns the cycles of an invocation with their mark: `u` user mode only, `r`
    /// ticks of the time-stamp counter, `e` ticks estimated from CPU time.
    #[must_use]
    pub fn cycles_with_mark(&self, row: &CompactInvocation) -> Option<(u64, &'static str)> {
        let cell = self.about.cells.get(row.cell_index());
        match (row.cycles.get(), row.ref_cycles.get()) {
            (Some(value), _) => {
                Some((value, if cell.is_some_and(|it| it.user_only) { " u" } else { "" }))
            }
            (None, Some(value)) => {
                Some((value, if cell.is_some_and(|it| it.estimated) { " e" } else { " r" }))
            }
            (None, None) => None,
        }
    }

    /// Explains why a meter is missing in a lane.
    #[must_use]
    pub fn explain_missing_meter(&self, lane: &str, start: StartKind, meter: &str) -> String {
        let mut of = self
            .about
            .sources
            .iter()
            .filter(|it| it.lane == lane && it.start == start && it.meter == meter);
        match of.clone().find(|it| it.source.is_none()) {
            Some(source) => source.note.clone(),
            None if of.next().is_some() => "not measured in this invocation".to_owned(),
            None => "this lane does not measure it".to_owned(),
        }
    }
}
