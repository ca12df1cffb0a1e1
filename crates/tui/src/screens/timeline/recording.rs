//! A part of a recording in memory: what ran when.

use std::sync::Arc;

use cyclometer_core::units::Nanos;
use cyclometer_lanes::Status;
use cyclometer_store::{PlayedRecording, PlayedRow, RecordingPart, Store, StoreError};

/// Most invocations that are in memory at a time.
pub const PART: usize = 250_000;

/// A value that may be missing, in 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maybe(u64);

impl Maybe {
    /// The value.
    pub const fn get(self) -> Option<u64> {
        if self.0 == u64::MAX { None } else { Some(self.0) }
    }

    /// The value, or nothing to be added.
    pub const fn or_zero(self) -> u64 {
        if self.0 == u64::MAX { 0 } else { self.0 }
    }
}

impl From<Option<u64>> for Maybe {
    fn from(value: Option<u64>) -> Self {
        Self(value.unwrap_or(u64::MAX))
    }
}

/// An invocation, as compact as it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invocation {
    /// Its number in the database.
    pub id: i64,
    /// Its cell, by its place.
    pub cell: u32,
    /// Its number in the cell.
    pub sequence: u32,
    /// How it ended.
    pub status: Status,
    /// When it was requested.
    pub offset: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// Making the sandbox.
    pub create: Maybe,
    /// To the first instruction.
    pub start: Maybe,
    /// From there to the end.
    pub run: Maybe,
    /// CPU time.
    pub cpu: Maybe,
    /// CPU cycles.
    pub cycles: Maybe,
    /// Ticks.
    pub ref_cycles: Maybe,
    /// Largest memory.
    pub peak: Maybe,
    /// Memory that it was given.
    pub allocated: Maybe,
}

impl Invocation {
    fn of(row: &PlayedRow, cell: usize) -> Self {
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

    /// Its cell, by its place.
    pub fn cell(&self) -> usize {
        usize::try_from(self.cell).unwrap_or(usize::MAX)
    }

    /// When the function began: what was before is start-up.
    pub fn began(&self) -> Nanos {
        let at = self.offset.0.saturating_add(self.create.or_zero());
        Nanos(at.saturating_add(self.start.or_zero()).min(self.end.0.max(self.offset.0)))
    }

    /// Whether it did not end well.
    pub const fn bad(&self) -> bool {
        !matches!(self.status, Status::Ok)
    }
}

/// The invocations of a lane, by their places in [`Played::rows`].
#[derive(Debug, Default)]
struct Order {
    by_end: Vec<u32>,
    by_offset: Vec<u32>,
    /// The earliest request of those that end here or later, by place in
    /// `by_end`: when no later one can have begun.
    earliest: Vec<Nanos>,
}

/// A part of a recording.
pub struct Played {
    /// The recording as it was when this was read.
    pub about: PlayedRecording,
    /// What was read.
    pub key: RecordingPart,
    /// Which part, from 0.
    pub part: usize,
    /// How many parts there are.
    pub parts: usize,
    /// Invocations in the order of their ends.
    pub rows: Vec<Invocation>,
    /// When the part begins.
    pub begin: Nanos,
    /// When it ends.
    pub end: Nanos,
    lanes: Vec<Order>,
}

impl std::fmt::Debug for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "recording {} part {}, {} rows", self.about.id, self.part, self.rows.len())
    }
}

impl Played {
    /// Reads the part of a recording that comes after an invocation.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn read(
        store: &Store,
        recording: i64,
        part: usize,
        after: (i64, i64),
        limit: usize,
    ) -> Result<Self, StoreError> {
        let about = store.played(recording)?;
        let key = RecordingPart { recording, after, newest: about.newest, limit };
        let rows = store.played_rows(&key)?;
        Ok(Self::of(about, key, part, &rows))
    }

    /// Puts rows in order.
    pub fn of(about: PlayedRecording, key: RecordingPart, part: usize, rows: &[PlayedRow]) -> Self {
        let place = |cell: i64| about.cells.iter().position(|it| it.id == cell);
        let mut known = (i64::MIN, None);
        let compact = rows.iter().filter_map(|row| {
            if known.0 != row.cell {
                known = (row.cell, place(row.cell));
            }
            known.1.map(|cell| Invocation::of(row, cell))
        });
        let rows: Vec<Invocation> = compact.collect();
        let mut lanes: Vec<Order> = about.lanes.iter().map(|_| Order::default()).collect();
        for (at, row) in (0_u32..).zip(&rows) {
            let Some(order) = about.cells.get(row.cell()).and_then(|it| lanes.get_mut(it.lane))
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

    /// Where the next part begins.
    pub fn next_after(&self) -> Option<(i64, i64)> {
        let last = self.rows.last().filter(|_| self.part + 1 < self.parts)?;
        Some((i64::try_from(last.end.0).unwrap_or(i64::MAX), last.id))
    }

    /// How many invocations had ended at a moment.
    pub fn ended(&self, at: Nanos) -> usize {
        self.rows.partition_point(|row| row.end <= at)
    }

    fn row(&self, at: u32) -> &Invocation {
        &self.rows[at as usize]
    }

    /// The newest invocation of a lane that had begun at a moment. One that is
    /// only requested at this very moment has not begun: there the one before
    /// has just ended, unless it is the first.
    pub fn under(&self, lane: usize, at: Nanos) -> Option<&Invocation> {
        let order = &self.lanes.get(lane)?.by_offset;
        let before = order.partition_point(|it| self.row(*it).offset < at);
        let here = order.get(before).filter(|it| self.row(**it).offset == at);
        before.checked_sub(1).and_then(|it| order.get(it)).or(here).map(|it| self.row(*it))
    }

    /// When the next invocation of a lane ends.
    pub fn next_end(&self, lane: usize, at: Nanos) -> Option<Nanos> {
        let order = &self.lanes.get(lane)?.by_end;
        let next = order.partition_point(|it| self.row(*it).end <= at);
        order.get(next).map(|it| self.row(*it).end)
    }

    /// When the one before ended.
    pub fn previous_end(&self, lane: usize, at: Nanos) -> Option<Nanos> {
        let order = &self.lanes.get(lane)?.by_end;
        let before = order.partition_point(|it| self.row(*it).end < at);
        before.checked_sub(1).and_then(|it| order.get(it)).map(|it| self.row(*it).end)
    }

    /// Invocations of a lane that may touch a stretch of time.
    pub fn around(&self, lane: usize, from: Nanos, to: Nanos) -> impl Iterator<Item = &Invocation> {
        let (places, earliest): (&[u32], &[Nanos]) =
            self.lanes.get(lane).map_or((&[], &[]), |order| (&order.by_end, &order.earliest));
        let first = places.partition_point(|it| self.row(*it).end < from);
        let last = earliest.partition_point(|offset| *offset <= to);
        places[first..last.max(first)]
            .iter()
            .map(|it| self.row(*it))
            .filter(move |row| row.offset <= to)
    }

    /// All invocations of a lane, in the order of their ends.
    pub fn of_lane(&self, lane: usize) -> impl Iterator<Item = &Invocation> {
        let places: &[u32] = self.lanes.get(lane).map_or(&[], |order| &order.by_end);
        places.iter().map(|it| self.row(*it))
    }

    /// The lane of an invocation.
    pub fn lane_of(&self, row: &Invocation) -> usize {
        self.about.cells.get(row.cell()).map_or(0, |cell| cell.lane)
    }

    /// Name of a lane.
    pub fn lane_name(&self, lane: usize) -> Arc<str> {
        self.about.lanes.get(lane).map_or_else(|| "".into(), |it| Arc::clone(&it.name))
    }

    /// The mark of cycles of a cell: `u` user mode only, `r` ticks, `e` ticks
    /// estimated from CPU time; and the value.
    pub fn cycles(&self, row: &Invocation) -> Option<(u64, &'static str)> {
        let cell = self.about.cells.get(row.cell());
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

    /// Why a meter is missing in a lane.
    pub fn reason(&self, lane: &str, start: &str, meter: &str) -> String {
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
