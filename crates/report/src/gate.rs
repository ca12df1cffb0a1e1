//! A gate for CI: whether the second of two recordings is worse than allowed.

use std::str::FromStr;

use super::difference::{CellVerdict, Difference};
use super::table::{Cell, Column, Table};
use cyclometer_stats::Verdict;

/// Meters that a gate can check: name on the command line, key of the meter.
pub(crate) const METERS: [(&str, &str); 8] = [
    ("start", "startup_ns"),
    ("run", "run_ns"),
    ("wall", "wall_ns"),
    ("cpu", "cpu_ns"),
    ("cycles", "cycles"),
    ("ops", "wasm_ops"),
    ("memory", "memory_peak_bytes"),
    ("bill", "bill"),
];

/// A meter of `METERS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateMeter {
    /// Name on the command line.
    pub name: &'static str,
    key: &'static str,
}

impl GateMeter {
    /// Returns the meters of a gate unless others are named.
    #[must_use]
    pub fn default_meters() -> Vec<Self> {
        let usual = METERS.iter().filter(|(name, _)| matches!(*name, "start" | "run" | "bill"));
        usual.map(|(name, key)| Self { name, key }).collect()
    }

    /// Returns whether a verdict is on this meter; ticks of the clock stand in for
    /// cycles.
    #[must_use]
    pub(crate) fn covers(&self, judged: &CellVerdict) -> bool {
        self.key == judged.meter || self.key == "cycles" && judged.meter == "ref_cycles"
    }
}

impl FromStr for GateMeter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || METERS.iter().map(|(name, _)| *name);
        METERS
            .iter()
            .find(|(name, key)| *name == text || *key == text)
            .map(|(name, key)| Self { name, key })
            .ok_or_else(|| {
                format!(
                    "`{text}` is no meter of a comparison: {}",
                    names().collect::<Vec<_>>().join(", ")
                )
            })
    }
}

/// The largest rise that is allowed, as a share: 0.1 is 10 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold(f64);

impl FromStr for Threshold {
    type Err = String;

    /// Parses `10%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').map(str::trim);
        let plain = |text: &&str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        let percent: Option<f64> = number.filter(plain).and_then(|text| text.parse().ok());
        match percent {
            Some(percent) if (0.0..=10_000.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err(format!("`{text}` is not a rise in per cent, such as 10%")),
        }
    }
}

/// Ruling of a gate on one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The whole interval is below the threshold.
    Passed,
    /// The whole interval is above it.
    Failed,
    /// The threshold is within the interval, or there is no interval.
    Undecided,
}

impl Ruling {
    /// Returns the word that is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Undecided => "undecided",
        }
    }

    /// Rules by the interval of a verdict, never by its median.
    #[must_use]
    pub(crate) fn from_verdict(verdict: &Verdict, threshold: Threshold) -> Self {
        let most = 1.0 + threshold.0;
        let (low, high) = match verdict {
            Verdict::Identical { .. } => (1.0, 1.0),
            // Without spread the interval is a point.
            Verdict::WithoutSpread { ratio } => (*ratio, *ratio),
            _ => match verdict.change() {
                Some(change) => (change.low, change.high),
                None => return Self::Undecided,
            },
        };
        if low > most {
            Self::Failed
        } else if high <= most {
            Self::Passed
        } else {
            Self::Undecided
        }
    }
}

/// A gate and its rulings.
#[derive(Debug, Clone)]
pub struct Gate {
    /// One row a figure.
    pub table: Table,
    /// Missing cells, figures without comparison, and the outcome; a sentence each.
    pub lines: Vec<String>,
    /// Whether the gate is met.
    pub met: bool,
}

impl Gate {
    /// Rules over all comparisons of `meters`. The gate is not met if a figure has
    /// certainly risen by more than `threshold`, if a cell of the first side is missing
    /// in the second or failed there, or if nothing was compared.
    #[must_use]
    pub fn evaluate(
        differences: &[&Difference],
        meters: &[GateMeter],
        threshold: Threshold,
    ) -> Self {
        let mut table = Table::new(&[
            Column::text("gate", "ruling"),
            Column::text("workload", "workload"),
            Column::text("preset", "preset"),
            Column::text("lane", "lane"),
            Column::text("start", "start"),
            Column::text("meter", "meter"),
            Column::text("second against first", "told"),
        ]);
        let mut counts = [0_usize; 3];
        let mut seen = vec![false; meters.len()];
        let all = differences.iter().flat_map(|it| &it.verdicts);
        for (judged, at) in all.filter_map(|judged| {
            meters.iter().position(|meter| meter.covers(judged)).map(|at| (judged, at))
        }) {
            let ruling = Ruling::from_verdict(&judged.verdict, threshold);
            // A meter that neither side has is reported once, below.
            if matches!(judged.verdict, Verdict::TooFew { have: 0, .. }) {
                continue;
            }
            seen[at] = true;
            counts[ruling as usize] += 1;
            let mut row = vec![Cell::text(ruling.name())];
            row.extend(judged.key.names().map(Cell::text));
            row.push(Cell::new(&judged.title, judged.meter));
            row.push(Cell::text(judged.verdict.to_string()));
            table.push(row);
        }
        let mut lines = Vec::new();
        let mut gone = 0;
        for (key, why) in differences.iter().flat_map(|it| &it.unmatched) {
            let name = key.names().join(", ");
            let line = format!("{name}: {why}");
            if !lines.contains(&line) {
                gone += usize::from(*why != "only in the second");
                lines.push(line);
            }
        }
        let missing = meters.iter().zip(&seen).filter(|(_, seen)| !**seen);
        lines.extend(missing.map(|(meter, _)| {
            format!("{}: not compared, since one side or both have none", meter.name)
        }));
        let [passed, failed, undecided] = counts;
        let most = format_threshold(threshold);
        let met = failed == 0 && gone == 0 && passed + undecided > 0;
        let outcome = if met { "met" } else { "not met" };
        let mut text = format!(
            "gate {outcome}: of {} figures {failed} rose by more than {most} for certain, \
             {passed} did not, {undecided} are undecided",
            passed + failed + undecided
        );
        if gone > 0 {
            text.push_str("; cells of the first are missing or failed in the second");
        }
        if undecided > 0 {
            text.push_str(" (more runs decide)");
        }
        lines.push(text);
        Self { table, lines, met }
    }
}

fn format_threshold(threshold: Threshold) -> String {
    let text = format!("{:.4}", threshold.0 * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_stats::{Change, Confidence};

    fn ruling(low: f64, high: f64) -> Ruling {
        let confidence = Confidence::default();
        let verdict =
            Verdict::from_change(Change { ratio: f64::midpoint(low, high), low, high, confidence });
        Ruling::from_verdict(&verdict, "10%".parse().expect("a threshold"))
    }

    #[test]
    fn the_whole_interval_decides_and_not_its_middle() {
        assert_eq!(ruling(1.11, 1.3), Ruling::Failed);
        // The median is far above, the lower end is not.
        assert_eq!(ruling(1.05, 2.0), Ruling::Undecided);
        assert_eq!(ruling(1.02, 1.09), Ruling::Passed);
        assert_eq!(ruling(0.5, 0.6), Ruling::Passed);
        assert_eq!(ruling(0.9, f64::INFINITY), Ruling::Undecided);
    }

    #[test]
    fn figures_without_spread_are_points_and_few_runs_decide_nothing() {
        let most = "10%".parse().expect("a threshold");
        assert_eq!(
            Ruling::from_verdict(&Verdict::WithoutSpread { ratio: 1.2 }, most),
            Ruling::Failed
        );
        assert_eq!(Ruling::from_verdict(&Verdict::Identical { runs: 9 }, most), Ruling::Passed);
        assert_eq!(
            Ruling::from_verdict(&Verdict::TooFew { have: 3, need: 6 }, most),
            Ruling::Undecided
        );
    }

    #[test]
    fn thresholds_are_per_cent_and_nothing_else() {
        assert_eq!("2.5%".parse(), Ok(Threshold(0.025)));
        assert_eq!("0 %".parse(), Ok(Threshold(0.0)));
        for wrong in ["10", "%", "-1%", "ten%", "1e3%", "10 percent", "0.1.2%", "99999%", ""] {
            assert!(wrong.parse::<Threshold>().is_err(), "{wrong}");
        }
    }
}
