//! Totals of a simulation by lane and workload, coarse beside fine.

use super::table::{Cell, Column, Table};
use crate::pricing::Granularity;
use crate::replay::{Group, ModelTotal, Summary};

/// Significant digits that people see of an amount; programs get all.
const DIGITS: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(5);

/// A row a lane, workload, preset and start, model by model, and one for all.
/// A pair of
/// models is a row, so that a replay through many has the same columns.
#[must_use]
pub fn totals(summary: &Summary) -> Table {
    // One pair of models is named below the table.
    let several = summary.pairs().nth(1).is_some();
    let named = |title, key| if several { Column::text(title, key) } else { Column::hidden(key) };
    let mut table = Table::new(&[
        Column::text("workload", "workload"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::hidden("preset"),
        Column::number("invocations", "invocations"),
        named("coarse model", "coarse_model"),
        Column::number("coarse", "coarse_total"),
        named("fine model", "fine_model"),
        Column::number("fine", "fine_total"),
        Column::text("currency", "currency"),
        Column::number("ratio", "coarse_over_fine"),
        Column::hidden("note"),
    ]);
    let by_workload = summary
        .by(|key| (key.workload.clone(), key.lane.clone(), key.start.clone(), key.preset.clone()));
    for ((workload, lane, start, preset), group) in &by_workload {
        push(&mut table, summary, [workload, lane, start, preset], group);
    }
    push(&mut table, summary, ["all", "all", "", ""], &summary.overall());
    table
}

fn push(table: &mut Table, summary: &Summary, names: [&str; 4], group: &Group) {
    let models = summary.models();
    let alone =
        |granularity: Granularity| models.iter().position(|model| model.granularity == granularity);
    let mut pairs: Vec<(Option<usize>, Option<usize>)> =
        summary.pairs().map(|(coarse, fine)| (Some(coarse), Some(fine))).collect();
    if pairs.is_empty() {
        pairs.push((alone(Granularity::Coarse), alone(Granularity::Fine)));
    }
    for (coarse, fine) in pairs {
        let name = |at: Option<usize>| {
            Cell::maybe(at.map(|at| (models[at].id.clone(), models[at].id.clone())))
        };
        let bill = |at: Option<usize>| {
            at.map_or_else(|| Cell::maybe::<String>(None), |at| amount(&group.models[at]))
        };
        let currency = coarse.or(fine).map(|at| models[at].currency.clone());
        let ratio =
            coarse.zip(fine).and_then(|(coarse, fine)| summary.ratio(group, coarse, fine, 2).ok());
        table.push(vec![
            Cell::text(names[0]),
            Cell::text(names[1]),
            Cell::text(names[2]),
            Cell::text(names[3]),
            Cell::new(group.invocations, group.invocations),
            name(coarse),
            bill(coarse),
            name(fine),
            bill(fine),
            Cell::maybe(currency.map(|it| (it.clone(), it))),
            Cell::maybe(ratio.map(|it| (format!("{}x", it.rounded(2)), it.to_plain_string()))),
            Cell::text(notes(group, [coarse, fine])),
        ]);
    }
}

fn amount(total: &ModelTotal) -> Cell {
    let shown = (total.billed > 0)
        .then(|| (total.total.significant(DIGITS), total.total.to_plain_string()));
    Cell::maybe(shown)
}

/// What a reader must know about the totals.
#[must_use]
pub fn footnotes(summary: &Summary) -> Vec<String> {
    let models = summary.models();
    let mut notes = Vec::new();
    if let (Some((coarse, fine)), None) = (summary.pairs().next(), summary.pairs().nth(1)) {
        notes.push(format!("coarse is {}, fine is {}", models[coarse].id, models[fine].id));
    }
    let overall = summary.overall();
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    let mut say = |what: String, model| match said.iter_mut().find(|(known, _)| *known == what) {
        Some((_, who)) => who.push(model),
        None => said.push((what, vec![model])),
    };
    for (model, total) in models.iter().zip(&overall.models) {
        total.notes.keys().for_each(|note| say(note.to_string(), &model.id));
        for (why, count) in &total.refused {
            say(format!("refused {count} of {}: {}", overall.invocations, why.missing), &model.id);
        }
    }
    // What several models have to say is said once.
    notes.extend(said.into_iter().map(|(what, who)| format!("{what}: {}", who.join(", "))));
    notes
}

/// Refusals and labels of the models of a row.
fn notes(group: &Group, models: [Option<usize>; 2]) -> String {
    let mut notes = Vec::new();
    for total in models.into_iter().flatten().map(|at| &group.models[at]) {
        notes.extend(total.notes.keys().map(ToString::to_string));
        notes.extend(
            total.refused.iter().map(|(refusal, count)| format!("{count} refused: {refusal}")),
        );
    }
    notes.join("; ")
}
