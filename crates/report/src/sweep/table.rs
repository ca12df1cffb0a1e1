//! Tables of a sweep: for people a row a size, for programs a row a size and tariff.

use serde_json::Value;

use super::sentences::{change_from_present, format_share};
use super::{SizeRow, SweepReport, Tariff, format_amount, format_size};
use crate::table::{Cell, Column, Table};
use crate::text_format::format_time;

const COLUMNS: [Column; 27] = [
    Column::text("function", "function"),
    Column::text("place", "place"),
    Column::text("model", "model"),
    Column::number("memory", "memory_bytes"),
    Column::hidden("workload"),
    Column::number("CPUs", "cpu_share"),
    Column::hidden("cpu_rule"),
    Column::number("runs", "runs"),
    Column::number("failed", "failed"),
    Column::number("wall p50", "wall_p50_ns"),
    Column::hidden("wall_p50_low_ns"),
    Column::hidden("wall_p50_high_ns"),
    Column::number("CPU p50", "cpu_p50_ns"),
    Column::number("throttled", "throttled_p50_ns"),
    Column::number("peak", "memory_peak_bytes"),
    Column::hidden("least_memory_bytes"),
    Column::hidden("can_be_recommended"),
    Column::hidden("currency"),
    Column::number("cost/M", "cost_per_million"),
    Column::hidden("cost_low"),
    Column::hidden("cost_high"),
    Column::hidden("present_memory_bytes"),
    Column::hidden("change_per_million"),
    Column::text("cheapest", "cheapest"),
    Column::text("fastest", "fastest"),
    Column::text("balanced", "balanced"),
    Column::hidden("reason"),
];

/// Builds the table for programs: one row a tariff and size.
#[must_use]
pub fn build_program_table(report: &SweepReport) -> Table {
    let mut table = Table::new(&COLUMNS);
    for tariff in &report.tariffs {
        for (at, row) in report.rows.iter().enumerate() {
            table.push(program_row(report, tariff, at, row));
        }
    }
    table
}

fn hidden(value: impl Into<Value>) -> Cell {
    Cell::new("", value)
}

fn program_row(report: &SweepReport, tariff: &Tariff, at: usize, row: &SizeRow) -> Vec<Cell> {
    let plan = &report.plan;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are between 0 and 2^53 ns"
    )]
    let time = |nanos: Option<f64>| hidden(nanos.map(|nanos| nanos.round() as u64));
    let cost = tariff.costs.get(at).and_then(|cost| cost.as_ref().ok());
    let no_price = tariff.costs.get(at).and_then(|cost| cost.as_ref().err());
    let ends = row.wall.and_then(|wall| wall.ends);
    let cost_ends = cost.and_then(|cost| cost.figure.ends);
    let change = change_from_present(report, tariff, at).map(|it| it.to_plain_string());
    let mut cells = vec![
        Cell::text(&*plan.function),
        Cell::text(&*report.place),
        Cell::text(&*tariff.id),
        Cell::new(format_size(row.planned.memory), row.planned.memory.0),
        Cell::text(&*row.planned.workload),
        Cell::optional(row.planned.cpu_share.map(|it| (format_share(it), f64::from(it) / 1e3))),
        Cell::optional_text(plan.cpu_rule.clone()),
        Cell::new(row.ok, row.ok),
        Cell::new(row.failed, row.failed),
        time(row.wall.map(|wall| wall.value)),
        time(ends.map(|it| it.0)),
        time(ends.map(|it| it.1)),
        Cell::optional_time(row.cpu),
        Cell::optional_time(row.throttled),
        Cell::optional_size(row.peak),
        Cell::optional_size(report.least),
        hidden(tariff.candidates.contains(&at)),
        Cell::text(&*tariff.currency),
        Cell::optional_text(cost.map(|cost| cost.mean.to_plain_string())),
        hidden(cost_ends.map(|it| it.0)),
        hidden(cost_ends.map(|it| it.1)),
        Cell::optional_size(plan.present),
        Cell::optional_text(change),
    ];
    let standing = |name: &str| {
        let picks = tariff.named_picks();
        let pick = picks.iter().find(|(other, _)| *other == name).map(|(_, pick)| *pick);
        let word = pick.and_then(|pick| tariff.standing_of(at, pick).word());
        Cell::optional_text(word.map(str::to_owned))
    };
    cells.extend(["cheapest", "fastest", "balanced"].map(standing));
    cells.push(Cell::optional_text(row.reason.clone().or_else(|| no_price.cloned())));
    cells
}

/// Builds the table for people: one row a size, with a column for each tariff.
#[must_use]
pub fn build_people_table(report: &SweepReport) -> Table {
    let has_failures = report.rows.iter().any(|row| row.failed > 0);
    let has_throttling = report.rows.iter().any(|row| row.throttled.is_some());
    let mut titles: Vec<String> = ["memory", "CPUs", "runs"].map(str::to_owned).to_vec();
    titles.extend(has_failures.then(|| "failed".to_owned()));
    titles.extend(["wall p50", "interval", "CPU p50"].map(str::to_owned));
    titles.extend(has_throttling.then(|| "throttled".to_owned()));
    titles.push("peak mem".to_owned());
    titles.extend(report.tariffs.iter().map(|it| format!("{} {}/M", it.id, it.currency)));
    let mut table = Table::with_headings(titles.into_iter().map(|title| (title, true)));
    for (at, row) in report.rows.iter().enumerate() {
        let mut cells = vec![
            Cell::text(format_size(row.planned.memory)),
            Cell::text(row.planned.cpu_share.map_or_else(|| "-".to_owned(), format_share)),
            Cell::new(row.ok, row.ok),
        ];
        cells.extend(has_failures.then(|| Cell::new(row.failed, row.failed)));
        let ends = row.wall.and_then(|wall| wall.ends);
        let ends = ends.map(|(low, high)| format!("[{}, {}]", format_time(low), format_time(high)));
        cells.extend([
            Cell::optional_text(row.wall.map(|wall| format_time(wall.value))),
            Cell::optional_text(ends),
            Cell::optional_time(row.cpu),
        ]);
        cells.extend(has_throttling.then(|| Cell::optional_time(row.throttled)));
        cells.push(Cell::optional_size(row.peak));
        cells.extend(report.tariffs.iter().map(|tariff| {
            let cost = tariff.costs.get(at).and_then(|cost| cost.as_ref().ok());
            Cell::optional_text(cost.map(|cost| format_amount(cost.figure.value)))
        }));
        table.push(cells);
    }
    table
}
