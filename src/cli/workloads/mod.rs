//! `workloads list|new|check|build`: lists, begins, checks and builds workloads.

mod new;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::own_function::{FunctionOptions, choose_preset};
use crate::cli::recording::MissingLaneMessages;
use crate::cli::{CommandFailure, CommandOutcome, CommonOptions, record, say, signals};
use crate::lane::{self, Cancel, Job, NoSampling, Status};
use crate::procfs::ProcessIdentity;
use crate::record::{
    Event, OpenLane, OutputComparison, Plan, PlanRequest, SessionObserver, open_lanes,
};
use crate::report::{Cell, Column, Table};
use crate::units::Nanos;
use crate::workload::{OutputDigest, build};

/// Options of `workloads`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer workloads list
  cyclometer workloads new thumbnail --wasm thumbnail.wasm
  cyclometer workloads check --workloads thumbnail
  cyclometer workloads build --workloads ./my-function
  cyclometer workloads build --check           in a clone: do the modules match the C?")]
pub(super) struct WorkloadsOptions {
    #[command(subcommand)]
    action: WorkloadsCommand,
}

#[derive(Debug, Subcommand)]
enum WorkloadsCommand {
    /// List the workloads with their presets
    List,
    /// Make a folder with a workload.toml to start from
    New(new::WorkloadNewOptions),
    /// Run every workload once in every available lane, and check its output
    Check(Box<WorkloadCheckOptions>),
    /// Build the WebAssembly modules from C with clang and wasi-libc
    Build(WorkloadBuildOptions),
}

#[derive(Debug, clap::Args)]
struct WorkloadCheckOptions {
    /// Only these workloads, by name
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    workload: Vec<String>,
    /// Only these lanes [default: native,wasmtime,docker, if available]
    #[arg(long, value_delimiter = ',', value_name = "LANE,LANE")]
    lane: Vec<String>,
    #[command(flatten)]
    function: FunctionOptions,
    /// Preset of the workloads: their arguments and input [default: quick, if they have it]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
}

#[derive(Debug, clap::Args)]
struct WorkloadBuildOptions {
    /// Write nothing; fail if a program differs from what its source builds
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &WorkloadsOptions) -> CommandOutcome {
    match &options.action {
        WorkloadsCommand::List => print_workloads(common),
        WorkloadsCommand::New(options) => new::run(common, options),
        WorkloadsCommand::Check(options) => check_workloads(common, options),
        WorkloadsCommand::Build(options) => rebuild_modules(common, options),
    }
}

fn print_workloads(common: &CommonOptions) -> CommandOutcome {
    let mut table = Table::new(&[
        Column::text("workload", "workload"),
        Column::text("title", "title"),
        Column::text("presets", "presets"),
        Column::text("forms", "forms"),
        Column::number("memory", "memory_bytes"),
        Column::text("stresses", "stresses"),
    ]);
    for workload in common.workload_catalog()?.iter() {
        let presets: Vec<_> = workload.presets.keys().map(String::as_str).collect();
        let programs = [
            ("wasm", workload.wasm.is_some()),
            ("native", workload.native.is_some()),
            ("image", workload.image.is_some()),
        ];
        let programs: Vec<_> =
            programs.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
        let memory = workload.presets.values().map(|preset| preset.limits.memory).min();
        table.push(vec![
            Cell::text(&workload.name),
            Cell::text(&workload.title),
            Cell::text(presets.join(" ")),
            Cell::text(programs.join(" ")),
            Cell::optional_size(memory),
            Cell::text(&workload.stresses),
        ]);
    }
    common.print_table(&table)?;
    Ok(ExitCode::SUCCESS)
}

fn check_workloads(common: &CommonOptions, options: &WorkloadCheckOptions) -> CommandOutcome {
    let preset = options.preset.as_deref();
    let (catalog, chosen) =
        common.choose_workloads(&options.function, &options.workload, preset)?;
    let mut workloads: Vec<_> = catalog.iter().cloned().collect();
    if !chosen.workloads.is_empty() {
        let named = chosen.workloads.iter();
        let named = named.map(|name| crate::cli::find_workload(&catalog, name).cloned());
        workloads = named.collect::<Result<_, _>>()?;
    }
    let preset = choose_preset(&workloads, preset)?;
    let specs = match chosen.lanes {
        Some(lanes) if options.lane.is_empty() => lanes,
        _ => record::parse_lanes(&options.lane)?,
    };
    let owner = ProcessIdentity::current().map_err(CommandFailure::failed)?;
    let cancel = signals::cancel_on_signals()?;
    crate::cli::sweep_leftovers();
    let mut events: Vec<Event> = Vec::new();
    let mut lanes = open_lanes(&specs, &owner, &mut events).map_err(CommandFailure::failed)?;
    let mut missing = MissingLaneMessages::default();
    for event in &events {
        missing.lane_opened(event);
    }
    if Cancel::for_process().is_cancelled() {
        return Ok(signals::interrupted_status());
    }
    let request = PlanRequest {
        runs: 1,
        warmup: 0,
        seed: 0,
        rules: options.function.to_rules(),
        ..PlanRequest::for_workloads(workloads, &preset)
    };
    let plan = Plan::new(&request, &lanes).map_err(CommandFailure::usage)?;
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
    let mut outputs = OutputComparison::default();
    for cell in plan.cells.iter().take_while(|_| !cancel.is_cancelled()) {
        let open = &mut lanes[cell.lane];
        let (ended, output, reason) = run_once(open, &cell.job, &cancel);
        failed |= ended != Status::Ok;
        outputs.add_cell(&open.name, &cell.job);
        outputs.add_output(cell.job.cell, output.filter(|_| ended == Status::Ok));
        table.push(check_row(&open.name, &cell.job, ended, output, reason));
    }
    for open in &mut lanes {
        open.lane.close();
    }
    crate::cli::ignore_unread(common.print_table(&table))?;
    if cancel.is_cancelled() {
        return Ok(signals::interrupted_status());
    }
    if let (true, [(name, _), ..]) = (options.workload.is_empty(), catalog.broken_workloads()) {
        let broken = catalog.broken_workloads().len();
        return Err(CommandFailure::Failed(format!(
            "{broken} workload(s) cannot be loaded, `{name}` first: see the notes above"
        )));
    }
    if failed {
        return Err(CommandFailure::Failed("not all runs ended as expected".to_owned()));
    }
    if plan.cells.iter().all(|cell| cell.job.preset.expected.is_some()) {
        say("all outputs are as expected");
    }
    for sentence in outputs.list_sentences() {
        say(&sentence);
    }
    let incomplete = missing.any && !options.lane.is_empty();
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
    open.lane.invoke(job, 1, &mut NoSampling, cancel, &mut |outcome| last = Some(outcome));
    match last {
        Some(lane::Outcome { status, output, reason, .. }) => (status, output, reason),
        None => (Status::Interrupted, None, Some("stopped".to_owned())),
    }
}

fn check_row(
    lane: &str,
    job: &Job,
    status: Status,
    output: Option<OutputDigest>,
    reason: Option<String>,
) -> Vec<Cell> {
    let digest = |output: Option<OutputDigest>| {
        Cell::optional(output.map(|it| {
            let text = crate::workload::hex(&it.sha256);
            (text[..12].to_owned(), text)
        }))
    };
    vec![
        Cell::text(&job.workload.name),
        Cell::text(lane),
        Cell::text(job.start.label()),
        Cell::text(status.label()),
        Cell::optional(output.map(|it| (format!("{} B", it.bytes), it.bytes))),
        digest(output),
        digest(job.preset.expected),
        Cell::text(reason.unwrap_or_default()),
    ]
}

fn rebuild_modules(common: &CommonOptions, options: &WorkloadBuildOptions) -> CommandOutcome {
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
    let begun = lane::monotonic_now();
    let mut differs = false;
    let cancel = signals::cancel_on_signals()?;
    for folder in &folders {
        let all = match build::build_workloads(folder, options.check, &cancel) {
            Err(build::BuildError::Cancelled) => return Ok(signals::interrupted_status()),
            other => other.map_err(CommandFailure::failed)?,
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
    common.print_table(&table)?;
    say(&format!("built in {}", Nanos(lane::monotonic_now().saturating_since(begun).0)));
    if differs && options.check {
        return Err(CommandFailure::Failed(
            "some programs differ from what their source builds: run `cyclometer workloads build`"
                .to_owned(),
        ));
    }
    Ok(ExitCode::SUCCESS)
}
