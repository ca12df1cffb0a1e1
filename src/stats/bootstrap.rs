//! Seeded percentile bootstrap intervals for ratios.

use super::order::median;
use super::random::Random;
use super::verdict::{Change, Confidence, LEAST_RUNS, Verdict};

/// Any number: the same in every run, so that a comparison can be repeated.
const SEED: u64 = 0x6379_636c_6f6d_6574;

/// Resamples of an interval: at 99 %, twenty of them lie beyond each end.
const RESAMPLES: usize = 4_000;

/// Most values that are drawn for one interval of means; more would take
/// seconds, and large samples need fewer resamples.
const DRAWS: usize = 20_000_000;

/// Compares by the medians. The values may come in any order; those that are
/// not finite must not be among them.
#[must_use]
pub fn compare_medians(first: &[f64], second: &[f64], confidence: Confidence) -> Verdict {
    if let Some(verdict) = without_interval(first, second) {
        return verdict;
    }
    let (first, second) = (ascending(first), ascending(second));
    let ratio = divide(median(&second).unwrap_or(0.0), median(&first).unwrap_or(0.0));
    let mut random = Random::seeded(SEED);
    let ratios = (0..RESAMPLES)
        .map(|_| {
            let base = median_of_resample(&first, &mut random);
            divide(median_of_resample(&second, &mut random), base)
        })
        .collect();
    interval(ratio, ratios, tail(confidence), confidence)
}

/// Compares by the means.
#[must_use]
pub fn compare_means(first: &[f64], second: &[f64], confidence: Confidence) -> Verdict {
    if let Some(verdict) = without_interval(first, second) {
        return verdict;
    }
    let ratio = divide(mean(second), mean(first));
    let mut random = Random::seeded(SEED);
    let ratios = (0..resamples(first.len() + second.len()))
        .map(|_| {
            let base = mean_of_resample(first, &mut random);
            divide(mean_of_resample(second, &mut random), base)
        })
        .collect();
    let smaller = first.len().min(second.len());
    interval(ratio, ratios, expanded_tail(confidence, smaller), confidence)
}

/// Compares the means of pairs: two figures of one and the same run, such as
/// its bills under two versions of a price model.
#[must_use]
pub fn compare_pairs(pairs: &[(f64, f64)], confidence: Confidence) -> Verdict {
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    if !pairs.is_empty() && first == second {
        return Verdict::Identical { runs: pairs.len() };
    }
    if let Some(verdict) = without_interval(&first, &second) {
        return verdict;
    }
    let ratio = divide(mean(&second), mean(&first));
    let mut random = Random::seeded(SEED);
    let ratios = (0..resamples(pairs.len()))
        .map(|_| {
            let (mut base, mut other) = (0.0, 0.0);
            for _ in 0..pairs.len() {
                let (one, two) = pairs[random.below(pairs.len())];
                base += one;
                other += two;
            }
            divide(other, base)
        })
        .collect();
    interval(ratio, ratios, expanded_tail(confidence, pairs.len()), confidence)
}

/// What needs no interval: too few values, and values that are all the same.
fn without_interval(first: &[f64], second: &[f64]) -> Option<Verdict> {
    let have = first.len().min(second.len());
    let (one, two) = (constant(first), constant(second));
    if let (Some(one), Some(two)) = (one, two)
        && one.total_cmp(&two).is_eq()
    {
        return Some(Verdict::Identical { runs: first.len() + second.len() });
    }
    if have < LEAST_RUNS {
        return Some(Verdict::TooFew { have, need: LEAST_RUNS });
    }
    one.zip(two).map(|(one, two)| Verdict::Apart { ratio: divide(two, one) })
}

/// The one value that all values are, if they are.
fn constant(values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    values.iter().all(|value| value.total_cmp(&first).is_eq()).then_some(first)
}

/// `value / base`; 1 for nothing over nothing, which are the same.
fn divide(value: f64, base: f64) -> f64 {
    if base > 0.0 {
        value / base
    } else if value > 0.0 {
        f64::INFINITY
    } else {
        1.0
    }
}

fn ascending(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs are far below 2^53")]
const fn float(count: usize) -> f64 {
    count as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / float(values.len())
}

fn mean_of_resample(values: &[f64], random: &mut Random) -> f64 {
    let count = values.len();
    (0..count).map(|_| values[random.below(count)]).sum::<f64>() / float(count)
}

fn resamples(values: usize) -> usize {
    (DRAWS / values.max(1)).clamp(1_000, RESAMPLES)
}

/// The median of a resample with replacement, without drawing it: the order
/// statistics of `n` even numbers from 0 to 1 are sums of exponential gaps, and
/// where they fall says which values they drew.
fn median_of_resample(ascending: &[f64], random: &mut Random) -> f64 {
    let count = ascending.len();
    let odd = count % 2 == 1;
    let middle = if odd { count / 2 + 1 } else { count / 2 };
    let below = random.gamma(float(middle));
    let gap = random.exponential();
    let above = random.gamma(float(count - middle));
    let at = |place: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place between 0 and the number of values"
        )]
        let index = (place / (below + gap + above) * float(count)) as usize;
        ascending[index.min(count - 1)]
    };
    if odd { at(below) } else { f64::midpoint(at(below), at(below + gap)) }
}

/// The verdict from the ratios of resamples, `tail` of them beyond each end.
fn interval(ratio: f64, mut ratios: Vec<f64>, tail: f64, confidence: Confidence) -> Verdict {
    ratios.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of the number of ratios"
    )]
    let beyond = (tail * float(ratios.len())) as usize;
    let (low, high) = (ratios[beyond], ratios[ratios.len() - 1 - beyond]);
    Verdict::of(Change { ratio, low, high, confidence })
}

fn tail(confidence: Confidence) -> f64 {
    (1.0 - confidence.share()) / 2.0
}

/// The tail of the expanded percentile interval (Hesterberg 2015): the plain
/// one is too narrow for means of few values, as a normal interval is where
/// Student's is right. At 99 % and six values, 4 of 100 comparisons without a
/// difference would show one; so, it is 1. Medians do not need it.
fn expanded_tail(confidence: Confidence, count: usize) -> f64 {
    let z = -normal_quantile(tail(confidence));
    let freedom = float(count - 1);
    let student = z
        + (z.powi(3) + z) / (4.0 * freedom)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z)
            / (384.0 * freedom.powi(3));
    normal_share_below(-student * (float(count) / freedom).sqrt())
}

/// The share of the standard normal distribution below `x`, to seven digits
/// (Numerical Recipes' Chebyshev fit of erfc).
fn normal_share_below(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let polynomial = FIT.iter().fold(0.0, |sum, factor| sum * t + factor);
    let beyond = t * (polynomial - z * z).exp() / 2.0;
    if x < 0.0 { beyond } else { 1.0 - beyond }
}

fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 10.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal_share_below(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
