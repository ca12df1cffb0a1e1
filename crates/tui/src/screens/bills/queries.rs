//! Queries of the bills screen, answered on the query worker: replays a recording, sums
//! its bills and explains single cells. Nothing is stored or cached beyond what the
//! screen itself holds.

use std::fmt::Write as _;
use std::sync::Arc;

use super::bill_query::{BillsQuery, BillsSource};
use super::bill_table::BillTable;
use super::functions::{self, FunctionsQuery, LoadedFunctions};
use crate::model::TuiSettings;
use crate::query_worker::{QueryContext, QueryRequest};
use cyclometer_meter::Meter;
use cyclometer_pricing::{Exact, Terms};
use cyclometer_replay::{Contract, GroupTotal, ModelTotal, ReplaySummary, UsageRow, WhatIf};
use cyclometer_report::explain::{CellExplanation, month_text};
use cyclometer_store::{RecordedCell, ReplayError, ReplayPlan, Selection, StoreError};

/// Most invocations that are explained one by one; above that only their sums are
/// shown.
const MAX_EXPLAINED_INVOCATIONS: u64 = 200_000;

/// Request of the bills screen to the query worker.
#[derive(Debug, Clone)]
pub enum BillsRequest {
    /// Amounts of a view.
    Table {
        /// Requested source and view.
        request: Box<BillsQuery>,
        /// Result of the previous replay; reused if only the view changed.
        known: Option<Arc<ReplayedBills>>,
        /// Whether a trace is not to be replayed, since its functions are shown instead.
        unless_trace: bool,
    },
    /// Costs of functions, and what could be saved.
    Functions(Box<FunctionsQuery>),
    /// Arithmetic of a cell.
    Explain(Box<ExplainedCell>),
}

impl QueryRequest for BillsRequest {}

/// Response of the query worker to the bills screen.
#[derive(Debug)]
pub enum BillsResponse {
    /// Amounts of a view.
    Table {
        /// Request that this responds to.
        request: Box<BillsQuery>,
        /// Replayed bills and the table made of them, or the reason why there are none.
        result: Result<(Arc<ReplayedBills>, BillTable), BillsQueryError>,
    },
    /// The recording is a trace.
    IsTrace {
        /// Number of the recording.
        recording: i64,
    },
    /// Costs of functions, and what could be saved.
    Functions {
        /// Query that this responds to.
        query: Box<FunctionsQuery>,
        /// Savings, or the reason why there are none.
        result: Result<Arc<LoadedFunctions>, BillsQueryError>,
    },
    /// Arithmetic of a cell.
    Explained {
        /// Explained cell.
        cell: Box<ExplainedCell>,
        /// Explanation, or the reason why there is none.
        text: Result<String, String>,
    },
}

/// Result of replaying a source: kept while only the view changes.
#[derive(Debug)]
pub(crate) struct ReplayedBills {
    /// Source that was replayed.
    pub source: BillsSource,
    /// Sums of the replay.
    pub summary: ReplaySummary,
    /// Cells that the recording planned, with or without invocations.
    pub cells: Vec<RecordedCell>,
}

/// Cell of the table to be explained: a model in a lane.
#[derive(Debug, Clone)]
pub(crate) struct ExplainedCell {
    /// Request that the table was made for.
    pub request: BillsQuery,
    /// Sums that the table was made of.
    pub replayed: Arc<ReplayedBills>,
    /// Index of the model in the sums.
    pub model: usize,
    /// Name of the lane.
    pub lane: String,
}

/// Reason why there are no amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BillsQueryError {
    /// Reason as a sentence.
    pub message: String,
    /// Whether it may go away without a change of the request, so that a retry makes
    /// sense.
    pub is_transient: bool,
}

/// Answers a request on the query worker's thread.
pub fn answer(context: &mut QueryContext, ask: BillsRequest) -> BillsResponse {
    match ask {
        BillsRequest::Functions(query) => functions::answer(context, query),
        BillsRequest::Table { request, unless_trace: true, .. }
            if is_trace(context, request.source.recording) =>
        {
            BillsResponse::IsTrace { recording: request.source.recording }
        }
        BillsRequest::Table { request, known, .. } => {
            let known = known.filter(|known| known.source == request.source);
            let known =
                known.map_or_else(|| replay_source(context, &request.source).map(Arc::new), Ok);
            let result = known.map(|known| {
                let figures = BillTable::from_summary(&known.summary, &known.cells, &request.view);
                (known, figures)
            });
            BillsResponse::Table { request, result }
        }
        BillsRequest::Explain(cell) => {
            let text = explain_cell(context, &cell);
            BillsResponse::Explained { cell, text }
        }
    }
}

/// Returns whether a recording is known to be a trace.
fn is_trace(context: &mut QueryContext, recording: i64) -> bool {
    // Where the database cannot be read, the replay says why.
    context.read_store().and_then(|store| store.is_trace(recording)).unwrap_or(false)
}

/// Returns the models of a source under their default terms.
fn contracts_for_source(settings: &TuiSettings, source: &BillsSource) -> Vec<Contract> {
    let models = settings.prices.models().iter().filter(|model| {
        let current = source.all_current && model.effective_until().is_none();
        current || source.live_models.iter().any(|id| id == model.id())
    });
    models.map(|model| (model.clone(), Terms::for_model(model))).collect()
}

fn memory_what_if(source: &BillsSource) -> WhatIf {
    let size = source.memory.map(|size| (Meter::MemoryAllocated, size.0));
    WhatIf(size.into_iter().collect())
}

fn replay_source(
    context: &mut QueryContext,
    source: &BillsSource,
) -> Result<ReplayedBills, BillsQueryError> {
    let contracts = contracts_for_source(&context.settings, source);
    if contracts.is_empty() {
        let text = "the live view has no price models: choose some there, or show all here";
        return Err(BillsQueryError { message: text.to_owned(), is_transient: false });
    }
    let what_if = memory_what_if(source);
    let plan =
        ReplayPlan { what_if, ..ReplayPlan::for_recordings(vec![source.recording], contracts) };
    let found = context.read_store().map_err(ReplayError::from).and_then(|store| {
        let cells = store.recorded_cells(source.recording)?;
        Ok((store.replay_without_saving(&plan)?, cells))
    });
    match found {
        Ok((summary, cells)) => Ok(ReplayedBills { source: source.clone(), summary, cells }),
        Err(ReplayError::Empty(of)) => Err(BillsQueryError {
            message: format!(
                "nothing of {of} can be billed: no invocation has run to its end (those that were \
                 cut off are not billed)"
            ),
            is_transient: false,
        }),
        Err(error) => {
            context.forget_connection();
            Err(BillsQueryError { message: error.to_string(), is_transient: true })
        }
    }
}

/// Explains the arithmetic of a cell in the form of `replay --explain`, and that of its
/// month.
fn explain_cell(context: &mut QueryContext, cell: &ExplainedCell) -> Result<String, String> {
    let summary = &cell.replayed.summary;
    let view = &cell.request.view;
    let (model, terms) = summary.contract(cell.model).ok_or("there is no such model")?;
    let mut sums = summary.group_by(|key| (key.lane.to_string(), view.includes_key(key)));
    let group = sums.remove(&(cell.lane.clone(), true)).unwrap_or_default();
    let mut text = if group.invocations > MAX_EXPLAINED_INVOCATIONS {
        format_sums(cell, &group)
    } else {
        let mut explanation = CellExplanation::new(model, terms);
        let of = add_invocations(context, cell, &mut explanation)?;
        let mut text = explanation.to_text(&of);
        if let Some(total) = group.models.get(cell.model) {
            text.push_str(&describe_total_difference(total, &explanation));
        }
        text
    };
    if let Some(size) = cell.request.source.memory {
        let _ = writeln!(text, "\n  assumed: {size} of memory, whatever was given");
    }
    let notes = group.models.get(cell.model).map(|total| &total.notes);
    for (note, count) in notes.into_iter().flatten() {
        let _ = writeln!(text, "\n  note: {note} ({count} times)");
    }
    if let Some(requests) = view.month.map(Exact::from) {
        text.push('\n');
        match summary.monthly_bill(&group, cell.model, &requests) {
            Ok(month) => {
                let billed = group.models.get(cell.model).map_or(0, |total| total.billed);
                text.push_str(&month_text((model, terms), &month, &requests, billed));
            }
            Err(why) => {
                let _ = writeln!(text, "no bill of a month: {why}");
            }
        }
    }
    Ok(text)
}

/// Explains a difference between the total in the table and the sum of the invocations
/// billed one by one; empty if there is none.
fn describe_total_difference(total: &ModelTotal, explanation: &CellExplanation<'_>) -> String {
    if total.billed != explanation.billed_invocations() {
        return format!("\n  The recording went on: the table is of {} of these.\n", total.billed);
    }
    if total.total == explanation.total() {
        return String::new();
    }
    format!(
        "\n  The table has {} in all: there, requests that overlap share the\n  time of an \
         instance; here each has one to itself.\n",
        total.total.to_plain_string()
    )
}

/// Adds every invocation of a cell to `explanation`; returns the workloads, lanes and
/// starts that they belong to.
fn add_invocations(
    context: &mut QueryContext,
    cell: &ExplainedCell,
    explanation: &mut CellExplanation<'_>,
) -> Result<String, String> {
    let BillsQuery { source, view } = &cell.request;
    let selection = Selection {
        recordings: vec![source.recording],
        lanes: vec![cell.lane.clone()],
        workloads: view.workload.iter().cloned().collect(),
        start: view.start,
    };
    let what_if = memory_what_if(source);
    let cancel = context.cancel.clone();
    let mut names: Vec<String> = Vec::new();
    let read = context.read_store().and_then(|store| {
        store.for_each_invocation(&selection, |row| {
            if cancel.is_cancelled() {
                return Err(StoreError::NotFound("the program ends".to_owned()));
            }
            let UsageRow { key, usage, .. } = row;
            let name = key.to_string();
            if !names.contains(&name) {
                names.push(name);
            }
            explanation.add_invocation(&what_if.apply_to(usage));
            Ok(())
        })
    });
    if let Err(error) = read {
        context.forget_connection();
        return Err(error.to_string());
    }
    Ok(names.join("; "))
}

/// Formats the sums of a cell that has too many invocations to show each.
pub(super) fn format_sums(cell: &ExplainedCell, group: &GroupTotal) -> String {
    let summary = &cell.replayed.summary;
    let (Some(info), Some(total)) =
        (summary.models().get(cell.model), group.models.get(cell.model))
    else {
        return String::new();
    };
    let mut text = format!(
        "{} in {}: {} invocations are too many to show each; these are their sums at list \
         prices\n\n",
        info.id, cell.lane, group.invocations
    );
    for ((name, unit), charge) in info.charges.iter().zip(&total.charges) {
        let quantity = charge.quantity.to_plain_string();
        let amount = charge.amount.to_plain_string();
        let _ = writeln!(text, "  {name}: {quantity} {unit} = {amount} {}", info.currency);
    }
    let _ = writeln!(text, "\n  total {} {}", total.total.to_plain_string(), info.currency);
    text
}
