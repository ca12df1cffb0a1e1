//! Resampling: the parts that all bootstrap intervals have in common.

use super::normal::{normal_quantile, normal_share_below};
use super::random::Random;
use super::verdict::Confidence;

/// Seed of every generator: the same in every run, so that a comparison can be
/// repeated.
pub(super) const SEED: u64 = 0x6379_636c_6f6d_6574;

/// Resamples of an interval: at 99 %, twenty of them lie beyond each end.
pub(super) const RESAMPLES: usize = 4_000;

/// Most values that are drawn for one interval of means; more would take
/// seconds, and large samples need fewer resamples.
const DRAWS: usize = 20_000_000;

/// Returns the number of resamples for so many values, when they are drawn one
/// by one.
pub(super) fn resample_count(values: usize) -> usize {
    (DRAWS / values.max(1)).clamp(1_000, RESAMPLES)
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs are far below 2^53")]
pub(super) const fn count_to_f64(count: usize) -> f64 {
    count as f64
}

/// Returns the whole number below a share of a count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the count"
)]
pub(super) fn floor_of_share(share: f64, count: usize) -> usize {
    (share * count_to_f64(count)) as usize
}

pub(super) fn sort_ascending(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count_to_f64(values.len())
}

/// Draws a resample with replacement and returns its mean.
pub(super) fn mean_of_resample(values: &[f64], random: &mut Random) -> f64 {
    let count = values.len();
    (0..count).map(|_| values[random.next_below(count)]).sum::<f64>() / count_to_f64(count)
}

/// Returns the median of a resample with replacement, without drawing it: the
/// order statistics of `n` even numbers from 0 to 1 are sums of exponential
/// gaps, and where they fall says which values they drew.
pub(super) fn median_of_resample(ascending: &[f64], random: &mut Random) -> f64 {
    let (low, high) = middle_of_resample(ascending.len(), random);
    if low == high { ascending[low] } else { f64::midpoint(ascending[low], ascending[high]) }
}

/// Returns which of `count` ascending values are in the middle of a resample.
pub(super) fn middle_of_resample(count: usize, random: &mut Random) -> (usize, usize) {
    let odd = count % 2 == 1;
    let middle = if odd { count / 2 + 1 } else { count / 2 };
    let below = random.next_gamma(count_to_f64(middle));
    let gap = random.next_exponential();
    let above = random.next_gamma(count_to_f64(count - middle));
    let at = |place: f64| floor_of_share(place / (below + gap + above), count).min(count - 1);
    if odd { (at(below), at(below)) } else { (at(below), at(below + gap)) }
}

/// Returns the ends that leave out a share `tail` of the figures on either
/// side.
pub(super) fn interval_ends(figures: &mut [f64], tail: f64) -> (f64, f64) {
    figures.sort_unstable_by(f64::total_cmp);
    let beyond = floor_of_share(tail, figures.len());
    (figures[beyond], figures[figures.len() - 1 - beyond])
}

/// Returns the share beyond each end of a percentile interval.
pub(super) fn tail_share(confidence: Confidence) -> f64 {
    (1.0 - confidence.share()) / 2.0
}

/// Returns the tail of the expanded percentile interval (Hesterberg 2015): the
/// plain one is too narrow for means of few values, as a normal interval is
/// where Student's is right. At 99 % and six values, 4 of 100 comparisons
/// without a difference would show one; with this tail, it is 1. Medians do not
/// need it.
pub(super) fn expanded_tail(confidence: Confidence, count: usize) -> f64 {
    let z = -normal_quantile(tail_share(confidence));
    let freedom = count_to_f64(count - 1);
    let student = z
        + (z.powi(3) + z) / (4.0 * freedom)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z)
            / (384.0 * freedom.powi(3));
    normal_share_below(-student * (count_to_f64(count) / freedom).sqrt())
}
