//! Axes of the charts: one range of values and of time for all lanes.

use crate::widgets::text::{display_width, pad};
use cyclometer_core::units::Nanos;
use cyclometer_record::live::{KEPT, SPANS};

/// Columns left of a chart: the ends of its range, and the vertical line.
pub const LABELS: u16 = 7;
/// Longest time of a recording that the charts show without zooming.
const LONGEST: Nanos = Nanos(120_000_000_000);
/// Least number of columns between two time marks.
const APART: u64 = 9;
/// Distances between time marks, in nanoseconds.
const STEPS: [u64; 16] = [
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
    30_000_000_000,
    60_000_000_000,
    120_000_000_000,
    300_000_000_000,
    600_000_000_000,
    1_800_000_000_000,
    3_600_000_000_000,
    10_800_000_000_000,
    21_600_000_000_000,
    43_200_000_000_000,
];

/// Time axis of a chart: a column has `times` points of a resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeAxis {
    /// Resolution, as a position in [`SPANS`].
    pub resolution: usize,
    /// Number of points in a column.
    pub times: u64,
    /// Number of columns.
    pub count: usize,
}

impl TimeAxis {
    /// Creates an axis for all of a recording, or for the newest two minutes of
    /// a long one.
    #[must_use]
    pub(crate) fn for_recording(elapsed: Nanos, count: usize) -> Self {
        let count = count.max(1);
        let span = elapsed.min(LONGEST).0.div_ceil(count as u64);
        let holds = |it: &Nanos| it.0.saturating_mul(KEPT as u64) >= span * count as u64;
        let resolution = SPANS.iter().position(holds).unwrap_or(SPANS.len() - 1);
        let times = span.div_ceil(SPANS[resolution].0).max(1);
        Self { resolution, times, count }
    }

    /// Creates an axis whose columns are points of one resolution.
    #[must_use]
    pub(crate) fn with_resolution(resolution: usize, count: usize) -> Self {
        Self { resolution: resolution.min(SPANS.len() - 1), times: 1, count }
    }

    /// Returns the time that a column stands for.
    #[must_use]
    pub(crate) fn column_span(&self) -> Nanos {
        Nanos(SPANS[self.resolution].0 * self.times)
    }

    /// Returns the line of time marks below a chart: the time before `end`.
    #[must_use]
    pub(crate) fn format_marks(&self, end: &str) -> String {
        let column = self.column_span().0.max(1);
        let far = |step: &&u64| **step / column >= APART;
        let step = STEPS.iter().find(far).copied().unwrap_or(column * APART);
        // Built from the right, where the time is known.
        let mut line = pad(end, display_width(end).min(self.count), true);
        for ago in (1..).map(|times| step * times) {
            let at = usize::try_from(ago / column).unwrap_or(usize::MAX);
            let label = format!("-{}", format_step(ago, step));
            let taken = display_width(&line);
            // The mark is at the column of the first letter of its label.
            let blank = (at + 1).checked_sub(taken + display_width(&label));
            let Some(blank) = blank.filter(|_| at < self.count) else { break };
            line = format!("{label}{}{line}", " ".repeat(blank));
        }
        pad(&line, self.count, true)
    }
}

/// Formats a time span as `0.5s`, `20s`, `5min` or `3h`: in the unit in which
/// steps are whole.
fn format_step(span: u64, step: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let units = [(3_600 * SECOND, "h"), (60 * SECOND, "min"), (SECOND, "s")];
    let whole = units.iter().find(|(unit, _)| step.is_multiple_of(*unit));
    whole.map_or_else(
        || format!("{}.{}s", span / SECOND, span % SECOND / (SECOND / 10)),
        |(unit, name)| format!("{}{name}", span / unit),
    )
}

/// Range of values from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValueRange {
    /// End of the range, in units a second.
    rate: u64,
    /// End of the range, in units a column.
    pub top: u64,
}

impl ValueRange {
    /// Returns the smallest range that holds all values, ends in 1, 2 or 5, and
    /// covers at least `least` units a second.
    #[must_use]
    pub(crate) fn for_largest(largest: u64, column: Nanos, least: u64) -> Self {
        let column = u128::from(column.0.max(1));
        let rate = (u128::from(largest) * 1_000_000_000).div_ceil(column).max(least.into());
        let rate = (0..=28)
            .flat_map(|power| [1, 2, 5].map(|digit: u128| digit * 10_u128.pow(power)))
            .find(|nice| *nice >= rate.max(1))
            .unwrap_or(rate);
        let top = rate * column / 1_000_000_000;
        let least = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
        Self { rate: least(rate), top: least(top).max(1) }
    }

    /// Formats the end of the range as a number of CPUs, from nanoseconds a second.
    #[must_use]
    pub(crate) fn format_cpus(&self) -> String {
        match self.rate / 1_000_000_000 {
            0 => {
                let digits = format!("{:09}", self.rate);
                format!("0.{}", digits.trim_end_matches('0'))
            }
            whole => whole.to_string(),
        }
    }

    /// Formats the end of the range with a unit prefix: `500M`.
    #[must_use]
    pub fn format_count(&self) -> String {
        let letters =
            [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
        let found = letters.iter().find(|(size, _)| self.rate >= *size);
        found.map_or_else(
            || self.rate.to_string(),
            |(size, letter)| format!("{}{letter}", self.rate / size),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_range_ends_at_the_next_1_2_or_5() {
        let column = Nanos(SECOND / 2);
        // 130 ms of CPU in half a second: 0.26 of a CPU.
        let range = ValueRange::for_largest(130_000_000, column, 1);
        assert_eq!((range.format_cpus(), range.top), ("0.5".to_owned(), SECOND / 4));
        // 3.2 CPUs.
        assert_eq!(ValueRange::for_largest(1_600_000_000, column, 1).format_cpus(), "5");
        assert_eq!(ValueRange::for_largest(5 * SECOND / 2, column, 1).format_cpus(), "5");
        assert_eq!(ValueRange::for_largest(1_000_000_000, column, 1).format_count(), "2G");
        assert_eq!(ValueRange::for_largest(1, column, 1).format_count(), "2");
        assert_eq!(ValueRange::for_largest(1, column, 10_000_000).format_cpus(), "0.01");
        assert_eq!(ValueRange::for_largest(0, column, 0).top, 1, "nothing is divided by 0");
        assert!(ValueRange::for_largest(u64::MAX, Nanos(1), 1).top > 0);
    }

    #[test]
    fn the_whole_recording_fits_the_columns() {
        // 12.3 s in 58 columns: 212 ms each, which are three points of 100 ms.
        let axis = TimeAxis::for_recording(Nanos(12_300_000_000), 58);
        assert_eq!(axis.column_span(), Nanos(300_000_000));
        // Points of 100 ms are kept for 43 s.
        let axis = TimeAxis::for_recording(Nanos(60 * SECOND), 58);
        assert_eq!((axis.resolution, axis.column_span()), (1, Nanos(1_500_000_000)));
        let axis = TimeAxis::for_recording(Nanos(86_400 * SECOND), 58);
        // The newest two minutes need 2.07 s a column: five points of 500 ms.
        assert_eq!(axis.column_span(), Nanos(2_500_000_000));
        assert_eq!(TimeAxis::for_recording(Nanos(0), 0).times, 1);
    }

    #[test]
    fn marks_stand_above_their_moment() {
        let axis = TimeAxis { resolution: 1, times: 1, count: 30 };
        // 10 columns of half a second are 5 s: the column that ended then.
        assert_eq!(axis.format_marks("now"), "         -10s      -5s     now");
        let wide = TimeAxis { resolution: 2, times: 1, count: 40 };
        assert!(wide.format_marks("now").contains("-60s"), "{}", wide.format_marks("now"));
        let half = TimeAxis { resolution: 0, times: 1, count: 20 };
        assert!(half.format_marks("now").contains("-1s"), "{}", half.format_marks("now"));
        let narrow = TimeAxis { count: 2, ..axis };
        assert_eq!(narrow.format_marks("now").chars().count(), 2);
    }
}
