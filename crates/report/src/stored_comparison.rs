//! Compares two stored recordings, or two stored simulations, and collects the sentences
//! that go with the table.

use super::difference::{self, Difference};
use super::subjects::subject_differences;
use super::text_format::format_timestamp;
use cyclometer_replay::Contract;
use cyclometer_stats::{Confidence, QUANTA};
use cyclometer_store::{
    Circumstances, HistoryItem, PricedCell, PricedCells, Selection, SimulationInfo, Store,
    StoreError,
};

/// A comparison with the sentences that stand around its table.
#[derive(Debug, Clone)]
pub struct StoredComparison {
    /// Description of either side; a line each.
    pub names: [String; 2],
    /// Differences in what was run: such differences are of the function itself.
    pub subjects: Vec<String>,
    /// Circumstances that differ between the two sides.
    pub warnings: Vec<String>,
    /// The largest certain differences, a sentence each.
    pub largest: Vec<String>,
    /// Verdicts, meter by meter or model by model.
    pub difference: Difference,
    /// Conclusion from all verdicts together.
    pub conclusion: Vec<String>,
}

/// Compares two items of one kind; `None` when they are of different kinds. The bootstrap
/// takes some time.
///
/// # Errors
/// Returns an error if the database cannot be read, or one of them is not there.
pub fn compare_items(
    store: &Store,
    first: HistoryItem,
    second: HistoryItem,
    sure: Confidence,
) -> Result<Option<StoredComparison>, StoreError> {
    let (names, subjects, warnings, difference) = match (first, second) {
        (HistoryItem::Recording(first), HistoryItem::Recording(second)) => {
            recording_parts((store, first), (store, second), sure)?
        }
        (HistoryItem::Simulation(first), HistoryItem::Simulation(second)) => {
            simulation_parts(store, first, second, sure)?
        }
        _ => return Ok(None),
    };
    Ok(Some(StoredComparison::from_parts((names, subjects, warnings, difference), sure)))
}

/// Compares two recordings, which may come from two databases.
///
/// # Errors
/// Returns an error if a database cannot be read, or has no such recording.
pub fn compare_recordings(
    first: (&Store, i64),
    second: (&Store, i64),
    sure: Confidence,
) -> Result<StoredComparison, StoreError> {
    recording_parts(first, second, sure).map(|parts| StoredComparison::from_parts(parts, sure))
}

/// Number of differences that are named before all others.
const LARGEST: usize = 3;

impl StoredComparison {
    fn from_parts(
        (names, subjects, warnings, difference): ComparisonParts,
        sure: Confidence,
    ) -> Self {
        let conclusion = draw_conclusion(&difference, sure);
        let largest = difference.largest_differences(LARGEST);
        Self { names, subjects, warnings, largest, difference, conclusion }
    }
}

type ComparisonParts = ([String; 2], Vec<String>, Vec<String>, Difference);

/// Compares the mean bills of two recordings under price models, counting only runs that
/// ended well. Nothing is stored.
///
/// # Errors
/// Returns an error if a database cannot be read.
pub fn compare_bills(
    first: (&Store, i64),
    second: (&Store, i64),
    contracts: &[Contract],
    sure: Confidence,
) -> Result<Difference, StoreError> {
    let bills = |(store, recording): (&Store, i64)| price_cells(store, recording, contracts);
    let (first, mut second) = (bills(first)?, bills(second)?);
    // Invocations of two databases may have the same numbers without being pairs.
    for bill in second.iter_mut().flat_map(|cell| &mut cell.bills) {
        bill.0 = -1 - bill.0;
    }
    Ok(difference::compare_priced_cells(&first, &second, sure))
}

/// Bills each cell of a recording under each model that does not refuse it.
pub(crate) fn price_cells(
    store: &Store,
    recording: i64,
    contracts: &[Contract],
) -> Result<Vec<PricedCell>, StoreError> {
    let selection = Selection { recordings: vec![recording], ..Selection::default() };
    let mut cells = PricedCells::default();
    store.for_each_invocation(&selection, |row| {
        for (model, terms) in contracts.iter().filter(|_| !row.failed) {
            let Ok(bill) = model.bill_under(&row.usage, terms) else { continue };
            let Some(rounded) = bill.total.to_f64() else { continue };
            let model = (model.id(), model.currency());
            cells.add_bill(&row.key, model, (row.invocation, rounded), &bill.total);
        }
        Ok::<(), StoreError>(())
    })?;
    Ok(cells.into_cells())
}

fn recording_parts(
    (store, first): (&Store, i64),
    (other, second): (&Store, i64),
    sure: Confidence,
) -> Result<ComparisonParts, StoreError> {
    let around = [store.recording_circumstances(first)?, other.recording_circumstances(second)?];
    let (ran, others) = (store.cell_subjects(first)?, other.cell_subjects(second)?);
    let mut subjects = subject_differences(&ran, &others);
    for (which, kept) in [("first", &ran), ("second", &others)] {
        if kept.is_empty() {
            subjects.push(format!(
                "arguments, input and program of the {which} were not kept by the version that \
                 recorded it: they are not compared"
            ));
        }
    }
    let name = |which: &str, id: i64, it: &Circumstances| {
        let label = it.about.label.as_ref().map_or_else(String::new, |it| format!(", {it}"));
        let begun = format_timestamp(&it.about.started_at);
        let noun = if it.about.is_trace { "trace" } else { "recording" };
        format!("{which}: {noun} {id}, {begun} UTC{label}")
    };
    let names = [name("first", first, &around[0]), name("second", second, &around[1])];
    let warnings = difference::list_warnings(&around[0], &around[1]);
    let difference =
        difference::compare_cells(&store.cell_runs(first)?, &other.cell_runs(second)?, sure);
    Ok((names, subjects, warnings, difference))
}

fn simulation_parts(
    store: &Store,
    first: i64,
    second: i64,
    sure: Confidence,
) -> Result<ComparisonParts, StoreError> {
    let name = |which: &str, it: &SimulationInfo| -> Result<String, StoreError> {
        let of = store.name_recordings(&it.recording_numbers())?;
        let label = it.label.as_ref().map_or_else(String::new, |it| format!(", {it}"));
        let made = format_timestamp(&it.created_at);
        Ok(format!("{which}: simulation {} of {of}, {made} UTC{label}", it.id))
    };
    let names = [
        name("first", &store.simulation_info(first)?)?,
        name("second", &store.simulation_info(second)?)?,
    ];
    let warnings =
        difference::changed_models(&store.used_models(first)?, &store.used_models(second)?);
    let difference = difference::compare_priced_cells(
        &store.priced_cells(first)?,
        &store.priced_cells(second)?,
        sure,
    );
    Ok((names, Vec::new(), warnings, difference))
}

/// Returns sentences on what all verdicts mean together.
#[must_use]
pub(crate) fn draw_conclusion(difference: &Difference, sure: Confidence) -> Vec<String> {
    let (shown, all) = difference.shown;
    if all + difference.refused == 0 {
        return Vec::new();
    }
    let expected = (1.0 - sure.share()) * f64::from(u32::try_from(all).unwrap_or(u32::MAX));
    let mut lines = vec![format!("{shown} of {all} comparisons show a difference")];
    if shown > 0 {
        let chance =
            if expected < 0.5 { "hardly one".to_owned() } else { format!("about {expected:.0}") };
        lines.push(format!(
            "by chance {chance} of {all} would, were all runs independent; a machine that was \
             busier during one of the two shows as well, in CPU time and cycles least"
        ));
    }
    if difference.apart > 0 {
        lines.push(format!(
            "{} more differ without spread: either side has one value in all its runs, as of a \
             worker that they share",
            difference.apart
        ));
    }
    let (few, need) = (difference.too_few, difference.needed_runs);
    if few > 0 {
        lines.push(format!(
            "{few} have too few runs: `record --runs {need}` or more makes them comparable"
        ));
    }
    if difference.refused > 0 {
        lines.push(format!(
            "{} have no ratio: the first side is below {QUANTA} times what its clock tells apart, \
             or what measuring nothing takes; a workload that runs longer has one",
            difference.refused
        ));
    }
    lines
}
