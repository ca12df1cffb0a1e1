//! Activity of a lane in each column of the time axis.

use super::layout::{TimelineLayout, TimelineTrack};
use super::time_axis::TimelineAxis;
use cyclometer_core::units::Nanos;
use cyclometer_store::{CompactInvocation, PlayedPart};

/// Selects the invocations of a lane, or only those of one of its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneFilter {
    /// Index of the lane.
    pub lane: usize,
    /// Index of the cell; `None`: all.
    pub cell: Option<usize>,
}

/// Activity in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ColumnActivity {
    /// Number of invocations in progress.
    pub in_progress: u32,
    /// Number of invocations that ended unsuccessfully in the column.
    pub unsuccessful: u32,
    /// Start-up time in nanoseconds.
    pub startup: u64,
    /// Run time in nanoseconds.
    pub run: u64,
    /// CPU time in nanoseconds; `None` if it was not measured.
    pub cpu: Option<u64>,
    /// Largest memory peak in bytes.
    pub peak: Option<u64>,
    /// Largest allocated memory in bytes.
    pub allocated: Option<u64>,
}

/// Symbol of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnSign {
    /// Nothing ran.
    Idle,
    /// One or two invocations, mostly starting up.
    Startup,
    /// One or two invocations, mostly running.
    Run,
    /// Number of invocations, drawn relative to the largest number in any column.
    Many(u32),
    /// An invocation ended unsuccessfully.
    Failed,
}

/// Number of invocations from which on a column shows their count.
const MANY_FROM: u32 = 3;

impl ColumnActivity {
    /// Returns the symbol of the column.
    pub const fn sign(&self) -> ColumnSign {
        if self.unsuccessful > 0 {
            return ColumnSign::Failed;
        }
        match self.in_progress {
            0 => ColumnSign::Idle,
            many if many >= MANY_FROM => ColumnSign::Many(many),
            _ if self.startup > self.run => ColumnSign::Startup,
            _ => ColumnSign::Run,
        }
    }
}

/// Cache of the tracks' columns, valid while the visible time is the same.
#[derive(Debug, Default)]
pub(crate) struct ColumnCache {
    cached_for: Option<(usize, u64, TimelineAxis)>,
    columns: Vec<(LaneFilter, Vec<ColumnActivity>)>,
}

impl ColumnCache {
    /// Returns a key of the part and its state, to notice a change.
    fn part_identity(played: &PlayedPart) -> (usize, u64) {
        (played.part, played.about.invocations ^ played.about.id.unsigned_abs().rotate_left(40))
    }

    /// Returns the columns if they are cached for this part and axis.
    pub(crate) fn cached_columns(
        &self,
        played: &PlayedPart,
        whose: LaneFilter,
        axis: TimelineAxis,
    ) -> Option<&[ColumnActivity]> {
        let (part, state) = Self::part_identity(played);
        if self.cached_for != Some((part, state, axis)) {
            return None;
        }
        let found = self.columns.iter().find(|(known, _)| *known == whose);
        found.map(|(_, columns)| columns.as_slice())
    }

    /// Computes the columns that are not cached yet.
    pub(crate) fn compute_missing(
        &mut self,
        played: &PlayedPart,
        layout: &TimelineLayout,
        axis: TimelineAxis,
    ) {
        let (part, state) = Self::part_identity(played);
        if self.cached_for != Some((part, state, axis)) {
            self.columns.clear();
            self.cached_for = Some((part, state, axis));
        }
        for (track, _) in &layout.tracks {
            let whose = match track {
                TimelineTrack::Swimlane(whose) => *whose,
                TimelineTrack::Cpu(lane) | TimelineTrack::Memory(lane) => {
                    LaneFilter { lane: *lane, cell: None }
                }
            };
            if !self.columns.iter().any(|(known, _)| *known == whose) {
                let columns = compute_columns(played, whose, axis, Nanos(u64::MAX));
                self.columns.push((whose, columns));
            }
        }
    }
}

/// Computes the activity of `whose` in each column, up to the moment `until`.
pub(crate) fn compute_columns(
    played: &PlayedPart,
    whose: LaneFilter,
    axis: TimelineAxis,
    until: Nanos,
) -> Vec<ColumnActivity> {
    let mut columns = vec![ColumnActivity::default(); usize::from(axis.width)];
    let right = axis.left.saturating_add(axis.span).min(until.0);
    for row in played.invocations_between(whose.lane, Nanos(axis.left), Nanos(right)) {
        if whose.cell.is_none_or(|cell| cell == row.cell_index()) {
            add_invocation(&mut columns, row, axis, right);
        }
    }
    columns
}

fn add_invocation(
    columns: &mut [ColumnActivity],
    row: &CompactInvocation,
    axis: TimelineAxis,
    right: u64,
) {
    let (from, began, to) = (row.offset.0, row.run_begin().0, row.end.0);
    let first = axis.column_at(from.max(axis.left));
    let Some((first, last)) = first.zip(axis.column_at(to.min(right))) else { return };
    let inside = |one: u64, other: u64, column: u16| {
        let (left, end) = (axis.column_start(column), axis.column_start(column + 1));
        other.min(end).min(right).saturating_sub(one.max(left))
    };
    for at in first..=last {
        let Some(column) = columns.get_mut(usize::from(at)) else { continue };
        column.in_progress += 1;
        column.startup += inside(from, began, at);
        column.run += inside(began, to, at);
        if let Some(cpu) = row.cpu.get() {
            // Even shares whose sum is exact: each is the use up to its end less the
            // use up to its beginning.
            let end = if at == last { to.min(right) } else { axis.column_start(at + 1).min(right) };
            let before = used_until(cpu, axis.column_start(at).max(from), from, to);
            *column.cpu.get_or_insert(0) += used_until(cpu, end, from, to).saturating_sub(before);
        }
        column.peak = column.peak.max(row.peak.get());
        column.allocated = column.allocated.max(row.allocated.get());
    }
    if row.is_unsuccessful()
        && to <= right
        && let Some(column) = columns.get_mut(usize::from(last))
    {
        column.unsuccessful += 1;
    }
}

/// Returns the part of `whole` that was used until `at`, if it was used evenly.
fn used_until(whole: u64, at: u64, from: u64, to: u64) -> u64 {
    if at >= to {
        return whole;
    }
    let exact = u128::from(whole) * u128::from(at.saturating_sub(from)) / u128::from(to - from);
    u64::try_from(exact).unwrap_or(whole)
}

/// Returns the thousandths of a CPU in use in a column; `None` if not measured.
pub(crate) fn cpu_thousandths(
    column: &ColumnActivity,
    axis: TimelineAxis,
    at: u16,
    until: Nanos,
) -> Option<u64> {
    let end = axis.column_start(at.saturating_add(1)).min(until.0);
    let wide = end.saturating_sub(axis.column_start(at));
    if wide == 0 {
        return None;
    }
    let cpu = u128::from(column.cpu?) * 1_000 / u128::from(wide);
    u64::try_from(cpu).ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, MS};
    use super::*;

    const LANE: LaneFilter = LaneFilter { lane: 0, cell: None };

    #[test]
    fn use_and_phases_fall_into_their_columns() {
        // Requested at 5 ms: 10 ms of start-up, 20 ms of run, 12 ms of CPU.
        let played = testing::played_part(&[testing::played_row(1, 0, 5, 10, 20, Some(12))]);
        let axis = TimelineAxis { left: 0, span: 40 * MS, width: 4 };
        let columns = compute_columns(&played, LANE, axis, Nanos(40 * MS));
        let of = |pick: fn(&ColumnActivity) -> u64| {
            columns.iter().map(|it| pick(it) / MS).collect::<Vec<_>>()
        };
        assert_eq!(of(|it| it.startup), [5, 5, 0, 0]);
        assert_eq!(of(|it| it.run), [0, 5, 10, 5]);
        // 0.4 CPUs all the time.
        assert_eq!(of(|it| it.cpu.unwrap_or(0)), [2, 4, 4, 2]);
        assert_eq!(cpu_thousandths(&columns[1], axis, 1, Nanos(40 * MS)), Some(400));
        assert_eq!(columns.iter().map(|it| it.in_progress).collect::<Vec<_>>(), [1, 1, 1, 1]);
    }

    #[test]
    fn what_comes_after_the_moment_is_not_there() {
        let mut row = testing::played_row(1, 0, 5, 10, 20, Some(12));
        row.status = cyclometer_lanes::Status::Failed;
        let played = testing::played_part(&[row]);
        let axis = TimelineAxis { left: 0, span: 40 * MS, width: 4 };
        let at = |until| compute_columns(&played, LANE, axis, Nanos(until * MS));
        let columns = at(22);
        assert_eq!(columns.iter().map(|it| it.in_progress).collect::<Vec<_>>(), [1, 1, 1, 0]);
        assert_eq!(
            (columns[2].run, columns[2].unsuccessful),
            (2 * MS, 0),
            "it still runs at 22 ms"
        );
        // 0.4 CPUs for 2 ms, and over 2 ms.
        assert_eq!(columns[2].cpu, Some(800_000));
        assert_eq!(cpu_thousandths(&columns[2], axis, 2, Nanos(22 * MS)), Some(400));
        assert_eq!(at(40)[3].unsuccessful, 1, "it failed at 35 ms");
    }

    #[test]
    fn signs_say_what_a_column_holds() {
        let column = |touched, bad, startup, run| {
            ColumnActivity {
                in_progress: touched,
                unsuccessful: bad,
                startup,
                run,
                ..ColumnActivity::default()
            }
            .sign()
        };
        assert_eq!(column(0, 0, 0, 0), ColumnSign::Idle);
        assert_eq!(column(1, 0, 6, 4), ColumnSign::Startup);
        assert_eq!(column(2, 0, 5, 5), ColumnSign::Run);
        assert_eq!(column(3, 0, 5, 5), ColumnSign::Many(3));
        assert_eq!(column(9, 1, 5, 5), ColumnSign::Failed);
    }

    #[test]
    fn only_the_cell_that_is_asked_for() {
        let played = testing::played_part(&[
            testing::played_row(1, 0, 0, 0, 10, None),
            testing::played_row(2, 1, 10, 0, 10, None),
        ]);
        let axis = TimelineAxis { left: 0, span: 20 * MS, width: 2 };
        let of = |cell| {
            let whose = LaneFilter { lane: 0, cell };
            let columns = compute_columns(&played, whose, axis, Nanos(20 * MS));
            columns.iter().map(|it| it.in_progress).collect::<Vec<_>>()
        };
        // The end of the first is the beginning of the second column.
        assert_eq!(of(None), [1, 2]);
        assert_eq!(of(Some(1)), [0, 1]);
        assert_eq!(compute_columns(&played, LANE, axis, Nanos(20 * MS))[0].cpu, None, "not 0");
    }
}
