//! Activity of a lane in each column of the time axis.

use super::axis::Axis;
use super::layout::{Layout, Track};
use super::recording::{Invocation, Played};
use cyclometer_core::units::Nanos;

/// Selects the invocations of a lane, or only those of one of its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose {
    /// Index of the lane.
    pub lane: usize,
    /// Index of the cell; `None`: all.
    pub cell: Option<usize>,
}

/// Activity in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Column {
    /// Number of invocations in progress.
    pub touched: u32,
    /// Number of invocations that ended unsuccessfully in the column.
    pub bad: u32,
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
pub enum Sign {
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
const MANY: u32 = 3;

impl Column {
    /// Returns the symbol of the column.
    pub const fn sign(&self) -> Sign {
        if self.bad > 0 {
            return Sign::Failed;
        }
        match self.touched {
            0 => Sign::Idle,
            many if many >= MANY => Sign::Many(many),
            _ if self.startup > self.run => Sign::Startup,
            _ => Sign::Run,
        }
    }
}

/// Cache of the tracks' columns, valid while the visible time is the same.
#[derive(Debug, Default)]
pub struct Strips {
    of: Option<(usize, u64, Axis)>,
    columns: Vec<(Whose, Vec<Column>)>,
}

impl Strips {
    /// Returns a key of the part and its state, to notice a change.
    fn identity(played: &Played) -> (usize, u64) {
        (played.part, played.about.invocations ^ played.about.id.unsigned_abs().rotate_left(40))
    }

    /// Returns the columns if they are cached for this part and axis.
    pub fn columns(&self, played: &Played, whose: Whose, axis: Axis) -> Option<&[Column]> {
        let (part, state) = Self::identity(played);
        if self.of != Some((part, state, axis)) {
            return None;
        }
        let found = self.columns.iter().find(|(known, _)| *known == whose);
        found.map(|(_, columns)| columns.as_slice())
    }

    /// Computes the columns that are not cached yet.
    pub fn refresh(&mut self, played: &Played, layout: &Layout, axis: Axis) {
        let (part, state) = Self::identity(played);
        if self.of != Some((part, state, axis)) {
            self.columns.clear();
            self.of = Some((part, state, axis));
        }
        for (track, _) in &layout.tracks {
            let whose = match track {
                Track::Swim(whose) => *whose,
                Track::Cpu(lane) | Track::Memory(lane) => Whose { lane: *lane, cell: None },
            };
            if !self.columns.iter().any(|(known, _)| *known == whose) {
                let columns = columns(played, whose, axis, Nanos(u64::MAX));
                self.columns.push((whose, columns));
            }
        }
    }
}

/// Computes the activity of `whose` in each column, up to the moment `until`.
pub fn columns(played: &Played, whose: Whose, axis: Axis, until: Nanos) -> Vec<Column> {
    let mut columns = vec![Column::default(); usize::from(axis.width)];
    let right = axis.left.saturating_add(axis.span).min(until.0);
    for row in played.around(whose.lane, Nanos(axis.left), Nanos(right)) {
        if whose.cell.is_none_or(|cell| cell == row.cell()) {
            enter(&mut columns, row, axis, right);
        }
    }
    columns
}

fn enter(columns: &mut [Column], row: &Invocation, axis: Axis, right: u64) {
    let (from, began, to) = (row.offset.0, row.began().0, row.end.0);
    let first = axis.column(from.max(axis.left));
    let Some((first, last)) = first.zip(axis.column(to.min(right))) else { return };
    let inside = |one: u64, other: u64, column: u16| {
        let (left, end) = (axis.at(column), axis.at(column + 1));
        other.min(end).min(right).saturating_sub(one.max(left))
    };
    for at in first..=last {
        let Some(column) = columns.get_mut(usize::from(at)) else { continue };
        column.touched += 1;
        column.startup += inside(from, began, at);
        column.run += inside(began, to, at);
        if let Some(cpu) = row.cpu.get() {
            // Even shares whose sum is exact: each is the use up to its end less the
            // use up to its beginning.
            let end = if at == last { to.min(right) } else { axis.at(at + 1).min(right) };
            let before = part(cpu, axis.at(at).max(from), from, to);
            *column.cpu.get_or_insert(0) += part(cpu, end, from, to).saturating_sub(before);
        }
        column.peak = column.peak.max(row.peak.get());
        column.allocated = column.allocated.max(row.allocated.get());
    }
    if row.bad()
        && to <= right
        && let Some(column) = columns.get_mut(usize::from(last))
    {
        column.bad += 1;
    }
}

/// Returns the part of `whole` that was used until `at`, if it was used evenly.
fn part(whole: u64, at: u64, from: u64, to: u64) -> u64 {
    if at >= to {
        return whole;
    }
    let exact = u128::from(whole) * u128::from(at.saturating_sub(from)) / u128::from(to - from);
    u64::try_from(exact).unwrap_or(whole)
}

/// Returns the thousandths of a CPU in use in a column; `None` if not measured.
pub fn cpus(column: &Column, axis: Axis, at: u16, until: Nanos) -> Option<u64> {
    let end = axis.at(at.saturating_add(1)).min(until.0);
    let wide = end.saturating_sub(axis.at(at));
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

    const LANE: Whose = Whose { lane: 0, cell: None };

    #[test]
    fn use_and_phases_fall_into_their_columns() {
        // Requested at 5 ms: 10 ms of start-up, 20 ms of run, 12 ms of CPU.
        let played = testing::played(&[testing::row(1, 0, 5, 10, 20, Some(12))]);
        let axis = Axis { left: 0, span: 40 * MS, width: 4 };
        let columns = columns(&played, LANE, axis, Nanos(40 * MS));
        let of =
            |pick: fn(&Column) -> u64| columns.iter().map(|it| pick(it) / MS).collect::<Vec<_>>();
        assert_eq!(of(|it| it.startup), [5, 5, 0, 0]);
        assert_eq!(of(|it| it.run), [0, 5, 10, 5]);
        // 0.4 CPUs all the time.
        assert_eq!(of(|it| it.cpu.unwrap_or(0)), [2, 4, 4, 2]);
        assert_eq!(cpus(&columns[1], axis, 1, Nanos(40 * MS)), Some(400));
        assert_eq!(columns.iter().map(|it| it.touched).collect::<Vec<_>>(), [1, 1, 1, 1]);
    }

    #[test]
    fn what_comes_after_the_moment_is_not_there() {
        let mut row = testing::row(1, 0, 5, 10, 20, Some(12));
        row.status = cyclometer_lanes::Status::Failed;
        let played = testing::played(&[row]);
        let axis = Axis { left: 0, span: 40 * MS, width: 4 };
        let at = |until| columns(&played, LANE, axis, Nanos(until * MS));
        let columns = at(22);
        assert_eq!(columns.iter().map(|it| it.touched).collect::<Vec<_>>(), [1, 1, 1, 0]);
        assert_eq!((columns[2].run, columns[2].bad), (2 * MS, 0), "it still runs at 22 ms");
        // 0.4 CPUs for 2 ms, and over 2 ms.
        assert_eq!(columns[2].cpu, Some(800_000));
        assert_eq!(cpus(&columns[2], axis, 2, Nanos(22 * MS)), Some(400));
        assert_eq!(at(40)[3].bad, 1, "it failed at 35 ms");
    }

    #[test]
    fn signs_say_what_a_column_holds() {
        let column = |touched, bad, startup, run| {
            Column { touched, bad, startup, run, ..Column::default() }.sign()
        };
        assert_eq!(column(0, 0, 0, 0), Sign::Idle);
        assert_eq!(column(1, 0, 6, 4), Sign::Startup);
        assert_eq!(column(2, 0, 5, 5), Sign::Run);
        assert_eq!(column(3, 0, 5, 5), Sign::Many(3));
        assert_eq!(column(9, 1, 5, 5), Sign::Failed);
    }

    #[test]
    fn only_the_cell_that_is_asked_for() {
        let played = testing::played(&[
            testing::row(1, 0, 0, 0, 10, None),
            testing::row(2, 1, 10, 0, 10, None),
        ]);
        let axis = Axis { left: 0, span: 20 * MS, width: 2 };
        let of = |cell| {
            let whose = Whose { lane: 0, cell };
            let columns = columns(&played, whose, axis, Nanos(20 * MS));
            columns.iter().map(|it| it.touched).collect::<Vec<_>>()
        };
        // The end of the first is the beginning of the second column.
        assert_eq!(of(None), [1, 2]);
        assert_eq!(of(Some(1)), [0, 1]);
        assert_eq!(columns(&played, LANE, axis, Nanos(20 * MS))[0].cpu, None, "not 0");
    }
}
