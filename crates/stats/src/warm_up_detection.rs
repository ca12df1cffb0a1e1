//! Detection of warm-up: leading values that differ from those that follow.
//!
//! Two signs are looked for, both of slower beginnings only; a series that
//! starts fast and slows down is drift.
//!
//! - *A step in the ranks.* For each k from 2 to half of the values, the ranks
//!   of the first k are summed and standardised (with ties), as in the test of
//!   Mann and Whitney. The largest of those figures is compared with a critical
//!   value that it exceeds in one of 200 series of values in random order,
//!   whatever their distribution: a change-point test after Pettitt (1979).
//!   Leading values that are found are cut off, and the remaining values are
//!   tested again.
//! - *A first value by itself*, which ranks cannot show: it is far beyond all
//!   others, and the only one that is. Of values in random order, the only far
//!   one is the first once in n times at most.
//!
//! Values that depend on those before them, as on a machine that was busy for a
//! while, are not in random order: then there are more alarms, and the series
//! is worth a look all the same.

use super::order_statistics::median;
use super::outliers::Fences;
use super::resample::{count_to_f64, sort_ascending};

/// Fewest values for which warm-up is reported.
pub const LEAST_FOR_STEADY: usize = 10;

/// Share of series in random order that are taken for a warm-up by their ranks.
pub const FALSE_ALARMS: f64 = 0.005;

/// Critical values of the largest standardised sum of ranks, by number of
/// values: exceeded in 1 of 200 series, from 200,000 random orders each (3,000
/// of the longest), rounded up. Values in between are interpolated linearly
/// over the logarithm of the count.
const CRITICAL: [(f64, f64); 10] = [
    (10.0, 2.56),
    (12.0, 2.69),
    (15.0, 2.72),
    (20.0, 2.86),
    (30.0, 2.98),
    (50.0, 3.11),
    (100.0, 3.25),
    (300.0, 3.37),
    (1_000.0, 3.49),
    (5_000.0, 3.64),
];

/// Returns the number of leading values that are slower than those that follow;
/// `None` with fewer than [`LEAST_FOR_STEADY`] values, which are too few to
/// tell.
#[must_use]
pub fn count_warm_up(values: &[f64]) -> Option<usize> {
    if values.len() < LEAST_FOR_STEADY {
        return None;
    }
    let mut cut = 0;
    // At least half of the values stay, or it is no warm-up but drift.
    let most = values.len() / 2;
    while let Some(more) = find_rank_step(&values[cut..], most - cut) {
        cut += more;
    }
    Some(if cut == 0 { usize::from(first_is_far(values)) } else { cut })
}

/// Returns the number of leading values, no more than `most`, that a step in
/// the ranks cuts off.
fn find_rank_step(values: &[f64], most: usize) -> Option<usize> {
    if values.len() < LEAST_FOR_STEADY || most < 2 {
        return None;
    }
    let (ranks, unlike) = rank_values(values);
    let n = count_to_f64(values.len());
    let mut sum = ranks[0];
    let mut largest = (critical_value(values.len()), None);
    for k in 2..=(values.len() / 2).min(most) {
        sum += ranks[k - 1];
        let first = count_to_f64(k);
        let variance = first * (n - first) * unlike / 12.0;
        let figure = (sum - first * (n + 1.0) / 2.0) / variance.sqrt();
        if figure > largest.0 {
            largest = (figure, Some(k));
        }
    }
    largest.1
}

/// Returns the rank of each value, the mean one where several are equal; and
/// `n + 1` less what ties take from the variance.
fn rank_values(values: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|one, two| values[*one].total_cmp(&values[*two]));
    let mut ranks = vec![0.0; values.len()];
    let (mut below, mut ties) = (0, 0.0);
    for group in order.chunk_by(|one, two| values[*one].total_cmp(&values[*two]).is_eq()) {
        let size = count_to_f64(group.len());
        let rank = count_to_f64(below) + f64::midpoint(1.0, size);
        for at in group {
            ranks[*at] = rank;
        }
        below += group.len();
        ties += size.powi(3) - size;
    }
    let n = count_to_f64(values.len());
    (ranks, n + 1.0 - ties / (n * (n - 1.0)))
}

fn critical_value(count: usize) -> f64 {
    let at = count_to_f64(count).ln();
    let last = CRITICAL.len() - 2;
    // Beyond the last entry, the line is extended.
    let piece =
        CRITICAL.iter().skip(1).position(|(n, _)| count_to_f64(count) <= *n).unwrap_or(last);
    let ((n0, z0), (n1, z1)) = (CRITICAL[piece], CRITICAL[piece + 1]);
    z0 + (z1 - z0) * (at - n0.ln()) / (n1.ln() - n0.ln())
}

/// Returns whether the first value is far above all others, and no other is far
/// out.
fn first_is_far(values: &[f64]) -> bool {
    let (first, rest) = (values[0], sort_ascending(&values[1..]));
    let Some(fences) = Fences::from_ascending(&rest) else { return false };
    let alone = rest.iter().all(|value| !fences.is_far(*value));
    // Measured by ten deviations of the others, as the first stands out by
    // itself.
    let middle = median(&rest).unwrap_or(first);
    alone && fences.is_far(first) && first > middle + 10.0 * median_deviation(&rest, middle)
}

/// Returns the median deviation from the middle, scaled to a standard
/// deviation.
fn median_deviation(values: &[f64], middle: f64) -> f64 {
    let away: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    1.4826 * median(&sort_ascending(&away)).unwrap_or(0.0)
}
