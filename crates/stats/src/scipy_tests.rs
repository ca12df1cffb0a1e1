//! Comparison with scipy: its answers about committed data are in
//! `tests/data/statistics.json`, made by `tests/data/statistics.py`; where
//! scipy is installed, the script is run again.
//!
//! A bootstrap is random. The end of an interval that leaves out k of B figures
//! is the figure after those, and the share of the true bootstrap distribution
//! beyond it is (k + 1) / B with a standard deviation of sqrt(k + 1) / B;
//! scipy's own, of 100,000 figures, likewise. Our ends must lie between scipy's
//! quantiles four of both deviations to either side, and six figures more,
//! since few figures are not normally distributed: one end of 16,000 does not.

use serde_json::Value;

use super::resample::*;
use super::*;

const STORED: &str = include_str!("../../../tests/data/statistics.json");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/statistics.py");
/// Figures that the script draws.
const THEIRS: usize = 100_000;
const DEVIATIONS: f64 = 4.0;
const MORE: f64 = 6.0;
/// Share of either end that the script writes.
const END: f64 = 0.05;

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(number).collect()
}

fn near(ours: f64, theirs: &Value, what: &str) {
    let theirs = number(theirs);
    let off = (ours - theirs).abs();
    assert!(off <= 1e-9 * theirs.abs().max(1e-3), "{what}: {ours}, scipy says {theirs}");
}

/// Checks that the ends of `interval`, with so much beyond each, lie where
/// scipy has them.
fn ends_agree(interval: Interval, beyond: f64, drawn: usize, theirs: &Value, what: &str) {
    let after = count_to_f64(floor_of_share(beyond, drawn) + 1);
    let share = after / count_to_f64(drawn);
    let deviation =
        (after.sqrt() / count_to_f64(drawn)).hypot((share / count_to_f64(THEIRS)).sqrt());
    let away = DEVIATIONS * deviation + MORE / count_to_f64(drawn);
    for (ours, theirs) in [(interval.low, &theirs[0]), (interval.high, &theirs[1])] {
        let theirs = numbers(theirs);
        let at = |share: f64| percentile(&theirs, share / END).expect("quantiles");
        let (outer, inner) = (at(share - away), at(share + away));
        // Quantiles are rounded when they are written.
        let slack = 1e-8 * ours.abs();
        let within = outer.min(inner) - slack..=outer.max(inner) + slack;
        assert!(within.contains(&ours), "{what}, {beyond} beyond: {ours} is not in {within:?}");
    }
}

fn check(answers: &Value) {
    let series = answers["series"].as_array().expect("series");
    assert!(series.len() >= 8);
    for it in series {
        let name = it["name"].as_str().expect("a name");
        let values = numbers(&it["values"]);
        check_figures(name, &values, it);
        for share in [0.95, 0.99] {
            let sure = Confidence::new(share).expect("a share");
            let interval = Interval::for_median(&values, sure).expect("enough");
            ends_agree(interval, tail_share(sure), RESAMPLES, &it["bootstrap_medians"], name);
            let interval = Interval::for_mean(&values, sure).expect("enough");
            let (beyond, drawn) = (expanded_tail(sure, values.len()), resample_count(values.len()));
            ends_agree(interval, beyond, drawn, &it["bootstrap_means"], name);
        }
    }
    for it in answers["tails"].as_array().expect("tails") {
        let sure = Confidence::new(number(&it["confidence"])).expect("a share");
        let count = usize::try_from(it["count"].as_u64().expect("a count")).expect("small");
        let (ours, theirs) = (expanded_tail(sure, count), number(&it["tail"]));
        // An expansion in 1 / freedom, to its third power: 3 % with ten values.
        assert!((ours / theirs - 1.0).abs() < 0.03, "{count}: {ours}, scipy says {theirs}");
    }
}

fn check_figures(name: &str, values: &[f64], it: &Value) {
    let summary = Summary::from_values(values, Confidence::default()).expect("values");
    near(summary.median, &it["median"], name);
    near(summary.mean, &it["mean"], name);
    near(summary.deviation.expect("many"), &it["deviation"], name);
    near(summary.p95, &it["p95"], name);
    let sorted = sort_ascending(values);
    near(percentile(&sorted, 0.25).expect("values"), &it["quartiles"][0], name);
    near(percentile(&sorted, 0.75).expect("values"), &it["quartiles"][1], name);
    let trend = Trend::from_values(values);
    assert_eq!(trend.is_some(), values.len() >= 8, "{name}");
    if let Some(trend) = trend {
        near(trend.tau, &it["kendall_tau"], name);
        // The error function has seven digits here.
        let (ours, theirs) = (trend.p, number(&it["kendall_p"]));
        assert!((ours / theirs - 1.0).abs() < 1e-6, "{name}: p {ours}, scipy says {theirs}");
        let slope = number(&it["theil_slope"]) * count_to_f64(values.len() - 1) / summary.median;
        assert!((trend.change - slope).abs() < 1e-9, "{name}: {} and {slope}", trend.change);
    }
    if let Some(outliers) = Outliers::from_ascending(&sorted) {
        assert_eq!(Some(outliers.far as u64), it["far"].as_u64(), "{name}");
        assert_eq!(Some(outliers.mild as u64), it["mild"].as_u64(), "{name}");
    }
}

#[test]
fn figures_and_intervals_are_those_that_scipy_gave() {
    check(&serde_json::from_str(STORED).expect("JSON"));
}

#[test]
fn figures_and_intervals_are_those_that_scipy_gives() {
    let ran = std::process::Command::new("python3").args([SCRIPT, "--seed", "7"]).output();
    let output = match ran {
        Ok(output) if output.status.success() => output,
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("No module named") => {
            return cyclometer_testkit::skip("python3 has no scipy");
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => return cyclometer_testkit::skip(&format!("no python3: {error}")),
    };
    check(&serde_json::from_slice(&output.stdout).expect("JSON"));
}
