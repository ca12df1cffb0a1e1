//! How well a cell's median is known, and what its runs suffer from.

use serde_json::{Value, json};

use super::table::{Cell, Column};
use crate::stats::{Confidence, Summary};
use crate::store::{CellStats, Throttling};
use crate::units::Nanos;

/// How far the interval of the median run time reaches; then, for programs, its
/// ends and what there is to know of the wall time.
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

/// Says that a CPU quota held invocations back, with what to do; `None` where it
/// held back none.
#[must_use]
pub fn throttling(found: &Throttling) -> Option<String> {
    let Throttling { throttled, known, quota } = found;
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

/// A summary of times in the order in which they were measured.
fn summary(series: &[Nanos]) -> Option<Summary> {
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
    let values: Vec<f64> = series.iter().map(|span| span.0 as f64).collect();
    Summary::of(&values, Confidence::default())
}

/// A share as people read it: `±1.2 %`.
#[must_use]
pub fn within(reach: f64) -> String {
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

fn whole(value: Option<f64>) -> Value {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are between 0 and 2^53 ns"
    )]
    let whole = value.map(|value| value.max(0.0).round() as u64);
    json!(whole)
}

/// Cells for [`COLUMNS`].
pub(super) fn cells(stats: &CellStats) -> Vec<Cell> {
    let (run, wall) = (summary(&stats.run_series), summary(&stats.wall_series));
    let interval = |of: &Option<Summary>| of.as_ref().and_then(|it| it.interval);
    let reach = run.as_ref().and_then(Summary::reach).filter(|reach| reach.is_finite());
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
        Cell::maybe(reach.map(|reach| (within(reach), reach))),
        hidden(whole(interval(&run).map(|it| it.low))),
        hidden(whole(interval(&run).map(|it| it.high))),
        hidden(json!(Confidence::default().share())),
        hidden(whole(of_wall(&|it| Some(it.median)))),
        hidden(whole(interval(&wall).map(|it| it.low))),
        hidden(whole(interval(&wall).map(|it| it.high))),
        hidden(json!(of_wall(&Summary::reach).filter(|it| it.is_finite()))),
        hidden(whole(of_wall(&|it| Some(it.mean)))),
        hidden(whole(of_wall(&|it| it.deviation))),
        hidden(whole(of_wall(&|it| Some(it.p95)))),
        hidden(json!(wall.as_ref().and_then(|it| it.warm_up))),
        hidden(json!(outliers.map(|it| it.mild))),
        hidden(json!(outliers.map(|it| it.far))),
        hidden(json!(trend.map(|it| it.change))),
        hidden(json!(trend.map(|it| it.p))),
        hidden(json!(names)),
    ]
}

/// What a reader should know of the runs before believing their figures, with
/// what to do; cells with the same are told of together.
#[must_use]
pub fn warnings(cells: &[CellStats]) -> Vec<String> {
    let mut held = Throttling::default();
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for stats in cells {
        held.add(&stats.throttling);
        let found = summary(&stats.wall_series);
        for warning in found.iter().flat_map(Summary::warnings) {
            let (text, name) = (warning.to_string(), name(stats));
            match told.iter_mut().find(|(other, _)| *other == text) {
                Some((_, names)) => names.push(name),
                None => told.push((text, vec![name])),
            }
        }
    }
    let mut notes: Vec<String> = throttling(&held).into_iter().collect();
    if cells.iter().any(|stats| summary(&stats.run_series).is_some_and(|it| it.interval.is_some()))
    {
        notes.push(format!(
            "p50 ±: how far the {} interval of the median run reaches from it",
            Confidence::default()
        ));
    }
    notes.extend(told.into_iter().map(|(text, names)| match &names[..] {
        [only] => format!("{only}: {text}"),
        many => format!("{} cells: {text}", many.len()),
    }));
    notes
}

fn name(stats: &CellStats) -> String {
    format!("{} in {}, {}", stats.workload, stats.lane, stats.start)
}

/// What became of `record --until`: how well each cell's median wall time is
/// known, the wide ones last, with what to do.
#[must_use]
pub fn reached(cells: &[CellStats], share: f64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut wide = Vec::new();
    for stats in cells {
        let name = name(stats);
        let Some(summary) = summary(&stats.wall_series) else {
            wide.push(format!("{name}: no run ended well"));
            continue;
        };
        let middle = Nanos(whole(Some(summary.median)).as_u64().unwrap_or(0));
        let reach = summary.reach();
        let told = reach.map_or_else(|| "no interval yet".to_owned(), within);
        let line = format!("{name}: median wall {middle} {told} after {} runs", summary.count);
        if reach.is_some_and(|reach| reach <= share) {
            lines.push(line);
        } else {
            wide.push(format!(
                "{line}, not {}: give it more --runs or a longer --for",
                within(share)
            ));
        }
    }
    lines.extend(wide);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::quota::CpuQuota;

    #[test]
    fn throttled_invocations_are_told_with_the_quota_and_what_to_do() {
        let quota = CpuQuota { group: "/trial".to_owned(), quota_us: 20_000, period_us: 100_000 };
        let told = |throttled, quota| throttling(&Throttling { throttled, known: 6, quota });
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

    #[test]
    fn shares_are_told_to_two_digits() {
        assert_eq!(within(0.0123), "±1.2 %");
        assert_eq!(within(0.000_52), "±0.05 %");
        assert_eq!(within(0.1234), "±12 %");
        assert_eq!(within(0.0996), "±10 %");
        assert_eq!(within(f64::INFINITY), "no bound");
    }
}
