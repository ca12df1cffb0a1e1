//! Advice on one function: less memory, or another model.

use super::{Basis, FunctionKey, FunctionSavings, MOST_SIZES, SavingsPlan};
use crate::sweep::{format_size, least_memory};
use cyclometer_core::units::Bytes;
use cyclometer_pricing::{Exact, Granularity, Money, PriceModel, RoundingDirection};
use cyclometer_replay::{CellKey, CellUsage, GroupTotal, ModelTotal, ReplaySummary};

const MIB: u64 = 1 << 20;

/// Sizes that are advised where a model sells any size: those that people configure.
const USUAL_SIZES: [u64; 21] = [
    128, 192, 256, 320, 384, 512, 640, 768, 896, 1_024, 1_280, 1_536, 1_769, 2_048, 2_560, 3_008,
    4_096, 5_120, 6_144, 8_192, 10_240,
];

/// Memory at which AWS Lambda gives a function one CPU, with less in proportion:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>.
const LAMBDA_CPU: Bytes = Bytes(1_769 * MIB);

/// Least number of invocations at another size whose durations are taken for that size.
const LEAST_MEASURED: u64 = 30;

/// Change of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Less memory.
    Memory {
        /// Largest memory that it has now.
        from: Bytes,
        /// Memory that it would have.
        to: Bytes,
    },
    /// Another model, by position.
    Model(usize),
}

/// What is known of the durations after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing: they are assumed to stay.
    Unchanged,
    /// They are computed from the CPU time, which takes longer with a smaller share of a CPU.
    CpuTime {
        /// CPU time in the duration, as a share of one CPU.
        share: Exact,
        /// Factor by which the durations grow.
        stretch: Exact,
    },
    /// They were measured at that size.
    Measured {
        /// Factor between the durations there and those now.
        stretch: Exact,
        /// Number of invocations at that size.
        runs: u64,
        /// Recording of a sweep; `None`: the same trace or recording.
        sweep: Option<i64>,
    },
}

/// One change, and what it saves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The change.
    pub change: Change,
    /// Cost after it.
    pub cost: Money,
    /// Cost now less the cost after it.
    pub saving: Money,
    /// Factor by which durations may grow until the change saves nothing; `None` where no charge
    /// grows with them.
    pub break_even: Option<Exact>,
    /// What is known of the durations after it.
    pub evidence: Evidence,
    /// Largest peak of memory, and the least memory with head-room above it; of less memory only.
    pub peak: Option<(Bytes, Bytes)>,
}

/// Sizes of a function that a sweep measured: memory, median duration, number of runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SweptSizes {
    /// Number of the recording.
    pub recording: i64,
    /// The sizes.
    pub sizes: Vec<(Bytes, f64, u64)>,
}

/// Cells of a function with another memory size.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// The size.
    pub size: Bytes,
    /// What the cells with more memory used.
    pub usage: CellUsage,
    /// Their bill as it is.
    pub now: GroupTotal,
    /// Their bill at the other size.
    pub then: GroupTotal,
}

/// What is known of a function.
#[derive(Debug)]
pub(super) struct FunctionFacts {
    pub key: FunctionKey,
    pub group: GroupTotal,
    pub cells: Vec<(CellKey, CellUsage)>,
    pub usage: CellUsage,
    /// Invocations of the function at one size, over all its cells.
    observed: Vec<(Bytes, CellUsage)>,
    /// Sizes that the present model sells; `None`: it does not charge for the memory given.
    sold: Option<Vec<Bytes>>,
    /// Least memory with head-room above the peak, or the reason why it is not known.
    pub least: Result<Bytes, String>,
}

impl FunctionFacts {
    /// Gathers the facts; `siblings` are all cells of the same name, those of the function among
    /// them.
    pub fn gather(
        key: FunctionKey,
        group: GroupTotal,
        cells: Vec<(CellKey, CellUsage)>,
        siblings: &[CellUsage],
        model: Option<&PriceModel>,
    ) -> Self {
        let mut usage = CellUsage::default();
        cells.iter().for_each(|(_, used)| usage.merge(used));
        let mut observed: Vec<(Bytes, CellUsage)> = Vec::new();
        for used in siblings {
            let Some((size, _)) = used.given.filter(|(least, most)| least == most) else {
                continue;
            };
            match observed.iter_mut().find(|(known, _)| *known == size) {
                Some((_, sum)) => sum.merge(used),
                None => observed.push((size, *used)),
            }
        }
        observed.sort_by_key(|(size, _)| *size);
        let usual: Vec<Bytes> = USUAL_SIZES
            .iter()
            .map(|mib| Bytes(mib * MIB))
            .chain(observed.iter().map(|(size, _)| *size))
            .collect();
        let sold = model.map(|model| model.memory_sizes(&usual)).filter(|sold| !sold.is_empty());
        let least = Err("it was not asked for".to_owned());
        Self { key, group, cells, usage, observed, sold, least }
    }

    /// Sets the least memory, with so many thousandths of the peak above it.
    pub fn with_least_memory(mut self, margin: u32) -> Self {
        let (known, peak) = self.usage.peak;
        self.least = match known {
            0 => Err("no peak of memory in the log: no advice on memory".to_owned()),
            known if known < self.usage.rows => Err(format!(
                "a peak of memory in {known} of {} invocations only: no advice on memory",
                self.usage.rows
            )),
            _ => Ok(least_memory(peak, margin)),
        };
        self
    }

    /// Returns the mean duration of the invocations at a size, and their number.
    fn mean_wall_at(&self, size: Bytes) -> Option<(Exact, u64)> {
        let (_, used) = self.observed.iter().find(|(known, _)| *known == size)?;
        mean_wall(used)
    }

    /// Returns the cells that have more memory than a size.
    pub fn cells_above(&self, size: Bytes) -> impl Iterator<Item = &(CellKey, CellUsage)> {
        let is_above = move |used: &CellUsage| used.given.is_some_and(|(_, most)| most > size);
        self.cells.iter().filter(move |(_, used)| is_above(used))
    }

    /// Returns what the cells that have more memory than a size used.
    pub fn usage_above(&self, size: Bytes) -> CellUsage {
        let mut sum = CellUsage::default();
        self.cells_above(size).for_each(|(_, used)| sum.merge(used));
        sum
    }
}

fn mean_wall(used: &CellUsage) -> Option<(Exact, u64)> {
    let (rows, sum) = used.wall;
    let mean = Exact::from_integer(sum).checked_div(&Exact::from(rows))?;
    (rows > 0 && !mean.is_zero()).then_some((mean, rows))
}

/// Lists the sizes to try: the least that fits, and the least above it whose durations were
/// measured.
pub(super) fn list_memory_targets(facts: &FunctionFacts) -> Vec<Bytes> {
    let (Ok(least), Some((_, present)), Some(sold)) =
        (&facts.least, facts.usage.given, &facts.sold)
    else {
        return Vec::new();
    };
    let fits = |size: &Bytes| *size >= *least && *size < present;
    let smallest = sold.iter().copied().find(fits);
    let was_measured =
        |size: &Bytes| facts.mean_wall_at(*size).is_some_and(|(_, runs)| runs >= LEAST_MEASURED);
    let measured = sold.iter().copied().filter(fits).find(was_measured);
    let mut targets: Vec<Bytes> = smallest.into_iter().chain(measured).collect();
    targets.dedup();
    targets.truncate(MOST_SIZES);
    targets
}

/// Computes the cost of a function and all advice on it.
pub(super) fn advise_function(
    plan: &SavingsPlan,
    is_trace: bool,
    basis: &Basis,
    now: &ReplaySummary,
    facts: &FunctionFacts,
    trials: &[Trial],
    sweep: Option<&SweptSizes>,
) -> FunctionSavings {
    let FunctionFacts { key, group, usage, .. } = facts;
    let mut found = FunctionSavings {
        key: key.clone(),
        invocations: group.invocations,
        usage: *usage,
        cost: priced_total(group, 0).map(|total| total.total.clone()),
        split: None,
        advice: Vec::new(),
        refusals: Vec::new(),
    };
    let Ok(total) = priced_total(group, 0) else { return found };
    let factor = basis.factor(total.billed);
    let cost = Money::from(total.total.as_exact() * &factor);
    found.split = Some(total.waste.scaled_to(&cost));
    let asked = Question { facts, now: total, factor: &factor, is_trace };
    match (&facts.least, &facts.sold) {
        (_, None) => found.refusals.push(format!(
            "{} does not charge for the memory that a function is given",
            now.models().first().map_or("the model", |model| &model.id)
        )),
        (Err(reason), _) => found.refusals.push(reason.clone()),
        (Ok(least), Some(_)) if trials.is_empty() => {
            found.refusals.push(describe_tight_memory(usage, *least, plan.margin));
        }
        _ => {}
    }
    for trial in trials {
        match asked.advise_memory(plan, trial, sweep) {
            Ok(advice) => found.advice.push(advice),
            Err(reason) => found.refusals.push(reason),
        }
    }
    for at in 1..now.models().len() {
        match asked.advise_model(now, at) {
            Ok(advice) => found.advice.push(advice),
            Err(reason) => found.refusals.push(reason),
        }
    }
    found.advice.sort_by(|one, two| two.saving.cmp(&one.saving));
    found.cost = Ok(cost);
    found
}

/// Returns the total of a model where all invocations were billed, or the reason why not.
fn priced_total(group: &GroupTotal, model: usize) -> Result<&ModelTotal, String> {
    if let Some(failures) = group.describe_failures().filter(|_| group.only_failed()) {
        return Err(failures);
    }
    let total = group.models.get(model).ok_or("there is no such model in this replay")?;
    if let Some((refusal, count)) = total.refused.iter().next() {
        return Err(format!("refused {count} of {}: {refusal}", group.invocations));
    }
    if total.billed == 0 || total.charges.is_empty() {
        return Err("no invocation was billed".to_owned());
    }
    Ok(total)
}

fn describe_tight_memory(usage: &CellUsage, least: Bytes, margin: u32) -> String {
    let (_, peak) = usage.peak;
    let Some((_, given)) = usage.given else {
        return "the memory that it is given is not in the log: no advice on memory".to_owned();
    };
    format!(
        "memory stays: its largest peak of {peak} and {} % head-room are {least}, and no smaller \
         size than {} has that",
        margin / 10,
        format_size(given)
    )
}

/// Function that advice is asked for.
struct Question<'a> {
    facts: &'a FunctionFacts,
    now: &'a ModelTotal,
    factor: &'a Exact,
    is_trace: bool,
}

impl Question<'_> {
    fn advise_memory(
        &self,
        plan: &SavingsPlan,
        trial: &Trial,
        sweep: Option<&SweptSizes>,
    ) -> Result<Advice, String> {
        let (now, then) = (priced_total(&trial.now, 0)?, priced_total(&trial.then, 0)?);
        let size = trial.size;
        let from = trial.usage.given.map_or(size, |(_, most)| most);
        let model = plan.contracts.first().map(|(model, _)| model);
        let evidence = self.find_evidence(trial, from, model, sweep);
        let what = format!("{} instead of {}", format_size(size), format_size(from));
        let change = Change::Memory { from, to: size };
        let mut advice = self.build_advice(change, (now, then), evidence, &what)?;
        advice.peak = self.facts.least.as_ref().ok().map(|least| (self.facts.usage.peak.1, *least));
        Ok(advice)
    }

    fn advise_model(&self, now: &ReplaySummary, at: usize) -> Result<Advice, String> {
        let (present, other) = (&now.models()[0], &now.models()[at]);
        let id = &other.id;
        if present.currency != other.currency {
            return Err(format!("{id}: bills in {}, not in {}", other.currency, present.currency));
        }
        let then =
            priced_total(&self.facts.group, at).map_err(|reason| format!("{id}: {reason}"))?;
        let mut advice =
            self.build_advice(Change::Model(at), (self.now, then), Evidence::Unchanged, id)?;
        if other.granularity != Granularity::Coarse {
            advice.break_even = None;
        }
        Ok(advice)
    }

    /// Builds advice on invocations that cost one total now and another one then, or says why
    /// the change saves nothing.
    fn build_advice(
        &self,
        change: Change,
        (now, then): (&ModelTotal, &ModelTotal),
        evidence: Evidence,
        what: &str,
    ) -> Result<Advice, String> {
        let (now, fixed) = (now.total.as_exact(), then.waste.fees.as_exact());
        let timed = then.total.as_exact() - fixed;
        let break_even = (now - fixed).checked_div(&timed);
        let after = fixed + &(&timed * &evidence.stretch());
        if after >= *now {
            return Err(describe_no_saving(what, &evidence, break_even.as_ref()));
        }
        let saving = now - &after;
        let scaled = |amount: &Exact| Money::from(amount * self.factor);
        Ok(Advice {
            change,
            cost: scaled(&(self.now.total.as_exact() - &saving)),
            saving: scaled(&saving),
            break_even,
            evidence,
            peak: None,
        })
    }

    /// Finds what is known of the durations at another size: measured in the same trace, measured
    /// by a sweep, or computed from the CPU time.
    fn find_evidence(
        &self,
        trial: &Trial,
        from: Bytes,
        model: Option<&PriceModel>,
        sweep: Option<&SweptSizes>,
    ) -> Evidence {
        let (size, used) = (trial.size, &trial.usage);
        let there = self.facts.mean_wall_at(size).filter(|(_, runs)| *runs >= LEAST_MEASURED);
        if let Some(((there, runs), (here, _))) = there.zip(mean_wall(used))
            && let Some(stretch) = there.checked_div(&here)
        {
            return Evidence::Measured { stretch, runs, sweep: None };
        }
        if let Some(found) = sweep.and_then(|sweep| sweep.stretch_between(size, from)) {
            return found;
        }
        let is_lambda = model.is_some_and(|model| model.tariff().starts_with("aws-lambda"));
        if is_lambda && used.rows > 0 && used.cpu_rows == used.rows {
            let whole = Exact::from_integer(used.wall_of_cpu);
            if let Some(share) = Exact::from_integer(used.cpu).checked_div(&whole) {
                let stretch = stretch_by_cpu(&share, size, from, self.is_trace);
                return Evidence::CpuTime { share, stretch };
            }
        }
        Evidence::Unchanged
    }
}

impl Evidence {
    /// Returns the factor by which the durations grow.
    fn stretch(&self) -> Exact {
        match self {
            Self::Unchanged => Exact::from(1),
            Self::CpuTime { stretch, .. } | Self::Measured { stretch, .. } => stretch.clone(),
        }
    }
}

/// Returns the factor by which durations grow with the CPU of a smaller size, if all CPU time is
/// that of one thread: the CPU time takes 1 / share of it, and the waiting stays.
fn stretch_by_cpu(share: &Exact, size: Bytes, from: Bytes, is_trace: bool) -> Exact {
    // A recording is not held back by the size that its bill assumes.
    let one = Exact::from(1);
    let slowdown = |size: Bytes| {
        let of_cpu = Exact::from(LAMBDA_CPU.0).checked_div(&Exact::from(size.0));
        of_cpu.filter(|times| *times > one).unwrap_or_else(|| one.clone())
    };
    let here = if is_trace { slowdown(from) } else { one.clone() };
    &one + &(share * &(&slowdown(size) - &here))
}

impl SweptSizes {
    /// Returns the measured factor between two sizes, if the sweep has both.
    pub fn stretch_between(&self, size: Bytes, from: Bytes) -> Option<Evidence> {
        let at = |wanted: Bytes| self.sizes.iter().find(|(size, _, _)| *size == wanted);
        let ((_, there, runs), (_, here, _)) = (at(size)?, at(from)?);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "medians are between 0 and 2^53 ns"
        )]
        let nanos = |median: f64| Exact::from(median.round() as u64);
        let stretch = nanos(*there).checked_div(&nanos(*here))?;
        Some(Evidence::Measured { stretch, runs: *runs, sweep: Some(self.recording) })
    }
}

/// Says why a change saves nothing.
fn describe_no_saving(what: &str, evidence: &Evidence, break_even: Option<&Exact>) -> String {
    let times = |factor: &Exact| factor.to_rounded_string(2);
    let limit = break_even.map(format_limit);
    match (evidence, limit) {
        (Evidence::CpuTime { share, stretch }, Some(limit)) => format!(
            "{what}: CPU-bound, with CPU time of {} % of its duration: with the CPU of that size \
             it would take about {} times as long, and it saves below {limit} times",
            crate::format_percent(share, 0),
            times(stretch)
        ),
        (Evidence::Measured { stretch, .. }, Some(limit)) => format!(
            "{what}: it takes {} times as long there, as measured, and saves below {limit} times",
            times(stretch)
        ),
        _ => format!("{what}: not cheaper"),
    }
}

/// Formats a limit of durations to two decimals, rounded down: it must not promise more.
pub(super) fn format_limit(factor: &Exact) -> String {
    factor.round_to(2, RoundingDirection::Down).to_rounded_string(2)
}
