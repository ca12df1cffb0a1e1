//! Export of the bills screen with all digits.

use super::LoadedBills;
use super::bill_table::{BilledLane, ModelRow};
use crate::model::Model;
use cyclometer_pricing::{Exact, Money};
use cyclometer_report::{Cell, Column, Table};

/// Builds the export: a row per model and lane, in the order of the screen.
pub(crate) fn export_table(model: &Model) -> Table {
    let mut table = Table::new(&[
        Column::number("recording", "recording"),
        Column::text("model", "model"),
        Column::text("granularity", "granularity"),
        Column::text("currency", "currency"),
        Column::text("lane", "lane"),
        Column::text("workload", "workload"),
        Column::text("start", "start"),
        Column::number("what-if memory", "what_if_memory_bytes"),
        Column::number("invocations", "invocations"),
        Column::number("billed", "billed"),
        Column::number("total", "total"),
        Column::number("a million", "mean_per_million"),
        Column::number("requests a month", "month_requests"),
        Column::number("a month", "month_total"),
        Column::number("used", "used"),
        Column::number("idle", "idle"),
        Column::number("head-room", "headroom"),
        Column::number("rounding", "rounding"),
        Column::number("start-up", "startup"),
        Column::number("fees", "fees"),
        Column::number("unmeasured", "unmeasured"),
        Column::text("note", "note"),
    ]);
    let Some(held) = &model.screens.bills.loaded else { return table };
    for at in &model.screens.bills.visible_rows {
        let row = &held.table.rows[*at];
        for (place, lane) in held.table.lanes.iter().enumerate() {
            table.push(build_export_row(held, row, *at, lane, place));
        }
    }
    table
}

fn build_export_row(
    held: &LoadedBills,
    row: &ModelRow,
    at: usize,
    lane: &BilledLane,
    place: usize,
) -> Vec<Cell> {
    let request = &held.request;
    let view = &request.view;
    let group = lane.group.as_ref().ok();
    let total = group.and_then(|group| group.models.get(at));
    let billed = total.filter(|total| total.billed > 0);
    let money = |amount: Option<&Money>| {
        let text = amount.map(Money::to_plain_string);
        Cell::optional_text(text)
    };
    let count = |count: Option<u64>| Cell::optional(count.map(|it| (it.to_string(), it)));
    let month = view.month.and_then(|requests| {
        let month = held.replayed.summary.monthly_bill(group?, at, &Exact::from(requests));
        month.ok().map(|month| month.total)
    });
    let mut cells = vec![
        Cell::new(request.source.recording, request.source.recording),
        Cell::text(&row.id),
        Cell::text(row.granularity.name()),
        Cell::text(&row.currency),
        Cell::text(&lane.name),
        Cell::text(view.workload.as_deref().unwrap_or("all")),
        Cell::text(view.start.map_or("both", cyclometer_lanes::StartKind::label)),
        Cell::optional_size(request.source.memory),
        count(group.map(|group| group.invocations)),
        count(total.map(|total| total.billed)),
        money(billed.map(|total| &total.total)),
        money(billed.and_then(|total| total.project_cost(1_000_000)).as_ref()),
        count(view.month),
        money(month.as_ref()),
    ];
    match billed {
        Some(total) => cells.extend(total.waste.named_parts().map(|(_, part)| money(Some(part)))),
        None => cells.extend((0..7).map(|_| money(None))),
    }
    cells.push(Cell::text(build_note(row, total.map(|total| &total.notes), place)));
    cells
}

/// Explains why an amount is missing, and lists what stands in for meters.
fn build_note(
    row: &ModelRow,
    notes: Option<&std::collections::BTreeMap<std::sync::Arc<str>, u64>>,
    place: usize,
) -> String {
    let mut all: Vec<String> =
        notes.into_iter().flatten().map(|(note, _)| note.to_string()).collect();
    all.extend(row.cells.get(place).and_then(|cell| cell.price.as_ref().err().cloned()));
    all.join("; ")
}
