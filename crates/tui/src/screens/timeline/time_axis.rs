//! Time axis: maps moments to columns, and chooses ticks.

/// Units of an axis: length in nanoseconds and name.
const UNITS: [(u64, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];

/// Tick steps of minutes and hours in seconds, above the decimal ones.
const LONG_STEPS: [u64; 9] = [30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600];

const SECOND: u64 = 1_000_000_000;

/// Span of time that is divided into columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TimelineAxis {
    /// Beginning in nanoseconds.
    pub left: u64,
    /// Length in nanoseconds.
    pub span: u64,
    /// Number of columns.
    pub width: u16,
}

impl TimelineAxis {
    /// Returns the column of a moment; the end belongs to the last column. `None`
    /// outside the axis.
    pub(crate) fn column_at(&self, at: u64) -> Option<u16> {
        let after = at.checked_sub(self.left)?;
        if after > self.span || self.width == 0 {
            return None;
        }
        let wide = u128::from(self.width);
        let column = u128::from(after) * wide / u128::from(self.span.max(1));
        u16::try_from(column.min(wide - 1)).ok()
    }

    /// Returns the beginning of a column in nanoseconds.
    pub(crate) fn column_start(&self, column: u16) -> u64 {
        let after = u128::from(self.span) * u128::from(column) / u128::from(self.width.max(1));
        self.left.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }

    /// Returns the middle of a column in nanoseconds.
    pub(crate) fn column_middle(&self, column: u16) -> u64 {
        let from = self.column_start(column);
        from + (self.column_start(column.saturating_add(1)) - from) / 2
    }

    /// Returns the columns of the ticks with their labels, as dense as the labels
    /// allow.
    pub fn ticks(&self) -> Vec<(u16, String)> {
        for step in tick_steps() {
            let texts = self.ticks_every(step);
            if let Some(texts) = texts {
                return texts;
            }
        }
        Vec::new()
    }

    /// Returns the ticks of a step, or `None` if their labels would be too close.
    fn ticks_every(&self, step: u64) -> Option<Vec<(u16, String)>> {
        let most = u64::from(self.width / 3);
        if self.span / step > most {
            return None;
        }
        let right = self.left.saturating_add(self.span);
        let mut ticks: Vec<(u16, String)> = Vec::new();
        let mut at = self.left.div_ceil(step).checked_mul(step)?;
        let mut free = 0;
        while at <= right {
            let column = self.column_at(at)?;
            let text = format_tick(at, step, right);
            let long = u16::try_from(text.len()).unwrap_or(u16::MAX);
            // The last tick is left out if there is no room for its label.
            if column.saturating_add(long) < self.width {
                if !ticks.is_empty() && column < free {
                    return None;
                }
                free = column.saturating_add(long).saturating_add(2);
                ticks.push((column, text));
            }
            at = at.checked_add(step)?;
        }
        Some(ticks)
    }
}

/// Tick steps in nanoseconds: 1, 2, 5, 10, ... up to 20 s, then minutes and hours, then
/// days.
fn tick_steps() -> impl Iterator<Item = u64> {
    let decimal = (0..=10).flat_map(|power| {
        let ten = 10_u64.pow(power);
        [ten, 2 * ten, 5 * ten]
    });
    let long = LONG_STEPS.into_iter().map(|seconds| seconds * SECOND);
    let days = (0..12).map(|power| (86_400 * SECOND) << power);
    decimal.filter(|step| *step <= 20 * SECOND).chain(long).chain(days)
}

/// Formats the label of a tick: `12.5 s`, `3 ms`, `1:30`.
fn format_tick(at: u64, step: u64, right: u64) -> String {
    if right >= 120 * SECOND && step >= SECOND {
        return format_clock(at);
    }
    let unit = UNITS.iter().find(|(size, _)| right >= *size).unwrap_or(&UNITS[3]);
    format_decimal(at, *unit, step)
}

/// Formats a moment as a clock in whole seconds.
fn format_clock(at: u64) -> String {
    crate::frame::format_clock(cyclometer_core::units::Nanos(at))
}

/// Formats a value in a unit, with as many decimals as the step needs.
fn format_decimal(value: u64, (size, name): (u64, &str), step: u64) -> String {
    let mut digits = 0;
    let mut scale = size;
    while scale > 1 && !step.is_multiple_of(scale) {
        scale /= 10;
        digits += 1;
    }
    let whole = value / size;
    if digits == 0 {
        return format!("{whole} {name}");
    }
    let part = value % size / scale.max(1);
    format!("{whole}.{part:0digits$} {name}")
}

/// Formats a moment to the thousandth of its unit: `12.345 s`.
pub(crate) fn format_moment(at: u64) -> String {
    if at >= 120 * SECOND {
        return format!("{}.{:03}", format_clock(at), at % SECOND / 1_000_000);
    }
    let unit = UNITS.iter().find(|(size, _)| at >= *size).unwrap_or(&UNITS[3]);
    format_decimal(at, *unit, (unit.0 / 1_000).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(left: u64, span: u64, width: u16) -> Vec<(u16, String)> {
        TimelineAxis { left, span, width }.ticks()
    }

    fn texts(left: u64, span: u64, width: u16) -> String {
        let texts: Vec<String> = ticks(left, span, width).into_iter().map(|it| it.1).collect();
        texts.join(" | ")
    }

    #[test]
    fn moments_and_columns_agree() {
        let axis = TimelineAxis { left: 10, span: 100, width: 20 };
        assert_eq!(
            (axis.column_at(9), axis.column_at(10), axis.column_at(14)),
            (None, Some(0), Some(0))
        );
        assert_eq!(
            (axis.column_at(15), axis.column_at(110), axis.column_at(111)),
            (Some(1), Some(19), None)
        );
        assert_eq!(
            (axis.column_start(0), axis.column_start(1), axis.column_middle(1)),
            (10, 15, 17)
        );
        for column in 0..20 {
            assert_eq!(axis.column_at(axis.column_middle(column)), Some(column));
        }
        assert_eq!(TimelineAxis::default().column_at(0), None);
    }

    #[test]
    fn ticks_are_round_and_apart() {
        // A column is 1 s, labels take 4 and 5 columns: a tick every 10 s.
        let ten = ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s"];
        assert_eq!(texts(0, 60 * SECOND, 60), ten.join(" | "));
        let columns: Vec<u16> = ticks(0, 60 * SECOND, 60).into_iter().map(|it| it.0).collect();
        assert_eq!(columns, [0, 10, 20, 30, 40, 50]);
        assert_eq!(
            texts(0, 600 * SECOND, 60),
            "0:00 | 1:00 | 2:00 | 3:00 | 4:00 | 5:00 | 6:00 | 7:00 | 8:00 | 9:00"
        );
        assert_eq!(
            texts(0, 3 * 3_600 * SECOND, 60),
            "0:00 | 30:00 | 1:00:00 | 1:30:00 | 2:00:00 | 2:30:00"
        );
    }

    #[test]
    fn closer_ticks_have_the_decimals_they_need() {
        assert_eq!(
            texts(12_300_000_000, 20_000_000, 40),
            "12.300 s | 12.305 s | 12.310 s | 12.315 s"
        );
        assert_eq!(texts(0, 2_500_000, 50), "0.0 ms | 0.5 ms | 1.0 ms | 1.5 ms | 2.0 ms");
        assert_eq!(texts(0, 900, 40), "0 ns | 200 ns | 400 ns | 600 ns");
    }

    #[test]
    fn any_axis_has_ticks_that_fit_or_none() {
        for width in 0..80 {
            for span in [0, 1, 7, 999, 12_345_678, 61 * SECOND, 86_400 * SECOND * 400, u64::MAX / 2]
            {
                for (column, text) in ticks(3, span, width) {
                    assert!(
                        usize::from(column) + text.len() < usize::from(width),
                        "{width} {span}"
                    );
                }
            }
        }
    }

    #[test]
    fn moments_are_exact_to_the_thousandth() {
        assert_eq!(format_moment(12_345_678_901), "12.345 s");
        assert_eq!(format_moment(90), "90 ns");
        assert_eq!(format_moment(1_234_567), "1.234 ms");
        assert_eq!(format_moment(3_723 * SECOND + 5_000_000), "1:02:03.005");
        assert_eq!(format_moment(0), "0 ns");
    }
}
