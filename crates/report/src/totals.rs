//! Bills of a few models, cell by cell, for people: one column a model.

use super::table::{Cell, Table};
use cyclometer_core::cell_key::CellKey;
use cyclometer_replay::{GroupTotal, ModelTotal, ReplaySummary};

/// Significant digits of an amount in text; programs get all digits.
const DIGITS: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(5);

/// Number of models that fit beside each other; more become a matrix of models and lanes.
pub(crate) const FEW_MODELS: usize = 2;

/// Returns whether a summary has so few models that each gets a column.
#[must_use]
pub fn has_few_models(summary: &ReplaySummary) -> bool {
    summary.models().len() <= FEW_MODELS
}

/// Builds one row a lane, workload, preset and start, and one for all; one column a
/// model, whatever its granularity. A ratio is shown where there is exactly one coarse
/// and one fine model of one currency, and is named after what it divides.
#[must_use]
pub fn totals_table(summary: &ReplaySummary) -> Table {
    let pair = only_pair(summary);
    let names = [("workload", false), ("lane", false), ("start", false), ("invocations", true)];
    let mut columns: Vec<(String, bool)> =
        names.into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
    let failures = summary.groups().any(|(_, group)| group.failed > 0);
    columns.extend(failures.then(|| ("failed".to_owned(), true)));
    columns.extend(summary.models().iter().map(|info| {
        (format!("{}\n{}, {}", info.id, info.granularity.name(), info.currency), true)
    }));
    columns.extend(pair.map(|_| ("dearer".to_owned(), true)));
    let mut table = Table::with_headings(columns);
    let mut push = |names: [&str; 3], group: &GroupTotal| {
        let mut row: Vec<Cell> = names.into_iter().map(Cell::text).collect();
        row.push(Cell::new(group.invocations, group.invocations));
        row.extend(failures.then(|| Cell::new(group.failed, group.failed)));
        row.extend(group.models.iter().map(total_cell));
        row.extend(pair.map(|(coarse, fine)| {
            let ratio = summary.coarse_to_fine_ratio(group, coarse, fine, 2).ok();
            let dearer = summary.describe_dearer(group, coarse, fine).ok();
            Cell::optional(dearer.zip(ratio).map(|(text, ratio)| (text, ratio.to_plain_string())))
        }));
        table.push(row);
    };
    let cells = summary
        .group_by(|key| (key.workload.clone(), key.lane.clone(), key.start, key.preset.clone()));
    for ((workload, lane, start, _), group) in &cells {
        push([workload, lane, start.label()], group);
    }
    push(["all", "all", ""], &summary.overall_group());
    table
}

/// Returns the coarse and the fine model, if there is exactly one of each.
#[must_use]
pub fn only_pair(summary: &ReplaySummary) -> Option<(usize, usize)> {
    let mut pairs = summary.coarse_fine_pairs();
    pairs.next().filter(|_| pairs.next().is_none())
}

fn total_cell(total: &ModelTotal) -> Cell {
    let whole = total.billed > 0 && total.refusal_count() == 0 && !total.charges.is_empty();
    Cell::optional_money(whole.then_some(&total.total), DIGITS)
}

/// Lists the stand-ins in the totals.
#[must_use]
pub fn list_stand_ins(summary: &ReplaySummary) -> Vec<String> {
    merge_notes(summary, |total| total.notes.keys().map(ToString::to_string).collect())
}

/// Lists why models have no bill, or bill only a part of the invocations: one line a
/// reason.
#[must_use]
pub fn list_refusals(summary: &ReplaySummary) -> Vec<String> {
    let overall = summary.overall_group();
    let all = overall.invocations;
    let mut lines = merge_notes(summary, |total| {
        let refused = total.refused.iter();
        refused.map(|(why, count)| format!("refused {count} of {all}: {}", why.missing)).collect()
    });
    let monthly = |at: usize| {
        let free = overall.models.get(at).is_some_and(|total| total.charges.is_empty());
        free && summary.contract(at).is_some_and(|(model, _)| model.charges().next().is_some())
    };
    let monthly = summary.models().iter().enumerate().filter(|(at, _)| monthly(*at));
    let monthly: Vec<&str> = monthly.map(|(_, model)| model.id.as_str()).collect();
    if !monthly.is_empty() {
        let names = monthly.join(", ");
        lines.push(format!("monthly charges only, which --per-month bills: {names}"));
    }
    lines
}

/// Lists remarks on models, each once, with the models that it concerns.
fn merge_notes(summary: &ReplaySummary, notes: impl Fn(&ModelTotal) -> Vec<String>) -> Vec<String> {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    let overall = summary.overall_group();
    for (model, total) in summary.models().iter().zip(&overall.models) {
        for note in notes(total) {
            match said.iter_mut().find(|(known, _)| *known == note) {
                Some((_, who)) => who.push(&model.id),
                None => said.push((note, vec![&model.id])),
            }
        }
    }
    said.into_iter().map(|(note, who)| format!("{note}: {}", who.join(", "))).collect()
}

/// Reports, cell by cell, how many failures are in the bills, and which cells have no
/// bill since all invocations failed; `reason` is that of a cell's first failure.
#[must_use]
pub fn failure_notes(
    summary: &ReplaySummary,
    reason: impl Fn(&CellKey) -> Option<String>,
) -> Vec<String> {
    let groups =
        summary.groups().filter_map(|(key, group)| Some((key, group, group.describe_failures()?)));
    groups
        .map(|(key, group, failures)| {
            let reason = reason(key).map(|it| format!(", the first: {it}")).unwrap_or_default();
            let billed = if group.only_failed() { "no price" } else { "failures are billed too" };
            format!("{key}: {billed}: {failures}{reason}")
        })
        .collect()
}
