//! `paper`: measures the tables of the paper again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::progress::Progress;
use super::record::specs;
use super::signals::{cancel_on_signals, interrupted_status};
use super::{Common, Failure, Outcome, say};
use crate::doctor;
use crate::files::{Folder, Links, shown_path};
use crate::lane::{Cancel, LaneSpec};
use crate::meter::clock::Clock;
use crate::meter::host::Fingerprint;
use crate::output::{json_text, text_output};
use crate::paper::rendering as paper;
use crate::paper::{BILLED, LaneAbout, MARK, Material, Part, Preset, Report, Run, Unfinished};
use crate::pricing::Terms;
use crate::procfs::ProcessIdentity;
use crate::profile::{self, Takes};
use crate::record::{Event, Plan, Recorder, Sink, Tally, open_lanes};
use crate::replay::Contract;
use crate::report::{Format, terminal_width};
use crate::stats::{Confidence, Quantum};
use crate::store::{RecordingHeader, ReplayPlan, Series, Store, Writer};
use crate::workload::Catalog;

/// Options of `paper`.
#[derive(Debug, clap::Args)]
#[command(after_help = "What was cut off goes on where it was, on the same machine.

Examples:
  cyclometer paper                              minutes: small arguments, all lanes
  cyclometer paper --output paper               also as Markdown, JSON and SVG
  cyclometer paper --base-image debian:12       containers on a distribution too
  cyclometer paper --preset paper               hours: the paper's arguments, 50 runs
  cyclometer paper --lane native,wasmtime,docker:runc
  cyclometer paper --show --format json         the newest run, nothing measured")]
pub(super) struct Options {
    /// How much is measured
    #[arg(long, value_enum, default_value_t = Preset::Quick)]
    preset: Preset,
    /// Lanes [default: every runtime that `cyclometer lanes` lists]
    #[arg(long, value_delimiter = ',', value_name = "X,Y")]
    lane: Vec<String>,
    /// Also run containers on this image of the engine, as large as real ones
    #[arg(long, value_name = "IMAGE")]
    base_image: Option<String>,
    /// Runs of each cell [default: the preset's]
    #[arg(long, value_parser = crate::record::limits::at_least_one, value_name = "N")]
    runs: Option<u32>,
    /// A folder for the report as Markdown and JSON, with charts as SVG
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Begin anew, even if the newest run was cut off
    #[arg(long)]
    fresh: bool,
    /// Show the newest run, and measure nothing
    #[arg(long, conflicts_with = "fresh")]
    show: bool,
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    if common.format == Format::Csv {
        return Err(Failure::Usage(
            "the report has several tables: take --format json, or `cyclometer query` for CSV"
                .to_owned(),
        ));
    }
    let catalog = common.catalog()?;
    let prices = common.price_catalog()?;
    let contracts: Result<Vec<Contract>, _> = BILLED
        .iter()
        .map(|id| prices.find(id).map(|model| (model.clone(), Terms::of(model))))
        .collect();
    let contracts = contracts.map_err(Failure::failed)?;
    let asked = specs(&options.lane)?;
    let cancel = if options.show { None } else { Some(cancel_on_signals()?) };
    let mut store = match &cancel {
        None => common.reading()?,
        Some(cancel) => common.store_until(cancel.clone())?,
    };
    let host = serde_json::to_value(Fingerprint::take()).map_err(Failure::failed)?;
    let mut run = choose(options, &store, &host, &asked)?;
    let mut interrupted = false;
    if let Some(cancel) = &cancel {
        for unfinished in run.unfinished(&store).map_err(Failure::failed)? {
            let tally;
            (store, tally) = record(store, &catalog, &run, unfinished, cancel)?;
            run = again(&store, &run)?;
            interrupted = tally.interrupted;
            if interrupted {
                say("stopped: the same command goes on from here");
                break;
            }
        }
    }
    if interrupted && run.numbers().is_empty() {
        say(super::record::NOTHING_KEPT);
        return Ok(interrupted_status());
    }
    let report = report(&mut store, &run, contracts, host)?;
    if let Some(folder) = &options.output {
        write_files(&report, folder)?;
    }
    super::even_unread(print(common.format, &report))?;
    Ok(if interrupted {
        interrupted_status()
    } else if report.unfinished.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

/// Returns the run to continue, to show, or to begin.
fn choose(
    options: &Options,
    store: &Store,
    host: &Value,
    asked: &[LaneSpec],
) -> Result<Run, Failure> {
    let mut known = Run::all(store).map_err(Failure::failed)?;
    known.retain(|run| run.preset == options.preset);
    if options.show {
        return known.pop().ok_or_else(|| {
            Failure::Failed(format!(
                "there is no run of preset {} to show: make one with `cyclometer paper --preset {0}`",
                options.preset.name()
            ))
        });
    }
    let named: Option<Vec<String>> =
        (!options.lane.is_empty()).then(|| with_base(asked.to_vec(), options));
    if let Some(last) = known.pop().filter(|_| !options.fresh)
        && last.is_of(host)
        && named.as_ref().is_none_or(|named| *named == last.lanes)
        && options.runs.is_none_or(|runs| last.runs == Some(runs))
        && options.base_image.as_ref().is_none_or(|image| has_base(&last.lanes, image))
        && !last.unfinished(store).map_err(Failure::failed)?.is_empty()
    {
        say(&format!("goes on with the run that was begun at {}; --fresh begins anew", last.id));
        return Ok(last);
    }
    let lanes = named.unwrap_or_else(|| {
        let all = doctor::lanes();
        let engine =
            all.iter().any(|spec| matches!(spec, LaneSpec::Docker { runtime: Some(_), .. }));
        with_base(all.into_iter().filter(|spec| is_of_interest(spec, engine)).collect(), options)
    });
    let begun = humantime::format_rfc3339_millis(std::time::SystemTime::now());
    Ok(Run { runs: options.runs, ..Run::new(begun.to_string(), options.preset, lanes) })
}

/// Returns the names of lanes, with another Docker lane on the base image if one was
/// given.
fn with_base(mut lanes: Vec<LaneSpec>, options: &Options) -> Vec<String> {
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
            matches!(settings.words().as_slice(), [] | ["winch"])
        }
        LaneSpec::Docker { runtime: None, .. } => !engine,
        _ => true,
    }
}

/// Returns the run with its latest recordings.
fn again(store: &Store, run: &Run) -> Result<Run, Failure> {
    let all = Run::all(store).map_err(Failure::failed)?;
    Ok(all
        .into_iter()
        .rfind(|it| it.id == run.id && it.preset == run.preset)
        .unwrap_or_else(|| run.clone()))
}

/// Records the missing rounds of one part.
fn record(
    store: Store,
    catalog: &Catalog,
    run: &Run,
    unfinished: Unfinished,
    cancel: &Cancel,
) -> Result<(Store, Tally), Failure> {
    let Unfinished { part, done } = unfinished;
    say(&match done {
        0 => part.title().to_owned(),
        done => format!("{}: {done} rounds are there already", part.title()),
    });
    let hopeless = run.hopeless(&store).map_err(Failure::failed)?;
    let mut names = part.lanes(&run.lanes);
    names.retain(|name| part == Part::Nop || !hopeless.contains(name));
    // An empty list would stand for the default lanes.
    if names.is_empty() {
        say(&format!("{}: nop fails in every lane, nothing else is tried", part.title()));
        return Ok((store, Tally::default()));
    }
    let owner = ProcessIdentity::current().map_err(Failure::failed)?;
    let request = run.request(part, catalog, done).map_err(Failure::failed)?;
    super::sweep();
    let mut opened: Vec<Event> = Vec::new();
    let mut lanes = open_lanes(&specs(&names)?, &owner, &mut opened).map_err(Failure::failed)?;
    if Cancel::of_process().is_cancelled() {
        return Ok((store, Tally { interrupted: true, ..Tally::default() }));
    }
    let mut plan = Plan::new(&request, &lanes).map_err(Failure::failed)?;
    plan.give_up = Some(2);
    plan.compiles = if done == 0 && part != Part::Counting { run.preset.compiles() } else { 0 };
    let mut kept = request.to_json(&names, None);
    kept[MARK] = run.mark(part);
    let header = RecordingHeader {
        label: Some(format!("paper {}: {}", run.preset.name(), part.key())),
        owner: owner.to_string(),
        plan: kept.to_string(),
        host: serde_json::to_string(&Fingerprint::take()).map_err(Failure::failed)?,
        sample_interval: None,
    };
    let mut progress = Progress::new(plan.total());
    let mut writer = Writer::start(store, &header, Box::new(move |event| progress.take(&event)))
        .map_err(Failure::failed)?;
    for event in opened {
        writer.send(event).map_err(Failure::failed)?;
    }
    // Nothing is sampled, so that the timed functions are not disturbed.
    let prepared =
        Recorder::new(&mut lanes, &plan, None, cancel.clone()).map_err(Failure::failed)?;
    let recorded = prepared.run(&mut writer);
    let finished = writer.finish();
    let tally = recorded.map_err(Failure::failed)?;
    let store = finished.map_err(Failure::failed)?;
    Ok((store, tally))
}

fn report(
    store: &mut Store,
    run: &Run,
    contracts: Vec<Contract>,
    host: Value,
) -> Result<Report, Failure> {
    let numbers = run.numbers();
    if numbers.is_empty() {
        return Err(Failure::Failed("nothing was recorded".to_owned()));
    }
    let bills = match store.replay(&ReplayPlan::of(numbers.clone(), contracts)) {
        Ok(simulation) => Some(simulation.summary),
        Err(error) => {
            say(&format!("no bills: {error}"));
            None
        }
    };
    let mut series: Vec<(Part, Vec<Series>)> = Vec::new();
    for part in Part::ALL {
        series.push((part, store.series(&run.of(part)).map_err(Failure::failed)?));
    }
    let lanes = store.lanes_of(&numbers).map_err(Failure::failed)?;
    let unfinished = run.unfinished(store).map_err(Failure::failed)?;
    Ok(Report::new(Material {
        run,
        host: if run.host.is_null() { host } else { run.host.clone() },
        lanes: lanes.into_iter().map(about).collect(),
        series: &series,
        bills: bills.as_ref(),
        quantum: quantum(run),
        confidence: Confidence::default(),
        unfinished: unfinished.into_iter().map(|it| it.part).collect(),
    }))
}

/// Returns the resolution of the clock when the run began.
fn quantum(run: &Run) -> Option<Quantum> {
    let clock = serde_json::from_value::<Clock>(run.host.get("clock")?.clone()).ok()?;
    Some(Quantum { span: clock.quantum(), of: "clock" })
}

fn about(lane: crate::store::StoredLane) -> LaneAbout {
    let spec = lane.name.parse::<LaneSpec>().ok();
    LaneAbout {
        wasm: match &spec {
            Some(LaneSpec::Wasmtime(_)) => true,
            Some(LaneSpec::Command { profile }) => {
                let known = profile::catalog();
                known.get(profile).is_some_and(|known| known.takes == Takes::Module)
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

fn write_files(report: &Report, folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot write {}: {error}", shown_path(path)))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let json = json_text(&paper::json(report), true);
    let opened = Folder::open(folder, Links::Anywhere).map_err(|error| failed(folder, &error))?;
    let mut files =
        vec![("report.md".to_owned(), paper::markdown(report)), ("report.json".to_owned(), json)];
    files.extend(paper::charts(report));
    for (name, content) in files {
        let path = folder.join(&name);
        let written = opened.replace(Path::new(&name), content.as_bytes(), 0o666);
        written.map_err(|error| failed(&path, &error))?;
        say(&format!("written: {}", shown_path(&path)));
    }
    Ok(())
}

fn print(format: Format, report: &Report) -> Result<(), Failure> {
    let mut out = text_output();
    match format {
        Format::Table => write!(out, "{}", paper::text(report, terminal_width()))?,
        Format::Markdown => write!(out, "{}", paper::markdown(report))?,
        Format::Json => writeln!(out, "{}", json_text(&paper::json(report), true))?,
        Format::Jsonl => writeln!(out, "{}", json_text(&paper::json(report), false))?,
        // Refused before anything was measured.
        Format::Csv => {}
    }
    out.flush()?;
    Ok(())
}
