//! Decomposition of bills into used and wasted parts, group by group.

use super::prices::list_remarks;
use super::table::{Cell, Column, Table};
use super::text_format::format_percent;
use cyclometer_pricing::Money;
use cyclometer_replay::{GroupTotal, ModelTotal, ReplaySummary};

/// Returns the note below the table, if a part is unmeasured.
#[must_use]
pub fn unmeasured_note(summary: &ReplaySummary) -> Option<&'static str> {
    let overall = summary.overall_group();
    let is_some = overall.models.iter().any(|total| !total.waste.unmeasured.is_zero());
    is_some.then_some(
        "?: unmeasured: CPU time before the first instruction, or memory, is not known, and \
         nothing is guessed; `cyclometer query --saved missing-meters` says why",
    )
}

/// Builds one row a model, workload, lane and start; parts are shares of the bill for
/// people, exact amounts for programs.
#[must_use]
pub fn waste_table(summary: &ReplaySummary) -> Table {
    let several = summary.models().len() > 1;
    let mut table = Table::new(&[
        if several { Column::text("model", "model") } else { Column::hidden("model") },
        Column::text("workload", "workload"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::hidden("preset"),
        Column::hidden("currency"),
        Column::hidden("billed"),
        Column::hidden("total"),
        Column::number("used", "used"),
        Column::number("idle", "idle"),
        Column::number("room", "headroom"),
        Column::number("round", "rounding"),
        Column::number("start", "startup"),
        Column::number("fees", "fees"),
        Column::number("?", "unmeasured"),
        Column::hidden("note"),
    ]);
    for index in 0..summary.models().len() {
        for (key, group) in summary.groups() {
            push_row(
                &mut table,
                summary,
                index,
                group,
                [&key.workload, &key.lane, key.start.label(), &key.preset],
            );
        }
        push_row(&mut table, summary, index, &summary.overall_group(), ["all", "all", "", ""]);
    }
    table
}

fn push_row(
    table: &mut Table,
    summary: &ReplaySummary,
    index: usize,
    group: &GroupTotal,
    names: [&str; 4],
) {
    let info = &summary.models()[index];
    let total = &group.models[index];
    let mut row = vec![Cell::text(info.id.as_str())];
    row.extend(names.map(Cell::text));
    row.push(Cell::text(info.currency.as_str()));
    row.push(Cell::new(total.billed, total.billed));
    row.push(money_cell(total, &total.total));
    row.extend(total.waste.named_parts().map(|(_, part)| share_cell(total, part)));
    row.push(Cell::text(list_remarks(group, total).join("; ")));
    table.push(row);
}

fn money_cell(total: &ModelTotal, amount: &Money) -> Cell {
    let text = amount.to_plain_string();
    Cell::optional((total.billed > 0).then(|| (text.clone(), text)))
}

/// Returns a part as a share of the bill for people, as the exact amount for programs.
fn share_cell(total: &ModelTotal, part: &Money) -> Cell {
    let share = part.as_exact().checked_div(total.total.as_exact());
    Cell::optional(share.filter(|_| total.billed > 0).map(|share| {
        let percent = format_percent(&share, 1);
        let shown = if part.is_zero() { "0".to_owned() } else { format!("{percent}%") };
        (shown, part.to_plain_string())
    }))
}
