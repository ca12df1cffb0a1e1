//! `replay --memory sweep`: finds the cheapest memory size that the peak allows.
//!
//! Time is taken as it was measured. Where a provider gives CPU with memory, a
//! smaller size would run longer: the sweep says what head-room costs, not how
//! fast the function is.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::meter::Meter;
use crate::pricing::{Exact, Money};
use crate::replay::{CellKey, GroupTotal, ReplaySummary, WhatIf};
use crate::report::{Cell, Column, Table, format_percent};
use crate::store::{ReplayPlan, Store};
use crate::units::Bytes;

const MIB: u64 = 1 << 20;

/// Sizes that are tried, in MiB: those that providers offer.
const SIZES: [u64; 20] = [
    64, 128, 192, 256, 320, 384, 512, 640, 768, 1_024, 1_280, 1_536, 1_769, 2_048, 3_008, 4_096,
    5_120, 6_144, 8_192, 10_240,
];

/// Runs the command.
pub(super) fn run(common: &CommonOptions, store: &Store, plan: &ReplayPlan) -> CommandOutcome {
    let now = store.replay_without_saving(plan).map_err(CommandFailure::failed)?;
    let peaks: Vec<u64> = now.groups().filter_map(|(_, group)| Some(group.peak?.0)).collect();
    let (Some(least), Some(most)) = (peaks.iter().min(), peaks.iter().max()) else {
        return Err(CommandFailure::failed(
            "no memory peak was measured, so no size can be ruled out",
        ));
    };
    // Where memory comes in steps of 1 MiB, the peak itself is a size.
    let mut sizes: Vec<u64> = peaks.iter().map(|peak| peak.div_ceil(MIB) * MIB).collect();
    let named = SIZES.iter().map(|size| size * MIB);
    sizes.extend(named.filter(|size| size >= least && *size / 2 <= (*most).max(64 * MIB)));
    sizes.sort_unstable();
    sizes.dedup();
    let mut tried = Vec::new();
    for size in sizes {
        let mut what_if = plan.what_if.clone();
        what_if.0.push((Meter::MemoryAllocated, size));
        let plan = ReplayPlan { what_if: WhatIf(what_if.0), ..plan.clone() };
        tried.push((size, store.replay_without_saving(&plan).map_err(CommandFailure::failed)?));
    }
    let people = common.format.is_for_people();
    let (table, others) = build_table(&now, &tried, plan.per_month.as_ref(), people);
    if !(people && table.is_empty()) {
        common.print_table(&table)?;
    }
    if people {
        common.print_lines(&others)?;
    }
    if people && table.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if common.format.is_for_people() {
        let what = if plan.per_month.is_some() { "a month" } else { "a million, list prices" };
        say(&format!(
            "cost of {what}; {} sizes tried, in each cell those of its largest peak and more",
            tried.len()
        ));
        say("time is as measured: a provider that gives CPU with memory would take longer");
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds one row a model and cell. Cells that no size makes cheaper are left out for
/// people, and listed below the table with the reason.
fn build_table(
    now: &ReplaySummary,
    tried: &[(u64, ReplaySummary)],
    month: Option<&Exact>,
    people: bool,
) -> (Table, Vec<String>) {
    let several = now.models().len() > 1;
    let mut table = Table::new(&[
        if several { Column::text("model", "model") } else { Column::hidden("model") },
        Column::text("workload", "workload"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::hidden("preset"),
        Column::number("peak", "memory_peak_bytes"),
        Column::number("best", "best_memory_bytes"),
        Column::number("now", "cost_now"),
        Column::number("then", "cost_best"),
        Column::number("saves", "saving"),
        Column::hidden("note"),
    ]);
    let mut left_out = CellsWithoutSaving::new();
    for (index, info) in now.models().iter().enumerate() {
        for (key, group) in now.groups() {
            let before = group_cost(now, group, index, month);
            let best = group.peak.and_then(|peak| cheapest_size(tried, key, index, peak, month));
            let best = best.zip(before.as_ref()).filter(|((_, after), before)| after < *before);
            let note = match (&best, &before) {
                (Some(_), _) => String::new(),
                (None, Some(_)) if group.peak.is_some() => {
                    "nothing is cheaper at any size that the peak allows".to_owned()
                }
                (None, Some(_)) => "no memory peak was measured".to_owned(),
                (None, None) => {
                    format!("no price: {}", missing_price_reason(now, group, index, month))
                }
            };
            if people && best.is_none() {
                left_out.entry(note).or_default().entry(index).or_default().push(cell_name(key));
                continue;
            }
            let best = best.map(|((size, after), _)| (Bytes(size), after));
            table.push(sweep_row(
                info.id.as_str(),
                key,
                group.peak,
                before.as_ref(),
                best.as_ref(),
                note,
            ));
        }
    }
    (table, describe_left_out(now, &left_out))
}

/// Cells without a row, by reason and by model.
type CellsWithoutSaving = BTreeMap<String, BTreeMap<usize, Vec<String>>>;

/// Lists the cells without a row, with the reason. A model stands for its cells only if
/// the reason is the same for all of them.
fn describe_left_out(now: &ReplaySummary, left_out: &CellsWithoutSaving) -> Vec<String> {
    let all_cells = now.groups().count();
    let name = |(index, cells): (&usize, &Vec<String>)| {
        let id = &now.models()[*index].id;
        match now.models().len() {
            1 => cells.join("; "),
            _ if cells.len() == all_cells => id.clone(),
            _ => format!("{id} ({})", cells.join("; ")),
        }
    };
    let line = |(note, models): (&String, &BTreeMap<usize, Vec<String>>)| {
        format!("{note}: {}", models.iter().map(name).collect::<Vec<_>>().join(", "))
    };
    left_out.iter().map(line).collect()
}

fn cell_name(key: &CellKey) -> String {
    key.to_string()
}

/// Returns why a group has no price under a model.
fn missing_price_reason(
    summary: &ReplaySummary,
    group: &GroupTotal,
    index: usize,
    month: Option<&Exact>,
) -> String {
    if let Some(failures) = group.describe_failures().filter(|_| group.only_failed()) {
        return failures;
    }
    let refused = group.models.get(index).and_then(|total| total.refused.keys().next());
    if let Some(refusal) = refused {
        return refusal.to_string();
    }
    let month = month.and_then(|requests| summary.monthly_bill(group, index, requests).err());
    month.map_or_else(|| "nothing was billed".to_owned(), |why| why.to_string())
}

/// Returns the least cost of the sizes that fit; of several, that of the smallest size.
fn cheapest_size(
    tried: &[(u64, ReplaySummary)],
    key: &CellKey,
    index: usize,
    peak: Bytes,
    month: Option<&Exact>,
) -> Option<(u64, Money)> {
    let fits = tried.iter().filter(|(size, _)| *size >= peak.0);
    let costs = fits.filter_map(|(size, summary)| {
        let group = summary.groups().find(|(other, _)| *other == key)?.1;
        Some((*size, group_cost(summary, group, index, month)?))
    });
    costs.min_by(|(one, first), (other, second)| first.cmp(second).then(one.cmp(other)))
}

fn group_cost(
    summary: &ReplaySummary,
    group: &GroupTotal,
    index: usize,
    month: Option<&Exact>,
) -> Option<Money> {
    if let Some(requests) = month {
        return Some(summary.monthly_bill(group, index, requests).ok()?.total);
    }
    let total = group.models.get(index).filter(|total| total.refusal_count() == 0)?;
    total.project_cost(1_000_000)
}

fn sweep_row(
    id: &str,
    key: &CellKey,
    peak: Option<Bytes>,
    before: Option<&Money>,
    best: Option<&(Bytes, Money)>,
    note: String,
) -> Vec<Cell> {
    let digits = std::num::NonZeroU64::MIN.saturating_add(3);
    let money = |amount: Option<&Money>| Cell::optional_money(amount, digits);
    let size = Cell::optional_size;
    let share = before.zip(best).and_then(|(before, (_, after))| {
        (before.as_exact() - after.as_exact()).checked_div(before.as_exact())
    });
    let percent = |share: &Exact| format!("{} %", format_percent(share, 0));
    vec![
        Cell::text(id),
        Cell::text(&*key.workload),
        Cell::text(&*key.lane),
        Cell::text(key.start.label()),
        Cell::text(&*key.preset),
        size(peak),
        size(best.map(|it| it.0)),
        money(before),
        money(best.map(|it| &it.1)),
        Cell::optional(share.map(|it| (percent(&it), it.to_plain_string()))),
        Cell::text(note),
    ]
}
