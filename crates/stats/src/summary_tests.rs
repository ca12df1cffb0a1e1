//! Warnings about a series, and how often they are given without reason.

use super::super::random::Random;
use super::super::warm_up_detection::{FALSE_ALARMS, LEAST_FOR_STEADY};
use super::*;

fn sure() -> Confidence {
    Confidence::default()
}

fn summary(values: &[f64]) -> Summary {
    Summary::from_values(values, sure()).expect("values")
}

fn noise(random: &mut Random, count: usize) -> Vec<f64> {
    (0..count).map(|_| 100.0 * (0.02 * random.next_normal()).exp()).collect()
}

fn words(values: &[f64]) -> Vec<String> {
    summary(values).warnings().iter().map(ToString::to_string).collect()
}

// By hand: 2, 4, 4, 4, 5, 5, 7, 9 has the mean 5 and squares of 32.
#[test]
fn the_figures_are_those_of_a_textbook() {
    let it = summary(&[9.0, 2.0, 4.0, 5.0, 4.0, 5.0, 4.0, 7.0]);
    assert_eq!((it.count, it.median, it.mean, it.min, it.max), (8, 4.5, 5.0, 2.0, 9.0));
    assert!((it.deviation.expect("of eight") - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
    // At place 6.65 of 0 to 7: 7 + 0.65 x 2.
    assert!((it.p95 - 8.3).abs() < 1e-12);
    let one = summary(&[3.0]);
    assert_eq!((one.median, one.deviation, one.interval), (3.0, None, None));
    assert_eq!(Summary::from_values(&[], sure()), None);
}

// 20,000 series at 0.005 are 100, with a standard deviation of 10: five of
// those are allowed. By ranks, so that the distribution does not matter; the
// single first run has its own bound.
#[test]
fn warm_up_is_seen_in_series_without_one_as_seldom_as_is_said() {
    for (count, series) in [(10, 20_000), (14, 5_000), (40, 5_000), (200, 1_000)] {
        let mut random = Random::from_seed(11);
        let alarms = (0..series).filter(|_| {
            let values: Vec<f64> = (0..count).map(|_| random.next_normal().exp()).collect();
            super::super::count_warm_up(&values).is_some_and(|runs| runs > 1)
        });
        let (alarms, expected) = (alarms.count(), FALSE_ALARMS * count_to_f64(series));
        assert!(
            count_to_f64(alarms) < expected + 5.0 * expected.sqrt(),
            "{alarms} of {series}: {count}"
        );
        // The tests do fire: at the smallest count the figures are coarse.
        assert!(count_to_f64(alarms) > expected / 4.0 - 1.0, "{alarms} of {series}: {count}");
    }
}

// Where one of twenty runs is disturbed, the first is the only one of n in
// (1 - 1/20)^(n - 1) / 20 of the series, which is below 1/n.
#[test]
fn a_first_run_that_is_disturbed_by_chance_is_seldom_taken_for_warm_up() {
    for count in [10, 30] {
        let mut random = Random::from_seed(12);
        let alarms = (0..2_000).filter(|_| {
            let mut values = noise(&mut random, count);
            for value in &mut values {
                *value *= if random.next_below(20) == 0 { 2.0 } else { 1.0 };
            }
            super::super::count_warm_up(&values) == Some(1)
        });
        let alarms = alarms.count();
        let bound = 0.95_f64.powi(i32::try_from(count).expect("small") - 1) / 20.0 * 2_000.0;
        assert!(count_to_f64(alarms) < bound + 4.0 * bound.sqrt(), "{alarms} of 2000 with {count}");
    }
}

#[test]
fn warm_up_that_is_there_is_found_where_it_ends() {
    let mut random = Random::from_seed(13);
    let mut values = noise(&mut random, 50);
    for value in &mut values[..7] {
        *value *= 1.2;
    }
    assert_eq!(summary(&values).warm_up, Some(7));
    let told = words(&values);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("the first 7 runs are slower than the rest, by "), "{told:?}");
    assert!(told[0].ends_with(" % in the median: raise --warmup by 7"), "{told:?}");

    // So many slow runs are not remedied by a higher --warmup.
    let mut values = noise(&mut random, 3_000);
    for value in &mut values[..917] {
        *value *= 1.2;
    }
    let told = words(&values);
    let long = told.iter().find(|it| it.starts_with("the first 9")).expect("told");
    assert!(!long.contains("--warmup") && long.contains("record again"), "{told:?}");

    // A warm-up that fades slowly is cut off piece by piece.
    let mut values = noise(&mut random, 60);
    for (at, value) in values.iter_mut().enumerate() {
        *value *= 1.0 + 0.8 * (-count_to_f64(at) / 4.0).exp();
    }
    let found = summary(&values).warm_up.expect("enough values");
    assert!((5..=20).contains(&found), "{found}");

    let mut values = noise(&mut random, 12);
    values[0] *= 3.0;
    assert_eq!(summary(&values).warm_up, Some(1));
    assert!(words(&values)[0].ends_with(" times the median of the rest: raise --warmup by 1"));
    // Another far value later: that is no warm-up.
    values[7] *= 3.0;
    assert_eq!(summary(&values).warm_up, Some(0));
    assert_eq!(summary(&values[..LEAST_FOR_STEADY - 1]).warm_up, None);
}

#[test]
fn drift_is_told_with_its_size_and_not_without_one() {
    let mut random = Random::from_seed(14);
    let mut values = noise(&mut random, 60);
    for (at, value) in values.iter_mut().enumerate() {
        *value *= 1.0 + 0.1 * count_to_f64(at) / 59.0;
    }
    let told = words(&values);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("times rise by "), "{told:?}");
    let size: f64 = told[0].split_whitespace().nth(3).and_then(|it| it.parse().ok()).expect("%");
    // A tenth, give or take three standard errors of a slope over sixty runs.
    assert!((size - 10.0).abs() < 3.0, "{told:?}");

    let alarms = (0..2_000).filter(|_| {
        Trend::from_values(&noise(&mut random, 12)).is_some_and(|it| it.p < DRIFT_BY_CHANCE)
    });
    // 10 are expected at 0.005; 24 come with a probability of 0.0001.
    let alarms = alarms.count();
    assert!(alarms < 24, "{alarms} of 2000");
}

#[test]
fn outliers_are_counted_and_kept() {
    let mut random = Random::from_seed(15);
    let mut values = noise(&mut random, 40);
    for at in [5, 17, 18, 30, 39] {
        values[at] *= 2.0;
    }
    let it = summary(&values);
    assert_eq!(it.outliers.map(|it| it.far), Some(5));
    assert_eq!(it.count, 40);
    let told = words(&values);
    assert!(told[0].starts_with("5 of 40 runs are outliers, up to 2.0"), "{told:?}");
    // Single outliers are not reported.
    values.truncate(10);
    assert_eq!(words(&values), Vec::<String>::new());
}

#[test]
fn two_groups_are_told_of_and_one_is_not() {
    let mut random = Random::from_seed(16);
    let mut values = noise(&mut random, 50);
    for value in &mut values {
        *value *= if random.next_below(5) < 2 { 1.4 } else { 1.0 };
    }
    let told = words(&values);
    assert!(told.iter().any(|it| it.starts_with("runs fall into two groups, ")), "{told:?}");
    for count in [20, 50] {
        let alarms = (0..2_000)
            .filter(|_| TwoGroups::find_in(&sort_ascending(&noise(&mut random, count))).is_some());
        let alarms = alarms.count();
        assert!(alarms < 24, "{alarms} of 2000 with {count}");
    }
}

#[test]
fn few_runs_are_told_of() {
    let told = words(&[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(
        told,
        ["4 runs are too few to say how well the median is known: use --runs 6 or more"]
    );
}
