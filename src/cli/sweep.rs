//! `sweep`: measures a function at several memory sizes, with the CPU share that a provider gives
//! each of them, and says which size to choose under each tariff.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Deserialize;

use super::own_function::{FunctionOptions, choose_preset};
use super::record::{NOTHING_KEPT, exit_code, parse_lanes};
use super::recording::{MissingLaneMessages, StoredRecording, session_failure, store_recording};
use super::signals::{self, cancel_on_signals, finish_on_signals};
use super::{CommandFailure, CommandOutcome, CommonOptions, say};
use crate::files::{create_new, display_path};
use crate::lane::{LaneSpec, StartKind};
use crate::output::{is_terminal_output, text_output};
use crate::pricing::{PriceCatalog, Terms};
use crate::record::{
    MAX_RUNS, PlanError, PlanRequest, RecordingSession, SessionError, SessionOptions, Starts,
    StoppingRule, check_share_fits, fresh_seed, limits,
};
use crate::replay::Contract;
use crate::report::sweep::{
    PLAN_KEY, PlannedSize, SweepPlan, SweepReport, build_people_table, build_program_table,
    describe_choices, list_notes, load_report, render_chart, render_svg,
};
use crate::report::{Format, terminal_width};
use crate::stats::Confidence;
use crate::store::{RecordingRef, Store};
use crate::tui::TerminalEnvironment;
use crate::units::{Bytes, Nanos};
use crate::visible_text::escape_line;
use crate::workload::{CpuByMemory, CpuShare, CpuShareRule, Workload};

const MIB: u64 = 1 << 20;

/// Sizes that are measured unless others are named, in MiB.
const SIZES: [u64; 6] = [128, 256, 512, 1_024, 1_769, 3_008];

/// Tariffs that are shown unless others are named: those of functions with sizes.
const MODELS: [&str; 3] = ["aws-lambda-x86", "google-cloud-functions", "azure-flex"];

/// Default number of recorded runs.
const RUNS: u32 = 10;

/// Runs after which a size at which every run failed is given up.
const GIVE_UP: u32 = 3;

/// Head-room above the peak, in thousandths of it.
const HEAD_ROOM: u32 = 200;

/// Options of `sweep`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cyclometer sweep -- ./resize photo.png       your own program, script, module
  cyclometer sweep fn.wasm -- 1000
  cyclometer sweep --image me/fn --lane docker --memory 512MiB,1GiB,2GiB
  cyclometer sweep --workload nbody --present 512MiB --svg nbody.svg
  cyclometer sweep --workload wait --cpu-by-memory google --model google-cloud-functions
  cyclometer sweep --show latest --format csv

The function runs at every size in a new random order each round, all of it one
recording, in which it is named after its sizes: nbody@256MiB. Each size has the
CPU share that the provider gives it, enforced by a control group. The cheapest
size has the lowest mean cost, the fastest the lowest median wall time, and the
balanced one the least sum of both, each as a share of the worst (the rule of AWS
Lambda Power Tuning). Sizes whose 99 % intervals overlap are not distinguishable.
None is recommended at which a run failed, or below the peak and its head-room.")]
pub(super) struct SweepOptions {
    #[command(flatten)]
    function: FunctionOptions,
    /// Workload to measure, by name, in place of a function of your own
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Lane to run it in [default: the first of native, wasmtime and docker that runs it and
    /// enforces a CPU share]
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Preset of arguments and input [default: quick, if it has that]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Kind of start [default: warm in lanes that have it, as most invocations of a service are]
    #[arg(long, value_name = "cold|warm")]
    start: Option<StartKind>,
    /// Memory sizes to measure [default: 128MiB,256MiB,512MiB,1024MiB,1769MiB,3008MiB, and the
    /// present one]
    #[arg(long, value_delimiter = ',', value_parser = limits::memory, value_name = "SIZE,SIZE")]
    memory: Vec<Bytes>,
    /// Measure the sizes that a price model knows, or as many of the usual ones as it allows
    #[arg(long, value_name = "MODEL", conflicts_with = "memory")]
    memory_from: Option<String>,
    /// Provider whose CPU share for its memory the function gets at each size
    #[arg(long, value_enum, value_name = "PROVIDER", default_value_t = ShareRule::Aws,
        conflicts_with = "cpus")]
    cpu_by_memory: ShareRule,
    /// CPUs at every size, such as 0.5, in place of a share by memory
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpus: Option<CpuShare>,
    /// Price models, by id [default: aws-lambda-x86,google-cloud-functions,azure-flex]
    #[arg(long, value_delimiter = ',', value_name = "ID,ID")]
    model: Vec<String>,
    /// Head-room above the largest measured peak that a recommended size has [default: 20%]
    #[arg(long, value_parser = head_room, allow_hyphen_values = true, value_name = "PERCENT")]
    head_room: Option<u32>,
    /// Size that the function has now, with which costs are compared; it is measured too
    /// [default: the workload's own limit]
    #[arg(long, value_parser = limits::memory, value_name = "SIZE")]
    present: Option<Bytes>,
    /// Recorded runs at each size; with --until, at most [default: 10; with --until 1000]
    #[arg(long, value_parser = limits::at_least_one, value_name = "N")]
    runs: Option<u32>,
    /// Repeat each size until its median wall time is known this precisely, such as 1%
    #[arg(long, value_name = "PERCENT")]
    until: Option<StoppingRule>,
    /// With --until, start no run after this time, such as 5m
    #[arg(long = "for", requires = "until", value_parser = limits::timeout, value_name = "TIME")]
    within: Option<Nanos>,
    /// Unrecorded runs at each size before the first recorded one, up to 1000000
    #[arg(long, default_value_t = 1, value_parser = limits::parse_warmup, value_name = "N")]
    warmup: u32,
    /// Longest time of one invocation: 1ms to 7days [default: the workload's]
    #[arg(long, value_parser = limits::timeout, value_name = "TIME")]
    timeout: Option<Nanos>,
    /// Seed of the random order of runs [default: a new one each time, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Label of the recording [default: `sweep` and the name of the function]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Write a chart of time and cost over size to a new file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the result of an earlier sweep instead: its number, its label or `latest`
    #[arg(long, value_name = "RECORDING", conflicts_with_all = ["workload", "memory", "memory_from",
        "runs", "until", "seed", "lane", "cpus", "label"])]
    show: Option<RecordingRef>,
}

/// Rule by which sizes get a share of CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ShareRule {
    /// Lambda: one CPU at 1,769 MB, in proportion
    Aws,
    /// Cloud Run functions: from 0.083 CPUs at 128 MB to one at 2 GB
    Google,
    /// Functions in the Flex Consumption plan: 0.25 CPUs at 512 MB, one at 2 GB
    Azure,
    /// Whole CPUs at every size: sizes then change the head-room and the price only
    None,
}

/// Parses a head-room, such as `20%`, to thousandths.
fn head_room(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}`: write a head-room from 0% to 1000%, such as 20% or 12.5%");
    let number = text.trim().strip_suffix('%').unwrap_or(text).trim();
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    if !is_number(whole) || !is_number(tenth) || tenth.len() > 1 {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let tenth: u32 = tenth.parse().map_err(|_| wrong())?;
    let thousandths = whole.checked_mul(10).and_then(|it| it.checked_add(tenth));
    thousandths.filter(|it| *it <= 10_000).ok_or_else(wrong)
}

/// Runs the command.
pub(super) fn run(common: &CommonOptions, options: &SweepOptions) -> CommandOutcome {
    if let Some(path) = options.svg.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
        return Err(CommandFailure::Failed(exists_message(path)));
    }
    let prices = common.price_catalog()?;
    if let Some(recording) = options.show.clone() {
        let store = common.open_for_reading()?;
        let recording = store.find_recording(recording).map_err(CommandFailure::failed)?;
        return print_conclusion(common, options, &prices, &store, recording)
            .map(|is_priced| if is_priced { ExitCode::SUCCESS } else { ExitCode::from(3) });
    }
    // A model that is not there is reported now, not after the recording.
    find_contracts(&prices, options.named_models())?;
    let (workload, preset, lanes) = choose_function(common, options)?;
    let plan = build_plan(options, &prices, &workload, &preset)?;
    let refused = plan.sizes.iter().filter(|size| size.refused.is_some()).count();
    if refused == plan.sizes.len() {
        let reasons: Vec<&str> =
            plan.sizes.iter().filter_map(|size| size.refused.as_deref()).collect();
        return Err(CommandFailure::Usage(format!(
            "no size can be measured: {}",
            reasons.first().copied().unwrap_or_default()
        )));
    }
    let control =
        if options.until.is_some() { finish_on_signals()? } else { cancel_on_signals()?.into() };
    let store = common.open_store_until(control.clone())?;
    super::sweep_leftovers();
    let mut missing = MissingLaneMessages::default();
    let session_options = session_options(options, &plan, &workload, &preset)?;
    let Some(session) = open_session(options, &session_options, lanes, &mut missing)? else {
        return Ok(signals::interrupted_status());
    };
    for reason in session.plan().left_out.iter().chain(&session.plan().remarks) {
        say(&format!("note: {reason}"));
    }
    say(&format!("runs come in a random order; --seed {} repeats it", session.plan().seed));
    let StoredRecording { number: recording, tally, store, .. } =
        store_recording(session, store, control)?;
    let is_incomplete = refused > 0 && !options.memory.is_empty();
    let code = exit_code(&tally, is_incomplete);
    if tally.is_empty() {
        say(NOTHING_KEPT);
        return Ok(if signals::is_interrupted() { signals::interrupted_status() } else { code });
    }
    let printed = print_conclusion(common, options, &prices, &store, recording);
    let is_priced = match printed {
        Err(CommandFailure::Unread) => true,
        other => other?,
    };
    say(&format!("stored as recording {recording} in {}", store.path().display()));
    Ok(if code == ExitCode::SUCCESS && !is_priced { ExitCode::from(3) } else { code })
}

impl SweepOptions {
    /// Returns the models that are named, or the usual ones.
    fn named_models(&self) -> Vec<String> {
        if self.model.is_empty() { MODELS.map(str::to_owned).to_vec() } else { self.model.clone() }
    }

    /// Returns the rule by which sizes get a share of CPUs.
    fn share_rule(&self) -> Option<CpuShareRule> {
        if let Some(share) = self.cpus {
            return Some(CpuShareRule::Fixed(share));
        }
        match self.cpu_by_memory {
            ShareRule::Aws => Some(CpuShareRule::ByMemory(CpuByMemory::Aws)),
            ShareRule::Google => Some(CpuShareRule::ByMemory(CpuByMemory::Google)),
            ShareRule::Azure => Some(CpuShareRule::ByMemory(CpuByMemory::Azure)),
            ShareRule::None => None,
        }
    }
}

/// Finds price models, each on its own terms.
fn find_contracts(
    prices: &PriceCatalog,
    ids: Vec<String>,
) -> Result<Vec<Contract>, CommandFailure> {
    let mut contracts: Vec<Contract> = Vec::new();
    for id in ids {
        let model = prices.find_model(&id).map_err(|error| {
            super::path_hint(error, &id, "price model", ["--model", "--pricing"])
        })?;
        if !contracts.iter().any(|(other, _)| other.id() == model.id()) {
            contracts.push((model.clone(), Terms::for_model(model)));
        }
    }
    Ok(contracts)
}

/// Chooses the one function to measure, its preset, and the lanes that may run it.
fn choose_function(
    common: &CommonOptions,
    options: &SweepOptions,
) -> Result<(Arc<Workload>, String, Vec<LaneSpec>), CommandFailure> {
    let named: Vec<String> = options.workload.iter().cloned().collect();
    let (catalog, chosen) =
        common.choose_workloads(&options.function, &named, options.preset.as_deref())?;
    let [name] = chosen.workloads.as_slice() else {
        return Err(CommandFailure::Usage(if chosen.workloads.is_empty() {
            "a sweep measures one function: name it, such as `-- ./prog ARGS`, `fn.wasm`, `--image \
             IMAGE` or `--workload NAME`"
                .to_owned()
        } else {
            format!("a sweep measures one function, and these are {}", chosen.workloads.len())
        }));
    };
    let workload = Arc::clone(super::find_workload(&catalog, name)?);
    let preset = choose_preset(std::slice::from_ref(&workload), options.preset.as_deref())?;
    let lanes = match (&options.lane, chosen.lanes) {
        (Some(lane), _) => parse_lanes(std::slice::from_ref(lane))?,
        (None, Some(lanes)) => lanes,
        (None, None) => LaneSpec::default_lanes(),
    };
    Ok((workload, preset, lanes))
}

/// Lays out the sizes, and the share of each.
fn build_plan(
    options: &SweepOptions,
    prices: &PriceCatalog,
    workload: &Workload,
    preset: &str,
) -> Result<SweepPlan, CommandFailure> {
    let own = workload.find_preset(preset).map_err(CommandFailure::usage)?.limits.memory;
    let now = options.present.unwrap_or(own);
    let mut sizes = choose_sizes(options, prices)?;
    // Sizes that were named are not added to without being asked.
    if options.present.is_some() || (options.memory.is_empty() && options.memory_from.is_none()) {
        sizes.push(now);
    }
    sizes.sort_unstable();
    sizes.dedup();
    let rule = options.share_rule();
    let planned = |memory: Bytes| {
        let share = rule.map(|rule| {
            let share = rule.share_for(memory)?;
            check_share_fits(share, false).map(|()| share)
        });
        let (cpu_share, refused) = match share {
            None => (None, None),
            Some(Ok(share)) => (Some(share.0), None),
            Some(Err(reason)) => (None, Some(reason)),
        };
        PlannedSize { memory, workload: workload.at_memory_size(memory).name, cpu_share, refused }
    };
    Ok(SweepPlan {
        function: workload.name.clone(),
        sizes: sizes.into_iter().map(planned).collect(),
        present: Some(now),
        head_room: options.head_room.unwrap_or(HEAD_ROOM),
        cpu_rule: rule.map(|rule| rule.to_string()),
        models: options.named_models(),
    })
}

/// Returns the sizes that are named, those of a price model, or the usual ones.
fn choose_sizes(
    options: &SweepOptions,
    prices: &PriceCatalog,
) -> Result<Vec<Bytes>, CommandFailure> {
    let usual = SIZES.map(|size| Bytes(size * MIB));
    if let Some(id) = &options.memory_from {
        let model = prices.find_model(id).map_err(|error| {
            super::path_hint(error, id, "price model", ["--memory-from", "--pricing"])
        })?;
        let sizes = model.memory_sizes(&usual);
        if sizes.is_empty() {
            return Err(CommandFailure::Usage(format!(
                "--memory-from: {id} does not charge for the memory that a function is given, and \
                 so knows no sizes: name them with --memory"
            )));
        }
        return Ok(sizes);
    }
    Ok(if options.memory.is_empty() { usual.to_vec() } else { options.memory.clone() })
}

/// Returns the options of the recording: one workload a size.
fn session_options(
    options: &SweepOptions,
    plan: &SweepPlan,
    workload: &Workload,
    preset: &str,
) -> Result<SessionOptions, CommandFailure> {
    let measured = plan.sizes.iter().filter(|size| size.refused.is_none());
    let workloads = measured.map(|size| Arc::new(workload.at_memory_size(size.memory))).collect();
    let request = PlanRequest {
        rules: options.function.to_rules(),
        runs: options.runs.unwrap_or(if options.until.is_some() { MAX_RUNS } else { RUNS }),
        until: options.until.map(|until| StoppingRule { within: options.within, ..until }),
        warmup: options.warmup,
        timeout: options.timeout,
        seed: options.seed.map_or_else(fresh_seed, u64::from),
        give_up: Some(GIVE_UP),
        cpu_share: options.share_rule(),
        ..PlanRequest::for_workloads(workloads, preset)
    };
    let kept = serde_json::to_value(plan).map_err(CommandFailure::failed)?;
    let label = options.label.clone().unwrap_or_else(|| format!("sweep {}", plan.function));
    Ok(SessionOptions {
        label: Some(label),
        plan_entry: Some((PLAN_KEY, kept)),
        ..SessionOptions::for_lanes(Vec::new(), request)
    })
}

/// Opens the session in the first of the lanes that can run it, and with the first kind of start
/// that it has; `None`: a signal asked this process to end meanwhile.
fn open_session(
    options: &SweepOptions,
    base: &SessionOptions,
    lanes: Vec<LaneSpec>,
    missing: &mut MissingLaneMessages,
) -> Result<Option<RecordingSession>, CommandFailure> {
    let mut reasons: Vec<String> = Vec::new();
    for lane in lanes {
        let kinds: &[Starts] = match (options.start, &lane) {
            (Some(StartKind::Cold), _) | (None, LaneSpec::Native) => &[Starts::Cold],
            (Some(StartKind::Warm), _) => &[Starts::Warm],
            (None, _) => &[Starts::Warm, Starts::Cold],
        };
        for starts in kinds {
            let request = PlanRequest { starts: *starts, ..base.request.clone() };
            let lanes = crate::record::SessionLanes::Named(vec![lane.clone()]);
            let attempt = SessionOptions { lanes, request, ..base.clone() };
            match RecordingSession::open(&attempt, missing) {
                Ok(session) => return Ok(Some(session)),
                Err(SessionError::Interrupted) => return Ok(None),
                // The lane cannot run at all, whatever the start.
                Err(error) if error.is_without_lanes() => break,
                Err(SessionError::Plan(PlanError::NothingToRecord(left_out))) => {
                    reasons.extend(left_out);
                }
                Err(error) => return Err(session_failure(error)),
            }
        }
    }
    reasons.dedup();
    // Lanes that cannot run at all have been told.
    if reasons.is_empty() {
        return Err(CommandFailure::Failed(
            "no lane can run the function here; nothing was recorded".to_owned(),
        ));
    }
    let is_about_shares = reasons.iter().any(|reason| reason.contains("CPU share"));
    let advice = if options.share_rule().is_some() && is_about_shares {
        "; --cpu-by-memory none measures without a share"
    } else {
        ""
    };
    Err(CommandFailure::Usage(format!("nothing to record: {}{advice}", reasons.join("; "))))
}

/// Prints the result of a recording, and writes its chart; returns whether every size that ran has
/// a price under every model that was named.
fn print_conclusion(
    common: &CommonOptions,
    options: &SweepOptions,
    prices: &PriceCatalog,
    store: &Store,
    recording: i64,
) -> Result<bool, CommandFailure> {
    let report = read_report(options, prices, store, recording)?;
    if let Some(path) = &options.svg {
        write_svg(path, &render_svg(&report))?;
        say(&format!("the chart is in {}", display_path(path)));
    }
    print_report(common, &report)?;
    for note in list_notes(&report) {
        say(&note);
    }
    let is_unpriced = |tariff: &crate::report::sweep::Tariff| {
        report.rows.iter().zip(&tariff.costs).any(|(row, cost)| row.ok > 0 && cost.is_err())
    };
    Ok(options.model.is_empty() || !report.tariffs.iter().any(is_unpriced))
}

fn read_report(
    options: &SweepOptions,
    prices: &PriceCatalog,
    store: &Store,
    recording: i64,
) -> Result<SweepReport, CommandFailure> {
    let around = store.recording_details(recording).map_err(CommandFailure::failed)?;
    let kept = around.plan.get(PLAN_KEY).and_then(|kept| SweepPlan::deserialize(kept).ok());
    let mut plan = kept.ok_or_else(|| {
        CommandFailure::Failed(format!(
            "{} is no sweep: `cyclometer sweep` makes one",
            store.name_recordings(&[recording]).unwrap_or_default()
        ))
    })?;
    plan.head_room = options.head_room.unwrap_or(plan.head_room);
    plan.present = options.present.or(plan.present);
    if !options.model.is_empty() || plan.models.is_empty() {
        plan.models = options.named_models();
    }
    let contracts = find_contracts(prices, plan.models.clone())?;
    load_report(store, recording, plan, contracts, Confidence::default())
        .map_err(CommandFailure::failed)
}

fn print_report(common: &CommonOptions, report: &SweepReport) -> Result<(), CommandFailure> {
    if !common.format.is_for_people() {
        return common.print_table(&build_program_table(report));
    }
    let table = build_people_table(report);
    if common.format == Format::Markdown {
        common.print_table(&table)?;
        return common.print_lines(&describe_choices(report));
    }
    let mut out = text_output();
    let width = terminal_width();
    let ascii = TerminalEnvironment::from_env().ascii;
    writeln!(out, "{}, {}\n", escape_line(&report.plan.function), escape_line(&report.place))?;
    writeln!(out, "{}\n", table.render_within(width.min(100), 1))?;
    let chart = render_chart(report, width, ascii);
    if !chart.is_empty() {
        writeln!(out, "{chart}\n")?;
    }
    // One line a sentence for a program at the end of a pipe.
    let width = if is_terminal_output() { width.min(100) } else { usize::MAX };
    for text in describe_choices(report) {
        writeln!(out, "{}", crate::report::fill_sentences(&text, width))?;
    }
    out.flush()?;
    Ok(())
}

/// Writes the chart to a new file; one that is there is left alone.
fn write_svg(path: &Path, svg: &str) -> Result<(), CommandFailure> {
    create_new(path, svg.as_bytes(), 0o666).map_err(|error| {
        CommandFailure::Failed(if error.kind() == std::io::ErrorKind::AlreadyExists {
            exists_message(path)
        } else {
            format!("cannot write {}: {error}", display_path(path))
        })
    })
}

fn exists_message(path: &Path) -> String {
    format!("{} exists and is left alone: choose another name", display_path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_rooms_are_read_exactly_or_refused() {
        for (text, thousandths) in
            [("20%", 200), ("0%", 0), ("12.5 %", 125), ("20", 200), ("1000%", 10_000)]
        {
            assert_eq!(head_room(text), Ok(thousandths), "{text}");
        }
        for text in ["", "%", "-1%", "1000.1%", "12.55%", "a%", "1e2%", ".5%", "99999999999%"] {
            let error = head_room(text).expect_err(text);
            assert!(error.contains("write a head-room"), "{error}");
        }
    }
}
