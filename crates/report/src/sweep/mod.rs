//! Report of a sweep: one function at several memory sizes, its time and its cost under each
//! tariff at each of them, and which size to choose.

mod chart;
mod choice;
mod sentences;
mod svg;
mod table;
#[cfg(test)]
mod tests;

pub use chart::render_chart;
pub use choice::{Candidate, Choice, Figure, Pick, choose_sizes, least_memory};
pub use sentences::{describe_choices, list_notes};
pub use svg::render_svg;
pub use table::{build_people_table, build_program_table};

use serde::{Deserialize, Serialize};

use crate::stored_comparison::price_cells;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_pricing::{Exact, PriceModel};
use cyclometer_replay::{Contract, GroupTotal, ReplaySummary};
use cyclometer_stats::{Confidence, Interval, median};
use cyclometer_store::{
    CellSeries, PricedCell, ReplayError, ReplayPlan, SeriesRun, Store, StoreError,
};

/// Key of a sweep in the plan of its recording.
pub const PLAN_KEY: &str = "sweep";

/// Plan of a sweep, as its recording keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// Name of the function.
    pub function: String,
    /// Sizes, in ascending order.
    pub sizes: Vec<PlannedSize>,
    /// Size that the function has now, with which costs are compared.
    pub present: Option<Bytes>,
    /// Head-room above the peak of a size that is recommended, in thousandths of the peak.
    pub head_room: u32,
    /// Rule by which sizes have a share of CPUs: `aws`, or a number; `None`: whole ones.
    pub cpu_rule: Option<String>,
    /// Tariffs whose bills are shown.
    #[serde(default)]
    pub models: Vec<String>,
}

/// Size of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSize {
    /// Memory of the function.
    pub memory: Bytes,
    /// Name of the function at that size, in its recording.
    pub workload: String,
    /// Share of CPUs, in thousandths of one.
    pub cpu_share: Option<u32>,
    /// Reason why it was not measured.
    pub refused: Option<String>,
}

/// One size, as it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeRow {
    /// The size, as it was planned.
    pub planned: PlannedSize,
    /// Number of runs that ended well.
    pub ok: u64,
    /// Number of runs that did not.
    pub failed: u64,
    /// Reason of the first that did not, or why there are none.
    pub reason: Option<String>,
    /// Median wall time in nanoseconds.
    pub wall: Option<Figure>,
    /// Median CPU time.
    pub cpu: Option<Nanos>,
    /// Median time for which the CPU share held it back.
    pub throttled: Option<Nanos>,
    /// Largest peak of memory.
    pub peak: Option<Bytes>,
}

/// Cost of a million runs at one size.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeCost {
    /// Mean, as bills have it.
    pub mean: Exact,
    /// Cost in floating point, with the interval.
    pub figure: Figure,
}

/// Sizes under one tariff.
#[derive(Debug, Clone, PartialEq)]
pub struct Tariff {
    /// Id of the model.
    pub id: String,
    /// Provider, if the model names one.
    pub provider: Option<String>,
    /// Currency of its costs.
    pub currency: String,
    /// Cost of each row, or the reason why there is none.
    pub costs: Vec<Result<SizeCost, String>>,
    /// Positions of the rows that may be recommended.
    pub candidates: Vec<usize>,
    /// Choice among these, by position among the candidates.
    pub choice: Option<Choice>,
    /// Sizes that the tariff does not sell: it bills the next one that it has.
    pub unsold: Vec<Bytes>,
}

/// Everything that a sweep shows.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepReport {
    /// The plan.
    pub plan: SweepPlan,
    /// Lane and kind of start, such as `native, cold`.
    pub place: String,
    /// Sizes in ascending order.
    pub rows: Vec<SizeRow>,
    /// Largest peak of all runs that ended well, and the size at which it was measured.
    pub peak: Option<(Bytes, Bytes)>,
    /// Least size that may be recommended; `None`: no peak was measured.
    pub least: Option<Bytes>,
    /// Tariffs, in the order in which they were named.
    pub tariffs: Vec<Tariff>,
    /// Confidence of all intervals.
    pub confidence: Confidence,
}

/// Reads a sweep from its recording, and bills it. Nothing is stored.
///
/// # Errors
/// Fails when the database cannot be read.
pub fn load_report(
    store: &Store,
    recording: i64,
    plan: SweepPlan,
    contracts: Vec<Contract>,
    confidence: Confidence,
) -> Result<SweepReport, StoreError> {
    let series = store.cell_series(&[recording])?;
    let priced = price_cells(store, recording, &contracts)?;
    let plan_of_bills = ReplayPlan::for_recordings(vec![recording], contracts);
    let summary = match store.replay_without_saving(&plan_of_bills) {
        Ok(summary) => summary,
        Err(ReplayError::Store(error)) => return Err(error),
        Err(ReplayError::Empty(_)) => ReplaySummary::for_contracts(&plan_of_bills.contracts),
    };
    Ok(build_report(plan, &series, &summary, &priced, confidence))
}

/// Builds the report from the cells of a recording, their bills, and the bills of single runs.
#[must_use]
pub fn build_report(
    plan: SweepPlan,
    series: &[CellSeries],
    summary: &ReplaySummary,
    priced: &[PricedCell],
    confidence: Confidence,
) -> SweepReport {
    let find = |size: &PlannedSize| series.iter().find(|it| *it.key.workload == *size.workload);
    let rows: Vec<SizeRow> =
        plan.sizes.iter().map(|size| build_row(size, find(size), confidence)).collect();
    let place =
        series.first().map_or_else(String::new, |it| format!("{}, {}", it.key.lane, it.key.start));
    let peaks = rows.iter().filter_map(|row| Some((row.peak?, row.planned.memory)));
    let peak = peaks.max_by_key(|(peak, size)| (*peak, std::cmp::Reverse(*size)));
    let least = peak.map(|(peak, _)| least_memory(peak, plan.head_room));
    let mut tariffs = Vec::new();
    for (model, info) in summary.models().iter().enumerate() {
        let cost_of = |row: &SizeRow| {
            let group = summary.groups().find(|(key, _)| *key.workload == *row.planned.workload);
            let bills = priced
                .iter()
                .find(|it| it.model == info.id && *it.key.workload == *row.planned.workload);
            find_cost(row, group.map(|(_, group)| group), model, bills, confidence)
        };
        let costs: Vec<_> = rows.iter().map(cost_of).collect();
        let candidates = list_candidates(&rows, &costs, least);
        let at: Vec<usize> = candidates.iter().map(|(at, _)| *at).collect();
        let figures: Vec<Candidate> = candidates.iter().map(|(_, it)| *it).collect();
        let provider = summary.contract(model).and_then(|(it, _)| it.provider());
        tariffs.push(Tariff {
            id: info.id.clone(),
            provider: provider.map(str::to_owned),
            currency: info.currency.clone(),
            choice: choose_sizes(&figures),
            candidates: at,
            costs,
            unsold: summary
                .contract(model)
                .map(|(model, _)| list_unsold_sizes(model, &rows))
                .unwrap_or_default(),
        });
    }
    SweepReport { plan, place, rows, peak, least, tariffs, confidence }
}

/// Lists the sizes of a sweep that a tariff does not sell; none where it does not charge for the
/// memory that a function is given.
fn list_unsold_sizes(model: &PriceModel, rows: &[SizeRow]) -> Vec<Bytes> {
    // Sizes that every provider has tell whether the tariff charges by size at all.
    const USUAL: [Bytes; 3] = [Bytes(512 << 20), Bytes(1 << 30), Bytes(2 << 30)];
    let measured = rows.iter().map(|row| row.planned.memory);
    let asked: Vec<Bytes> = measured.clone().chain(USUAL).collect();
    let sold = model.memory_sizes(&asked);
    measured.filter(|size| !sold.is_empty() && !sold.contains(size)).collect()
}

fn build_row(size: &PlannedSize, cell: Option<&CellSeries>, confidence: Confidence) -> SizeRow {
    let runs = cell.map_or(&[][..], |cell| &cell.runs);
    let nanos = |of: fn(&SeriesRun) -> Option<Nanos>| -> Vec<f64> {
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
        let mut all: Vec<f64> = runs.iter().filter_map(of).map(|span| span.0 as f64).collect();
        all.sort_unstable_by(f64::total_cmp);
        all
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are between 0 and 2^53 ns"
    )]
    let middle = |of| median(&nanos(of)).map(|value| Nanos(value as u64));
    let wall = nanos(|run| run.wall);
    let unrun = || {
        let note = cell.and_then(|cell| cell.note.clone());
        Some(note.unwrap_or_else(|| "it was not run".to_owned()))
    };
    let reason = match cell {
        _ if size.refused.is_some() => size.refused.clone(),
        Some(cell) if cell.failed > 0 => {
            cell.reason.clone().or_else(|| Some("the runs failed".to_owned()))
        }
        _ if runs.is_empty() => unrun(),
        _ => None,
    };
    SizeRow {
        planned: size.clone(),
        ok: runs.len() as u64,
        failed: cell.map_or(0, |cell| cell.failed),
        reason,
        wall: median(&wall).map(|value| Figure {
            value,
            ends: Interval::for_median(&wall, confidence).map(|it| (it.low, it.high)),
        }),
        cpu: middle(|run| run.cpu),
        throttled: middle(|run| run.throttled),
        peak: runs.iter().filter_map(|run| run.memory_peak).max(),
    }
}

/// Returns the cost of a million runs of a row, with an interval where its bills are those of
/// single runs.
fn find_cost(
    row: &SizeRow,
    group: Option<&GroupTotal>,
    model: usize,
    bills: Option<&PricedCell>,
    confidence: Confidence,
) -> Result<SizeCost, String> {
    const MILLION: f64 = 1e6;
    if row.ok == 0 {
        return Err("no run ended well".to_owned());
    }
    let total = group.and_then(|group| group.models.get(model));
    let total = total.ok_or("there are no bills")?;
    if let Some(why) = total.refused.keys().next() {
        return Err(why.to_string());
    }
    let mean = total.mean_per_million().ok_or("nothing was billed")?;
    let value = mean.to_f64().ok_or("the cost is too large")?;
    let single: Vec<f64> =
        bills.into_iter().flat_map(|cell| &cell.bills).map(|(_, bill)| bill * MILLION).collect();
    #[expect(clippy::cast_precision_loss, reason = "far fewer runs than 2^53")]
    let of_single = single.iter().sum::<f64>() / single.len().max(1) as f64;
    // Runs that share an instance, or that failed, have bills that are not those of single runs.
    let is_of_single = (of_single - value).abs() <= 1e-6 * value.abs();
    let interval = Interval::for_mean(&single, confidence).filter(|_| is_of_single);
    Ok(SizeCost { mean, figure: Figure { value, ends: interval.map(|it| (it.low, it.high)) } })
}

/// Returns the rows that may be recommended: no run of them failed, their memory leaves head-room,
/// and they have a price.
fn list_candidates(
    rows: &[SizeRow],
    costs: &[Result<SizeCost, String>],
    least: Option<Bytes>,
) -> Vec<(usize, Candidate)> {
    let Some(least) = least else { return Vec::new() };
    let rows = rows.iter().zip(costs).enumerate();
    rows.filter(|(_, (row, _))| row.failed == 0 && row.planned.memory >= least)
        .filter_map(|(at, (row, cost))| {
            let (time, cost) = (row.wall?, cost.as_ref().ok()?.figure);
            Some((at, Candidate { memory: row.planned.memory, time, cost }))
        })
        .collect()
}

impl Tariff {
    /// Returns the three choices with their names.
    pub(crate) fn named_picks(&self) -> Vec<(&'static str, &Pick)> {
        match &self.choice {
            Some(it) => vec![
                ("cheapest", &it.cheapest),
                ("fastest", &it.fastest),
                ("balanced", &it.balanced),
            ],
            None => Vec::new(),
        }
    }

    /// Returns how a row stands in a choice: chosen, not distinguishable from the chosen one, or
    /// neither.
    pub(crate) fn standing_of(&self, row: usize, pick: &Pick) -> Standing {
        let is_row = |at: &usize| self.candidates.get(*at) == Some(&row);
        if is_row(&pick.best) {
            Standing::Chosen
        } else if pick.alike.iter().flatten().any(is_row) {
            Standing::Alike
        } else {
            Standing::Other
        }
    }
}

/// Standing of a size in a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the choice.
    Chosen,
    /// Interval that overlaps with that of the choice.
    Alike,
    /// It is another one.
    Other,
}

impl Standing {
    /// Returns the word for programs.
    pub(crate) const fn word(self) -> Option<&'static str> {
        match self {
            Self::Chosen => Some("chosen"),
            Self::Alike => Some("not distinguishable"),
            Self::Other => None,
        }
    }
}

impl SweepReport {
    /// Returns the position of the present size among the rows, if it was measured.
    pub(crate) fn present_row(&self) -> Option<usize> {
        let present = self.plan.present?;
        self.rows.iter().position(|row| row.planned.memory == present)
    }
}

/// Formats a size exactly, in MiB where it is whole ones: `1769 MiB`.
#[must_use]
pub fn format_size(size: Bytes) -> String {
    const MIB: u64 = 1 << 20;
    match size.0 {
        whole if whole % MIB == 0 => format!("{} MiB", whole / MIB),
        bytes => format!("{bytes} B"),
    }
}

/// Formats an amount to four significant digits.
pub(crate) fn format_amount(amount: f64) -> String {
    if amount == 0.0 || !amount.is_finite() {
        return "0".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, reason = "the decades of an amount")]
    let decade = amount.abs().log10().floor() as i32;
    let decimals = usize::try_from(3 - decade).unwrap_or(0).min(12);
    format!("{amount:.decimals$}")
}
