//! The answer at the end of a recording: its results in sentences that a person can
//! repeat, one paragraph a workload.
//!
//! Only like is compared with like: cold starts with cold starts, the runs of one kind of
//! start with each other. A lane is called faster or slower only where the 99 % interval
//! of the ratio of the medians leaves out 1, and "as fast" only where the whole interval
//! lies within `EQUALITY_BAND`. Where it does neither, the sentence says that nothing is shown,
//! and the interval.
//!
//! - *Starts* are those of sandboxes, compared with `docker` where it was recorded,
//!   else with the slowest. The `native` lane has no sandbox: starts are compared with
//!   it only where there is a single other lane.
//! - *Runs* are compared with `native`, else with `docker`, else with the slowest lane.
//! - Of three lanes all are named; of more, the fastest and the slowest.

mod cost;
mod phrasing;
mod speed;

use std::fmt;

use cyclometer_core::cell_key::CellKey;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::quantity::separate_thousands;
use cyclometer_core::units::Bytes;
use cyclometer_core::visible_text::escape_line;
use cyclometer_core::word_wrap::fill_paragraph;
use cyclometer_pricing::{PriceCatalog, Terms, UnknownModel};
use cyclometer_replay::{Contract, ReplaySummary};
use cyclometer_store::{ComparedMeter, ReplayError, ReplayPlan, RunsOfCell, Store, StoreError};

use speed::LaneTiming;

/// Largest ratio of two medians that still counts as equal: the whole interval of the
/// ratio lies between 1 / 1.05 and 1.05.
pub(crate) const EQUALITY_BAND: f64 = 1.05;

/// The lane without a sandbox.
const UNSANDBOXED_LANE: &str = "native";

/// The lane that others are compared with, where it was recorded.
const REFERENCE_LANE: &str = "docker";

/// Findings on one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadAnswer {
    /// The workload.
    pub workload: String,
    /// Sentences on the workload, each with its full stop.
    pub sentences: Vec<String>,
}

impl fmt::Display for WorkloadAnswer {
    /// Writes `nbody: wasmtime starts cold 78x [55, 88] faster than docker.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.workload, self.sentences.join(" "))
    }
}

/// Returns an answer for each workload of a recording, in the order of `cells`;
/// with prices where `summary` has its bills under a coarse and a fine model.
#[must_use]
pub fn build_answers(cells: &[RunsOfCell], summary: Option<&ReplaySummary>) -> Vec<WorkloadAnswer> {
    let mut subjects: Vec<[&str; 2]> = Vec::new();
    for cell in cells {
        let (workload, preset) = (&*cell.key.workload, &*cell.key.preset);
        if !subjects.contains(&[workload, preset]) {
            subjects.push([workload, preset]);
        }
    }
    let presets = |workload: &str| subjects.iter().filter(|it| it[0] == workload).count();
    subjects
        .iter()
        .map(|[workload, preset]| {
            let mine: Vec<&RunsOfCell> = cells
                .iter()
                .filter(|cell| &*cell.key.workload == *workload && &*cell.key.preset == *preset)
                .collect();
            let name = if presets(workload) > 1 {
                format!("{workload} ({preset})")
            } else {
                (*workload).to_owned()
            };
            WorkloadAnswer { workload: name, sentences: workload_sentences(&mine, summary) }
        })
        .collect()
}

/// Returns the answers of a stored recording, with its cost under [`HEADLINE_MODELS`] where it
/// can be billed.
///
/// # Errors
/// Returns an error if the database cannot be read.
pub fn load_answers(
    store: &Store,
    prices: &PriceCatalog,
    recording: i64,
) -> Result<Vec<WorkloadAnswer>, StoreError> {
    let cells = store.cell_runs(recording)?;
    let plan = headline_contracts(prices)
        .ok()
        .map(|models| ReplayPlan::for_recordings(vec![recording], models));
    let summary = match plan.map(|plan| store.replay_without_saving(&plan)) {
        Some(Ok(summary)) => Some(summary),
        Some(Err(ReplayError::Store(error))) => return Err(error),
        Some(Err(ReplayError::Empty(_))) | None => None,
    };
    Ok(build_answers(&cells, summary.as_ref()))
}

/// Models of the comparison at the end of a recording: coarse beside fine.
pub const HEADLINE_MODELS: [&str; 2] = ["aws-lambda-x86", "per-cycle"];

/// Finds the models of [`HEADLINE_MODELS`] in a catalog, each on its own terms.
///
/// # Errors
/// Returns an error if the catalog lacks one of them.
pub fn headline_contracts(catalog: &PriceCatalog) -> Result<Vec<Contract>, UnknownModel> {
    HEADLINE_MODELS
        .iter()
        .map(|id| catalog.find_model(id).map(|model| (model.clone(), Terms::for_model(model))))
        .collect()
}

/// Returns the answers as one text, a line each, wrapped at `width` columns.
#[must_use]
pub fn render_answers(answers: &[WorkloadAnswer], width: usize) -> String {
    let paragraphs: Vec<String> = answers
        .iter()
        .map(|answer| fill_paragraph(&escape_line(&answer.to_string()), width, "", "  "))
        .collect();
    paragraphs.join("\n")
}

/// Returns the sentences of one workload.
fn workload_sentences(cells: &[&RunsOfCell], summary: Option<&ReplaySummary>) -> Vec<String> {
    let well: Vec<&RunsOfCell> = cells.iter().filter(|cell| cell.ok > 0).copied().collect();
    let of = |start: StartKind| -> Vec<&RunsOfCell> {
        well.iter().filter(|cell| cell.key.start == start).copied().collect()
    };
    let (cold, warm) = (of(StartKind::Cold), of(StartKind::Warm));
    let mut all = Vec::new();
    all.extend(speed::describe_speed(StartKind::Cold, &cold));
    all.extend(speed::describe_speed(StartKind::Warm, &warm));
    if speed::has_undecided(&all) {
        all.push("Where no difference is shown, more runs may tell.".to_owned());
    }
    all.extend(describe_too_few_runs(cells));
    all.extend(describe_peak_memory(if cold.is_empty() { &warm } else { &cold }));
    let (start, priced) =
        if cold.is_empty() { (StartKind::Warm, &warm) } else { (StartKind::Cold, &cold) };
    if let Some(summary) = summary {
        all.extend(cost::describe_cost(summary, start, priced));
    }
    all.extend(describe_failures(cells));
    all
}

/// Reports that there are too few runs for intervals, and how many are needed.
fn describe_too_few_runs(cells: &[&RunsOfCell]) -> Option<String> {
    let need = cyclometer_stats::LEAST_RUNS as u64;
    // Where runs failed, more runs are no cure.
    let few = cells.iter().filter(|cell| cell.ok > 0 && cell.bad == 0 && cell.ok < need);
    let runs = few.map(|cell| cell.ok).min()?;
    let (noun, verb) = if runs == 1 { ("run", "is") } else { ("runs", "are") };
    Some(format!(
        "{runs} {noun} {verb} too few for an interval, and so for a comparison: use --runs {need} \
         or more."
    ))
}

/// Reports the peak memory of each lane.
fn describe_peak_memory(cells: &[&RunsOfCell]) -> Option<String> {
    let most = |cell: &RunsOfCell| {
        let values = meter_values(cell, "memory_peak_bytes");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bytes are counted, and fewer than 2^53"
        )]
        values.iter().copied().reduce(f64::max).map(|most| Bytes(most.max(0.0) as u64))
    };
    let (mut peaks, mut missing) = (Vec::new(), Vec::new());
    for cell in cells {
        match most(cell) {
            Some(peak) => peaks.push((peak, &*cell.key.lane)),
            None => missing.push(&*cell.key.lane),
        }
    }
    let not = |lanes: &[&str]| format!("not measured in {}", phrasing::join_names(lanes, "or"));
    let told = match peaks.as_slice() {
        [] if missing.is_empty() => return None,
        [] => return Some(format!("Memory was {}.", not(&missing))),
        few if few.len() <= speed::MOST_NAMED => {
            let parts: Vec<_> =
                few.iter().map(|(peak, lane)| format!("{peak} in {lane}")).collect();
            parts.join(", ")
        }
        many => {
            let (least, most) = (many.iter().min()?, many.iter().max()?);
            format!(
                "from {} in {} to {} in {}, the least and the most of {} lanes",
                least.0,
                least.1,
                most.0,
                most.1,
                many.len()
            )
        }
    };
    let missing = if missing.is_empty() { String::new() } else { format!("; {}", not(&missing)) };
    Some(format!("Peak memory: {told}{missing}."))
}

/// Names the cells that are left out since no run ended well in them.
fn describe_failures(cells: &[&RunsOfCell]) -> Option<String> {
    let failed: Vec<String> = cells
        .iter()
        .filter(|cell| cell.ok == 0 && cell.bad > 0)
        .map(|cell| {
            let runs = separate_thousands(&cell.bad.to_string());
            let CellKey { lane, start, .. } = &cell.key;
            match cell.bad {
                1 => format!("{start} in {lane} (its only run failed)"),
                _ => format!("{start} in {lane} (all {runs} runs failed)"),
            }
        })
        .collect();
    let names: Vec<&str> = failed.iter().map(String::as_str).collect();
    (!names.is_empty())
        .then(|| format!("Left out, and without a price: {}.", phrasing::join_names(&names, "and")))
}

/// Returns the values of a meter in a cell.
fn meter_values<'a>(cell: &'a RunsOfCell, key: &str) -> &'a [f64] {
    lane_timing(cell, key).values
}

fn lane_timing<'a>(cell: &'a RunsOfCell, key: &str) -> LaneTiming<'a> {
    let at = ComparedMeter::ALL.iter().position(|meter| meter.key == key);
    let values = at.and_then(|at| cell.values.get(at)).map_or(&[][..], Vec::as_slice);
    let quantum = at.and_then(|at| cell.quanta.get(at).copied().flatten());
    LaneTiming::new(&cell.key.lane, values, quantum)
}

#[cfg(test)]
mod tests;
