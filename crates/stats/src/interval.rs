//! Confidence intervals of a median or a mean, from a sample.

use super::order_statistics::median;
use super::random::Random;
use super::resample::{
    RESAMPLES, SEED, expanded_tail, interval_ends, mean_of_resample, median_of_resample,
    resample_count, sort_ascending, tail_share,
};
use super::verdict::{Confidence, LEAST_RUNS};

/// Seeded percentile bootstrap interval (Efron 1979). A single further
/// measurement may lie anywhere, but the true median or mean lies within the
/// interval as often as `confidence` says, if the values are independent of
/// each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end, in the unit of the values.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence of the interval.
    pub confidence: Confidence,
}

impl Interval {
    /// Computes the interval of the median. The values may come in any order
    /// and must be finite; `None` with fewer than [`LEAST_RUNS`], for which no
    /// interval is sure.
    #[must_use]
    pub fn for_median(values: &[f64], confidence: Confidence) -> Option<Self> {
        Self::for_sorted_median(&sort_ascending(values), confidence)
    }

    /// Like [`Self::for_median`], for values that ascend already.
    pub(super) fn for_sorted_median(ascending: &[f64], confidence: Confidence) -> Option<Self> {
        if ascending.len() < LEAST_RUNS {
            return None;
        }
        let mut random = Random::from_seed(SEED);
        let mut medians: Vec<f64> =
            (0..RESAMPLES).map(|_| median_of_resample(ascending, &mut random)).collect();
        let (low, high) = interval_ends(&mut medians, tail_share(confidence));
        Some(Self { low, high, confidence })
    }

    /// Computes the interval of the mean, expanded for few values (Hesterberg
    /// 2015).
    #[must_use]
    pub fn for_mean(values: &[f64], confidence: Confidence) -> Option<Self> {
        if values.len() < LEAST_RUNS {
            return None;
        }
        let mut random = Random::from_seed(SEED);
        let mut means: Vec<f64> = (0..resample_count(values.len()))
            .map(|_| mean_of_resample(values, &mut random))
            .collect();
        let (low, high) = interval_ends(&mut means, expanded_tail(confidence, values.len()));
        Some(Self { low, high, confidence })
    }

    /// Returns how far its farther end is from `centre`, as a share of that:
    /// 0.01 is within 1 %. Infinite where `centre` is 0 and an end is not.
    #[must_use]
    pub fn relative_reach(&self, centre: f64) -> f64 {
        let far = (self.high - centre).max(centre - self.low);
        if far <= 0.0 { 0.0 } else { far / centre.abs() }
    }
}

/// Returns the median and the reach of its interval, which says how well it is
/// known; `None` with too few values.
#[must_use]
pub fn median_reach(values: &[f64], confidence: Confidence) -> Option<(f64, f64)> {
    let values = sort_ascending(values);
    let middle = median(&values)?;
    let interval = Interval::for_sorted_median(&values, confidence)?;
    Some((middle, interval.relative_reach(middle)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_reaches_as_far_as_its_farther_end() {
        let interval = Interval { low: 98.0, high: 101.0, confidence: Confidence::default() };
        assert!((interval.relative_reach(100.0) - 0.02).abs() < 1e-12);
        let point = Interval { low: 0.0, high: 0.0, confidence: Confidence::default() };
        assert!(point.relative_reach(0.0).abs() < f64::EPSILON);
        let above = Interval { low: 0.0, high: 1.0, confidence: Confidence::default() };
        assert!(above.relative_reach(0.0).is_infinite());
    }

    #[test]
    fn few_values_have_no_interval() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let sure = Confidence::default();
        assert_eq!(Interval::for_median(&values[..5], sure), None);
        assert_eq!(Interval::for_mean(&values[..5], sure), None);
        assert_eq!(median_reach(&values[..5], sure), None);
        // Of six values at 99 %: P(all six draws are the lowest three or more
        // of them, ...) leaves nothing but the ends of the sample.
        let interval = Interval::for_median(&values, sure).expect("enough");
        assert_eq!((interval.low, interval.high), (1.0, 6.0));
    }
}
