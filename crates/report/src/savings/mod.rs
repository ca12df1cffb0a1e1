//! Savings: what each function of a trace or recording costs, what of that is waste, and which
//! change would make it cheaper.
//!
//! Amounts are at list prices. Those of a trace are scaled from the period that it covers to a
//! month of 30 days; those of a recording, which has no period of use, are of a million
//! invocations. Every change says how it is known: by an estimate, which takes the durations as
//! they were, by the CPU time, or by durations that were measured at the other size.

mod advice;
mod sentences;
mod table;
#[cfg(test)]
mod tests;

pub use advice::{Advice, Change, Evidence};
pub use sentences::{
    describe_advice, describe_break_even, describe_change, describe_evidence, describe_split,
    format_amount, format_step, list_notes,
};
pub use table::{build_people_table, build_program_table};

use std::collections::{BTreeMap, HashMap};

use crate::sweep::{SweepPlan, load_report};
use advice::{FunctionFacts, SweptSizes, Trial, list_memory_targets};
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_pricing::{Exact, Money, TimeStep, Waste};
use cyclometer_replay::{CellKey, CellUsage, Contract, ReplaySummary, UsageByCell};
use cyclometer_stats::Confidence;
use cyclometer_store::{ReplayError, ReplayPlan, Selection, Store, StoreError};

/// Head-room above the peak of a size that is advised, in thousandths of the peak.
pub const MARGIN: u32 = 200;

/// Length of the month that amounts are scaled to.
const MONTH: Nanos = Nanos(30 * 86_400 * 1_000_000_000);

/// Shortest period that is scaled to a month.
const LEAST_PERIOD: Nanos = Nanos(60 * 1_000_000_000);

/// Most sizes that are tried of one function.
const MOST_SIZES: usize = 2;

/// Rows that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Everything of a function on one platform.
    #[default]
    Function,
    /// Each size and kind of start of a function.
    Cell,
}

/// Plan of a look for savings.
#[derive(Debug, Clone)]
pub struct SavingsPlan {
    /// Number of the trace or recording.
    pub recording: i64,
    /// Selected invocations of it.
    pub selection: Selection,
    /// Models: the first is the one that is paid now, the others are those to change to.
    pub contracts: Vec<Contract>,
    /// Head-room above the peak of a size that is advised, in thousandths of the peak.
    pub margin: u32,
    /// Rows that belong together.
    pub grouping: Grouping,
    /// Requests a month; `None`: the period of a trace decides.
    pub requests: Option<Exact>,
}

impl SavingsPlan {
    /// Creates the plan for all of a recording.
    #[must_use]
    pub fn for_recording(recording: i64, contracts: Vec<Contract>) -> Self {
        Self {
            recording,
            selection: Selection { recordings: vec![recording], ..Selection::default() },
            contracts,
            margin: MARGIN,
            grouping: Grouping::Function,
            requests: None,
        }
    }
}

/// Invocations that amounts are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// A month of 30 days like the period of the trace.
    Month {
        /// First and last moment of the trace, in UTC, RFC 3339.
        period: (String, String),
        /// Length of the period.
        length: Nanos,
    },
    /// A month of so many requests, shared out like the invocations.
    Requests {
        /// Requests a month.
        requests: Exact,
        /// Invocations that were billed.
        billed: u64,
    },
    /// A million invocations of each function.
    Million,
    /// The invocations of the trace, since it does not say when they were.
    Trace,
}

impl Basis {
    /// Returns what the amounts of `billed` invocations of a function are multiplied with.
    fn factor(&self, billed: u64) -> Exact {
        let (counter, divisor) = match self {
            Self::Month { length, .. } => (Exact::from(MONTH.0), length.0),
            Self::Requests { requests, billed } => (requests.clone(), *billed),
            Self::Million => (Exact::from(1_000_000), billed),
            Self::Trace => (Exact::from(1), 1),
        };
        counter.checked_div(&Exact::from(divisor)).unwrap_or_default()
    }

    /// Returns the unit of amounts in a word or two.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        match self {
            Self::Month { .. } | Self::Requests { .. } => "a month",
            Self::Million => "a million",
            Self::Trace => "in this trace",
        }
    }

    /// Returns whether amounts of several functions can be added.
    #[must_use]
    pub const fn has_sum(&self) -> bool {
        !matches!(self, Self::Million)
    }
}

/// Names of a function, or of one of its cells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionKey {
    /// Platform or lane.
    pub platform: String,
    /// Name of the function.
    pub function: String,
    /// Size or preset and kind of start, if rows are those of cells.
    pub cell: Option<(String, StartKind)>,
}

/// Cost of a function, and what would lower it.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionSavings {
    /// Names of the function.
    pub key: FunctionKey,
    /// Number of invocations.
    pub invocations: u64,
    /// What they used.
    pub usage: CellUsage,
    /// Cost now, or the reason why there is none.
    pub cost: Result<Money, String>,
    /// Cost by what it is for.
    pub split: Option<Waste<Money>>,
    /// Changes that save something, the best first.
    pub advice: Vec<Advice>,
    /// Changes that were looked at and save nothing, or the reason why there is no advice.
    pub refusals: Vec<String>,
}

impl FunctionSavings {
    /// Returns what the best change saves.
    #[must_use]
    pub fn saving(&self) -> Option<&Money> {
        self.advice.first().map(|advice| &advice.saving)
    }

    /// Returns the mean duration.
    #[must_use]
    pub fn mean_wall(&self) -> Option<Nanos> {
        let (rows, sum) = self.usage.wall;
        u64::try_from(sum.checked_div(u128::from(rows))?).ok().map(Nanos)
    }
}

/// Everything that there is to save.
#[derive(Debug, Clone, PartialEq)]
pub struct SavingsReport {
    /// Number of the trace or recording.
    pub recording: i64,
    /// Whether it is a trace.
    pub is_trace: bool,
    /// Rows that belong together.
    pub grouping: Grouping,
    /// Ids of the models; the first is the one that is paid now.
    pub models: Vec<String>,
    /// Models with monthly charges, which are not in the amounts, by position.
    pub with_monthly_charges: Vec<usize>,
    /// Currency of the amounts.
    pub currency: String,
    /// Steps in which the present model bills time.
    pub time_step: Option<TimeStep>,
    /// Head-room above the peak of a size that is advised, in thousandths of the peak.
    pub margin: u32,
    /// Invocations that amounts are for.
    pub basis: Basis,
    /// Functions, those with the largest saving first.
    pub functions: Vec<FunctionSavings>,
    /// Cost of all functions that have one, where it can be added.
    pub total: Option<Money>,
    /// Cost of all functions by what it is for.
    pub split: Option<Waste<Money>>,
    /// Sum of the best change of each function.
    pub saving: Option<Money>,
    /// Stand-ins for meters that were not measured, and how many line items have them.
    pub stand_ins: BTreeMap<String, u64>,
}

/// Order of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FunctionOrder {
    /// What could be saved, the most first.
    #[default]
    Saving,
    /// Cost, the highest first.
    Amount,
    /// Name, from a to z.
    Name,
}

impl SavingsReport {
    /// Sorts the functions.
    pub fn sort_by(&mut self, order: FunctionOrder) {
        self.functions.sort_by(|one, two| order.compare(one, two));
    }
}

impl FunctionOrder {
    /// Compares two functions; of equal ones, the name decides.
    #[must_use]
    pub fn compare(self, one: &FunctionSavings, two: &FunctionSavings) -> std::cmp::Ordering {
        let cost = |it: &FunctionSavings| it.cost.as_ref().ok().cloned();
        let by_amount = || cost(two).cmp(&cost(one));
        let order = match self {
            Self::Saving => two.saving().cmp(&one.saving()).then_with(by_amount),
            Self::Amount => by_amount(),
            Self::Name => one.key.function.cmp(&two.key.function),
        };
        order.then_with(|| one.key.cmp(&two.key))
    }
}

/// Returns the ids of the models for a trace of a platform: the first is what it costs there now,
/// as far as its name tells, the others are worth a look.
#[must_use]
pub fn present_model(platform: &str) -> &'static [&'static str] {
    const MODELS: [(&str, &[&str]); 9] = [
        ("aws-lambda", &["aws-lambda-x86", "aws-lambda-arm"]),
        ("google-cloud-run", &["google-cloud-run"]),
        ("google-cloud-functions", &["google-cloud-functions"]),
        ("azure", &["azure-consumption"]),
        ("cloudflare", &["cloudflare-workers"]),
        ("vercel", &["vercel-fluid"]),
        ("huawei", &["huawei-functiongraph"]),
        ("alibaba", &["alibaba-function-compute"]),
        ("ibm", &["ibm-code-engine"]),
    ];
    let known = MODELS.iter().find(|(prefix, _)| platform.starts_with(prefix));
    known.map_or(MODELS[0].1, |(_, models)| models)
}

/// Looks for savings. Nothing is stored.
///
/// # Errors
/// Fails when there is nothing to bill, or the database cannot be read.
pub fn load_savings(store: &Store, plan: &SavingsPlan) -> Result<SavingsReport, ReplayError> {
    let replay = ReplayPlan {
        selection: plan.selection.clone(),
        ..ReplayPlan::for_recordings(vec![plan.recording], plan.contracts.clone())
    };
    let (now, usage) = store.replay_with_usage(&replay)?;
    let facts = gather_facts(plan, &now, &usage);
    // Only the present model is billed at other sizes.
    let present = plan.contracts.first().cloned().into_iter().collect();
    let resized_plan = ReplayPlan { contracts: std::sync::Arc::new(present), ..replay };
    let targets: Vec<Vec<Bytes>> = facts.iter().map(list_memory_targets).collect();
    let mut trials: Vec<Vec<Trial>> = vec![Vec::new(); facts.len()];
    for pass in 0..MOST_SIZES {
        let sizes = sizes_of_pass(&facts, &targets, pass);
        if sizes.is_empty() {
            break;
        }
        let moved = |key: &CellKey| sizes.contains_key(key).then(|| plan.grouping.key_of(key));
        let mut before = now.group_by(moved);
        let mut after = store.replay_resized(&resized_plan, &sizes)?.group_by(moved);
        for (at, fact) in facts.iter().enumerate() {
            let Some(size) = targets[at].get(pass).copied() else { continue };
            let key = Some(fact.key.clone());
            if let (Some(now), Some(then)) = (before.remove(&key), after.remove(&key)) {
                trials[at].push(Trial { size, usage: fact.usage_above(size), now, then });
            }
        }
    }
    let swept = load_sweeps(store, plan, &facts)?;
    let basis = find_basis(store, plan, &now)?;
    let is_trace = store.is_trace(plan.recording)?;
    Ok(build_report(plan, is_trace, basis, &now, &facts, &trials, &swept))
}

impl Grouping {
    fn key_of(self, key: &CellKey) -> FunctionKey {
        FunctionKey {
            platform: key.lane.to_string(),
            function: key.workload.to_string(),
            cell: (self == Self::Cell).then(|| (key.preset.to_string(), key.start)),
        }
    }
}

/// Gathers what is known of each function before anything else is tried.
fn gather_facts(
    plan: &SavingsPlan,
    now: &ReplaySummary,
    usage: &UsageByCell,
) -> Vec<FunctionFacts> {
    let mut cells: BTreeMap<FunctionKey, Vec<(CellKey, CellUsage)>> = BTreeMap::new();
    let mut of_name: HashMap<(&str, &str), Vec<CellUsage>> = HashMap::new();
    for (key, used) in usage {
        cells.entry(plan.grouping.key_of(key)).or_default().push((key.clone(), *used));
        of_name.entry((&key.lane, &key.workload)).or_default().push(*used);
    }
    let mut groups = now.group_by(|key| plan.grouping.key_of(key));
    let present = plan.contracts.first().map(|(model, _)| model);
    cells
        .into_iter()
        .map(|(key, cells)| {
            let group = groups.remove(&key).unwrap_or_default();
            let siblings = of_name.get(&(&*key.platform, &*key.function)).cloned();
            FunctionFacts::gather(key, group, cells, &siblings.unwrap_or_default(), present)
                .with_least_memory(plan.margin)
        })
        .collect()
}

/// Returns the size of every cell that gets less memory in one pass over the rows.
fn sizes_of_pass(
    facts: &[FunctionFacts],
    targets: &[Vec<Bytes>],
    pass: usize,
) -> HashMap<CellKey, Bytes> {
    let wanted =
        facts.iter().zip(targets).filter_map(|(fact, sizes)| Some((fact, sizes.get(pass)?)));
    wanted
        .flat_map(|(fact, size)| fact.cells_above(*size).map(|(key, _)| (key.clone(), *size)))
        .collect()
}

/// Reads the sweeps of functions that are among those to advise on.
fn load_sweeps(
    store: &Store,
    plan: &SavingsPlan,
    facts: &[FunctionFacts],
) -> Result<HashMap<String, SweptSizes>, StoreError> {
    let mut found: HashMap<String, SweptSizes> = HashMap::new();
    for (recording, text) in store.sweep_plans()? {
        let Ok(sweep) = serde_json::from_str::<SweepPlan>(&text) else { continue };
        let is_wanted = facts.iter().any(|fact| fact.key.function == sweep.function);
        if !is_wanted || recording == plan.recording || found.contains_key(&sweep.function) {
            continue;
        }
        let name = sweep.function.clone();
        let report = load_report(store, recording, sweep, Vec::new(), Confidence::default())?;
        let sizes: Vec<(Bytes, f64, u64)> = report
            .rows
            .iter()
            .filter(|row| row.failed == 0)
            .filter_map(|row| Some((row.planned.memory, row.wall?.value, row.ok)))
            .collect();
        if sizes.len() > 1 {
            found.insert(name, SweptSizes { recording, sizes });
        }
    }
    Ok(found)
}

/// Finds what the amounts are for.
fn find_basis(store: &Store, plan: &SavingsPlan, now: &ReplaySummary) -> Result<Basis, StoreError> {
    if let Some(requests) = &plan.requests {
        let billed = now.overall_group().models.first().map_or(0, |total| total.billed);
        return Ok(Basis::Requests { requests: requests.clone(), billed });
    }
    if !store.is_trace(plan.recording)? {
        return Ok(Basis::Million);
    }
    let about = store.recording_details(plan.recording)?;
    let moment = |text: &str| humantime::parse_rfc3339(text).ok();
    let ended = about.ended_at.unwrap_or_default();
    let length = moment(&about.started_at)
        .zip(moment(&ended))
        .and_then(|(begun, ended)| ended.duration_since(begun).ok())
        .map(Nanos::from)
        .filter(|length| *length >= LEAST_PERIOD);
    match length {
        Some(length) if store.has_log_times(plan.recording)? => {
            Ok(Basis::Month { period: (about.started_at, ended), length })
        }
        _ => Ok(Basis::Trace),
    }
}

fn build_report(
    plan: &SavingsPlan,
    is_trace: bool,
    basis: Basis,
    now: &ReplaySummary,
    facts: &[FunctionFacts],
    trials: &[Vec<Trial>],
    swept: &HashMap<String, SweptSizes>,
) -> SavingsReport {
    let models = now.models();
    let has_monthly = |at: &usize| {
        now.contract(*at).is_some_and(|(model, terms)| {
            let of_period = |it: &cyclometer_pricing::Charge| {
                it.basis() == cyclometer_pricing::ChargeBasis::Period
                    && model.charge_applies(it, terms)
            };
            model.charges().any(of_period)
        })
    };
    let mut functions: Vec<FunctionSavings> = facts
        .iter()
        .zip(trials)
        .map(|(fact, trials)| {
            let sweep = swept.get(&fact.key.function);
            advice::advise_function(plan, is_trace, &basis, now, fact, trials, sweep)
        })
        .collect();
    functions.sort_by(|one, two| FunctionOrder::Saving.compare(one, two));
    let costs = || functions.iter().filter_map(|it| it.cost.as_ref().ok());
    let total: Option<Money> = basis.has_sum().then(|| costs().sum());
    let mut split = Waste::<Money>::default();
    functions.iter().filter_map(|it| it.split.as_ref()).for_each(|it| split += it);
    let saving =
        basis.has_sum().then(|| functions.iter().filter_map(FunctionSavings::saving).sum());
    let overall = now.overall_group();
    let notes = overall.models.first().map(|total| &total.notes).into_iter().flatten();
    SavingsReport {
        recording: plan.recording,
        is_trace,
        grouping: plan.grouping,
        models: models.iter().map(|model| model.id.clone()).collect(),
        with_monthly_charges: (0..models.len()).filter(has_monthly).collect(),
        currency: models.first().map(|model| model.currency.clone()).unwrap_or_default(),
        time_step: plan.contracts.first().and_then(|(model, _)| model.time_step()),
        margin: plan.margin,
        split: basis.has_sum().then_some(split),
        basis,
        functions,
        total,
        saving,
        stand_ins: notes.map(|(note, count)| (note.to_string(), *count)).collect(),
    }
}
