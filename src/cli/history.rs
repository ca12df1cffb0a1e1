//! `history`: what has been recorded and simulated.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::{Common, Failure, Outcome, record, say};
use crate::report::{Cell, Column, Format, Table};
use crate::store::{RecordingRef, Store};

/// Options of `history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer history
  cyclometer history latest            the comparison and where its figures come from
  cyclometer history --kind simulations --format csv")]
pub(super) struct Options {
    /// Show this recording instead: its number, or `latest`
    #[arg(value_name = "RECORDING")]
    recording: Option<String>,
    /// What to list
    #[arg(long, value_enum, default_value_t = Kind::All)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Recordings and simulations (CSV: recordings only)
    All,
    /// Recordings
    Recordings,
    /// Simulations
    Simulations,
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    if let Some(name) = &options.recording {
        let reference: RecordingRef = name.parse().map_err(Failure::Usage)?;
        let mut store = common.store()?;
        let recording = store.find(reference).map_err(Failure::failed)?;
        return show(common, &mut store, recording);
    }
    let store = common.store()?;
    let recordings = recordings(&store)?;
    let simulations = simulations(&store)?;
    match (options.kind, common.format) {
        (Kind::Recordings, _) | (Kind::All, Format::Csv) => common.print(&recordings)?,
        (Kind::Simulations, _) => common.print(&simulations)?,
        (Kind::All, Format::Json) => {
            let both = json!({
                "recordings": recordings.to_json(),
                "simulations": simulations.to_json(),
            });
            let mut out = std::io::stdout().lock();
            writeln!(out, "{both:#}")?;
        }
        (Kind::All, Format::Table | Format::Jsonl) => {
            if recordings.is_empty() {
                say("nothing has been recorded yet: `cyclometer record` makes a first comparison");
            } else {
                common.print(&recordings)?;
            }
            if !simulations.is_empty() {
                writeln!(std::io::stdout())?;
                common.print(&simulations)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn recordings(store: &Store) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        Column::number("recording", "recording"),
        Column::text("started (UTC)", "started_at"),
        Column::text("status", "status"),
        Column::number("invocations", "invocations"),
        Column::number("failed", "failed"),
        Column::text("lanes", "lanes"),
        Column::text("workloads", "workloads"),
        Column::text("label", "label"),
    ]);
    for info in store.recordings().map_err(Failure::failed)? {
        table.push(vec![
            Cell::new(info.id, info.id),
            Cell::new(
                info.started_at.get(..19).unwrap_or(&info.started_at).replace('T', " "),
                info.started_at.clone(),
            ),
            Cell::text(info.status),
            Cell::new(info.invocations, info.invocations),
            Cell::new(info.bad, info.bad),
            Cell::text(info.lanes),
            Cell::text(info.workloads),
            Cell::text(info.label.unwrap_or_else(String::new)),
        ]);
    }
    Ok(table)
}

fn simulations(store: &Store) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        Column::number("simulation", "simulation"),
        Column::number("of recording", "recording"),
        Column::text("made (UTC)", "created_at"),
        Column::number("invocations", "invocations"),
        Column::text("price models", "models"),
    ]);
    for info in store.simulations().map_err(Failure::failed)? {
        table.push(vec![
            Cell::new(info.id, info.id),
            Cell::new(info.recording, info.recording),
            Cell::new(
                info.created_at.get(..19).unwrap_or(&info.created_at).replace('T', " "),
                info.created_at.clone(),
            ),
            Cell::new(info.invocations, info.invocations),
            Cell::text(info.models),
        ]);
    }
    Ok(table)
}

/// The comparison of one recording, and the source of each meter.
fn show(common: &Common, store: &mut Store, recording: i64) -> Outcome {
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
