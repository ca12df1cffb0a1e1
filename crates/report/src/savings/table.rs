//! Savings as tables: one for people, one for programs.

use std::num::NonZeroU64;

use super::{Advice, Basis, Change, Evidence, FunctionSavings, Grouping, SavingsReport};
use super::{describe_change, format_amount};
use crate::sweep::format_size;
use crate::{Cell, Column, Table, format_percent};
use cyclometer_core::units::Bytes;
use cyclometer_pricing::{Exact, Money};

const DIGITS: NonZeroU64 = NonZeroU64::MIN.saturating_add(3);

/// Builds a table of at most `limit` functions with the best change of each.
#[must_use]
pub fn build_people_table(report: &SavingsReport, limit: usize) -> Table {
    let by_cell = report.grouping == Grouping::Cell;
    let several = report.functions.iter().any(|it| {
        report.functions.first().is_some_and(|first| first.key.platform != it.key.platform)
    });
    let only_if = |wanted: bool, column: Column| {
        if wanted { column } else { Column { title: "", ..column } }
    };
    let mut table = Table::new(&[
        Column::text("function", "function"),
        only_if(several, Column::text("platform", "platform")),
        only_if(by_cell, Column::text("size", "preset")),
        only_if(by_cell, Column::text("start", "start")),
        Column::number("invocations", "invocations"),
        Column::number("memory", "memory_bytes"),
        Column::number("peak", "memory_peak_bytes"),
        Column::number("cost", "cost"),
        Column::number("waste", "wasted_share"),
        Column::number("saves", "saving"),
        Column::text("by", "change"),
    ]);
    for function in report.functions.iter().take(limit) {
        let key = &function.key;
        let best = function.advice.first();
        let money = |amount: Option<&Money>| {
            Cell::optional_text(amount.map(|amount| format_amount(amount, &report.currency)))
        };
        let (preset, start) =
            key.cell.as_ref().map_or(("", ""), |(preset, start)| (preset.as_str(), start.label()));
        table.push(vec![
            Cell::text(&*key.function),
            Cell::text(&*key.platform),
            Cell::text(preset),
            Cell::text(start),
            Cell::optional_count(Some(function.invocations)),
            Cell::optional_text(given_text(function)),
            Cell::optional_size(known_peak(function)),
            money(function.cost.as_ref().ok()),
            Cell::optional_text(wasted_text(function)),
            money(best.map(|advice| &advice.saving)),
            Cell::optional_text(best.map(|advice| describe_change(report, &advice.change))),
        ]);
    }
    table
}

/// Formats the memory that a function is given: one size, or the smallest and the largest.
fn given_text(function: &FunctionSavings) -> Option<String> {
    let (least, most) = function.usage.given?;
    Some(if least == most {
        format_size(most)
    } else {
        format!("{}..{}", least.0 >> 20, format_size(most))
    })
}

fn known_peak(function: &FunctionSavings) -> Option<Bytes> {
    let (rows, peak) = function.usage.peak;
    (rows > 0).then_some(peak)
}

/// Formats the share of a bill for nothing: idle time, head-room, rounding, start-up; with `>=`
/// where a part is unmeasured.
fn wasted_text(function: &FunctionSavings) -> Option<String> {
    let split = function.split.as_ref()?;
    let share = format_percent(&split.wasted_share()?, 0);
    let least = if split.unmeasured.is_zero() { "" } else { ">= " };
    Some(format!("{least}{share} %"))
}

/// Builds a row for each change of each function, ranked; functions without a change that saves
/// something have one row without.
#[must_use]
pub fn build_program_table(report: &SavingsReport) -> Table {
    let mut table = Table::new(&[
        Column::number("rank", "rank"),
        Column::number("recording", "recording"),
        Column::text("function", "function"),
        Column::text("platform", "platform"),
        Column::text("size", "preset"),
        Column::text("start", "start"),
        Column::number("invocations", "invocations"),
        Column::number("mean duration", "wall_mean_ns"),
        Column::number("least memory", "memory_least_bytes"),
        Column::number("memory", "memory_bytes"),
        Column::number("peak", "memory_peak_bytes"),
        Column::text("model", "model"),
        Column::text("currency", "currency"),
        Column::text("of", "amounts_of"),
        Column::number("period", "period_ns"),
        Column::number("cost", "cost"),
        Column::number("used", "used"),
        Column::number("idle", "idle"),
        Column::number("head-room", "headroom"),
        Column::number("rounding", "rounding"),
        Column::number("start-up", "startup"),
        Column::number("fees", "fees"),
        Column::number("unmeasured", "unmeasured"),
        Column::text("change", "change"),
        Column::number("new memory", "new_memory_bytes"),
        Column::text("new model", "new_model"),
        Column::number("new cost", "new_cost"),
        Column::number("saves", "saving"),
        Column::number("share", "saving_share"),
        Column::number("break-even", "break_even_duration_factor"),
        Column::text("evidence", "evidence"),
        Column::number("duration factor", "duration_factor"),
        Column::text("note", "note"),
    ]);
    for (rank, function) in (1_u64..).zip(&report.functions) {
        if function.advice.is_empty() {
            table.push(program_row(report, rank, function, None));
        }
        for advice in &function.advice {
            table.push(program_row(report, rank, function, Some(advice)));
        }
    }
    table
}

fn program_row(
    report: &SavingsReport,
    rank: u64,
    function: &FunctionSavings,
    advice: Option<&Advice>,
) -> Vec<Cell> {
    let key = &function.key;
    let usage = &function.usage;
    let money = |amount: Option<&Money>| Cell::optional_money(amount, DIGITS);
    let (preset, start) = key.cell.clone().unzip();
    let cost = function.cost.as_ref().ok();
    let period = match &report.basis {
        Basis::Month { length, .. } => Some(*length),
        _ => None,
    };
    let mut row = vec![
        Cell::new(rank, rank),
        Cell::new(report.recording, report.recording),
        Cell::text(&*key.function),
        Cell::text(&*key.platform),
        Cell::optional_text(preset),
        Cell::optional_text(start.map(|start| start.label().to_owned())),
        Cell::new(function.invocations, function.invocations),
        Cell::optional_time(function.mean_wall()),
        Cell::optional_size(usage.given.map(|(least, _)| least)),
        Cell::optional_size(usage.given.map(|(_, most)| most)),
        Cell::optional_size(known_peak(function)),
        Cell::text(report.models.first().map_or("", String::as_str)),
        Cell::text(&*report.currency),
        Cell::text(report.basis.unit()),
        Cell::optional_time(period),
        money(cost),
    ];
    match &function.split {
        Some(split) => row.extend(split.named_parts().map(|(_, part)| money(Some(part)))),
        None => row.extend((0..7).map(|_| money(None))),
    }
    row.extend(change_cells(report, function, advice, cost));
    row
}

fn change_cells(
    report: &SavingsReport,
    function: &FunctionSavings,
    advice: Option<&Advice>,
    cost: Option<&Money>,
) -> Vec<Cell> {
    let money = |amount: Option<&Money>| Cell::optional_money(amount, DIGITS);
    let number =
        |value: Option<&Exact>| Cell::optional_text(value.map(|value| value.to_rounded_string(6)));
    let (memory, model) = match advice.map(|advice| &advice.change) {
        Some(Change::Memory { to, .. }) => (Some(*to), None),
        Some(Change::Model(at)) => (None, report.models.get(*at).cloned()),
        None => (None, None),
    };
    let kind = advice.map(|advice| match advice.change {
        Change::Memory { .. } => "memory".to_owned(),
        Change::Model(_) => "model".to_owned(),
    });
    let (evidence, stretch) = match advice.map(|advice| &advice.evidence) {
        Some(Evidence::Unchanged) => (Some("estimate: durations unchanged"), None),
        Some(Evidence::CpuTime { stretch, .. }) => (Some("estimate: by CPU time"), Some(stretch)),
        Some(Evidence::Measured { stretch, .. }) => (Some("measured"), Some(stretch)),
        None => (None, None),
    };
    let share = advice
        .zip(cost)
        .and_then(|(advice, cost)| advice.saving.as_exact().checked_div(cost.as_exact()));
    let note = match (advice, &function.cost) {
        (_, Err(reason)) => reason.clone(),
        (Some(advice), _) => super::describe_advice(report, function, advice),
        (None, _) => function.refusals.join("; "),
    };
    vec![
        Cell::optional_text(kind),
        Cell::optional_size(memory),
        Cell::optional_text(model),
        money(advice.map(|advice| &advice.cost)),
        money(advice.map(|advice| &advice.saving)),
        number(share.as_ref()),
        number(advice.and_then(|advice| advice.break_even.as_ref())),
        Cell::optional_text(evidence.map(str::to_owned)),
        number(stretch),
        Cell::text(note),
    ]
}
