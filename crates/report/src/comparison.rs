//! The comparison at the end of a recording: one row a cell.

use std::collections::HashMap;

use serde_json::Value;

use super::precision;
use super::table::{Cell, Column, Table};
use cyclometer_core::meter::USER_ONLY;
use cyclometer_core::units::{Count, Nanos};
use cyclometer_replay::{CellKey, GroupTotal, ReplaySummary};
use cyclometer_stats::{half_interquartile_range, integer_quantile};
use cyclometer_store::CellStats;
use cyclometer_workload::CpuShare;

/// Measured columns up to the median run.
const FIRST: &[Column] = &[
    Column::text("workload", "workload"),
    Column::text("lane", "lane"),
    Column::text("start", "start"),
    Column::hidden("preset"),
    Column::number("runs", "runs"),
    Column::number("failed", "failed"),
    Column::number("start p50", "start_p50_ns"),
    Column::number("p95", "start_p95_ns"),
    Column::number("run p50", "run_p50_ns"),
];

/// Further measured columns.
const FURTHER: &[Column] = &[
    Column::number("spread", "run_half_iqr_ns"),
    Column::number("cycles", "cycles_p50"),
    Column::hidden("cycles_meter"),
    Column::number("Wasm ops", "wasm_ops"),
    Column::number("peak mem", "memory_peak_bytes"),
    Column::number("footprint", "footprint_bytes"),
    Column::hidden("footprint_of"),
    Column::hidden("memory_allocated_bytes"),
];

const BILLED: [Column; BILLS] = [
    Column::number("coarse $/M", "coarse_usd_per_million"),
    Column::number("cycle $/M", "fine_usd_per_million"),
    Column::number("dearer", "coarse_over_fine"),
];

/// Number of columns with bills.
const BILLS: usize = 3;

/// Number of leading columns that every table on a narrow terminal repeats.
pub const SHARED_COLUMNS: usize = 3;

/// Builds the comparison of a recording's cells, with their bills under the first pair of
/// a coarse and a fine model; bills are means, per million invocations.
#[must_use]
pub fn build_table(cells: &[CellStats], summary: Option<&ReplaySummary>) -> Table {
    let groups: HashMap<&CellKey, &GroupTotal> =
        summary.map(|summary| summary.groups().collect()).unwrap_or_default();
    let pair = summary.map(|summary| [0, 1].map(|at| has_column(summary, at).then_some(at)));
    build_rows(cells, &BILLED, |stats| {
        bill_cells(summary, groups.get(&stats.key).copied(), pair, stats.ok).to_vec()
    })
}

/// Builds the comparison without bills.
#[must_use]
pub fn build_table_without_bills(cells: &[CellStats]) -> Table {
    build_rows(cells, &[], |_| Vec::new())
}

fn build_rows(
    cells: &[CellStats],
    last: &[Column],
    bills: impl Fn(&CellStats) -> Vec<Cell>,
) -> Table {
    let all_well = cells.iter().all(|stats| stats.bad == 0);
    let columns = FIRST.iter().chain(&precision::COLUMNS).chain(FURTHER).chain(last);
    let columns: Vec<Column> = columns
        .map(|column| match column.key {
            // A column of zeroes tells a reader nothing.
            "failed" if all_well => Column::hidden("failed"),
            _ => *column,
        })
        .collect();
    let mut table = Table::new(&columns);
    let mut order: Vec<&CellStats> = cells.iter().collect();
    // Lanes of a workload stand together, in the order of the plan.
    order.sort_by_key(|stats| {
        cells.iter().position(|other| other.key.workload == stats.key.workload)
    });
    for stats in order {
        let [mut row, further] = measured_cells(stats);
        row.extend(precision::build_cells(stats));
        row.extend(further);
        row.extend(bills(stats));
        table.push(row);
    }
    table
}

fn optional_nanos(value: Option<u64>) -> Cell {
    Cell::optional_time(value.map(Nanos))
}

fn to_nanoseconds(values: &[Nanos]) -> Vec<u64> {
    values.iter().map(|span| span.0).collect()
}

/// Returns the cells for [`FIRST`] and for [`FURTHER`].
fn measured_cells(stats: &CellStats) -> [Vec<Cell>; 2] {
    let (startup, run) = (to_nanoseconds(&stats.startup), to_nanoseconds(&stats.run));
    let spread = half_interquartile_range(&run);
    let (cycles, meter) = match integer_quantile(&stats.cycles, 1, 2) {
        Some(cycles) => (Some(cycles), "cycles"),
        None => (integer_quantile(&stats.ref_cycles, 1, 2), "ref_cycles"),
    };
    // A mark on the figure itself: TSC ticks are not core cycles.
    let mark = match meter {
        "ref_cycles" if stats.ref_cycles_estimated => " e",
        "ref_cycles" => " r",
        _ if stats.cycles_user_only => " u",
        _ => "",
    };
    let ops = integer_quantile(&stats.wasm_ops, 1, 2);
    let first = vec![
        Cell::text(&*stats.key.workload),
        Cell::text(&*stats.key.lane),
        Cell::text(stats.key.start.label()),
        Cell::text(&*stats.key.preset),
        Cell::new(stats.ok, stats.ok),
        Cell::new(stats.bad, stats.bad),
        optional_nanos(integer_quantile(&startup, 1, 2)),
        optional_nanos(integer_quantile(&startup, 95, 100)),
        optional_nanos(integer_quantile(&run, 1, 2)),
    ];
    let further = vec![
        Cell::optional(spread.map(|half| (format!("±{}", Nanos(half)), half))),
        Cell::optional(cycles.map(|count| (format!("{}{mark}", Count(count)), count))),
        Cell::optional(cycles.map(|_| (meter.to_owned(), meter))),
        Cell::optional_count(ops),
        Cell::optional_size(stats.memory_peak),
        Cell::optional_size(stats.footprint),
        Cell::optional_text(stats.footprint_of.clone()),
        Cell::optional_size(stats.memory_allocated),
    ];
    [first, further]
}

/// Returns whether a model's bills stand in the table, whose columns are in US dollars: a
/// user's own model of that id may be in another currency.
fn has_column(summary: &ReplaySummary, at: usize) -> bool {
    summary.models().get(at).is_some_and(|info| info.currency == "USD")
}

fn bill_cells(
    summary: Option<&ReplaySummary>,
    group: Option<&GroupTotal>,
    pair: Option<[Option<usize>; 2]>,
    ok: u64,
) -> [Cell; BILLS] {
    let none = || Cell::optional::<Value>(None);
    // A cell that never ends well has no price: a bill of failures compares with nothing.
    let group = group.filter(|_| ok > 0);
    let (Some(summary), Some(group), Some([coarse, fine])) = (summary, group, pair) else {
        return [none(), none(), none()];
    };
    let mean = |model: Option<usize>| {
        let mean = model.and_then(|at| group.models[at].mean_per_million());
        Cell::optional_mean_bill(mean.as_ref())
    };
    let pair = coarse.zip(fine).filter(|pair| summary.coarse_fine_pairs().any(|it| it == *pair));
    let ratio =
        pair.and_then(|(coarse, fine)| summary.coarse_to_fine_ratio(group, coarse, fine, 2).ok());
    let dearer = pair.and_then(|(coarse, fine)| summary.describe_dearer(group, coarse, fine).ok());
    let ratio = dearer.zip(ratio).map(|(text, ratio)| (text, ratio.to_plain_string()));
    [mean(coarse), mean(fine), Cell::optional(ratio)]
}

/// Returns the notes needed to read the figures: failures, labels, remarks.
#[must_use]
pub fn list_footnotes(cells: &[CellStats], summary: Option<&ReplaySummary>) -> Vec<String> {
    let mut notes = precision::list_warnings(cells);
    notes.extend(list_trace_footnotes(cells, summary));
    notes.extend(describe_shares(cells, summary.is_some()));
    notes
}

/// Returns the notes needed to read the figures of a trace: like [`list_footnotes`], without
/// advice on measuring again.
#[must_use]
pub fn list_trace_footnotes(cells: &[CellStats], summary: Option<&ReplaySummary>) -> Vec<String> {
    let mut notes = Vec::new();
    let ticks = |estimated: bool| {
        cells.iter().any(|stats| {
            stats.cycles.is_empty()
                && !stats.ref_cycles.is_empty()
                && stats.ref_cycles_estimated == estimated
        })
    };
    if cells.iter().any(|stats| stats.cycles_user_only && !stats.cycles.is_empty()) {
        notes.push(format!("u: {USER_ONLY}"));
    }
    if ticks(true) {
        notes.push(
            "e: ref_cycles estimated as CPU time x TSC frequency; no counter here".to_owned(),
        );
    }
    if ticks(false) {
        notes.push("r: ref_cycles, TSC ticks while on a CPU; no cycle counter here".to_owned());
    }
    if let Some(summary) = summary {
        let infos = summary.models();
        if let [coarse, fine, ..] = infos {
            notes.push(format!(
                "$/M: mean bill of a million; coarse is {}, cycle is {}",
                coarse.id, fine.id
            ));
        }
        let foreign = infos.iter().enumerate().filter(|(at, _)| !has_column(summary, *at));
        notes.extend(foreign.map(|(_, info)| {
            format!("{} is in {} here: `replay` shows its bills", info.id, info.currency)
        }));
        for (info, total) in summary.models().iter().zip(&summary.overall_group().models) {
            notes.extend(
                total
                    .refused
                    .iter()
                    .map(|(why, count)| format!("{} refused {count}: {why}", info.id)),
            );
        }
    }
    notes.extend(notes_of_cells(cells, summary.is_some()));
    notes.extend(list_failures(cells));
    notes.extend(list_remarks(cells));
    notes
}

/// Sentence on functions that had no CPU share, beside prices of services that give one.
pub const WHOLE_CPUS: &str = "functions had whole CPUs; Lambda and others give a share by memory: record --cpu-by-memory aws, \
     or --cpus N";

/// Describes the CPU shares that functions had, each once with its cells, or that they had none
/// where there are bills.
fn describe_shares(cells: &[CellStats], billed: bool) -> Vec<String> {
    let mut shares: Vec<u64> = cells.iter().filter_map(|stats| stats.cpu_share).collect();
    if shares.is_empty() {
        let ran = cells.iter().any(|stats| stats.ok > 0);
        return (billed && ran).then(|| WHOLE_CPUS.to_owned()).into_iter().collect();
    }
    shares.sort_unstable();
    shares.dedup();
    let describe = |share: u64| {
        let with = || cells.iter().filter(move |stats| stats.cpu_share == Some(share));
        let names: Vec<String> = with().map(|stats| stats.key.to_string()).collect();
        let held: u64 = with().map(|stats| stats.held_back).sum();
        let all: u64 = with().map(|stats| stats.ok + stats.bad).sum();
        let cpus = CpuShare(u32::try_from(share).unwrap_or(u32::MAX));
        format!(
            "{}: a share of {cpus} CPUs, which held back {held} of {all} runs",
            first_of(&names)
        )
    };
    shares.into_iter().map(describe).collect()
}

/// Returns the notes on single cells, each sentence once with the cells that it holds
/// for.
fn notes_of_cells(cells: &[CellStats], billed: bool) -> Vec<String> {
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for stats in cells {
        let price = (stats.bad > 0 && billed).then(|| match stats.ok {
            0 => format!("all {} failed, so there is no price", stats.bad),
            ok => format!("{} of {} failed, and are in the bill too", stats.bad, ok + stats.bad),
        });
        for text in stats.note.clone().into_iter().chain(price) {
            match told.iter_mut().find(|(other, _)| *other == text) {
                Some((_, names)) => names.push(stats.key.to_string()),
                None => told.push((text, vec![stats.key.to_string()])),
            }
        }
    }
    told.into_iter().map(|(text, names)| format!("{}: {text}", first_of(&names))).collect()
}

/// Returns one or two names of cells, or the first of more and how many are left.
fn first_of(names: &[String]) -> String {
    match names {
        [first, rest @ ..] if rest.len() > 1 => format!("{first}; {} more cells", rest.len()),
        few => few.join("; "),
    }
}

/// Lists each failure once, with its count: `12 x nbody in docker, cold: exit code 3`.
#[must_use]
pub fn list_failures(cells: &[CellStats]) -> Vec<String> {
    list_counted(cells, |stats| &stats.failures, ("", "for other reasons"))
}

/// Lists each remark on runs that ended well once, with its count: `12 x nbody in native,
/// cold: ok, but: left 2 process(es) behind`.
fn list_remarks(cells: &[CellStats]) -> Vec<String> {
    list_counted(cells, |stats| &stats.remarks, ("ok, but: ", "ok, with other remarks"))
}

/// Lists texts of cells, each once with its count and its cells. The first string stands
/// before each text; the second one stands for texts beyond the limit.
fn list_counted(
    cells: &[CellStats],
    texts: impl Fn(&CellStats) -> &[(String, u64)],
    (before, rest_is): (&str, &str),
) -> Vec<String> {
    /// Texts that are listed for a cell: a function may give another one each time.
    const REASONS: usize = 3;
    let mut told: Vec<(String, u64, Vec<String>)> = Vec::new();
    let mut others = Vec::new();
    for stats in cells {
        let name = stats.key.to_string();
        for (reason, count) in texts(stats).iter().take(REASONS) {
            match told.iter_mut().find(|(other, ..)| other == reason) {
                Some((_, sum, names)) => {
                    *sum += count;
                    names.push(name.clone());
                }
                None => told.push((reason.clone(), *count, vec![name.clone()])),
            }
        }
        let rest: u64 = texts(stats).iter().skip(REASONS).map(|(_, count)| count).sum();
        if rest > 0 {
            others.push(format!("{rest} x {name}: {rest_is}"));
        }
    }
    let line = |(reason, count, names): (String, u64, Vec<String>)| {
        format!("{count} x {}: {before}{reason}", first_of(&names))
    };
    told.into_iter().map(line).chain(others).collect()
}
