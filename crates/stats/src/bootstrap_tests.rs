//! Error rate and power of the comparisons.

use super::super::normal::{normal_quantile, normal_share_below};
use super::super::resample::*;
use super::*;
use cyclometer_testkit::cpu_time;

fn confidence() -> Confidence {
    Confidence::default()
}

/// Realistic times: around 100, a few of them far above.
fn times(random: &mut Random, count: usize, factor: f64) -> Vec<f64> {
    (0..count)
        .map(|_| {
            let disturbed = if random.next_below(20) == 0 { 1.5 } else { 1.0 };
            factor * disturbed * 100.0 * (0.03 * random.next_normal()).exp()
        })
        .collect()
}

/// Counts comparisons of `pairs` pairs that differ by `factor` and for which a
/// difference is shown.
fn shown(pairs: u64, count: usize, factor: f64, by: fn(&[f64], &[f64]) -> Verdict) -> usize {
    let mut random = Random::from_seed(20_261_121);
    let verdicts = (0..pairs).map(|_| {
        let first = times(&mut random, count, 1.0);
        by(&first, &times(&mut random, count, factor))
    });
    verdicts.filter(Verdict::is_different).count()
}

fn by_medians(first: &[f64], second: &[f64]) -> Verdict {
    compare_medians(first, second, confidence())
}

fn by_means(first: &[f64], second: &[f64]) -> Verdict {
    compare_means(first, second, confidence())
}

// 400 comparisons, each wrong with at most 1 %: 12 or more wrong ones come with
// a probability of 0.0008 (binomial).
#[test]
fn where_nothing_differs_at_most_one_in_a_hundred_says_so() {
    for count in [6, 30] {
        let medians = shown(400, count, 1.0, by_medians);
        assert!(medians < 12, "{medians} of 400 with {count} runs");
    }
    let means = shown(400, 30, 1.0, by_means);
    assert!(means < 12, "{means} of 400");
}

// A tenth more, with a spread of 3 % and 30 runs, is eleven standard errors.
#[test]
fn a_clear_difference_is_seen() {
    assert_eq!(shown(100, 30, 1.1, by_medians), 100);
    // Disturbed runs move means: their spread is 11 %, so a third is nine.
    assert!(shown(100, 30, 1.33, by_means) > 95);
    let first = times(&mut Random::from_seed(1), 30, 1.0);
    let second: Vec<f64> = first.iter().map(|value| value * 0.5).collect();
    let Verdict::Lower(change) = by_medians(&first, &second) else { panic!("not lower") };
    assert!((change.ratio - 0.5).abs() < 1e-12, "{change:?}");
    assert!(change.low < 0.5 && change.high > 0.5 && change.high < 0.55, "{change:?}");
}

#[test]
fn the_interval_holds_the_truth_at_its_rate() {
    let mut random = Random::from_seed(3);
    let missed = (0..400).filter(|_| {
        let (first, second) = (times(&mut random, 25, 1.0), times(&mut random, 25, 1.3));
        let verdict = by_medians(&first, &second);
        verdict.change().is_none_or(|change| change.low > 1.3 || change.high < 1.3)
    });
    let missed = missed.count();
    assert!(missed < 12, "{missed} of 400");
}

#[test]
fn the_same_values_give_the_same_verdict() {
    let mut random = Random::from_seed(9);
    let (first, second) = (times(&mut random, 20, 1.0), times(&mut random, 20, 1.02));
    assert_eq!(by_medians(&first, &second), by_medians(&first, &second));
    let mut other_order = first.clone();
    other_order.reverse();
    assert_eq!(by_medians(&first, &second), by_medians(&other_order, &second));
}

#[test]
fn few_runs_say_nothing() {
    let many = times(&mut Random::from_seed(5), 30, 3.0);
    for count in 0..LEAST_RUNS {
        let few = times(&mut Random::from_seed(4), count, 1.0);
        let expected = Verdict::TooFew { have: count, need: 6 };
        for verdict in [by_medians(&few, &many), by_means(&many, &few)] {
            assert_eq!(verdict, expected);
        }
        let pairs: Vec<_> = few.iter().map(|value| (*value, value * 2.0)).collect();
        let expected = Verdict::TooFew { have: count, need: 8 };
        assert_eq!(compare_pairs(&pairs, confidence()), expected);
    }
    let six = times(&mut Random::from_seed(4), 6, 1.0);
    assert!(by_medians(&six, &many).is_different());
}

#[test]
fn counts_that_never_change_are_certain() {
    assert_eq!(by_medians(&[15.0; 3], &[15.0; 4]), Verdict::Identical { runs: 7 });
    assert_eq!(by_medians(&[0.0; 8], &[0.0; 8]), Verdict::Identical { runs: 16 });
    // Not "99 % sure": the cause may be a worker that all runs share.
    let apart = by_medians(&[15.0; 8], &[16.0; 8]);
    assert_eq!(apart, Verdict::WithoutSpread { ratio: 16.0 / 15.0 });
    assert!(!apart.is_different());
    assert_eq!(by_medians(&[15.0; 5], &[16.0; 8]), Verdict::TooFew { have: 5, need: 6 });
}

#[test]
fn nothing_in_the_denominator_is_no_division_by_zero() {
    let some = [5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
    let Verdict::Higher(change) = by_medians(&[0.0; 8], &some) else { panic!("not higher") };
    assert!(change.ratio.is_infinite() && change.low.is_infinite());
    let Verdict::Lower(change) = by_medians(&some, &[0.0; 8]) else { panic!("not lower") };
    assert_eq!((change.ratio, change.low, change.high), (0.0, 0.0, 0.0));
    // Nearly all are 0 on both sides.
    let (first, second) = ([0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    let Verdict::NoDifferenceShown(change) = by_medians(&first, &second) else { panic!("shown") };
    assert!(!change.low.is_nan() && !change.high.is_nan() && !change.ratio.is_nan());
}

#[test]
fn pairs_see_what_spread_would_hide() {
    let mut random = Random::from_seed(8);
    let first: Vec<f64> = (0..20).map(|_| 1.0 + 99.0 * random.next_unit_f64()).collect();
    let second: Vec<f64> = first.iter().map(|value| value * 1.01).collect();
    assert!(!by_means(&first, &second).is_different());
    let pairs: Vec<_> = first.iter().copied().zip(second).collect();
    assert!(compare_pairs(&pairs, confidence()).is_different());
    let same: Vec<_> = first.iter().map(|value| (*value, *value)).collect();
    assert_eq!(compare_pairs(&same, confidence()), Verdict::Identical { runs: 20 });
}

// Medians drawn through gaps must be distributed like those drawn value by
// value.
#[test]
fn medians_of_resamples_are_those_of_resamples() {
    for count in [6, 7, 20] {
        let values: Vec<f64> = (0..count).map(count_to_f64).collect();
        let mut random = Random::from_seed(2);
        let mut drawn = |naive: bool| -> Vec<f64> {
            let one = |random: &mut Random| {
                if !naive {
                    return median_of_resample(&values, random);
                }
                let sample: Vec<f64> =
                    (0..count).map(|_| values[random.next_below(count)]).collect();
                median(&sort_ascending(&sample)).expect("values")
            };
            sort_ascending(&(0..20_000).map(|_| one(&mut random)).collect::<Vec<_>>())
        };
        let (fast, naive) = (drawn(false), drawn(true));
        for share in [5_usize, 25, 50, 75, 95] {
            let at = share * 200;
            assert!((fast[at] - naive[at]).abs() <= 0.5, "{count} values, {share} %");
        }
        assert!((mean(&fast) - mean(&naive)).abs() < 0.05, "{count} values");
    }
}

// Tables: z(0.995) = 2.575829; t(0.995, 5) = 4.032143, so that the tail for six
// values is that below -4.032143 x sqrt(6/5) = -4.41699, which is 5.00e-6.
#[test]
fn quantiles_are_those_of_the_tables() {
    assert!((normal_quantile(0.005) + 2.575_829).abs() < 1e-5);
    assert!((normal_share_below(1.96) - 0.975_002).abs() < 1e-6);
    let tail = expanded_tail(confidence(), 6);
    assert!((4.5e-6..6.0e-6).contains(&tail), "{tail}");
    assert!((expanded_tail(confidence(), 100_000) - 0.005).abs() < 1e-4);
}

#[test]
fn large_recordings_are_compared_in_little_time() {
    let mut random = Random::from_seed(6);
    let (first, second) = (times(&mut random, 100_000, 1.0), times(&mut random, 100_000, 1.01));
    let begun = cpu_time();
    assert!(by_medians(&first, &second).is_different());
    assert!(by_means(&first, &second).is_different());
    let took = cpu_time().saturating_sub(begun);
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}
