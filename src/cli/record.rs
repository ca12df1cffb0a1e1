//! `record`: runs workloads in lanes, from the plan to the comparison.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use super::cpu_options::CpuOptions;
use super::history::compare::{GateOptions, compare_recordings};
use super::own_function::{FunctionOptions, choose_preset};
use super::progress::ShownMessages;
use super::recording::{MissingLaneMessages, StoredRecording, session_failure, store_recording};
use super::signals::{self, cancel_on_signals, finish_on_signals};
use super::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::lane::LaneSpec;
use crate::output::{is_terminal_output, text_output};
use crate::pricing::PriceCatalog;
use crate::record::{
    DEMO, InvocationTally, MAX_RUNS, PlanRequest, RecordingSession, SessionError, SessionOptions,
    Starts, StoppingRule, fresh_seed, limits,
};
use crate::report::answer::{self, WorkloadAnswer};
use crate::report::{Format, Table, comparison, precision, terminal_width};
use crate::stats::Confidence;
use crate::store::{RecordingRef, ReplayPlan, Store};
use crate::units::{Bytes, Nanos};
use crate::workload::Catalog;

/// Default number of recorded runs.
const RUNS: u32 = 10;

/// Message about a recording in which no invocation ended by itself.
pub(super) const NOTHING_KEPT: &str = "no invocation had finished: nothing is kept of it";

/// Options of `record`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer record
  cyclometer record -- ./resize photo.png      your own program, script, module
  cyclometer record fn.wasm --invoke add 2 3
  cyclometer record --native ./fn --wasm fn.wasm --image me/fn -- 1000
  cyclometer record --workload nop --lane wasmtime --start warm --runs 100000
  cyclometer record --workload nbody,mandelbrot --lane native,wasmtime,wasmtime:fuel
  cyclometer record --workloads ./my-function --preset quick --lane native
  cyclometer record --workload nop --lane docker,docker@debian:12,docker:runsc --start warm
  cyclometer record --workload wait --sample-interval off --format json
  cyclometer record --workload nbody --until 1% --for 5m

Each round runs every workload once in every lane, in a new random order. With
--until, cells that are known precisely enough are left out of further rounds; if
some never are, the exit status is 3. Ctrl-C, SIGTERM and a terminal that goes away end
it cleanly: what had finished is kept.

The result ends in sentences, one paragraph a workload: who starts and runs
faster, by how much, and what a million runs cost. Brackets are 99 % intervals.")]
pub(super) struct RecordOptions {
    /// Workloads to run, by name; --workloads adds your own
    /// [default: nbody,nop,wait,memory-burst]
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    workload: Vec<String>,
    /// Lanes to run them in, by name: `cyclometer lanes` lists them; variants are
    /// written wasmtime:winch+fuel and docker[:RUNTIME][@IMAGE]
    /// [default: native,wasmtime,docker, if available]
    #[arg(long, value_delimiter = ',', value_name = "LANE,LANE")]
    lane: Vec<String>,
    /// Base image for docker lanes that name none; the engine must have it
    #[arg(long, value_parser = base_image, value_name = "IMAGE")]
    base_image: Option<String>,
    #[command(flatten)]
    function: FunctionOptions,
    /// Preset of the workloads: their arguments and input [default: quick, if they have it]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Kinds of start, in lanes that have them
    #[arg(long, value_enum, default_value_t = Starts::Both)]
    start: Starts,
    /// Recorded runs of each workload in each lane; with --until, at most
    /// [default: 10; with --until 1000]
    #[arg(long, value_parser = limits::at_least_one, value_name = "N")]
    runs: Option<u32>,
    /// Repeat each workload in each lane until its median wall time is known this precisely, such
    /// as 1%: its 99 % interval stays within that distance of it twice in a row; at least ten runs
    #[arg(long, value_name = "PERCENT", conflicts_with = "until_stopped")]
    until: Option<StoppingRule>,
    /// With --until, start no run after this time, such as 5m
    #[arg(long = "for", requires = "until", value_parser = limits::timeout, value_name = "TIME")]
    within: Option<Nanos>,
    /// Seed of the random order of runs; the same seed gives the same order
    /// [default: a new one each time, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Unrecorded runs of each workload in each lane before the first recorded one, up to 1000000;
    /// all later runs are recorded, outliers included
    #[arg(long, default_value_t = 1, value_parser = limits::parse_warmup, value_name = "N")]
    warmup: u32,
    /// Record until Ctrl-C (once: finish the running invocation; twice: abort it)
    #[arg(long, conflicts_with = "runs")]
    until_stopped: bool,
    /// Run all lanes at the same time, each on its own CPU
    #[arg(long)]
    race: bool,
    /// Time between two samples of a running invocation: 1ms to 1h; `off` takes
    /// none
    #[arg(long, default_value = "10ms", value_parser = interval, value_name = "TIME")]
    sample_interval: SampleInterval,
    /// Memory that each function may use, and is billed for: 6MiB to 1TiB
    /// [default: the workload's]
    #[arg(long, value_parser = limits::memory, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Time after which an invocation is stopped: 1ms to 7days, or `none` for
    /// 7days [default: the workload's]
    #[arg(long, value_parser = limits::timeout, value_name = "TIME")]
    timeout: Option<Nanos>,
    /// Run functions on this CPU only, by its number
    #[arg(long, value_parser = cpu, value_name = "CPU")]
    pin: Option<u16>,
    #[command(flatten)]
    cpu_share: CpuOptions,
    /// Label of the recording
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Compare afterwards with a recording: its label, its number, `latest`, or the file of another
    /// database (its newest recording)
    #[arg(long, value_name = "LABEL|FILE")]
    against: Option<String>,
    #[command(flatten)]
    gate: GateOptions,
}

/// A sampling interval, or none.
#[derive(Debug, Clone, Copy)]
struct SampleInterval(Option<Nanos>);

fn interval(text: &str) -> Result<SampleInterval, String> {
    limits::parse_interval(text).map(SampleInterval)
}

/// Parses the image of a docker lane, as it stands in a lane's name.
fn base_image(text: &str) -> Result<String, String> {
    match format!("docker@{text}").parse::<LaneSpec>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("`{text}` is not the name of an image, such as debian:12")),
    }
}

fn cpu(text: &str) -> Result<u16, String> {
    let cpu: u16 = text.parse().map_err(|_| format!("`{text}` is not the number of a CPU"))?;
    let path = format!("/sys/devices/system/cpu/cpu{cpu}");
    let online = crate::files::read_kernel_text(format!("{path}/online"));
    // CPU 0 often cannot be switched off and has no such file.
    let here = std::path::Path::new(&path).exists() && online.map_or(true, |it| it.trim() == "1");
    if here { Ok(cpu) } else { Err(format!("there is no CPU {cpu} online here")) }
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &RecordOptions) -> CommandOutcome {
    let preset = options.preset.as_deref();
    let (catalog, chosen) =
        common.choose_workloads(&options.function, &options.workload, preset)?;
    // An invalid price file is reported now, not after the recording.
    let prices = common.price_catalog()?;
    let request = build_request(&catalog, &chosen.workloads, options)?;
    let mut specs = match chosen.lanes {
        Some(lanes) if options.lane.is_empty() => lanes,
        _ => parse_lanes(&options.lane)?,
    };
    if let Some(image) = &options.base_image {
        specs = specs.into_iter().map(|spec| spec.with_base(image)).collect();
        specs.dedup();
    }
    let control = if options.until_stopped || options.until.is_some() {
        finish_on_signals()?
    } else {
        cancel_on_signals()?.into()
    };
    let store = common.open_store_until(control.clone())?;
    let baseline = RecordingBaseline::from_options(&store, options)?;
    let session_options = SessionOptions {
        label: options.label.clone(),
        sample_interval: options.sample_interval.0,
        ..SessionOptions::for_lanes(specs, request)
    };

    super::sweep_leftovers();
    let mut missing = MissingLaneMessages::default();
    let session = match RecordingSession::open(&session_options, &mut missing) {
        Ok(session) => session,
        Err(SessionError::Interrupted) => return Ok(signals::interrupted_status()),
        Err(error) if error.is_without_lanes() => {
            return Err(CommandFailure::Failed(
                "none of the lanes can run here; nothing was recorded".to_owned(),
            ));
        }
        Err(error) => return Err(session_failure(error)),
    };
    for reason in &session.plan().left_out {
        say(&format!("skipped: {reason}"));
    }
    for remark in &session.plan().remarks {
        say(&format!("note: {remark}"));
    }
    say(&format!("runs come in a random order; --seed {} repeats it", session.plan().seed));
    let StoredRecording { number: recording, tally, mut store, told, outputs } =
        store_recording(session, store, control)?;
    let incomplete = !options.lane.is_empty() && missing.any;
    let code = match exit_code(&tally, incomplete) {
        ExitCode::SUCCESS if outputs.lock().has_differences() => ExitCode::from(3),
        code => code,
    };
    if tally.is_empty() {
        say(NOTHING_KEPT);
        // Even if it was to finish cleanly, the recording is empty.
        return Ok(if signals::is_interrupted() { signals::interrupted_status() } else { code });
    }
    let differ = outputs.lock().has_differences();
    let tell_outputs = || {
        for sentence in outputs.lock().list_sentences() {
            say(&sentence);
        }
    };
    // What does not run the same function is not to be compared.
    if differ {
        tell_outputs();
    }
    print_conclusion(common, &prices, &mut store, recording, &told)?;
    if !differ {
        tell_outputs();
    }
    if let Some(loosened) = options.function.to_rules().describe_loosened() {
        say(&format!("rules of the sandbox that were loosened: {loosened}"));
    }
    match baseline.filter(|_| tally.ok > 0 && !tally.interrupted) {
        Some(baseline) => baseline.compare_with(common, options, &store, recording, code),
        None => Ok(code),
    }
}

/// The recording that a new one is compared with.
struct RecordingBaseline {
    /// The other database; `None` if the recording is in this one.
    other: Option<Store>,
    recording: i64,
}

impl RecordingBaseline {
    /// Finds the baseline before anything is recorded, so that a wrong name is reported
    /// at once and `latest` is not the recording about to be made.
    fn from_options(
        store: &Store,
        options: &RecordOptions,
    ) -> Result<Option<Self>, CommandFailure> {
        let Some(name) = &options.against else {
            return if options.gate.is_set() {
                Err(CommandFailure::usage("--fail-above needs a baseline: --against LABEL|FILE"))
            } else {
                Ok(None)
            };
        };
        let reference: RecordingRef = name.parse().map_err(CommandFailure::Usage)?;
        let label = matches!(reference, RecordingRef::Label(_));
        let missing = match store.find_recording(reference) {
            Ok(recording) => return Ok(Some(Self { other: None, recording })),
            Err(error) => error,
        };
        if !label || !std::path::Path::new(name).is_file() {
            let file = if label { ", nor is there such a file" } else { "" };
            return Err(CommandFailure::Usage(format!("--against: {missing}{file}")));
        }
        let other =
            Store::open_read_only(std::path::Path::new(name)).map_err(CommandFailure::failed)?;
        let recording = other.find_recording(RecordingRef::Latest);
        let recording = recording.map_err(|_| {
            CommandFailure::Failed(format!(
                "--against: there is no recording in {name} to compare with"
            ))
        })?;
        Ok(Some(Self { other: Some(other), recording }))
    }

    /// Compares the new recording with the baseline; a gate that is not met replaces
    /// success, whole or in part.
    fn compare_with(
        &self,
        common: &CommonOptions,
        options: &RecordOptions,
        store: &Store,
        recording: i64,
        code: ExitCode,
    ) -> CommandOutcome {
        if common.format.is_for_people() {
            writeln!(text_output())?;
        }
        let first = (self.other.as_ref().unwrap_or(store), self.recording);
        let gate = compare_recordings(
            common,
            first,
            (store, recording),
            &options.gate,
            Confidence::default(),
            false,
        )?;
        Ok(if gate == ExitCode::SUCCESS { code } else { gate })
    }
}

fn build_request(
    catalog: &Catalog,
    chosen: &[String],
    options: &RecordOptions,
) -> Result<PlanRequest, CommandFailure> {
    let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
    let names = if chosen.is_empty() { &DEMO[..] } else { &chosen };
    let mut workloads = Vec::new();
    for name in names {
        let workload = super::find_workload(catalog, name)?;
        if !workloads.iter().any(|other| Arc::ptr_eq(other, workload)) {
            workloads.push(Arc::clone(workload));
        }
    }
    let preset = choose_preset(&workloads, options.preset.as_deref())?;
    Ok(PlanRequest {
        rules: options.function.to_rules(),
        starts: options.start,
        runs: options.runs.unwrap_or(if options.until.is_some() { MAX_RUNS } else { RUNS }),
        warmup: options.warmup,
        memory: options.memory,
        timeout: options.timeout,
        cpu: options.pin,
        until_stopped: options.until_stopped,
        race: options.race,
        cpu_share: options.cpu_share.share_rule(options.race || options.pin.is_some())?,
        until: options.until.map(|until| StoppingRule { within: options.within, ..until }),
        seed: options.seed.map_or_else(fresh_seed, u64::from),
        ..PlanRequest::for_workloads(workloads, &preset)
    })
}

/// Parses the names of lanes, each once; without names, returns the default lanes.
pub(super) fn parse_lanes(names: &[String]) -> Result<Vec<LaneSpec>, CommandFailure> {
    if names.is_empty() {
        return Ok(LaneSpec::default_lanes());
    }
    let mut specs: Vec<LaneSpec> = Vec::new();
    for name in names {
        let spec = name.parse().map_err(|error: crate::lane::LaneSpecError| {
            super::path_hint(error, name, "lane", ["--lane", "--runtimes"])
        })?;
        if !specs.contains(&spec) {
            specs.push(spec);
        }
    }
    Ok(specs)
}

/// Prints the comparison, then the notes needed to read it.
pub(super) fn print_conclusion(
    common: &CommonOptions,
    prices: &PriceCatalog,
    store: &mut Store,
    recording: i64,
    told: &ShownMessages,
) -> Result<(), CommandFailure> {
    let contracts = super::replay::headline_contracts(prices).map_err(CommandFailure::failed)?;
    let cells = store.cell_stats(recording).map_err(CommandFailure::failed)?;
    let around = store.recording_details(recording).map_err(CommandFailure::failed)?;
    let simulation =
        match store.replay_and_save(&ReplayPlan::for_recordings(vec![recording], contracts)) {
            Ok(simulation) => Some(simulation),
            Err(error) => {
                say(&format!("no bills: {error}"));
                None
            }
        };
    let summary = simulation.as_ref().map(|simulation| &simulation.summary);
    let table = comparison::build_table(&cells, summary);
    let is_trace = around.is_trace;
    // How lanes compare is no question to a log.
    let answers = if is_trace {
        Vec::new()
    } else {
        let runs = store.cell_runs(recording).map_err(CommandFailure::failed)?;
        answer::build_answers(&runs, summary)
    };
    // The notes are printed even if nobody reads the table.
    super::ignore_unread(print_comparison(common, &table, &answers))?;
    let untold = told.leave_out_of(&cells);
    let notes = if is_trace {
        comparison::list_trace_footnotes(&untold, summary)
    } else {
        comparison::list_footnotes(&untold, summary)
    };
    for note in &notes {
        say(note);
    }
    if let Some(share) = around.plan.get("until").and_then(serde_json::Value::as_f64) {
        for line in precision::describe_reached(&cells, share) {
            say(&line);
        }
    }
    let simulated = simulation.and_then(|it| it.id);
    let simulated = simulated.map_or_else(String::new, |id| format!(", simulation {id}"));
    let name = store.name_recordings(&[recording]).map_err(CommandFailure::failed)?;
    say(&format!("stored as {name}{simulated} in {}", store.path().display()));
    Ok(())
}

/// Prints the table and, for people, the answers below it.
fn print_comparison(
    common: &CommonOptions,
    table: &Table,
    answers: &[WorkloadAnswer],
) -> Result<(), CommandFailure> {
    if common.format != Format::Table {
        return common.print_table(table);
    }
    let mut out = text_output();
    writeln!(out, "{}", table.render_within(terminal_width(), comparison::SHARED_COLUMNS))?;
    if !answers.is_empty() {
        // One line a sentence for a program at the end of a pipe.
        let width = if is_terminal_output() { terminal_width() } else { usize::MAX };
        writeln!(out, "\n{}", answer::render_answers(answers, width))?;
    }
    out.flush()?;
    Ok(())
}

/// Returns the exit status of a recording: done, failed, partly done, or interrupted.
pub(super) fn exit_code(tally: &InvocationTally, incomplete: bool) -> ExitCode {
    match tally {
        InvocationTally { interrupted: true, .. } => signals::interrupted_status(),
        InvocationTally { failed: 0, unprepared: 0, imprecise: 0, .. } if !incomplete => {
            ExitCode::SUCCESS
        }
        InvocationTally { ok: 0, .. } => ExitCode::from(1),
        _ => ExitCode::from(3),
    }
}
