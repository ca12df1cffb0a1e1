//! Figures of the live screen as a table for exports.

use serde_json::Value;

use super::bill_panel;
use crate::model::Model;
use cyclometer_core::units::Nanos;
use cyclometer_meter::Meter;
use cyclometer_record::live::{CellView, LiveSnapshot, WindowQuantiles};
use cyclometer_report::{Cell, Column, Table};

/// Returns a table with a row for each cell and price model.
pub fn table(model: &Model) -> Table {
    let snapshot = super::shown_snapshot(model);
    let mut columns: Vec<Column> = vec![
        Column::text("workload", "workload"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::text("preset", "preset"),
        Column::number("ok", "ok"),
        Column::number("failed", "failed"),
        Column::number("start last", "start_last_ns"),
        Column::number("start p50", "start_p50_ns"),
        Column::number("start p95", "start_p95_ns"),
        Column::number("run last", "run_last_ns"),
        Column::number("run p50", "run_p50_ns"),
        Column::number("run p95", "run_p95_ns"),
        Column::number("allocated", "memory_allocated_bytes"),
        Column::number("peak", "memory_peak_max_bytes"),
    ];
    // Meters of the newest invocation; those that repeat a column above are
    // left out.
    let meters: Vec<Meter> = Meter::ALL
        .iter()
        .copied()
        .filter(|meter| !matches!(meter, Meter::MemoryAllocated | Meter::MemoryRss))
        .collect();
    columns.extend(meters.iter().map(|meter| Column::number(meter.name(), meter.name())));
    columns.push(Column::text("model", "model"));
    columns.push(Column::number("total", "total"));
    let mut table = Table::new(&columns);
    for cell in &snapshot.cells {
        let row = measured_cells(snapshot, cell, &meters);
        for (model_name, total) in model_totals(model, snapshot, cell) {
            let mut row = row.clone();
            row.push(model_name.map_or_else(|| Cell::optional::<String>(None), Cell::text));
            row.push(Cell::optional_text(total));
            table.push(row);
        }
    }
    table
}

fn span_cell(value: Option<u64>) -> Cell {
    Cell::optional_time(value.map(Nanos))
}

fn measured_cells(snapshot: &LiveSnapshot, cell: &CellView, meters: &[Meter]) -> Vec<Cell> {
    let lane = snapshot.lanes.get(cell.lane).map_or("", |lane| &*lane.name);
    let phases = cell.last.as_ref().map(|last| last.usage.phases);
    let pick = |quantiles: Option<WindowQuantiles>, pick: fn(WindowQuantiles) -> u64| {
        span_cell(quantiles.map(pick))
    };
    let mut row = vec![
        Cell::text(&*cell.workload),
        Cell::text(lane),
        Cell::text(cell.start.label()),
        Cell::text(&*cell.preset),
        Cell::new(cell.ok, cell.ok),
        Cell::new(cell.bad, cell.bad),
        span_cell(phases.and_then(|it| it.startup_time()).map(|it| it.0)),
        pick(cell.startup, |it| it.p50),
        pick(cell.startup, |it| it.p95),
        span_cell(phases.and_then(|it| it.run).map(|it| it.0)),
        pick(cell.run, |it| it.p50),
        pick(cell.run, |it| it.p95),
        Cell::new(cell.allocated, cell.allocated.0),
        Cell::optional(cell.peak.map(|it| (it.to_string(), it))),
    ];
    row.extend(meters.iter().map(|meter| {
        Cell::optional(
            cell.newest_meter_value(*meter).ok().map(|it| (it.to_string(), Value::from(it))),
        )
    }));
    row
}

/// Returns the models and exact totals of a cell; one line with neither if
/// nothing is billed.
fn model_totals(
    _model: &Model,
    snapshot: &LiveSnapshot,
    cell: &CellView,
) -> Vec<(Option<String>, Option<String>)> {
    let Some(all) = &snapshot.bills else { return vec![(None, None)] };
    // A cell that never ended well has no price.
    let group = snapshot.bill_group(cell).filter(|_| cell.ok > 0);
    let models = all.models().iter().enumerate();
    models
        .map(|(at, info)| {
            let total = group.and_then(|group| group.models.get(at));
            let billed = total.filter(|it| bill_panel::format_amount(Some(it), false).is_some());
            (Some(info.id.clone()), billed.map(|it| it.total.to_plain_string()))
        })
        .collect()
}
