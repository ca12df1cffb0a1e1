//! Precision of a cell's median, and warnings about its runs.

use serde_json::{Value, json};

use super::table::{Cell, Column};
use cyclometer_core::quantity::separate_thousands;
use cyclometer_core::units::Nanos;
use cyclometer_stats::{Confidence, Summary, Warning};
use cyclometer_store::{CellStats, ThrottlingCounts};
use cyclometer_workload::MAX_RUNS;

/// Columns for the reach of the interval of the median run time and, for programs, its
/// ends and the statistics of the wall time.
pub(super) const COLUMNS: [Column; 17] = [
    Column::number("p50 ±", "run_p50_reach"),
    Column::hidden("run_p50_low_ns"),
    Column::hidden("run_p50_high_ns"),
    Column::hidden("confidence"),
    Column::hidden("wall_p50_ns"),
    Column::hidden("wall_p50_low_ns"),
    Column::hidden("wall_p50_high_ns"),
    Column::hidden("wall_p50_reach"),
    Column::hidden("wall_mean_ns"),
    Column::hidden("wall_deviation_ns"),
    Column::hidden("wall_p95_ns"),
    Column::hidden("warm_up_runs"),
    Column::hidden("outliers_mild"),
    Column::hidden("outliers_far"),
    Column::hidden("drift"),
    Column::hidden("drift_p"),
    Column::hidden("warnings"),
];

/// Reports that a CPU quota throttled invocations, with advice; `None` if it throttled
/// none.
#[must_use]
pub fn describe_throttling(found: &ThrottlingCounts) -> Option<String> {
    let ThrottlingCounts { throttled, known, quota } = found;
    if *throttled == 0 {
        return None;
    }
    let (were, quota) = (
        if *throttled == 1 { "was" } else { "were" },
        quota
            .as_ref()
            .map_or_else(|| "a CPU quota".to_owned(), |it| format!("a CPU quota of {it}")),
    );
    Some(format!(
        "{throttled} of {known} invocations {were} throttled by {quota}: times, and bills that \
         count them, are too high; raise the quota, or record outside of that control group"
    ))
}

/// Summarises times in the order in which they were measured.
fn summarize_times(series: &[Nanos]) -> Option<Summary> {
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
    let values: Vec<f64> = series.iter().map(|span| span.0 as f64).collect();
    Summary::from_values(&values, Confidence::default())
}

/// Formats a relative reach: `±1.2 %`.
#[must_use]
pub fn format_reach(reach: f64) -> String {
    if !reach.is_finite() {
        return "no bound".to_owned();
    }
    let percent = reach * 100.0;
    match percent {
        _ if percent < 0.095 => format!("±{percent:.2} %"),
        _ if percent < 9.95 => format!("±{percent:.1} %"),
        _ => format!("±{percent:.0} %"),
    }
}

fn whole_nanos(value: Option<f64>) -> Value {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are between 0 and 2^53 ns"
    )]
    let whole = value.map(|value| value.max(0.0).round() as u64);
    json!(whole)
}

/// Returns the cells for [`COLUMNS`].
pub(super) fn build_cells(stats: &CellStats) -> Vec<Cell> {
    let (run, wall) = (summarize_times(&stats.run_series), summarize_times(&stats.wall_series));
    let interval = |of: &Option<Summary>| of.as_ref().and_then(|it| it.interval);
    let reach = run.as_ref().and_then(Summary::relative_reach).filter(|reach| reach.is_finite());
    let hidden = |value: Value| Cell::new("", value);
    let of_wall = |figure: &dyn Fn(&Summary) -> Option<f64>| wall.as_ref().and_then(figure);
    let trend = wall.as_ref().and_then(|it| it.trend);
    let outliers = wall.as_ref().and_then(|it| it.outliers);
    let throttled = (stats.throttling.throttled > 0).then_some("throttled");
    let names: Vec<_> = wall
        .iter()
        .flat_map(Summary::warnings)
        .map(|warning| warning.name())
        .chain(throttled)
        .collect();
    vec![
        Cell::optional(reach.map(|reach| (format_reach(reach), reach))),
        hidden(whole_nanos(interval(&run).map(|it| it.low))),
        hidden(whole_nanos(interval(&run).map(|it| it.high))),
        hidden(json!(Confidence::default().share())),
        hidden(whole_nanos(of_wall(&|it| Some(it.median)))),
        hidden(whole_nanos(interval(&wall).map(|it| it.low))),
        hidden(whole_nanos(interval(&wall).map(|it| it.high))),
        hidden(json!(of_wall(&Summary::relative_reach).filter(|it| it.is_finite()))),
        hidden(whole_nanos(of_wall(&|it| Some(it.mean)))),
        hidden(whole_nanos(of_wall(&|it| it.deviation))),
        hidden(whole_nanos(of_wall(&|it| Some(it.p95)))),
        hidden(json!(wall.as_ref().and_then(|it| it.warm_up))),
        hidden(json!(outliers.map(|it| it.mild))),
        hidden(json!(outliers.map(|it| it.far))),
        hidden(json!(trend.map(|it| it.change))),
        hidden(json!(trend.map(|it| it.p))),
        hidden(json!(names)),
    ]
}

/// Lists warnings about the runs, with advice: for each kind of warning the worst cell,
/// and the number of further cells that have it.
#[must_use]
pub fn list_warnings(cells: &[CellStats]) -> Vec<String> {
    let mut held = ThrottlingCounts::default();
    let mut kinds: Vec<(Warning, Vec<String>)> = Vec::new();
    for stats in cells {
        held.add_counts(&stats.throttling);
        let found = summarize_times(&stats.wall_series);
        for warning in found.iter().flat_map(Summary::warnings) {
            let name = stats.key.to_string();
            match kinds.iter_mut().find(|(other, _)| other.name() == warning.name()) {
                Some((worst, names)) if warning.severity() > worst.severity() => {
                    *worst = warning;
                    names.insert(0, name);
                }
                Some((_, names)) => names.push(name),
                None => kinds.push((warning, vec![name])),
            }
        }
    }
    let mut notes: Vec<String> = describe_throttling(&held).into_iter().collect();
    if cells
        .iter()
        .any(|stats| summarize_times(&stats.run_series).is_some_and(|it| it.interval.is_some()))
    {
        notes.push(format!(
            "p50 ±: how far the {} interval of the median run reaches from it",
            Confidence::default()
        ));
    }
    let all = cells.iter().filter(|stats| !stats.wall_series.is_empty()).count();
    notes.extend(kinds.into_iter().map(|(worst, names)| match &names[..] {
        [only] => format!("{only}: {worst}"),
        many if many.len() == all => format!("all {all} cells, {} most: {worst}", many[0]),
        [first, others @ ..] => {
            format!("{first}: {worst}; the same kind in {} more", others.len())
        }
        [] => worst.to_string(),
    }));
    notes
}

/// Reports the outcome of `record --until`: the precision of each cell's median wall
/// time, the imprecise ones last, with advice.
#[must_use]
pub fn describe_reached(cells: &[CellStats], share: f64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut wide = Vec::new();
    for stats in cells {
        let name = stats.key.to_string();
        let Some(summary) = summarize_times(&stats.wall_series) else {
            wide.push(format!("{name}: no run ended well"));
            continue;
        };
        let middle = Nanos(whole_nanos(Some(summary.median)).as_u64().unwrap_or(0));
        let reach = summary.relative_reach();
        let told = reach.map_or_else(|| "no interval yet".to_owned(), format_reach);
        let line = format!("{name}: median wall {middle} {told} after {} runs", summary.count);
        if reach.is_some_and(|reach| reach <= share) {
            lines.push(line);
        } else {
            let (asked, advice) = (format_reach(share), advise_narrower(&summary, share));
            wide.push(format!("{line}, not {asked}: {advice}"));
        }
    }
    lines.extend(wide);
    lines
}

/// Advises how to make an interval as narrow as requested: it shrinks with the square
/// root of the number of runs.
fn advise_narrower(summary: &Summary, share: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "runs are fewer than 2^52")]
    let runs = summary.count as f64;
    let Some(reach) = summary.relative_reach().filter(|reach| reach.is_finite()) else {
        return "it needs more runs: raise --runs or --for".to_owned();
    };
    // With a margin, since the width of an interval is itself an estimate.
    let needed = (1.5 * runs * (reach / share).powi(2)).max(runs + 1.0);
    let hours = needed * summary.mean / 3.6e12;
    let digits = 10_f64.powf(needed.log10().floor() - 1.0).max(1.0);
    let told = separate_thousands(&format!("{:.0}", (needed / digits).ceil() * digits));
    if needed <= 10.0 * f64::from(MAX_RUNS) && hours <= 1.0 {
        return format!("about {told} runs would do, raise --runs or --for");
    }
    let within_reach = (10.0 * f64::from(MAX_RUNS)).min(3.6e12 / summary.mean.max(1.0));
    let wider = (reach * (1.5 * runs / within_reach).sqrt() * 100.0).max(share * 100.0);
    format!(
        "it would take about {told} runs; ask for less, such as --until {wider:.0}%",
        wider = wider.ceil()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_core::cpu_quota::CpuQuota;

    #[test]
    fn throttled_invocations_are_told_with_the_quota_and_what_to_do() {
        let quota = CpuQuota { group: "/trial".to_owned(), quota_us: 20_000, period_us: 100_000 };
        let told = |throttled, quota| {
            describe_throttling(&ThrottlingCounts { throttled, known: 6, quota })
        };
        assert_eq!(
            told(4, Some(quota)).as_deref(),
            Some(
                "4 of 6 invocations were throttled by a CPU quota of 0.2 CPUs (cgroup /trial): \
                 times, and bills that count them, are too high; raise the quota, or record \
                 outside of that control group"
            )
        );
        assert!(told(1, None).is_some_and(|it| it.starts_with("1 of 6 invocations was throttled")));
        assert_eq!(told(0, None), None);
    }

    fn series(count: u32, middle: f64, spread: f64) -> Summary {
        let at = |it: u32| f64::from(it * 7 % count) / f64::from(count) - 0.5;
        let values: Vec<f64> = (0..count).map(|it| middle * (1.0 + spread * at(it))).collect();
        Summary::from_values(&values, Confidence::default()).expect("values")
    }

    // By hand: an interval that is twice as wide as allowed needs four times the runs,
    // and half as many again as a margin: 6 x 40 = 240.
    #[test]
    fn advice_for_narrower_intervals_can_be_followed() {
        let narrow = series(40, 1e6, 0.1);
        let reach = narrow.relative_reach().expect("an interval");
        assert_eq!(
            advise_narrower(&narrow, reach / 2.0),
            "about 240 runs would do, raise --runs or --for"
        );
        // A hundred times as narrow would take 600,000 runs.
        let absurd = advise_narrower(&narrow, reach / 100.0);
        assert!(absurd.starts_with("it would take about 600,000 runs; ask for less"), "{absurd}");
        // Ten times as narrow, of runs of a minute each: 6,000 minutes.
        let slow = advise_narrower(&series(40, 60e9, 0.1), reach / 10.0);
        assert!(slow.starts_with("it would take about 6,000 runs; ask for less"), "{slow}");
    }

    #[test]
    fn shares_are_told_to_two_digits() {
        assert_eq!(format_reach(0.0123), "±1.2 %");
        assert_eq!(format_reach(0.000_52), "±0.05 %");
        assert_eq!(format_reach(0.1234), "±12 %");
        assert_eq!(format_reach(0.0996), "±10 %");
        assert_eq!(format_reach(f64::INFINITY), "no bound");
    }
}
