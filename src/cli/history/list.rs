//! `history list`, and `history` without a subcommand: lists recordings and simulations.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::super::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::output::{json_text, text_output};
use crate::record::limits::at_least_one;
use crate::report::{Cell, Column, Format, Table, format_timestamp, shorten_list};
use crate::store::{HistoryFilter, RecordingCounts, RecordingSummary, SimulationInfo, Store};

const STATUS: [&str; 4] = ["running", "done", "failed", "interrupted"];

/// Filters of the listed recordings and simulations.
#[derive(Debug, Default, PartialEq, clap::Args)]
#[command(after_help = "Examples:
  cyclometer history list --lane docker --workload nbody
  cyclometer history list --since 7d --status done
  cyclometer history list --since 2026-11-01 --until 2026-11-21 --label gvisor
  cyclometer history list --kind simulations --limit 5 --format csv

WHEN is a day (2026-11-21), a moment (2026-11-21T10:00), both in UTC, or a span
before now (7d, 2h). `--until` a day includes that day.")]
pub(super) struct ListOptions {
    /// Kind of entries to list
    #[arg(long, value_enum, default_value_t = ListedKind::All)]
    kind: ListedKind,
    /// Only entries with this lane
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Only entries with this workload
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Only recordings with this status
    #[arg(long, value_name = "STATUS", value_parser = STATUS)]
    status: Option<String>,
    /// Only entries whose label contains this text
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Only entries made at this time or later
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<String>,
    /// Only entries made before this time
    #[arg(long, value_name = "WHEN", value_parser = until)]
    until: Option<String>,
    /// At most this many of each kind, the newest
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ListedKind {
    /// Recordings, with their simulations beside them (CSV: recordings only)
    #[default]
    All,
    /// Recordings
    Recordings,
    /// Simulations
    Simulations,
}

const DAY: Duration = Duration::from_hours(24);

pub(in crate::cli) fn since(text: &str) -> Result<String, String> {
    parse_time_range(text, SystemTime::now()).map(|(begin, _)| format_stamp(begin))
}

fn until(text: &str) -> Result<String, String> {
    parse_time_range(text, SystemTime::now()).map(|(_, end)| format_stamp(end))
}

fn format_stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Returns the begin and the end of the time that the text names: a day is not a moment.
fn parse_time_range(text: &str, now: SystemTime) -> Result<(SystemTime, SystemTime), String> {
    let wrong = || {
        format!(
            "`{text}` is neither a time such as 2026-11-21 or 2026-11-21T10:00, nor a span before now such as 7d"
        )
    };
    if let Ok(span) = humantime::parse_duration(text) {
        let then = now.checked_sub(span).ok_or_else(wrong)?;
        // The format of the database begins in 1970 and ends with the year 9999.
        return if then < SystemTime::UNIX_EPOCH { Err(wrong()) } else { Ok((then, then)) };
    }
    let parse = |text: &str| humantime::parse_rfc3339_weak(text).map_err(|_| wrong());
    match text.len() {
        10 => {
            let day = parse(&format!("{text}T00:00:00Z"))?;
            Ok((day, day.checked_add(DAY).ok_or_else(wrong)?))
        }
        16 => parse(&format!("{text}:00Z")).map(|it| (it, it)),
        _ => parse(text).map(|it| (it, it)),
    }
}

impl ListOptions {
    fn to_filter(&self) -> HistoryFilter {
        HistoryFilter {
            lane: self.lane.clone(),
            workload: self.workload.clone(),
            status: self.status.clone(),
            label: self.label.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
            limit: self.limit,
        }
    }
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &ListOptions) -> CommandOutcome {
    let without_status = options.status.is_some();
    if without_status && options.kind == ListedKind::Simulations {
        return Err(CommandFailure::Usage(
            "simulations have no status: leave --status or --kind out".to_owned(),
        ));
    }
    let kind = if without_status { ListedKind::Recordings } else { options.kind };
    let filter = options.to_filter();
    let path = common.db_path()?;
    let missing = !path.exists();
    let store = if missing {
        Store::open_empty(&path).map_err(CommandFailure::failed)?
    } else {
        common.open_for_reading()?
    };
    let folds = kind == ListedKind::All && common.format == Format::Table;
    let made = store.list_simulations(&filter).map_err(CommandFailure::failed)?;
    let (recordings, simulations) = if folds {
        // Each simulation stands with its recording; the others belong to other
        // recordings.
        let (recordings, left) = fold_simulations(&store, &filter, made)?;
        (recordings, simulation_table(left))
    } else {
        (recording_table(&store, &filter)?, simulation_table(made))
    };
    if missing {
        say(&format!(
            "no recordings yet, and no database {}: `cyclometer record` makes both",
            path.display()
        ));
    } else if recordings.is_empty() && filter == HistoryFilter::default() {
        say("nothing has been recorded yet: `cyclometer record` makes a first comparison");
    } else if (kind == ListedKind::Simulations || recordings.is_empty())
        && (kind == ListedKind::Recordings || simulations.is_empty())
    {
        say("nothing matches; `cyclometer history` without filters lists all there is");
    }
    print_tables(common, kind, &recordings, &simulations)?;
    super::super::unfinished::say_unfinished_imports(&store)?;
    Ok(ExitCode::SUCCESS)
}

fn print_tables(
    common: &CommonOptions,
    kind: ListedKind,
    recordings: &Table,
    simulations: &Table,
) -> Result<(), CommandFailure> {
    match (kind, common.format) {
        (ListedKind::Recordings, _) | (ListedKind::All, Format::Csv) => {
            common.print_table(recordings)?;
        }
        (ListedKind::Simulations, _) => common.print_table(simulations)?,
        (ListedKind::All, Format::Json) => {
            let both = json!({
                "recordings": recordings.to_json(),
                "simulations": simulations.to_json(),
            });
            let mut out = text_output();
            writeln!(out, "{}", json_text(&both, true))?;
        }
        (ListedKind::All, Format::Jsonl) => {
            common.print_table(recordings)?;
            common.print_table(simulations)?;
        }
        (ListedKind::All, Format::Table | Format::Markdown) => {
            if !recordings.is_empty() {
                common.print_table(recordings)?;
            }
            if !simulations.is_empty() {
                if !recordings.is_empty() {
                    writeln!(text_output())?;
                }
                common.print_table(simulations)?;
            }
        }
    }
    Ok(())
}

/// Builds the table of recordings with their simulations in a column; returns also the
/// simulations of recordings that are not listed, or of several recordings.
fn fold_simulations(
    store: &Store,
    filter: &HistoryFilter,
    made: Vec<SimulationInfo>,
) -> Result<(Table, Vec<SimulationInfo>), CommandFailure> {
    let all = store.list_recordings(filter).map_err(CommandFailure::failed)?;
    let own = |it: &SimulationInfo| it.recordings == it.recording.to_string();
    let listed = |id: i64| all.iter().any(|(info, _)| info.id == id);
    let (inside, left): (Vec<_>, Vec<_>) =
        made.into_iter().partition(|it| own(it) && listed(it.recording));
    let names = |recording: i64| {
        let mut mine: Vec<&SimulationInfo> =
            inside.iter().filter(|it| it.recording == recording).collect();
        mine.sort_by_key(|it| it.id);
        let name = |it: &&SimulationInfo| match &it.label {
            Some(label) => format!("s{} ({label})", it.id),
            None => format!("s{}", it.id),
        };
        mine.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let mut table = Table::new(&recording_columns(&all, true));
    for (info, counts) in all {
        let simulations = names(info.id);
        table.push(recording_row(info, counts, simulations));
    }
    Ok((table, left))
}

/// Recording in a list, with its counts.
type ListedRecording = (RecordingSummary, RecordingCounts);

fn recording_columns(all: &[ListedRecording], folds: bool) -> Vec<Column> {
    // A column without labels tells a reader nothing.
    let labelled = all.iter().any(|(info, _)| info.label.is_some());
    let mut columns = vec![
        Column::number("recording", "recording"),
        Column::text("started (UTC)", "started_at"),
        Column::text("status", "status"),
        Column::number("invocations", "invocations"),
        Column::number("failed", "failed"),
        Column::text("lanes", "lanes"),
        Column::text("workloads", "workloads"),
        label_column(labelled),
    ];
    if folds {
        columns.push(Column::text("simulations", "simulations"));
    }
    columns
}

fn recording_row(
    info: RecordingSummary,
    counts: RecordingCounts,
    simulations: String,
) -> Vec<Cell> {
    vec![
        Cell::new(info.id, info.id),
        Cell::new(format_timestamp(&info.started_at), info.started_at),
        // A trace is always whole: its kind says more.
        if info.is_trace { Cell::new("trace", info.status) } else { Cell::text(info.status) },
        Cell::new(counts.invocations, counts.invocations),
        Cell::new(counts.bad, counts.bad),
        Cell::text(info.lanes),
        Cell::text(info.workloads),
        Cell::text(info.label.unwrap_or_default()),
        Cell::text(simulations),
    ]
}

fn recording_table(store: &Store, filter: &HistoryFilter) -> Result<Table, CommandFailure> {
    let all = store.list_recordings(filter).map_err(CommandFailure::failed)?;
    let columns = recording_columns(&all, false);
    let mut table = Table::new(&columns);
    for (info, counts) in all {
        let mut cells = recording_row(info, counts, String::new());
        cells.truncate(columns.len());
        table.push(cells);
    }
    Ok(table)
}

const fn label_column(shown: bool) -> Column {
    if shown { Column::text("label", "label") } else { Column::hidden("label") }
}

fn simulation_table(all: Vec<SimulationInfo>) -> Table {
    let labelled = all.iter().any(|info| info.label.is_some());
    let mut table = Table::new(&[
        Column::number("simulation", "simulation"),
        Column::hidden("recording"),
        Column::text("of recording", "recordings"),
        Column::text("made (UTC)", "created_at"),
        Column::number("invocations", "invocations"),
        Column::text("price models", "models"),
        label_column(labelled),
    ]);
    for info in all {
        table.push(vec![
            // Written as on the command line.
            Cell::new(format!("s{}", info.id), info.id),
            Cell::new(info.recording, info.recording),
            Cell::text(info.recordings),
            Cell::new(format_timestamp(&info.created_at), info.created_at),
            Cell::new(info.invocations, info.invocations),
            Cell::new(shorten_list(&info.models), info.models.clone()),
            Cell::text(info.label.unwrap_or_default()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_days_minutes_or_spans() {
        let now = humantime::parse_rfc3339("2026-11-21T12:00:00Z").expect("valid");
        let told = |text: &str| {
            parse_time_range(text, now)
                .map(|(begin, end)| format!("{} {}", format_stamp(begin), format_stamp(end)))
        };
        for (text, begin, end) in [
            ("2026-11-20", "2026-11-20T00:00:00.000Z", "2026-11-21T00:00:00.000Z"),
            ("2026-11-20T10:30", "2026-11-20T10:30:00.000Z", "2026-11-20T10:30:00.000Z"),
            ("2026-11-20 10:30", "2026-11-20T10:30:00.000Z", "2026-11-20T10:30:00.000Z"),
            ("2026-11-20T10:30:05", "2026-11-20T10:30:05.000Z", "2026-11-20T10:30:05.000Z"),
            ("2026-11-20T10:30:05Z", "2026-11-20T10:30:05.000Z", "2026-11-20T10:30:05.000Z"),
            ("2h", "2026-11-21T10:00:00.000Z", "2026-11-21T10:00:00.000Z"),
            ("7d", "2026-11-14T12:00:00.000Z", "2026-11-14T12:00:00.000Z"),
        ] {
            assert_eq!(told(text), Ok(format!("{begin} {end}")), "{text}");
        }
        for nonsense in ["", "yesterday", "2026-13-01", "2026-1-1", "10:00", "7", "-2h", "9999999y"]
        {
            assert!(told(nonsense).is_err(), "{nonsense} was accepted");
        }
    }
}
