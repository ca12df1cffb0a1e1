//! Trends: whether values rise or fall in the order of time.

use super::normal::normal_share_below;
use super::order_statistics::median;
use super::resample::{count_to_f64, sort_ascending};

/// Most points between which slopes are taken; with more values, medians of
/// neighbours stand in for them.
const POINTS: usize = 500;

/// Monotone trend over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Kendall's tau-b of value and time: -1 is falling throughout, 1 rising.
    pub tau: f64,
    /// Probability that values in random order show as much, of either sign:
    /// the Mann-Kendall test, by the normal approximation with ties, as
    /// `scipy.stats.kendalltau(method="asymptotic")`.
    pub p: f64,
    /// Change of the value from the first to the last, by the slope of Theil
    /// and Sen, as a share of the median: 0.03 is a rise by 3 %.
    pub change: f64,
}

impl Trend {
    /// Computes the trend of values in the order of time; `None` with fewer
    /// than eight of them, or where all are the same.
    #[must_use]
    pub fn from_values(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count < 8 {
            return None;
        }
        let sorted = sort_ascending(values);
        let n = count_to_f64(count);
        let pairs = n * (n - 1.0) / 2.0;
        // Pairs within a group of equal values say nothing, and reduce the
        // variance.
        let (mut tied, mut less) = (0.0, 0.0);
        for group in sorted.chunk_by(|one, two| one.total_cmp(two).is_eq()) {
            let t = count_to_f64(group.len());
            tied += t * (t - 1.0) / 2.0;
            less += t * (t - 1.0) * (2.0 * t + 5.0);
        }
        let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - less) / 18.0;
        if variance <= 0.0 {
            return None;
        }
        let falling = count_descents(values);
        let sum = pairs - tied - 2.0 * falling;
        let tau = sum / (pairs * (pairs - tied)).sqrt();
        let p = 2.0 * normal_share_below(-sum.abs() / variance.sqrt());
        let middle = median(&sorted)?;
        let change = median_slope(values) * (n - 1.0) / middle;
        Some(Self { tau, p, change: if change.is_finite() { change } else { 0.0 } })
    }
}

/// Counts the pairs of which the later value is less, by merge sort (Knight
/// 1966).
fn count_descents(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    let mut merged = values.clone();
    let (mut total, mut width) = (0.0, 1);
    while width < values.len() {
        for (run, out) in values.chunks(2 * width).zip(merged.chunks_mut(2 * width)) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            for slot in out {
                *slot = match (left.split_first(), right.split_first()) {
                    (Some((one, _)), Some((two, rest))) if two < one => {
                        total += count_to_f64(left.len());
                        right = rest;
                        *two
                    }
                    (Some((one, rest)), _) => {
                        left = rest;
                        *one
                    }
                    (None, Some((two, rest))) => {
                        right = rest;
                        *two
                    }
                    (None, None) => break,
                };
            }
        }
        std::mem::swap(&mut values, &mut merged);
        width *= 2;
    }
    total
}

/// Returns the median slope between two points, by position (Theil 1950, Sen
/// 1968).
fn median_slope(values: &[f64]) -> f64 {
    let batch = values.len().div_ceil(POINTS);
    let points: Vec<f64> = if batch == 1 {
        values.to_vec()
    } else {
        values.chunks_exact(batch).filter_map(|some| median(&sort_ascending(some))).collect()
    };
    let mut slopes: Vec<f64> = Vec::with_capacity(points.len() * points.len() / 2);
    for (at, one) in points.iter().enumerate() {
        let later = points[at + 1..].iter().enumerate();
        slopes.extend(later.map(|(gap, two)| (two - one) / count_to_f64((gap + 1) * batch)));
    }
    slopes.sort_unstable_by(f64::total_cmp);
    median(&slopes).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // By hand: 1 3 2 4 ... each pair but (3, 2) rises.
    #[test]
    fn descents_are_counted_once_each() {
        for (values, expected) in [
            (vec![1.0, 3.0, 2.0, 4.0], 1.0),
            (vec![4.0, 3.0, 2.0, 1.0], 6.0),
            (vec![2.0, 2.0, 1.0, 1.0], 4.0),
            (vec![5.0, 5.0, 5.0], 0.0),
            (vec![3.0, 1.0, 2.0, 5.0, 4.0], 3.0),
        ] {
            assert!((count_descents(&values) - expected).abs() < 0.5, "{values:?}");
        }
    }

    #[test]
    fn a_straight_line_has_its_own_slope() {
        let values: Vec<f64> = (0..40).map(|at| 100.0 + f64::from(at) / 13.0).collect();
        let trend = Trend::from_values(&values).expect("a trend");
        assert!((trend.tau - 1.0).abs() < 1e-12 && trend.p < 1e-15, "{trend:?}");
        // From 100 to 103, around 101.5.
        assert!((trend.change - 3.0 / 101.5).abs() < 1e-12, "{trend:?}");
        let many: Vec<f64> = (0..5_000).map(|at| 100.0 - f64::from(at) / 4_999.0).collect();
        let trend = Trend::from_values(&many).expect("a trend");
        assert!((trend.change + 1.0 / 99.5).abs() < 1e-6, "{trend:?}");
    }

    #[test]
    fn what_never_changes_has_no_trend() {
        assert_eq!(Trend::from_values(&[7.0; 20]), None);
        assert_eq!(Trend::from_values(&[1.0, 2.0, 3.0]), None);
    }
}
