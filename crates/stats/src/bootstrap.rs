//! Seeded bootstrap intervals for ratios.

use super::order_statistics::median;
use super::random::Random;
use super::ratio_limits::{Quantum, RatioRefusal};
use super::resample::{
    RESAMPLES, SEED, count_to_f64, expanded_tail, floor_of_share, interval_ends, mean,
    mean_of_resample, median_of_resample, resample_count, sort_ascending, tail_share,
};
use super::verdict::{Change, Confidence, LEAST_RUNS, Verdict};

/// Largest number of pairs of which all halves (at most 4,095) are taken.
pub(super) const ALL_HALVES: usize = 12;

/// Compares two sets of values by their medians. The values may come in any
/// order and must be finite.
#[must_use]
pub fn compare_medians(first: &[f64], second: &[f64], confidence: Confidence) -> Verdict {
    without_interval(first, second)
        .unwrap_or_else(|| Verdict::from_change(median_ratio(first, second, confidence)))
}

/// Like [`compare_medians`], for times in nanoseconds: refused where the first
/// side's are too close to the quantum of their clock to divide by.
#[must_use]
pub fn compare_times(
    first: &[f64],
    second: &[f64],
    quantum: Option<Quantum>,
    confidence: Confidence,
) -> Verdict {
    match quantum.and_then(|quantum| quantum.check_base(first)) {
        Some(refusal) if !second.is_empty() => Verdict::Refused(refusal),
        _ => compare_medians(first, second, confidence),
    }
}

/// Returns the median of `values` as a multiple of that of `base`, with its
/// interval. Values are times in nanoseconds, or without a quantum anything.
///
/// # Errors
/// Returns a [`RatioRefusal`] with the figures, where the base is too close to the
/// quantum of its clock, or where there are too few values on either side.
pub fn ratio_with_interval(
    values: &[f64],
    base: &[f64],
    quantum: Option<Quantum>,
    confidence: Confidence,
) -> Result<Change, RatioRefusal> {
    let have = values.len().min(base.len());
    if have < LEAST_RUNS {
        return Err(RatioRefusal::TooFew { have, need: LEAST_RUNS });
    }
    match quantum.and_then(|quantum| quantum.check_base(base)) {
        Some(refusal) => Err(refusal),
        None => Ok(median_ratio(base, values, confidence)),
    }
}

fn median_ratio(first: &[f64], second: &[f64], confidence: Confidence) -> Change {
    let (first, second) = (sort_ascending(first), sort_ascending(second));
    let ratio = divide_or_one(median(&second).unwrap_or(0.0), median(&first).unwrap_or(0.0));
    let mut ratios: Vec<f64> = median_ratios(&first, &second).take(RESAMPLES).collect();
    let (low, high) = interval_ends(&mut ratios, tail_share(confidence));
    Change { ratio, low, high, confidence }
}

/// Draws endless ratios of the medians of resamples of ascending values.
pub(super) fn median_ratios(first: &[f64], second: &[f64]) -> impl Iterator<Item = f64> {
    let mut random = Random::from_seed(SEED);
    std::iter::repeat_with(move || {
        let base = median_of_resample(first, &mut random);
        divide_or_one(median_of_resample(second, &mut random), base)
    })
}

/// Compares two sets of values by their means.
#[must_use]
pub fn compare_means(first: &[f64], second: &[f64], confidence: Confidence) -> Verdict {
    if let Some(verdict) = without_interval(first, second) {
        return verdict;
    }
    let ratio = divide_or_one(mean(second), mean(first));
    let count = resample_count(first.len() + second.len());
    let mut ratios: Vec<f64> = mean_ratios(first, second).take(count).collect();
    let smaller = first.len().min(second.len());
    let (low, high) = interval_ends(&mut ratios, expanded_tail(confidence, smaller));
    Verdict::from_change(Change { ratio, low, high, confidence })
}

/// Draws endless ratios of the means of resamples.
pub(super) fn mean_ratios(first: &[f64], second: &[f64]) -> impl Iterator<Item = f64> {
    let mut random = Random::from_seed(SEED);
    std::iter::repeat_with(move || {
        let base = mean_of_resample(first, &mut random);
        divide_or_one(mean_of_resample(second, &mut random), base)
    })
}

/// Compares the means of pairs: two figures of one and the same run, such as
/// its bills under two versions of a price model.
///
/// The interval is that of the ratios of random halves of the pairs (Hartigan
/// 1969, "typical values"): where nothing differs, it leaves out 1 exactly as
/// often as it may, however few pairs there are. A bootstrap of six pairs does
/// so four times as often at 99 %.
#[must_use]
pub fn compare_pairs(pairs: &[(f64, f64)], confidence: Confidence) -> Verdict {
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    if !pairs.is_empty() && first == second {
        return Verdict::Identical { runs: pairs.len() };
    }
    let (have, need) = (pairs.len(), least_pairs(confidence));
    match without_interval(&first, &second) {
        Some(Verdict::TooFew { .. }) => return Verdict::TooFew { have, need },
        Some(verdict) => return verdict,
        None if have < need => return Verdict::TooFew { have, need },
        None => {}
    }
    let ratio = divide_or_one(mean(&second), mean(&first));
    let mut ratios: Vec<f64> = ratios_of_halves(pairs).take(resample_count(have)).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    // Number of the intervals between neighbours that lie beyond each end.
    let beyond = floor_of_share(tail_share(confidence), ratios.len() + 1).max(1);
    let (low, high) = (ratios[beyond - 1], ratios[ratios.len() - beyond]);
    Verdict::from_change(Change { ratio, low, high, confidence })
}

/// Returns the fewest pairs whose halves are enough for the tails of an
/// interval: each of the `2^n` intervals between them is as likely as the next.
fn least_pairs(confidence: Confidence) -> usize {
    let enough = |pairs: &usize| count_to_f64(1 << pairs) * tail_share(confidence) >= 1.0;
    (LEAST_RUNS..63).find(enough).unwrap_or(63)
}

/// Draws ratios of the sums of halves of the pairs, where a coin toss decides
/// whether a pair belongs to the half: all halves where there are few, else
/// random ones.
pub(super) fn ratios_of_halves(pairs: &[(f64, f64)]) -> impl Iterator<Item = f64> {
    let mut random = Random::from_seed(SEED);
    let mut every = 1..1_u64 << pairs.len().min(ALL_HALVES);
    let few = pairs.len() <= ALL_HALVES;
    std::iter::from_fn(move || {
        loop {
            let next = if few { Some(every.next()?) } else { None };
            let half = ratio_of_half(pairs, || next.unwrap_or_else(|| random.next_u64()));
            if half.is_some() {
                return half;
            }
        }
    })
}

/// Returns the ratio of one half; `coins` are tossed for 64 pairs at once.
/// `None` for the empty half.
fn ratio_of_half(pairs: &[(f64, f64)], mut coins: impl FnMut() -> u64) -> Option<f64> {
    let (mut base, mut other, mut any) = (0.0, 0.0, false);
    for chunk in pairs.chunks(64) {
        let mut coins = coins();
        for (one, two) in chunk {
            if coins & 1 == 1 {
                (base, other, any) = (base + one, other + two, true);
            }
            coins >>= 1;
        }
    }
    any.then(|| divide_or_one(other, base))
}

/// Returns the verdict that needs no interval: too few values, or values that
/// are all the same.
fn without_interval(first: &[f64], second: &[f64]) -> Option<Verdict> {
    let have = first.len().min(second.len());
    let (one, two) = (constant_value(first), constant_value(second));
    if let (Some(one), Some(two)) = (one, two)
        && one.total_cmp(&two).is_eq()
    {
        return Some(Verdict::Identical { runs: first.len() + second.len() });
    }
    if have < LEAST_RUNS {
        return Some(Verdict::TooFew { have, need: LEAST_RUNS });
    }
    one.zip(two).map(|(one, two)| Verdict::WithoutSpread { ratio: divide_or_one(two, one) })
}

/// Returns the one value that all values share, if they do.
fn constant_value(values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    values.iter().all(|value| value.total_cmp(&first).is_eq()).then_some(first)
}

/// Returns `value / base`; 1 for 0 / 0, since both sides are the same.
fn divide_or_one(value: f64, base: f64) -> f64 {
    if base > 0.0 {
        value / base
    } else if value > 0.0 {
        f64::INFINITY
    } else {
        1.0
    }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
