//! `paper`: measures the tables of the paper again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::record::parse_lanes;
use super::recording::store_recording;
use super::signals::{cancel_on_signals, interrupted_status};
use super::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::doctor;
use crate::files::{Folder, LinkPolicy, display_path};
use crate::lane::{Cancel, LaneSpec};
use crate::meter::clock::MonotonicClock;
use crate::meter::host::Fingerprint;
use crate::output::{json_text, text_output};
use crate::paper::rendering as paper;
use crate::paper::{
    BILLED, MARK, PaperLane, PaperPart, PaperPreset, PaperReport, PaperRun, ReportMaterial,
    UnfinishedPart,
};
use crate::pricing::Terms;
use crate::profile::{self, AcceptedForm};
use crate::record::{InvocationTally, PlanRequest, RecordingSession, SessionError, SessionOptions};
use crate::replay::Contract;
use crate::report::{Format, terminal_width};
use crate::stats::{Confidence, Quantum};
use crate::store::{CellSeries, ReplayPlan, Store};
use crate::workload::Catalog;

/// Options of `paper`.
#[derive(Debug, clap::Args)]
#[command(after_help = "A run that was cut off continues where it stopped, on the same machine.

Examples:
  cyclometer paper                              minutes: small arguments, all lanes
  cyclometer paper --output paper               also as Markdown, JSON and SVG
  cyclometer paper --base-image debian:12       containers on a distribution too
  cyclometer paper --preset paper               hours: the paper's arguments, 50 runs
  cyclometer paper --lane native,wasmtime,docker:runc
  cyclometer paper --show --format json         the newest run, nothing measured")]
pub(super) struct PaperOptions {
    /// Scope of the measurement
    #[arg(long, value_enum, default_value_t = PaperPreset::Quick)]
    preset: PaperPreset,
    /// Lanes [default: every runtime that `cyclometer lanes` lists]
    #[arg(long, value_delimiter = ',', value_name = "X,Y")]
    lane: Vec<String>,
    /// Also run containers on this image of the engine, which is as large as real ones
    #[arg(long, value_name = "IMAGE")]
    base_image: Option<String>,
    /// Runs of each cell [default: the preset's]
    #[arg(long, value_parser = crate::record::limits::at_least_one, value_name = "N")]
    runs: Option<u32>,
    /// Folder for the report as Markdown and JSON, with charts as SVG
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Start a new run, even if the newest one was cut off
    #[arg(long)]
    fresh: bool,
    /// Show the newest run, and measure nothing
    #[arg(long, conflicts_with = "fresh")]
    show: bool,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &PaperOptions) -> CommandOutcome {
    if common.format == Format::Csv {
        return Err(CommandFailure::Usage(
            "the report has several tables: take --format json, or `cyclometer query` for CSV"
                .to_owned(),
        ));
    }
    let catalog = common.workload_catalog()?;
    let prices = common.price_catalog()?;
    let contracts: Result<Vec<Contract>, _> = BILLED
        .iter()
        .map(|id| prices.find_model(id).map(|model| (model.clone(), Terms::for_model(model))))
        .collect();
    let contracts = contracts.map_err(CommandFailure::failed)?;
    let asked = parse_lanes(&options.lane)?;
    let cancel = if options.show { None } else { Some(cancel_on_signals()?) };
    let mut store = match &cancel {
        None => common.open_for_reading()?,
        Some(cancel) => common.open_store_until(cancel.clone())?,
    };
    let host =
        serde_json::to_value(Fingerprint::for_this_host()).map_err(CommandFailure::failed)?;
    let mut run = choose_run(options, &store, &host, &asked)?;
    let mut interrupted = false;
    if let Some(cancel) = &cancel {
        for unfinished in run.find_unfinished(&store).map_err(CommandFailure::failed)? {
            let tally;
            (store, tally) = record_part(store, &catalog, &run, unfinished, cancel)?;
            run = reload_run(&store, &run)?;
            interrupted = tally.interrupted;
            if interrupted {
                say("stopped: the same command continues from here");
                break;
            }
        }
    }
    if interrupted && run.recording_ids().is_empty() {
        say(super::record::NOTHING_KEPT);
        return Ok(interrupted_status());
    }
    let report = build_report(&mut store, &run, contracts, host)?;
    if let Some(folder) = &options.output {
        write_files(&report, folder)?;
    }
    super::ignore_unread(print_report(common.format, &report))?;
    Ok(if interrupted {
        interrupted_status()
    } else if report.unfinished.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

/// Returns the run to continue, to show, or to begin.
fn choose_run(
    options: &PaperOptions,
    store: &Store,
    host: &Value,
    asked: &[LaneSpec],
) -> Result<PaperRun, CommandFailure> {
    let mut known = PaperRun::load_all(store).map_err(CommandFailure::failed)?;
    known.retain(|run| run.preset == options.preset);
    if options.show {
        return known.pop().ok_or_else(|| {
            CommandFailure::Failed(format!(
                "there is no run of preset {} to show: make one with `cyclometer paper --preset {0}`",
                options.preset.name()
            ))
        });
    }
    let named: Option<Vec<String>> =
        (!options.lane.is_empty()).then(|| with_base(asked.to_vec(), options));
    if let Some(last) = known.pop().filter(|_| !options.fresh)
        && last.can_continue_on(host)
        && named.as_ref().is_none_or(|named| *named == last.lanes)
        && options.runs.is_none_or(|runs| last.runs == Some(runs))
        && options.base_image.as_ref().is_none_or(|image| has_base(&last.lanes, image))
        && !last.find_unfinished(store).map_err(CommandFailure::failed)?.is_empty()
    {
        say(&format!(
            "continues the run that was started at {}; --fresh starts a new one",
            last.id
        ));
        return Ok(last);
    }
    let lanes = named.unwrap_or_else(|| {
        let all = doctor::list_lanes();
        let engine =
            all.iter().any(|spec| matches!(spec, LaneSpec::Docker { runtime: Some(_), .. }));
        with_base(all.into_iter().filter(|spec| is_of_interest(spec, engine)).collect(), options)
    });
    let begun = humantime::format_rfc3339_millis(std::time::SystemTime::now());
    Ok(PaperRun { runs: options.runs, ..PaperRun::new(begun.to_string(), options.preset, lanes) })
}

/// Returns the names of lanes, with another Docker lane on the base image if one was
/// given.
fn with_base(mut lanes: Vec<LaneSpec>, options: &PaperOptions) -> Vec<String> {
    let docker = lanes.iter().find(|spec| matches!(spec, LaneSpec::Docker { base: None, .. }));
    if let (Some(image), Some(docker)) = (&options.base_image, docker.cloned()) {
        let based = docker.with_base(image);
        if !lanes.contains(&based) {
            lanes.push(based);
        }
    }
    lanes.iter().map(ToString::to_string).collect()
}

fn has_base(lanes: &[String], image: &str) -> bool {
    lanes.iter().any(|lane| lane.split_once('@').is_some_and(|(_, base)| base == image))
}

/// Returns whether a lane is part of the paper's comparison: lanes that show the cost of
/// metering are not, and no runtime of the engine is listed twice.
fn is_of_interest(spec: &LaneSpec, engine: bool) -> bool {
    match spec {
        LaneSpec::Wasmtime(settings) => {
            matches!(settings.variant_words().as_slice(), [] | ["winch"])
        }
        LaneSpec::Docker { runtime: None, .. } => !engine,
        _ => true,
    }
}

/// Returns the run with its latest recordings.
fn reload_run(store: &Store, run: &PaperRun) -> Result<PaperRun, CommandFailure> {
    let all = PaperRun::load_all(store).map_err(CommandFailure::failed)?;
    Ok(all
        .into_iter()
        .rfind(|it| it.id == run.id && it.preset == run.preset)
        .unwrap_or_else(|| run.clone()))
}

/// Records the missing rounds of one part.
fn record_part(
    store: Store,
    catalog: &Catalog,
    run: &PaperRun,
    unfinished: UnfinishedPart,
    cancel: &Cancel,
) -> Result<(Store, InvocationTally), CommandFailure> {
    let UnfinishedPart { part, done } = unfinished;
    say(&match done {
        0 => part.title().to_owned(),
        done => format!("{}: {done} rounds are there already", part.title()),
    });
    let hopeless = run.find_hopeless_lanes(&store).map_err(CommandFailure::failed)?;
    let mut names = part.required_lanes(&run.lanes);
    names.retain(|name| part == PaperPart::Nop || !hopeless.contains(name));
    // An empty list would stand for the default lanes.
    if names.is_empty() {
        say(&format!("{}: nop fails in every lane, nothing else is tried", part.title()));
        return Ok((store, InvocationTally::default()));
    }
    let request = run.request_rest(part, catalog, done).map_err(CommandFailure::failed)?;
    let compiles =
        if done == 0 && part != PaperPart::Counting { run.preset.compile_count() } else { 0 };
    // Nothing is sampled, so that the timed functions are not disturbed.
    let session_options = SessionOptions {
        label: Some(format!("paper {}: {}", run.preset.name(), part.key())),
        plan_entry: Some((MARK, run.plan_mark(part))),
        ..SessionOptions::for_lanes(
            parse_lanes(&names)?,
            PlanRequest { give_up: Some(2), compiles, ..request },
        )
    };
    super::sweep_leftovers();
    let session = match RecordingSession::open(&session_options, &mut ()) {
        Ok(session) => session,
        Err(SessionError::Interrupted) => {
            let tally = InvocationTally { interrupted: true, ..InvocationTally::default() };
            return Ok((store, tally));
        }
        Err(error) => return Err(CommandFailure::failed(error)),
    };
    let recorded = store_recording(session, store, cancel.clone())?;
    Ok((recorded.store, recorded.tally))
}

fn build_report(
    store: &mut Store,
    run: &PaperRun,
    contracts: Vec<Contract>,
    host: Value,
) -> Result<PaperReport, CommandFailure> {
    let numbers = run.recording_ids();
    if numbers.is_empty() {
        return Err(CommandFailure::Failed("nothing was recorded".to_owned()));
    }
    let bills = match store.replay_and_save(&ReplayPlan::for_recordings(numbers.clone(), contracts))
    {
        Ok(simulation) => Some(simulation.summary),
        Err(error) => {
            say(&format!("no bills: {error}"));
            None
        }
    };
    let mut series: Vec<(PaperPart, Vec<CellSeries>)> = Vec::new();
    for part in PaperPart::ALL {
        series.push((
            part,
            store.cell_series(&run.recordings_of(part)).map_err(CommandFailure::failed)?,
        ));
    }
    let lanes = store.lanes_of_recordings(&numbers).map_err(CommandFailure::failed)?;
    let unfinished = run.find_unfinished(store).map_err(CommandFailure::failed)?;
    Ok(PaperReport::new(ReportMaterial {
        run,
        host: if run.host.is_null() { host } else { run.host.clone() },
        lanes: lanes.into_iter().map(describe_lane).collect(),
        series: &series,
        bills: bills.as_ref(),
        quantum: clock_quantum(run),
        confidence: Confidence::default(),
        unfinished: unfinished.into_iter().map(|it| it.part).collect(),
    }))
}

/// Returns the resolution of the clock when the run began.
fn clock_quantum(run: &PaperRun) -> Option<Quantum> {
    let clock = serde_json::from_value::<MonotonicClock>(run.host.get("clock")?.clone()).ok()?;
    Some(Quantum { span: clock.quantum(), origin: "clock" })
}

fn describe_lane(lane: crate::store::StoredLane) -> PaperLane {
    let spec = lane.name.parse::<LaneSpec>().ok();
    PaperLane {
        wasm: match &spec {
            Some(LaneSpec::Wasmtime(_)) => true,
            Some(LaneSpec::Command { profile }) => {
                let known = profile::current_catalog();
                known.get(profile).is_some_and(|known| known.takes == AcceptedForm::Module)
            }
            _ => false,
        },
        docker: matches!(spec, Some(LaneSpec::Docker { .. })),
        name: lane.name,
        version: lane.version,
        note: lane.note,
        unavailable: lane.unavailable,
    }
}

fn write_files(report: &PaperReport, folder: &Path) -> Result<(), CommandFailure> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        CommandFailure::Failed(format!("cannot write {}: {error}", display_path(path)))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let json = json_text(&paper::render_json(report), true);
    let opened =
        Folder::open(folder, LinkPolicy::Anywhere).map_err(|error| failed(folder, &error))?;
    let mut files = vec![
        ("report.md".to_owned(), paper::render_markdown(report)),
        ("report.json".to_owned(), json),
    ];
    files.extend(paper::render_charts(report));
    for (name, content) in files {
        let path = folder.join(&name);
        let written = opened.replace_file(Path::new(&name), content.as_bytes(), 0o666);
        written.map_err(|error| failed(&path, &error))?;
        say(&format!("written: {}", display_path(&path)));
    }
    Ok(())
}

fn print_report(format: Format, report: &PaperReport) -> Result<(), CommandFailure> {
    let mut out = text_output();
    match format {
        Format::Table => write!(out, "{}", paper::render_text(report, terminal_width()))?,
        Format::Markdown => write!(out, "{}", paper::render_markdown(report))?,
        Format::Json => writeln!(out, "{}", json_text(&paper::render_json(report), true))?,
        Format::Jsonl => writeln!(out, "{}", json_text(&paper::render_json(report), false))?,
        // Refused before anything was measured.
        Format::Csv => {}
    }
    out.flush()?;
    Ok(())
}
