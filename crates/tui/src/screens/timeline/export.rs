//! Export of the timeline screen: the invocations up to the current moment.

use crate::model::Model;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_report::{Cell, Column, Table};

/// Builds the export: a row per invocation that had ended.
pub(crate) fn export_table(model: &Model) -> Table {
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("workload", "workload"),
        Column::text("start", "start"),
        Column::number("sequence", "sequence"),
        Column::text("status", "status"),
        Column::number("offset", "offset_ns"),
        Column::number("create", "create_ns"),
        Column::number("start", "start_ns"),
        Column::number("run", "run_ns"),
        Column::number("CPU", "cpu_ns"),
        Column::number("cycles", "cycles"),
        Column::number("ref cycles", "ref_cycles"),
        Column::number("peak", "memory_peak_bytes"),
    ]);
    let Some(played) = &model.screens.timeline.played else { return table };
    let ended = played.count_ended(model.screens.timeline.player.position());
    for row in &played.rows[..ended] {
        let Some(cell) = played.about.cells.get(row.cell_index()) else { continue };
        let span = |value: Option<u64>| Cell::optional_time(value.map(Nanos));
        let count = Cell::optional_count;
        table.push(vec![
            Cell::text(&*played.lane_name(cell.lane)),
            Cell::text(&*cell.key.workload),
            Cell::text(cell.key.start.label()),
            Cell::new(row.sequence, row.sequence),
            Cell::text(row.status.label()),
            Cell::new(row.offset, row.offset.0),
            span(row.create.get()),
            span(row.start.get()),
            span(row.run.get()),
            span(row.cpu.get()),
            count(row.cycles.get()),
            count(row.ref_cycles.get()),
            Cell::optional_size(row.peak.get().map(Bytes)),
        ]);
    }
    table
}
