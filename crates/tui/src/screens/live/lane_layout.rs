//! Layout of the lanes: rows and axes, computed once for all of them so that
//! comparable figures stand side by side.

use ratatui::layout::Rect;

use super::chart_axes::{LABELS, TimeAxis, ValueRange};
use super::selection;
use crate::model::Model;
use cyclometer_core::units::Nanos;
use cyclometer_lanes::StartKind;
use cyclometer_record::live::{LiveSnapshot, Point};

/// Least width of a column of times.
const VALUE: usize = 9;
/// Least range of the chart of CPU time, in nanoseconds a second: a hundredth
/// of a CPU.
const LEAST_CPU: u64 = 10_000_000;
/// Least height of a chart for which a second chart is worth its room.
const HIGH: u16 = 4;

/// Rows that every lane has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether a row is there")]
pub(crate) struct LaneRows {
    /// Kinds of start whose times are shown.
    pub starts: Vec<StartKind>,
    /// Width of the row labels.
    pub label: usize,
    /// Width of a time.
    pub value: usize,
    /// Whether the heads of the columns are on the line of the heading.
    pub one_line: bool,
    /// Height of the chart of CPU time in lines; 0: none.
    pub cpu: u16,
    /// Height of the chart of cycles in lines; 0: none.
    pub cycles: u16,
    /// Whether there is a line of memory.
    pub memory: bool,
    /// Whether there is a gauge of memory.
    pub gauge: bool,
    /// Whether there are lines for operators and sources.
    pub sources: bool,
}

impl LaneRows {
    fn new(starts: Vec<StartKind>, heading: usize, (wide, high): (u16, u16)) -> Self {
        let wide = usize::from(wide);
        let one_line = heading + 2 * VALUE <= wide;
        let label = if one_line { heading.max(wide / 3) } else { 5 };
        let value = wide.saturating_sub(label) / 2;
        let mut rows = Self {
            starts,
            label,
            value,
            one_line,
            cpu: 0,
            cycles: 0,
            memory: true,
            gauge: false,
            sources: false,
        };
        let mut left = high.saturating_sub(2);
        // A low terminal shows one kind of start, the first: cold beside cold.
        let all = rows.starts.len();
        let fit = if high >= 19 { all } else { all.min(1) };
        rows.starts.truncate(fit);
        left = left.saturating_sub(rows.section_height() * u16::try_from(fit).unwrap_or(2));
        // The charts need their label, their axis, and at least one line.
        rows.share_height(left);
        rows
    }

    /// Distributes the remaining lines among charts, a gauge and sources.
    fn share_height(&mut self, mut left: u16) {
        if left < 3 {
            return;
        }
        left -= 2;
        if left >= 6 {
            (self.sources, left) = (true, left - 2);
        }
        if left >= 4 {
            (self.gauge, left) = (true, left - 1);
        }
        if left > 2 * HIGH {
            self.cycles = (left - 1) / 2;
            self.cpu = left - 1 - self.cycles;
        } else {
            self.cpu = left;
        }
    }

    /// Returns the number of lines for a kind of start: heading and three rows.
    pub(crate) const fn section_height(&self) -> u16 {
        if self.one_line { 4 } else { 5 }
    }
}

/// Inputs of drawing that all lanes share in a frame.
#[derive(Debug)]
pub(crate) struct LaneDrawing<'a> {
    /// The model.
    pub model: &'a Model,
    /// Snapshot that is shown.
    pub snapshot: &'a LiveSnapshot,
    /// The rows.
    pub rows: LaneRows,
    /// Time axis of the charts.
    pub axis: TimeAxis,
    /// Range of CPU time.
    pub cpu: ValueRange,
    /// Range of cycles.
    pub cycles: ValueRange,
    /// Lanes in view, each with the points of the chosen workload.
    pub points: Vec<(usize, Vec<Option<Point>>)>,
    /// Whether time has stopped: the recording is over, or the view is frozen.
    pub is_over: bool,
}

impl<'a> LaneDrawing<'a> {
    /// Computes rows, ranges and points for the lanes in their areas.
    pub fn new(model: &'a Model, snapshot: &'a LiveSnapshot, places: &[(usize, Rect)]) -> Self {
        let wide = places.iter().map(|(_, area)| area.width).min().unwrap_or(0).saturating_sub(2);
        let high = places.first().map_or(0, |(_, area)| area.height).saturating_sub(2);
        let starts = selection::shown_starts(model, snapshot);
        let workload = selection::shown_workload(model, snapshot).unwrap_or_default();
        // ` cold`, and a count of four digits or `warm-up`.
        let heading = workload.chars().count() + 14;
        let rows = LaneRows::new(starts, heading, (wide, high));
        let count = usize::from(wide.saturating_sub(LABELS));
        let end = shown_moment(model, snapshot);
        let elapsed = snapshot.began.map_or(Nanos(0), |began| end.saturating_since(began));
        let axis = model.screens.live.zoom.map_or_else(
            || TimeAxis::for_recording(elapsed, count),
            |zoom| TimeAxis::with_resolution(zoom, count),
        );
        let points: Vec<_> = places
            .iter()
            .map(|(lane, _)| (*lane, workload_points(model, snapshot, *lane, (axis, end))))
            .collect();
        let largest = |pick: fn(&Point) -> Option<u64>| {
            let all = points.iter().flat_map(|(_, points)| points).flatten();
            all.filter_map(pick).max().unwrap_or(0)
        };
        let cpu =
            ValueRange::for_largest(largest(|point| point.cpu), axis.column_span(), LEAST_CPU);
        let cycles = ValueRange::for_largest(largest(|point| point.cycles), axis.column_span(), 1);
        let is_over = snapshot.ended.is_some() || model.screens.live.frozen.is_some();
        Self { model, snapshot, rows, axis, cpu, cycles, points, is_over }
    }

    /// Returns the heading of the times of a kind of start.
    pub(crate) fn start_heading(&self, start: StartKind) -> String {
        let workload = selection::shown_workload(self.model, self.snapshot).unwrap_or_default();
        format!("{workload} {start}")
    }
}

/// Returns the moment whose figures are shown.
fn shown_moment(model: &Model, snapshot: &LiveSnapshot) -> Nanos {
    let frozen = model.screens.live.frozen.is_some();
    snapshot.ended.unwrap_or(if frozen { model.screens.live.frozen_at } else { model.now })
}

/// Returns what the chosen workload used in a lane, column by column. The
/// newest column is still growing and is left out while something runs.
fn workload_points(
    model: &Model,
    snapshot: &LiveSnapshot,
    lane: usize,
    (axis, end): (TimeAxis, Nanos),
) -> Vec<Option<Point>> {
    let Some(workload) = selection::shown_workload(model, snapshot) else { return Vec::new() };
    let starts = selection::shown_starts(model, snapshot);
    let running = snapshot.lanes.get(lane).and_then(|lane| lane.running);
    let mut sum: Vec<Option<Point>> = vec![None; axis.count];
    let of_this = |cell: &cyclometer_record::live::CellView| {
        cell.lane == lane && &*cell.workload == workload && starts.contains(&cell.start)
    };
    for (at, cell) in snapshot.cells.iter().enumerate().filter(|(_, cell)| of_this(cell)) {
        let known = running.filter(|running| running.cell == at).map(|running| running.known);
        let grain = (axis.resolution, axis.times);
        let columns = cell.chart.column_points(grain, end, axis.count + 1, known);
        let full = &columns[..axis.count.min(columns.len())];
        for (sum, point) in sum.iter_mut().zip(full) {
            *sum = match (*sum, *point) {
                (Some(sum), Some(point)) => Some(sum.combined_with(point)),
                (sum, point) => sum.or(point),
            };
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fill_the_lane_and_fit_it() {
        let both = || vec![StartKind::Cold, StartKind::Warm];
        for high in 0..80 {
            for wide in [10, 24, 38, 64] {
                let rows = LaneRows::new(both(), 19, (wide, high));
                let starts = u16::try_from(rows.starts.len()).expect("two");
                let charts = rows.cpu + rows.cycles;
                let names = u16::from(rows.cpu > 0) + u16::from(rows.cycles > 0);
                let axis = u16::from(rows.cpu > 0);
                let more = u16::from(rows.gauge) + 2 * u16::from(rows.sources);
                let used = 2 + starts * rows.section_height() + charts + names + axis + more;
                assert!(used <= high.max(7), "{high}: {rows:?}");
                if high >= 10 {
                    assert_eq!(used, high, "nothing is left over: {rows:?}");
                }
            }
        }
    }
}
