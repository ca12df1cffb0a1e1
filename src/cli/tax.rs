//! `tax`: measures the cost of metering itself.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Deserialize;

use super::cpu_options::CpuOptions;
use super::own_function::{FunctionOptions, choose_preset};
use super::recording::{MissingLaneMessages, StoredRecording, session_failure, store_recording};
use super::{CommandFailure, CommandOutcome, CommonOptions, record, say, signals};
use crate::meter::clock::MonotonicClock;
use crate::output::text_output;
use crate::record::tax::{METERINGS, Metering};
use crate::record::{
    PlanRequest, RecordingSession, SessionError, SessionLanes, SessionOptions, Starts, fresh_seed,
    limits,
};
use crate::report::Format;
use crate::report::tax::{NAME_COLUMNS, build_report};
use crate::stats::Confidence;
use crate::store::{RecordingRef, Store};
use crate::units::Nanos;
use crate::workload::Workload;

/// Default workloads: a start, a computation, and memory.
const USUAL: [&str; 3] = ["nop", "nbody", "memory-burst"];

/// Options of `tax`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer tax
  cyclometer tax --workload nbody --lane wasmtime --runs 50
  cyclometer tax fn.wasm -- 1000               your own function
  cyclometer tax --show latest --format csv

Each workload runs plain (no counters, no samples), counted by perf, sampled
every 100, 10 and 1 ms with the counters on, and under wasmtime also counting
fuel and checking epochs; in random order, a new process each time. The result
is the median of the run and of the CPU time as a multiple of the plain one's,
with a 99 % interval. It is kept as a recording; --show prints it again.")]
pub(super) struct TaxOptions {
    /// Workloads, by name [default: nop,nbody,memory-burst]
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    workload: Vec<String>,
    /// Lanes
    #[arg(long, value_delimiter = ',', value_name = "X,Y", default_value = "native,wasmtime",
        value_parser = ["native", "wasmtime"])]
    lane: Vec<String>,
    #[command(flatten)]
    function: FunctionOptions,
    /// Preset of arguments and input [default: quick, if they have it]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Recorded runs of each workload under each metering
    #[arg(long, default_value_t = 30, value_parser = limits::at_least_one, value_name = "N")]
    runs: u32,
    /// Runs before them that are not recorded, up to 1000000
    #[arg(long, default_value_t = 1, value_parser = limits::parse_warmup, value_name = "N")]
    warmup: u32,
    /// Longest time of one invocation: 1ms to 7days [default: the workload's]
    #[arg(long, value_parser = limits::timeout, value_name = "TIME")]
    timeout: Option<Nanos>,
    /// Seed of the random order of runs [default: a new one each time, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    #[command(flatten)]
    cpu_share: CpuOptions,
    /// Label of the recording
    #[arg(long, default_value = "tax", value_name = "TEXT")]
    label: String,
    /// Print the result of an earlier recording instead: its number, its label or `latest`
    #[arg(long, value_name = "RECORDING", conflicts_with_all = ["workload", "runs", "seed"])]
    show: Option<RecordingRef>,
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &TaxOptions) -> CommandOutcome {
    if let Some(recording) = options.show.clone() {
        let store = common.open_for_reading()?;
        let recording = store.find_recording(recording).map_err(CommandFailure::failed)?;
        return print_conclusion(common, &store, recording).map(|()| ExitCode::SUCCESS);
    }
    let request = build_request(common, options)?;
    let cancel = signals::cancel_on_signals()?;
    let store = common.open_store_until(cancel.clone())?;
    let wanted = |it: &&Metering| options.lane.iter().any(|lane| lane == it.base);
    let meterings: Vec<Metering> = METERINGS.iter().filter(wanted).copied().collect();
    let session_options = SessionOptions {
        lanes: SessionLanes::Metered(meterings),
        label: Some(options.label.clone()),
        ..SessionOptions::for_lanes(Vec::new(), request)
    };
    super::sweep_leftovers();
    let mut missing = MissingLaneMessages::default();
    let session = match RecordingSession::open(&session_options, &mut missing) {
        Ok(session) => session,
        Err(SessionError::Interrupted) => return Ok(signals::interrupted_status()),
        Err(error) => return Err(session_failure(error)),
    };
    for reason in &session.plan().left_out {
        say(&format!("left out: {reason}"));
    }
    say(&format!("the order of runs is random; --seed {} repeats it", session.plan().seed));
    let StoredRecording { number: recording, tally, store, .. } =
        store_recording(session, store, cancel)?;
    if tally.is_empty() {
        say(record::NOTHING_KEPT);
        return Ok(record::exit_code(&tally, missing.any));
    }
    super::ignore_unread(print_conclusion(common, &store, recording))?;
    say(&format!("recording {recording} in {}", store.path().display()));
    Ok(record::exit_code(&tally, missing.any))
}

fn build_request(
    common: &CommonOptions,
    options: &TaxOptions,
) -> Result<PlanRequest, CommandFailure> {
    let preset = options.preset.as_deref();
    let (catalog, chosen) =
        common.choose_workloads(&options.function, &options.workload, preset)?;
    let usual = USUAL.map(str::to_owned).to_vec();
    let names = if chosen.workloads.is_empty() { &usual } else { &chosen.workloads };
    let mut workloads: Vec<Arc<Workload>> = Vec::new();
    for name in names {
        let workload = super::find_workload(&catalog, name)?;
        if !workloads.iter().any(|other| Arc::ptr_eq(other, workload)) {
            workloads.push(Arc::clone(workload));
        }
    }
    let preset = choose_preset(&workloads, preset)?;
    Ok(PlanRequest {
        rules: options.function.to_rules(),
        // A warm worker opens its counters by itself, whatever the lane.
        starts: Starts::Cold,
        runs: options.runs,
        warmup: options.warmup,
        timeout: options.timeout,
        cpu_share: options.cpu_share.share_rule(false)?,
        seed: options.seed.map_or_else(fresh_seed, u64::from),
        ..PlanRequest::for_workloads(workloads, &preset)
    })
}

/// Prints the results of the recording.
fn print_conclusion(
    common: &CommonOptions,
    store: &Store,
    recording: i64,
) -> Result<(), CommandFailure> {
    let series = store.cell_series(&[recording]).map_err(CommandFailure::failed)?;
    let missing = store.unavailable_lanes(recording).map_err(CommandFailure::failed)?;
    let around = store.recording_details(recording).map_err(CommandFailure::failed)?;
    let clock = around.host.get("clock").and_then(|clock| MonotonicClock::deserialize(clock).ok());
    let report = build_report(&series, &missing, clock, Confidence::default());
    if report.table.is_empty() {
        return Err(CommandFailure::Failed(format!(
            "{} says nothing of what metering costs: `cyclometer tax` makes one that does",
            store.name_recordings(&[recording]).map_err(CommandFailure::failed)?
        )));
    }
    if common.format == Format::Table {
        let mut out = text_output();
        writeln!(out, "{}", report.table.render_grouped(NAME_COLUMNS))?;
        out.flush()?;
    } else {
        common.print_table(&report.table)?;
    }
    for note in &report.notes {
        say(note);
    }
    Ok(())
}
