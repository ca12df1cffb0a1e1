//! Comparison of two recordings or two simulations: what differs, how certain that is,
//! and which circumstances differed as well.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::table::{Cell, Column, Table};
use cyclometer_core::cell_key::CellKey;
use cyclometer_core::units::{Bytes, Count, Nanos};
use cyclometer_pricing::Exact;
use cyclometer_stats::{Confidence, Verdict, compare_means, compare_pairs, compare_times, median};
use cyclometer_store::{Circumstances, ComparedMeter, PricedCell, RunsOfCell, UsedModel};

/// Number of columns that name a cell: rows are grouped by them.
pub const NAME_COLUMNS: usize = 4;

/// Number of columns that stay empty between the names of an unmatched cell and the
/// reason.
const UNMATCHED_GAP: usize = 3;

/// Relative difference of clock frequencies below which two hosts count as one machine,
/// calibrated twice.
const SAME_CLOCK: f64 = 0.001;

const VERDICT: [Column; 7] = [
    Column::number("runs", "runs"),
    Column::text("second against first", "told"),
    Column::hidden("verdict"),
    Column::hidden("ratio"),
    Column::hidden("ratio_low"),
    Column::hidden("ratio_high"),
    Column::hidden("confidence"),
];

/// A verdict on one meter or bill of a cell.
#[derive(Debug, Clone)]
pub struct CellVerdict {
    /// Key of the cell.
    pub key: CellKey,
    /// Title of the meter; for a bill, the model.
    pub title: String,
    /// Column of the meter, such as `run_ns`; for a bill, `bill`.
    pub meter: &'static str,
    /// The verdict.
    pub verdict: Verdict,
}

/// A comparison: its rows, and the notes needed to read them.
#[derive(Debug, Clone)]
pub struct Difference {
    /// One row a cell and meter, or a cell and model.
    pub table: Table,
    /// Warnings and remarks.
    pub notes: Vec<String>,
    /// Number of verdicts that show a difference, and number of all verdicts.
    pub shown: (usize, usize),
    /// Number of verdicts without a result, for want of runs.
    pub too_few: usize,
    /// Number of runs that those need.
    pub needed_runs: usize,
    /// Number of comparisons that are refused, since the first side is too close to the
    /// quantum of its clock.
    pub refused: usize,
    /// Number of verdicts without spread: each side has a single value.
    pub apart: usize,
    /// All verdicts, for further use: the largest differences, a gate.
    pub verdicts: Vec<CellVerdict>,
    /// Cells that only one side has, and which side.
    pub unmatched: Vec<(CellKey, &'static str)>,
}

/// Compares the cells of two recordings by their medians.
#[must_use]
pub(crate) fn compare_cells(
    first: &[RunsOfCell],
    second: &[RunsOfCell],
    sure: Confidence,
) -> Difference {
    let mut columns = vec![
        Column::text("workload", "workload"),
        Column::text("preset", "preset"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::text("meter", "meter"),
        Column::number("first", "first_median"),
        Column::number("second", "second_median"),
    ];
    columns.extend(VERDICT);
    let mut result = Difference {
        table: Table::new(&columns),
        notes: Vec::new(),
        shown: (0, 0),
        too_few: 0,
        needed_runs: 0,
        refused: 0,
        apart: 0,
        verdicts: Vec::new(),
        unmatched: Vec::new(),
    };
    for (one, two) in match_cells(first, second, |cell| &cell.key, |one, two| one.key == two.key) {
        match (one, two) {
            (Some(one), Some(two)) => result.add_cell(one, two, sure),
            (Some(cell), None) => result.add_unmatched(&cell.key, None, "only in the first"),
            (None, Some(cell)) => result.add_unmatched(&cell.key, None, "only in the second"),
            (None, None) => {}
        }
    }
    result
}

/// Compares the mean bills of two simulations, pairwise where both sides bill the same
/// invocations.
#[must_use]
pub(crate) fn compare_priced_cells(
    first: &[PricedCell],
    second: &[PricedCell],
    sure: Confidence,
) -> Difference {
    let mut columns = vec![
        Column::text("workload", "workload"),
        Column::text("preset", "preset"),
        Column::text("lane", "lane"),
        Column::text("start", "start"),
        Column::text("model", "model"),
        Column::number("first $/M", "first_mean_per_million"),
        Column::number("second $/M", "second_mean_per_million"),
        Column::hidden("currency"),
    ];
    columns.extend(VERDICT);
    let mut result = Difference {
        table: Table::new(&columns),
        notes: Vec::new(),
        shown: (0, 0),
        too_few: 0,
        needed_runs: 0,
        refused: 0,
        apart: 0,
        verdicts: Vec::new(),
        unmatched: Vec::new(),
    };
    let same = |one: &PricedCell, two: &PricedCell| one.key == two.key && one.model == two.model;
    for (one, two) in match_cells(first, second, |cell| &cell.key, same) {
        match (one, two) {
            (Some(one), Some(two)) if one.currency == two.currency => {
                result.add_bill(one, two, sure);
            }
            (Some(one), Some(_)) => result.add_unmatched_bill(one, "currencies differ"),
            (Some(cell), None) => result.add_unmatched_bill(cell, "only in the first"),
            (None, Some(cell)) => result.add_unmatched_bill(cell, "only in the second"),
            (None, None) => {}
        }
    }
    result
}

/// Returns the items of `first` in their order, each with its counterpart, then those
/// that only `second` has.
fn match_cells<'a, T>(
    first: &'a [T],
    second: &'a [T],
    key: impl Fn(&T) -> &CellKey,
    same: impl Fn(&T, &T) -> bool,
) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let other = |one: &T, others: &'a [T]| others.iter().find(|it| same(it, one));
    let mut pairs: Vec<_> = first.iter().map(|one| (Some(one), other(one, second))).collect();
    let lonely = second.iter().filter(|two| other(two, first).is_none());
    pairs.extend(lonely.map(|two| (None, Some(two))));
    // Cells of a workload stand together, as in the report of a recording.
    let order: Vec<&Arc<str>> =
        pairs.iter().filter_map(|it| it.0.or(it.1)).map(|it| &key(it).workload).collect();
    let place: Vec<_> = order.iter().map(|name| order.iter().position(|it| it == name)).collect();
    let mut numbered: Vec<_> = place.into_iter().zip(pairs).collect();
    numbered.sort_by_key(|(place, _)| *place);
    numbered.into_iter().map(|(_, pair)| pair).collect()
}

impl Difference {
    /// Returns the largest certain differences, the largest first, a sentence each. They
    /// are ordered by the end of the interval that is nearer to no difference.
    #[must_use]
    pub(crate) fn largest_differences(&self, most: usize) -> Vec<String> {
        let size = |judged: &&CellVerdict| match judged.verdict {
            Verdict::Lower(change) => -change.high.max(f64::MIN_POSITIVE).ln(),
            Verdict::Higher(change) => change.low.ln(),
            _ => 0.0,
        };
        let mut certain: Vec<&CellVerdict> =
            self.verdicts.iter().filter(|judged| judged.verdict.is_different()).collect();
        certain.sort_by(|one, two| size(two).total_cmp(&size(one)));
        let sentence = |judged: &&CellVerdict| {
            let CellVerdict { key, title, verdict, .. } = judged;
            format!("{key}: {title} {verdict}")
        };
        certain.iter().take(most).map(sentence).collect()
    }

    fn add_cell(&mut self, one: &RunsOfCell, two: &RunsOfCell, sure: Confidence) {
        let name = one.key.names().join(", ");
        // TSC ticks stand in for cycles: showing both would say one thing twice.
        let at = |key| ComparedMeter::ALL.iter().position(|meter| meter.key == key);
        let has = |cell: &RunsOfCell, key| at(key).is_some_and(|at| !cell.values[at].is_empty());
        let cycles = has(one, "cycles") && has(two, "cycles");
        for (at, meter) in ComparedMeter::ALL.iter().enumerate() {
            let (first, second) = (&one.values[at], &two.values[at]);
            let left_out = match meter.key {
                "ref_cycles" => cycles,
                "cycles" => !cycles && has(one, "ref_cycles") && has(two, "ref_cycles"),
                _ => false,
            };
            if left_out || (first.is_empty() && second.is_empty()) {
                continue;
            }
            let quantum = one.quanta.get(at).copied().flatten();
            let verdict = compare_times(first, second, quantum, sure);
            let mut row = name_cells(&one.key);
            row.push(Cell::new(meter.title, meter.key));
            row.extend([median_cell(first, meter.key), median_cell(second, meter.key)]);
            self.add_verdict(&one.key, meter.title, meter.key, verdict);
            self.finish_row(row, first.len(), second.len(), &verdict);
        }
        if two.ok == 0 && two.bad > 0 {
            self.unmatched.push((one.key.clone(), "all failed in the second"));
        }
        for (which, cell) in [("first", one), ("second", two)] {
            if cell.bad > 0 {
                let all = cell.bad + cell.ok;
                self.notes.push(format!("{name}: {} of {all} failed in the {which}", cell.bad));
            }
        }
        if let (Some(a), Some(b)) = (one.memory_allocated, two.memory_allocated)
            && a != b
        {
            let size = |bytes: i64| Bytes(bytes.unsigned_abs());
            self.notes.push(format!(
                "{name}: had {} in the first, {} in the second",
                size(a),
                size(b)
            ));
        }
    }

    fn add_bill(&mut self, one: &PricedCell, two: &PricedCell, sure: Confidence) {
        let same = one.bills.iter().map(|it| it.0).eq(two.bills.iter().map(|it| it.0));
        let amounts = |cell: &PricedCell| cell.bills.iter().map(|it| it.1).collect::<Vec<_>>();
        let (first, second) = (amounts(one), amounts(two));
        let verdict = if same {
            let pairs: Vec<_> = first.iter().copied().zip(second).collect();
            compare_pairs(&pairs, sure)
        } else {
            compare_means(&first, &second, sure)
        };
        let mut row = name_cells(&one.key);
        row.push(Cell::text(&*one.model));
        row.extend([mean_bill_cell(one), mean_bill_cell(two), Cell::text(&*one.currency)]);
        self.add_verdict(&one.key, &format!("bill of {}", one.model), "bill", verdict);
        self.finish_row(row, one.bills.len(), two.bills.len(), &verdict);
    }

    fn add_verdict(&mut self, key: &CellKey, title: &str, meter: &'static str, verdict: Verdict) {
        let (key, title) = (key.clone(), title.to_owned());
        self.verdicts.push(CellVerdict { key, title, meter, verdict });
    }

    fn finish_row(&mut self, mut row: Vec<Cell>, first: usize, second: usize, verdict: &Verdict) {
        let runs = if first == second { first.to_string() } else { format!("{first}, {second}") };
        let change = verdict.change();
        // JSON has no infinity: null with the verdict `higher` means a division by 0.
        let number = |value: Option<f64>| {
            Cell::optional(value.filter(|it| it.is_finite()).map(|it| (String::new(), it)))
        };
        row.extend([
            Cell::new(runs, vec![first, second]),
            Cell::text(verdict.to_string()),
            Cell::text(verdict.name()),
            number(verdict.ratio()),
            number(change.map(|it| it.low)),
            number(change.map(|it| it.high)),
            number(change.map(|it| it.confidence.share())),
        ]);
        self.table.push(row);
        self.shown.0 += usize::from(verdict.is_different());
        let refused = matches!(verdict, Verdict::Refused(_));
        self.shown.1 += usize::from(!refused);
        self.refused += usize::from(refused);
        if let Verdict::TooFew { need, .. } = verdict {
            self.needed_runs = self.needed_runs.max(*need);
        }
        self.apart += usize::from(matches!(verdict, Verdict::WithoutSpread { .. }));
        self.too_few += usize::from(matches!(verdict, Verdict::TooFew { have: 1.., .. }));
    }

    /// Adds bills that cannot be compared.
    fn add_unmatched_bill(&mut self, cell: &PricedCell, why: &'static str) {
        self.add_unmatched(&cell.key, Some(&cell.model), why);
    }

    /// Adds a cell that cannot be compared, under a model if it is its bills.
    fn add_unmatched(&mut self, key: &CellKey, model: Option<&str>, why: &'static str) {
        self.unmatched.push((key.clone(), why));
        let none = || Cell::optional::<Value>(None);
        let mut row = name_cells(key);
        row.extend(model.map(Cell::text));
        row.extend((0..UNMATCHED_GAP).map(|_| none()));
        row.extend([none(), Cell::text(why), Cell::text(why), none(), none(), none(), none()]);
        self.table.push(row);
    }
}

fn name_cells(key: &CellKey) -> Vec<Cell> {
    key.names().map(Cell::text).to_vec()
}

/// Formats the median in the unit of `key`.
fn median_cell(values: &[f64], key: &str) -> Cell {
    let mut ascending = values.to_vec();
    ascending.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what was measured is a count of at most 2^53"
    )]
    let whole = median(&ascending).map(|value| value.max(0.0) as u64);
    Cell::optional(whole.map(|value| {
        let text = if key.ends_with("_ns") {
            Nanos(value).to_string()
        } else if key.ends_with("_bytes") {
            Bytes(value).to_string()
        } else {
            Count(value).to_string()
        };
        (text, value)
    }))
}

/// Returns the mean bill of a million; to 12 digits after the point, since a mean need
/// not be a finite decimal.
fn mean_bill_cell(cell: &PricedCell) -> Cell {
    let count = Exact::from(cell.bills.len() as u64);
    let mean = cell.total.multiplied_by(1_000_000).as_exact().ratio_to(&count, 12);
    Cell::optional_mean_bill(mean.as_ref())
}

/// Lists circumstances that may explain a difference between recordings.
#[must_use]
pub fn list_warnings(first: &Circumstances, second: &Circumstances) -> Vec<String> {
    let mut notes = Vec::new();
    let hosts = differing_fields(&first.about.host, &second.about.host);
    if !hosts.is_empty() {
        notes.push(format!("the machines differ: {}", hosts.join("; ")));
    }
    let pin = |it: &Circumstances| it.about.plan.get("pin").and_then(Value::as_u64);
    if pin(first) != pin(second) {
        let told = |it| match pin(it) {
            Some(cpu) => format!("pinned to CPU {cpu}"),
            None => "not pinned".to_owned(),
        };
        notes.push(format!("the first is {}, the second {}", told(first), told(second)));
    }
    let race =
        |it: &Circumstances| it.about.plan.get("race").and_then(Value::as_bool) == Some(true);
    if race(first) != race(second) {
        let told = |it| if race(it) { "at the same time" } else { "in turn" };
        notes.push(format!(
            "the lanes of the first ran {}, those of the second {}",
            told(first),
            told(second)
        ));
    }
    if first.about.sample_interval_ns != second.about.sample_interval_ns {
        let interval = |it: &Circumstances| match it.about.sample_interval_ns {
            Some(nanos) => format!("every {}", Nanos(nanos.unsigned_abs())),
            None => "not at all".to_owned(),
        };
        let (a, b) = (interval(first), interval(second));
        notes.push(format!("the first was sampled {a}, the second {b}"));
    }
    for (lane, version) in &first.lanes {
        let other = second.lanes.iter().find(|(name, _)| name == lane);
        if let Some((_, other)) = other.filter(|(_, other)| other != version) {
            notes.push(format!("lane {lane}: {version} in the first, {other} in the second"));
        }
    }
    notes.extend(list_source_changes(first, second));
    for (which, it) in [("first", first), ("second", second)] {
        if it.about.status != "done" {
            notes.push(format!("the {which} is not complete: {}", it.about.status));
        }
    }
    notes
}

/// Lists the compared meters whose sources differ, once for each pair of sources.
fn list_source_changes(first: &Circumstances, second: &Circumstances) -> BTreeSet<String> {
    let compared =
        |meter: &str| !meter.is_empty() && ComparedMeter::ALL.iter().any(|it| it.source == meter);
    let both = first.sources.iter().filter(|((_, _, meter), _)| compared(meter));
    both.filter_map(|(key, source)| {
        let other = second.sources.get(key).filter(|other| *other != source)?;
        let (lane, _, meter) = key;
        let (source, other) = (source.trim(), other.trim());
        Some(format!("{meter} of lane {lane}: from {source} in the first, {other} in the second"))
    })
    .collect()
}

/// Lists the fields in which two host fingerprints differ.
fn differing_fields(first: &Value, second: &Value) -> Vec<String> {
    let (Some(a), Some(b)) = (first.as_object(), second.as_object()) else { return Vec::new() };
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "unknown".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let near = |one: &Value, two: &Value| match (one.as_f64(), two.as_f64()) {
        (Some(one), Some(two)) => (one - two).abs() < SAME_CLOCK * one,
        _ => false,
    };
    keys.into_iter()
        // Two calibrations of a clock never agree exactly.
        .filter(|key| *key != "clock")
        .filter(|key| match (a.get(*key), b.get(*key)) {
            (Some(one), Some(two)) => one != two && !(*key == "tsc_hz" && near(one, two)),
            _ => true,
        })
        .map(|key| format!("{key} {} and {}", text(a.get(key)), text(b.get(key))))
        .collect()
}

/// Lists the models that are not the same in both simulations.
#[must_use]
pub(crate) fn changed_models(first: &[UsedModel], second: &[UsedModel]) -> Vec<String> {
    let changed = first
        .iter()
        .filter(|one| second.iter().any(|two| two.model == one.model && two.digest != one.digest));
    changed.map(|it| format!("price model {} is not the same in both", it.model)).collect()
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
