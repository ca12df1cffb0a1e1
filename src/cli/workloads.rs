//! `workloads list|check|build`: lists, checks and builds workloads.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{Common, Failure, Outcome, record, say, signals};
use crate::lane::{self, Cancel, Job, Status, Unwatched};
use crate::procfs::ProcessIdentity;
use crate::record::{Event, OpenLane, Plan, PlanRequest, Starts, open_lanes};
use crate::report::{Cell, Column, Table};
use crate::units::Nanos;
use crate::workload::{OutputDigest, build};

/// Options of `workloads`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer workloads list
  cyclometer workloads check --preset quick
  cyclometer workloads build --workloads ./my-function
  cyclometer workloads build --check           in a clone: do the modules match the C?")]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the workloads with their presets
    List,
    /// Run every workload once in every available lane, and check its output
    Check(Check),
    /// Build the WebAssembly modules from C with clang and wasi-libc
    Build(Build),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// Only these workloads, by name
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    workload: Vec<String>,
    /// Only these lanes [default: native,wasmtime,docker, if available]
    #[arg(long, value_delimiter = ',', value_name = "LANE,LANE")]
    lane: Vec<String>,
    /// Preset of the workloads: their arguments and input
    #[arg(long, default_value = "quick", value_name = "NAME")]
    preset: String,
}

#[derive(Debug, clap::Args)]
struct Build {
    /// Write nothing; fail if a program differs from what its source builds
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(super) fn run(common: &Common, options: &Options) -> Outcome {
    match &options.action {
        Action::List => list(common),
        Action::Check(options) => check(common, options),
        Action::Build(options) => rebuild(common, options),
    }
}

fn list(common: &Common) -> Outcome {
    let mut table = Table::new(&[
        Column::text("workload", "workload"),
        Column::text("title", "title"),
        Column::text("presets", "presets"),
        Column::text("programs", "programs"),
        Column::number("memory", "memory_bytes"),
        Column::text("stresses", "stresses"),
    ]);
    for workload in common.catalog()?.iter() {
        let presets: Vec<_> = workload.presets.keys().map(String::as_str).collect();
        let programs = [("wasm", workload.wasm.is_some()), ("native", workload.native.is_some())];
        let programs: Vec<_> =
            programs.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
        let memory = workload.presets.values().map(|preset| preset.limits.memory).min();
        table.push(vec![
            Cell::text(&workload.name),
            Cell::text(&workload.title),
            Cell::text(presets.join(" ")),
            Cell::text(programs.join(" ")),
            Cell::maybe(memory.map(|memory| (memory.to_string(), memory.0))),
            Cell::text(&workload.stresses),
        ]);
    }
    common.print(&table)?;
    Ok(ExitCode::SUCCESS)
}

fn check(common: &Common, options: &Check) -> Outcome {
    let catalog = common.catalog()?;
    let mut workloads: Vec<_> = catalog.iter().cloned().collect();
    if !options.workload.is_empty() {
        let named = options.workload.iter();
        let named = named.map(|name| super::find_workload(&catalog, name).cloned());
        workloads = named.collect::<Result<_, _>>()?;
    }
    let specs = record::specs(&options.lane)?;
    let owner = ProcessIdentity::current().map_err(Failure::failed)?;
    let cancel = signals::cancel_on_signals()?;
    super::sweep();
    let mut events: Vec<Event> = Vec::new();
    let mut lanes = open_lanes(&specs, &owner, &mut events).map_err(Failure::failed)?;
    let missing = record::tell_lanes(&events);
    if Cancel::of_process().is_cancelled() {
        return Ok(signals::interrupted_status());
    }
    let request = PlanRequest {
        workloads,
        preset: options.preset.clone(),
        starts: Starts::Both,
        runs: 1,
        warmup: 0,
        memory: None,
        timeout: None,
        cpu: None,
        until_stopped: false,
        race: false,
        until: None,
        seed: 0,
    };
    let plan = Plan::new(&request, &lanes).map_err(Failure::usage)?;
    let mut table = Table::new(&[
        Column::text("workload", "workload"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::text("status", "status"),
        Column::number("output", "output_bytes"),
        Column::text("sha256", "sha256"),
        Column::text("", "expected_sha256"),
        Column::text("reason", "reason"),
    ]);
    let mut failed = false;
    for cell in plan.cells.iter().take_while(|_| !cancel.is_cancelled()) {
        let open = &mut lanes[cell.lane];
        let (ended, output, reason) = run_once(open, &cell.job, &cancel);
        failed |= ended != Status::Ok;
        table.push(row(&open.name, &cell.job, ended, output, reason));
    }
    for open in &mut lanes {
        open.lane.close();
    }
    super::even_unread(common.print(&table))?;
    if cancel.is_cancelled() {
        return Ok(signals::interrupted_status());
    }
    if failed {
        return Err(Failure::Failed("not all outputs are as expected".to_owned()));
    }
    say("all outputs are as expected");
    let incomplete = missing && !options.lane.is_empty();
    Ok(if incomplete { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// Runs a cell once; the output is `None` if it could not be read.
fn run_once(
    open: &mut OpenLane,
    job: &Job,
    cancel: &Cancel,
) -> (Status, Option<OutputDigest>, Option<String>) {
    if let Err(error) = open.lane.prepare(job, cancel) {
        return (Status::Failed, None, Some(error.to_string()));
    }
    let mut last = None;
    open.lane.invoke(job, 1, &mut Unwatched, cancel, &mut |outcome| last = Some(outcome));
    match last {
        Some(lane::Outcome { status, output, reason, .. }) => (status, output, reason),
        None => (Status::Interrupted, None, Some("stopped".to_owned())),
    }
}

fn row(
    lane: &str,
    job: &Job,
    status: Status,
    output: Option<OutputDigest>,
    reason: Option<String>,
) -> Vec<Cell> {
    let digest = |output: Option<OutputDigest>| {
        Cell::maybe(output.map(|it| {
            let text = crate::workload::hex(&it.sha256);
            (text[..12].to_owned(), text)
        }))
    };
    vec![
        Cell::text(&job.workload.name),
        Cell::text(lane),
        Cell::text(job.start.label()),
        Cell::text(status.label()),
        Cell::maybe(output.map(|it| (format!("{} B", it.bytes), it.bytes))),
        digest(output),
        digest(job.preset.expected),
        Cell::text(reason.unwrap_or_default()),
    ]
}

fn rebuild(common: &Common, options: &Build) -> Outcome {
    let mut folders = common.workloads.clone();
    if folders.is_empty() {
        folders.push(PathBuf::from("workloads"));
    }
    let mut table = Table::new(&[
        Column::text("workload", "workload"),
        Column::text("program", "program"),
        Column::number("size", "size_bytes"),
        Column::text("state", "state"),
    ]);
    let begun = lane::now();
    let mut differs = false;
    let cancel = signals::cancel_on_signals()?;
    for folder in &folders {
        let all = match build::build(folder, options.check, &cancel) {
            Err(build::BuildError::Cancelled) => return Ok(signals::interrupted_status()),
            other => other.map_err(Failure::failed)?,
        };
        for built in all {
            let state = match (built.same, options.check) {
                (true, _) => "unchanged",
                (false, true) => "differs from its source",
                (false, false) => "rebuilt",
            };
            differs |= !built.same;
            table.push(vec![
                Cell::text(built.workload),
                Cell::text(built.path.display().to_string()),
                Cell::new(format!("{} B", built.size), built.size),
                Cell::text(state),
            ]);
        }
    }
    common.print(&table)?;
    say(&format!("built in {}", Nanos(lane::now().since(begun).0)));
    if differs && options.check {
        return Err(Failure::Failed(
            "some programs differ from what their source builds: run `cyclometer workloads build`"
                .to_owned(),
        ));
    }
    Ok(ExitCode::SUCCESS)
}
