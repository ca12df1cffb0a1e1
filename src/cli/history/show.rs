//! `history show`: one recording, or one simulation.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::{Common, Failure, Outcome, record, say};
use super::{moment, resolve};
use crate::pricing::Exact;
use crate::report::{Cell, Column, Format, Table};
use crate::store::{Amounts, Filter, Item, Part, SimulationInfo, Store};

/// Significant digits that people see of an amount; programs get all.
const DIGITS: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(5);

/// Options of `history show`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A recording (12, latest) or a simulation (s12, slatest)
    #[arg(value_name = "RECORDING|sN", default_value = "latest")]
    pub(super) item: String,
}

/// Runs the command.
pub(super) fn run(common: &Common, item: &str) -> Outcome {
    // Before the database is touched: a wrong word is wrong usage.
    super::reference(item)?;
    let mut store = common.store()?;
    match resolve(&store, item)? {
        Item::Recording(recording) => show_recording(common, &mut store, recording),
        Item::Simulation(simulation) => show_simulation(common, &store, simulation),
    }
}

/// The comparison of one recording, and the source of each meter.
fn show_recording(common: &Common, store: &mut Store, recording: i64) -> Outcome {
    for (lane, reason) in store.unavailable_lanes(recording).map_err(Failure::failed)? {
        say(&format!("lane {lane} could not run: {reason}"));
    }
    record::conclude(common, store, recording)?;
    if common.format == Format::Table {
        let mut table = Table::new(&[
            Column::text("lane", "lane"),
            Column::text("start", "start"),
            Column::text("meter", "meter"),
            Column::text("source", "source"),
            Column::text("note", "note"),
        ]);
        for source in store.meter_sources(recording).map_err(Failure::failed)? {
            table.push(vec![
                Cell::text(source.lane),
                Cell::text(source.start),
                Cell::text(source.meter),
                Cell::maybe(source.source.map(|it| (it.clone(), it))),
                Cell::text(source.note),
            ]);
        }
        writeln!(std::io::stdout())?;
        common.print(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a simulation was asked for, and what came out.
fn show_simulation(common: &Common, store: &Store, simulation: i64) -> Outcome {
    let all = store.simulations(&Filter::default()).map_err(Failure::failed)?;
    let Some(info) = all.into_iter().find(|info| info.id == simulation) else {
        return Err(Failure::Failed(format!("there is no simulation {simulation}")));
    };
    let options = store.simulation_options(simulation).map_err(Failure::failed)?;
    let amounts = |part| store.amounts(simulation, part).map_err(Failure::failed);
    let parts = [amounts(Part::Charges)?, amounts(Part::Settlement)?, amounts(Part::Waste)?];
    let totals = totals(&parts[0]);
    let tables = [
        ("list price of the recorded invocations", "totals", &totals),
        ("charges", "charges", &listed("charge", &parts[0])),
        ("the month", "settlement", &listed("position", &parts[1])),
        ("what of it was used", "waste", &listed("part", &parts[2])),
    ];
    let mut out = std::io::stdout().lock();
    match common.format {
        Format::Csv | Format::Jsonl => totals.print(common.format, &mut out)?,
        Format::Json => {
            let mut whole = json!({
                "simulation": info.id,
                "label": info.label,
                "created_at": info.created_at,
                "recordings": numbers(&info.recordings),
                "invocations": info.invocations,
                "options": serde_json::from_str::<Value>(&options).unwrap_or(Value::Null),
                "models": models(store, simulation)?.to_json(),
            });
            for (_, key, table) in tables {
                whole[key] = table.to_json();
            }
            writeln!(out, "{whole:#}")?;
        }
        Format::Table => {
            heading(&mut out, &info, &options)?;
            writeln!(out)?;
            models(store, simulation)?.print(Format::Table, &mut out)?;
            for (title, _, table) in tables.into_iter().filter(|(_, _, table)| !table.is_empty()) {
                writeln!(out, "\n{title}")?;
                table.print(Format::Table, &mut out)?;
            }
        }
    }
    out.flush()?;
    drop(out);
    tell(common, &parts);
    Ok(ExitCode::SUCCESS)
}

fn heading(out: &mut dyn Write, info: &SimulationInfo, options: &str) -> std::io::Result<()> {
    let label = info.label.as_ref().map_or_else(String::new, |label| format!(", {label}"));
    writeln!(
        out,
        "simulation {} of recording {}, made {} UTC{label}: {} invocations",
        info.id,
        info.recordings,
        moment(&info.created_at),
        info.invocations
    )?;
    // What was not asked for needs no line.
    if !matches!(options, "" | "{}") {
        writeln!(out, "options: {options}")?;
    }
    Ok(())
}

fn numbers(recordings: &str) -> Vec<i64> {
    recordings.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

fn models(store: &Store, simulation: i64) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        Column::text("price model", "model"),
        Column::text("granularity", "granularity"),
        Column::text("currency", "currency"),
        Column::hidden("digest"),
    ]);
    for it in store.used_models(simulation).map_err(Failure::failed)? {
        table.push([it.model, it.granularity, it.currency, it.digest].map(Cell::text).to_vec());
    }
    Ok(table)
}

/// The sum of all charges, by model and lane.
fn totals(charges: &[Amounts]) -> Table {
    let mut table = Table::new(&[
        Column::text("model", "model"),
        Column::text("lane", "lane"),
        Column::number("billed", "invocations"),
        Column::number("total", "total"),
        Column::number("mean / M", "mean_per_million"),
        Column::text("currency", "currency"),
        Column::text("refused", "refused"),
    ]);
    for group in charges.chunk_by(|one, two| (&one.model, &one.lane) == (&two.model, &two.lane)) {
        let first = &group[0];
        let billed = group.iter().any(|it| it.amount.is_some());
        let total: crate::pricing::Money = group.iter().filter_map(|it| it.amount.as_ref()).sum();
        // Each charge counts the same invocations.
        let count = &first.count;
        let mean = total.times(1_000_000).ratio(count, 12).filter(|_| billed);
        let shown = billed.then(|| (total.significant(DIGITS), total.to_plain_string()));
        let refused = group.iter().find_map(|it| it.refused.clone());
        table.push(vec![
            Cell::text(&*first.model),
            Cell::text(&*first.lane),
            counted("charge", count),
            Cell::maybe(shown),
            Cell::maybe(mean.map(|it| (it.rounded(4), it.to_plain_string()))),
            Cell::text(&*first.currency),
            Cell::maybe(refused.map(|it| (it.clone(), it))),
        ]);
    }
    table
}

/// Amounts as rows, with their share of the model's sum in the lane.
fn listed(of: &'static str, amounts: &[Amounts]) -> Table {
    let mut table = Table::new(&[
        Column::text("model", "model"),
        Column::text("lane", "lane"),
        Column::text(of, of),
        match of {
            "position" => Column::number("requests", "requests"),
            _ => Column::hidden("invocations"),
        },
        Column::number("amount", "amount"),
        Column::number("share", "share"),
        Column::text("currency", "currency"),
    ]);
    for group in amounts.chunk_by(|one, two| (&one.model, &one.lane) == (&two.model, &two.lane)) {
        let total: crate::pricing::Money = group.iter().filter_map(|it| it.amount.as_ref()).sum();
        for it in group {
            let amount = it.amount.as_ref();
            let share = amount.and_then(|amount| amount.ratio(&total, 6));
            let percent = |share: &Exact| format!("{} %", hundredfold(share));
            table.push(vec![
                Cell::text(&*it.model),
                Cell::text(&*it.lane),
                Cell::text(&*it.of),
                counted(of, &it.count),
                Cell::maybe(amount.map(|it| (it.significant(DIGITS), it.to_plain_string()))),
                Cell::maybe(share.map(|it| (percent(&it), it.to_plain_string()))),
                Cell::text(&*it.currency),
            ]);
        }
    }
    table
}

/// Invocations are a number; requests of a month need not fit one.
fn counted(of: &str, count: &crate::pricing::Money) -> Cell {
    let text = count.to_plain_string();
    match text.parse::<u64>() {
        Ok(number) if of != "position" => Cell::new(text, number),
        _ => Cell::text(text),
    }
}

/// A share in per cent, to one digit after the point.
fn hundredfold(share: &Exact) -> String {
    (share * &Exact::from(100)).rounded(1)
}

fn tell(common: &Common, parts: &[Vec<Amounts>; 3]) {
    if parts.iter().flatten().any(|it| it.cut) {
        say("an amount among these has no finite decimal: sums are cut, exact to 30 places");
    }
    if common.format == Format::Table {
        say("mean / M: mean bill of a million; amounts to 6 digits, --format json has all of them");
    }
    if parts[1].is_empty() && parts[2].is_empty() {
        say("this simulation has neither a month's bill nor a split into used and not used");
    }
}
