//! Summary of one series of measurements, with warnings.

use std::fmt;

use super::interval::Interval;
use super::order_statistics::median;
use super::outliers::{Outliers, TwoGroups, percentile};
use super::resample::{count_to_f64, mean, sort_ascending};
use super::trend::Trend;
use super::verdict::{Confidence, LEAST_RUNS};
use super::warm_up_detection::count_warm_up;

/// Probability below which a drift is reported: values in random order show as
/// much in one of 200 series.
const DRIFT_BY_CHANCE: f64 = 0.005;

/// Smallest effect on times, as a share, that is worth a warning, however sure
/// it is.
const SMALLEST_EFFECT: f64 = 0.01;

/// Smallest share of far outliers that is reported, where there are at least
/// two: single ones come with any machine, and move no median.
const MANY_OUT: f64 = 0.1;

/// Most leading runs that count as the warm-up of a function, which a higher
/// `--warmup` would remedy: with more, the machine itself was slower then.
const MOST_WARM_UP: usize = 20;

/// Summary of a series of values. Every value counts in every figure: outliers
/// and warm-up are reported, never dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Number of values.
    pub count: usize,
    /// Median of the values.
    pub median: f64,
    /// Interval of the median; `None` with too few values.
    pub interval: Option<Interval>,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the sample (divided by n - 1); `None` for a single
    /// value.
    pub deviation: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// 95th percentile, by linear interpolation.
    pub p95: f64,
    /// Number of leading values that are slower than the others; `None` where
    /// there are too few values to tell.
    pub warm_up: Option<usize>,
    /// Values that are far from the others, after the warm-up; `None` where
    /// that cannot be said.
    pub outliers: Option<Outliers>,
    /// Trend of the values over time, after the warm-up.
    pub trend: Option<Trend>,
    /// Two groups that the values after the warm-up fall into, if they do.
    pub groups: Option<TwoGroups>,
    /// Median of the warm-up as a multiple of that of the values after it.
    slower: Option<f64>,
}

impl Summary {
    /// Summarises values in the order of time, which must be finite; `None`
    /// without values.
    #[must_use]
    pub fn from_values(values: &[f64], confidence: Confidence) -> Option<Self> {
        let sorted = sort_ascending(values);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = median(&sorted)?;
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let warm_up = count_warm_up(values);
        let (first, rest) = values.split_at(warm_up.unwrap_or(0));
        let steady = sort_ascending(rest);
        let slower = median(&sort_ascending(first))
            .zip(median(&steady))
            .map(|(first, rest)| first / rest)
            .filter(|slower| slower.is_finite());
        Some(Self {
            count: values.len(),
            median: middle,
            interval: Interval::for_sorted_median(&sorted, confidence),
            mean,
            deviation: (values.len() > 1)
                .then(|| (squares / count_to_f64(values.len() - 1)).sqrt()),
            min,
            max,
            p95: percentile(&sorted, 0.95)?,
            warm_up,
            outliers: Outliers::from_ascending(&steady),
            trend: Trend::from_values(rest),
            groups: TwoGroups::find_in(&steady),
            slower,
        })
    }

    /// Returns how far the interval reaches from the median, as a share of it.
    #[must_use]
    pub fn relative_reach(&self) -> Option<f64> {
        self.interval.map(|interval| interval.relative_reach(self.median))
    }

    /// Returns the warnings that a reader should see before believing the
    /// figures.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut all = Vec::new();
        if self.count < LEAST_RUNS {
            all.push(Warning::FewRuns { runs: self.count });
        }
        if let (Some(runs @ 1..), Some(slower)) = (self.warm_up, self.slower)
            && slower > 1.0 + SMALLEST_EFFECT
        {
            all.push(Warning::WarmUp { runs, slower });
        }
        if let Some(Trend { p, change, .. }) = self.trend
            && p < DRIFT_BY_CHANCE
            && change.abs() >= SMALLEST_EFFECT
        {
            all.push(Warning::Drift { change });
        }
        if let Some(TwoGroups { upper, apart }) = self.groups
            && apart >= SMALLEST_EFFECT
        {
            all.push(Warning::TwoGroups { upper, apart });
        }
        if let Some(Outliers { far, .. }) = self.outliers
            && far >= 2
            && count_to_f64(far) >= MANY_OUT * count_to_f64(self.count)
        {
            let most = self.max / self.median;
            all.push(Warning::Outliers { far, runs: self.count, most });
        }
        all
    }
}

/// Problem with a series of runs; its text names the next step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warning {
    /// Too few runs for an interval.
    FewRuns {
        /// Number of runs.
        runs: usize,
    },
    /// The first runs are slower than the others.
    WarmUp {
        /// Number of slower runs.
        runs: usize,
        /// Median of those runs as a multiple of that of the others.
        slower: f64,
    },
    /// Runs got slower or faster throughout.
    Drift {
        /// Change from the first to the last run, as a share of the median.
        change: f64,
    },
    /// Runs fall into two groups.
    TwoGroups {
        /// Share of runs in the slower group.
        upper: f64,
        /// Excess of the slower group's mean over the other's, as a share.
        apart: f64,
    },
    /// Many runs are far from the others.
    Outliers {
        /// Number of far outliers.
        far: usize,
        /// Number of all runs.
        runs: usize,
        /// Longest run as a multiple of the median.
        most: f64,
    },
}

impl Warning {
    /// Returns how severe the warning is among others of its kind: the advice
    /// for the most severe one holds for all.
    #[must_use]
    pub fn severity(&self) -> f64 {
        match self {
            Self::FewRuns { runs } => -count_to_f64(*runs),
            Self::WarmUp { runs, .. } => count_to_f64(*runs),
            Self::Drift { change } => change.abs(),
            Self::TwoGroups { apart, .. } => *apart,
            Self::Outliers { far, runs, .. } => count_to_f64(*far) / count_to_f64(*runs),
        }
    }

    /// Returns a name of one or two words, for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FewRuns { .. } => "few runs",
            Self::WarmUp { .. } => "warm-up",
            Self::Drift { .. } => "drift",
            Self::TwoGroups { .. } => "two groups",
            Self::Outliers { .. } => "outliers",
        }
    }
}

impl fmt::Display for Warning {
    /// Writes the problem, and after a colon the next step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| super::verdict::format_percent(share);
        match self {
            Self::FewRuns { runs } => write!(
                f,
                "{runs} {} too few to say how well the median is known: use --runs {LEAST_RUNS} \
                 or more",
                if *runs == 1 { "run is" } else { "runs are" }
            ),
            Self::WarmUp { runs: 1, slower } => write!(
                f,
                "the first run took {slower:.2} times the median of the rest: raise --warmup by 1"
            ),
            Self::WarmUp { runs, slower } if *runs > MOST_WARM_UP => write!(
                f,
                "the first {runs} runs are slower than the rest, by {} % in the median, which is \
                 too long for a warm-up: the machine was busier or slower then; record again when \
                 it is idle",
                percent(slower - 1.0)
            ),
            Self::WarmUp { runs, slower } => write!(
                f,
                "the first {runs} runs are slower than the rest, by {} % in the median: raise \
                 --warmup by {runs}",
                percent(slower - 1.0)
            ),
            Self::Drift { change } => write!(
                f,
                "times {} by {} % over the recording: something else ran here, or the clock of the \
                 CPU changed; record again when the machine is idle and cool",
                if *change > 0.0 { "rise" } else { "fall" },
                percent(*change)
            ),
            Self::TwoGroups { upper, apart } => write!(
                f,
                "runs fall into two groups, {} % of them {} % slower than the rest, and the \
                 median is of one group only: with --pin all runs have the same CPU",
                percent(*upper),
                percent(*apart)
            ),
            Self::Outliers { far, runs, most } => write!(
                f,
                "{far} of {runs} runs are outliers, up to {most:.2} times the median: something \
                 else ran here; `cyclometer query outliers` lists them"
            ),
        }
    }
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
