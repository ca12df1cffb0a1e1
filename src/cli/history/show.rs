//! `history show`: shows one recording, trace or simulation.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::progress::ShownMessages;
use super::super::trace_tables::print_trace_tables;
use super::super::{CommandFailure, CommandOutcome, CommonOptions, record, say};
use super::resolve_item;
use crate::output::{json_text, text_output};
use crate::report::simulation_report::SimulationReport;
use crate::report::subjects::subject_table;
use crate::report::{Cell, Column, Format, Table};
use crate::store::{HistoryItem, Store};
use crate::visible_text::{escape_line, escape_markdown};

/// Options of `history show`.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryShowOptions {
    /// A recording or trace (12, latest, a label) or a simulation (s12, slatest)
    #[arg(value_name = "RECORDING|sN", default_value = "latest")]
    pub(super) item: String,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, item: &str) -> CommandOutcome {
    // Parsed before the database is opened: an invalid reference is wrong usage.
    super::parse_reference(item)?;
    let mut store = common.open_for_reading()?;
    match resolve_item(&store, item)? {
        HistoryItem::Recording(recording) => show_recording(common, &mut store, recording),
        HistoryItem::Simulation(simulation) => show_simulation(common, &store, simulation),
    }
}

/// Shows the comparison of one recording, and the source of each meter.
fn show_recording(common: &CommonOptions, store: &mut Store, recording: i64) -> CommandOutcome {
    for (lane, reason) in store.unavailable_lanes(recording).map_err(CommandFailure::failed)? {
        say(&format!("lane {lane} could not run: {reason}"));
    }
    record::print_conclusion(
        common,
        &common.price_catalog()?,
        store,
        recording,
        &ShownMessages::default(),
    )?;
    if common.format.is_for_people() && store.is_trace(recording).map_err(CommandFailure::failed)? {
        let files = store.trace_files(recording).map_err(CommandFailure::failed)?;
        let overview = store.trace_overview(recording).map_err(CommandFailure::failed)?;
        writeln!(text_output())?;
        print_trace_tables(common, &files, &overview.meters)?;
    } else if common.format.is_for_people() {
        let mut table = Table::new(&[
            Column::text("lane", "lane"),
            Column::text("start", "start"),
            Column::text("meter", "meter"),
            Column::text("source", "source"),
            Column::text("note", "note"),
        ]);
        for source in store.merged_meter_sources(recording).map_err(CommandFailure::failed)? {
            table.push(vec![
                Cell::text(source.lane),
                Cell::text(source.start.label()),
                Cell::text(source.meter),
                Cell::optional_text(source.source),
                Cell::text(source.note),
            ]);
        }
        writeln!(text_output())?;
        common.print_table(&table)?;
        show_subjects(common, store, recording)?;
        show_footprints(common, store, recording)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows arguments, input, digests and limits of the functions that were run.
fn show_subjects(
    common: &CommonOptions,
    store: &Store,
    recording: i64,
) -> Result<(), CommandFailure> {
    let subjects = store.cell_subjects(recording).map_err(CommandFailure::failed)?;
    if subjects.is_empty() {
        say("arguments, input and program were not kept by the version that recorded this");
        return Ok(());
    }
    writeln!(text_output())?;
    common.print_table(&subject_table(&subjects))
}

/// Shows the parts of the footprints, and the workloads that they belong to.
fn show_footprints(
    common: &CommonOptions,
    store: &Store,
    recording: i64,
) -> Result<(), CommandFailure> {
    let parts = store.footprint_parts(recording).map_err(CommandFailure::failed)?;
    if parts.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        Column::text("lane", "lane"),
        Column::text("footprint of", "name"),
        Column::number("size", "bytes"),
        Column::text("workloads", "workloads"),
    ]);
    for part in parts {
        table.push(vec![
            Cell::text(part.lane),
            Cell::text(part.name),
            Cell::optional_size(Some(part.bytes)),
            Cell::text(part.workloads),
        ]);
    }
    writeln!(text_output())?;
    common.print_table(&table)?;
    Ok(())
}

/// Shows the options and the results of a simulation.
fn show_simulation(common: &CommonOptions, store: &Store, simulation: i64) -> CommandOutcome {
    let it = SimulationReport::load(store, simulation).map_err(CommandFailure::failed)?;
    let mut out = text_output();
    match common.format {
        Format::Csv | Format::Jsonl => it.tables[0].2.print(common.format, &mut out)?,
        Format::Json => {
            let mut whole = json!({
                "simulation": it.info.id,
                "label": it.info.label,
                "created_at": it.info.created_at,
                "recordings": it.info.recording_numbers(),
                "invocations": it.info.invocations,
                "options": serde_json::from_str::<Value>(&it.options).unwrap_or(Value::Null),
                "models": it.models.to_json(),
            });
            for (_, key, table) in &it.tables {
                whole[*key] = table.to_json();
            }
            writeln!(out, "{}", json_text(&whole, true))?;
        }
        Format::Table | Format::Markdown => {
            let markdown = common.format == Format::Markdown;
            for line in it.heading_lines() {
                let line =
                    if markdown { escape_markdown(&line).into() } else { escape_line(&line) };
                writeln!(out, "{line}")?;
            }
            writeln!(out)?;
            it.models.print(common.format, &mut out)?;
            for (title, _, table) in it.tables.iter().filter(|(_, _, table)| !table.is_empty()) {
                writeln!(out, "\n{title}")?;
                if markdown {
                    writeln!(out)?;
                }
                table.print(common.format, &mut out)?;
            }
        }
    }
    out.flush()?;
    drop(out);
    say_notes(common, &it);
    Ok(ExitCode::SUCCESS)
}

fn say_notes(common: &CommonOptions, it: &SimulationReport) {
    let digits = common.format.is_for_people().then_some(
        "mean / M: mean bill of a million; amounts to 6 digits, --format json has all of them",
    );
    for note in
        [it.cut_note(), digits, it.list_price_note(), it.earlier_rule_note()].into_iter().flatten()
    {
        say(note);
    }
}
