//! Functions view of the bills screen: what each function of a trace or recording costs, and what
//! could be saved on it.

use std::sync::Arc;

use ratatui::layout::{Position, Rect};

use super::layout::BillsLayout;
use super::queries::{BillsQueryError, BillsRequest, BillsResponse};
use super::{BillsState, MIN_REFRESH_INTERVAL, PAUSE_FACTOR, RETRY_DELAY};
use crate::action::{Effect, UserAction};
use crate::frame::inner_area;
use crate::model::Model;
use crate::overlay::{DialogPurpose, Overlay};
use crate::query_worker::QueryContext;
use crate::screens::ListedScreen;
use crate::widgets::grid;
use cyclometer_core::units::Nanos;
use cyclometer_pricing::{PriceCatalog, Terms};
use cyclometer_replay::Contract;
use cyclometer_report::Table;
use cyclometer_report::savings::{
    FunctionOrder, FunctionSavings, Grouping, SavingsPlan, SavingsReport, build_program_table,
    describe_advice, describe_split, list_notes, load_savings, present_model,
};
use cyclometer_store::{ReplayError, Store};

/// Most groupings of one recording whose savings are kept.
const KEPT: usize = 2;

/// What the rows of the bills screen are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BillsRows {
    /// Price models.
    Models,
    /// Functions, or their cells.
    Functions(Grouping),
}

impl BillsRows {
    /// Returns the next view in turn.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Models => Self::Functions(Grouping::Function),
            Self::Functions(Grouping::Function) => Self::Functions(Grouping::Cell),
            Self::Functions(Grouping::Cell) => Self::Models,
        }
    }

    /// Describes the view in words.
    #[must_use]
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Models => "by price model",
            Self::Functions(Grouping::Function) => "by function",
            Self::Functions(Grouping::Cell) => "by cell",
        }
    }
}

/// Query of the functions view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionsQuery {
    /// Number of the trace or recording.
    pub recording: i64,
    /// Invocations that had finished at the time of the query, if it is still running.
    pub done: u64,
    /// Rows that belong together.
    pub grouping: Grouping,
    /// Ids of the models of the live view.
    pub live_models: Vec<String>,
}

impl FunctionsQuery {
    /// Whether the two differ at most in the number of invocations.
    fn is_like(&self, other: &Self) -> bool {
        Self { done: 0, ..self.clone() } == Self { done: 0, ..other.clone() }
    }
}

/// Savings, with what is needed to sort and filter many functions at once.
#[derive(Debug)]
pub(crate) struct LoadedFunctions {
    /// Query that they answer.
    pub query: FunctionsQuery,
    /// The savings.
    pub report: SavingsReport,
    /// Positions of the functions by each order: savings, amounts, names.
    orders: [Vec<usize>; 3],
    /// Names of each function in lower case.
    search_texts: Vec<String>,
}

/// State of the functions view.
#[derive(Debug, Default)]
pub(crate) struct FunctionsState {
    /// Choice of the rows by the user, and the recording it was made for.
    chosen: Option<(i64, BillsRows)>,
    /// Recording that is known to be a trace.
    trace: Option<i64>,
    /// Request that has no response yet, and when it was made.
    pub pending: Option<(FunctionsQuery, Nanos)>,
    /// Request that was answered last, successfully or not.
    last_answered: Option<FunctionsQuery>,
    /// Time before which nothing is requested again.
    next_refresh_at: Nanos,
    /// Savings by grouping, the newest last.
    loaded: Vec<Arc<LoadedFunctions>>,
    /// Reason why nothing newer is shown.
    pub error: Option<BillsQueryError>,
    /// Visible functions, as positions in the report.
    pub visible: Vec<usize>,
    /// Selected row among these.
    pub cursor: usize,
    order: FunctionOrder,
    reverse: bool,
}

impl FunctionsState {
    /// Returns what the rows of the screen are for a recording: what the user chose, else
    /// functions for a trace and price models for a recording.
    #[must_use]
    pub(crate) fn rows_for(&self, recording: Option<i64>) -> BillsRows {
        match (self.chosen, recording) {
            (Some((of, rows)), Some(shown)) if of == shown => rows,
            (_, Some(shown)) if self.trace == Some(shown) => {
                BillsRows::Functions(Grouping::Function)
            }
            _ => BillsRows::Models,
        }
    }

    /// Returns whether the kind of a recording still decides what is shown of it.
    #[must_use]
    pub(crate) fn is_undecided(&self, recording: i64) -> bool {
        self.trace != Some(recording) && self.chosen.is_none_or(|(of, _)| of != recording)
    }

    /// Describes the order in words.
    #[must_use]
    pub(crate) fn describe_order(&self) -> String {
        let order = match self.order {
            FunctionOrder::Saving => "by what could be saved",
            FunctionOrder::Amount => "by amount",
            FunctionOrder::Name => "by name",
        };
        if self.reverse { format!("{order}, turned round") } else { order.to_owned() }
    }
}

/// Returns the savings that are shown.
#[must_use]
pub(crate) fn shown_functions(model: &Model) -> Option<&LoadedFunctions> {
    let state = &model.screens.bills.functions;
    let query = current_query(model)?;
    state.loaded.iter().find(|held| held.query.is_like(&query)).map(Arc::as_ref)
}

/// Returns the selected function.
#[must_use]
pub(crate) fn selected_function(model: &Model) -> Option<(&SavingsReport, &FunctionSavings)> {
    let held = shown_functions(model)?;
    let state = &model.screens.bills.functions;
    let at = state.visible.get(state.cursor)?;
    Some((&held.report, held.report.functions.get(*at)?))
}

/// Returns the query for the current state; `None` where price models are shown.
fn current_query(model: &Model) -> Option<FunctionsQuery> {
    let recording = model.shown_recording()?;
    let BillsRows::Functions(grouping) = model.screens.bills.functions.rows_for(Some(recording))
    else {
        return None;
    };
    let live = model.snapshot.recording == Some(recording);
    Some(FunctionsQuery {
        recording,
        done: if live { model.snapshot.done } else { 0 },
        grouping,
        live_models: model.screens.live.models.clone(),
    })
}

/// Requests the savings to be shown, unless they are loaded or already requested.
pub(super) fn request_missing(model: &mut Model) -> Vec<Effect> {
    let Some(query) = current_query(model) else { return Vec::new() };
    let now = model.now;
    let state = &mut model.screens.bills.functions;
    if state.pending.as_ref().is_some_and(|(asked, _)| asked.is_like(&query)) {
        return Vec::new();
    }
    let held = state.loaded.iter().find(|held| held.query.is_like(&query));
    if held.is_some_and(|held| held.query.done == query.done) {
        return Vec::new();
    }
    let again = state.error.as_ref().is_none_or(|error| error.is_transient);
    let is_known = state.last_answered.as_ref().is_some_and(|last| last.is_like(&query));
    if is_known && (now < state.next_refresh_at || (held.is_none() && !again)) {
        return Vec::new();
    }
    state.pending = Some((query.clone(), now));
    vec![BillsState::query(BillsRequest::Functions(Box::new(query)))]
}

/// Handles that a recording turned out to be a trace, so that its functions are shown.
pub(super) fn show_trace(model: &mut Model, recording: i64) -> Vec<Effect> {
    model.screens.bills.functions.trace = Some(recording);
    model.screens.bills.pending = None;
    update_visible(model);
    request_missing(model)
}

/// Handles a response of the worker.
pub(super) fn handle_response(
    model: &mut Model,
    query: FunctionsQuery,
    result: Result<Arc<LoadedFunctions>, BillsQueryError>,
) -> Vec<Effect> {
    let now = model.now;
    let state = &mut model.screens.bills.functions;
    let Some((_, since)) = state.pending.take_if(|(asked, _)| *asked == query) else {
        return Vec::new();
    };
    let rest = now.saturating_since(since).0.saturating_mul(PAUSE_FACTOR);
    state.next_refresh_at = Nanos(now.0 + rest.max(MIN_REFRESH_INTERVAL.0));
    match result {
        Ok(found) => {
            state.error = None;
            let recording = query.recording;
            state
                .loaded
                .retain(|held| held.query.recording == recording && !held.query.is_like(&query));
            state.loaded.push(found);
            let surplus = state.loaded.len().saturating_sub(KEPT);
            state.loaded.drain(..surplus);
        }
        Err(error) => {
            if error.is_transient {
                state.next_refresh_at = Nanos(now.0 + RETRY_DELAY.0);
            }
            state.error = Some(error);
        }
    }
    state.last_answered = Some(query);
    update_visible(model);
    request_missing(model)
}

/// Applies an action of the user; `None` where it means the same as with price models.
pub(super) fn apply_action(model: &mut Model, action: UserAction) -> Option<Vec<Effect>> {
    if action == UserAction::Fold {
        return Some(show_next_rows(model));
    }
    current_query(model)?;
    let page = model.screens.bills.layout.rows_per_page();
    let state = &mut model.screens.bills.functions;
    let last = state.visible.len().saturating_sub(1);
    match action {
        UserAction::Up => state.cursor = state.cursor.saturating_sub(1),
        UserAction::Down => state.cursor = (state.cursor + 1).min(last),
        UserAction::PageUp => state.cursor = state.cursor.saturating_sub(page),
        UserAction::PageDown => state.cursor = (state.cursor + page).min(last),
        UserAction::First => state.cursor = 0,
        UserAction::Last => state.cursor = last,
        UserAction::Sort => {
            state.order = match state.order {
                FunctionOrder::Saving => FunctionOrder::Amount,
                FunctionOrder::Amount => FunctionOrder::Name,
                FunctionOrder::Name => FunctionOrder::Saving,
            };
            update_visible(model);
        }
        UserAction::Reverse => {
            state.reverse = !state.reverse;
            update_visible(model);
        }
        UserAction::Filter => {
            let text = model.screens.bills.filter_words.clone();
            let title = "words of a function".to_owned();
            model.overlay = Some(Overlay::Prompt { title, text, purpose: DialogPurpose::Filter });
        }
        UserAction::Enter => show_everything(model),
        UserAction::Back => {
            model.screens.bills.filter_words.clear();
            update_visible(model);
        }
        UserAction::LessMemory
        | UserAction::MoreMemory
        | UserAction::LessVolume
        | UserAction::MoreVolume
        | UserAction::Models
        | UserAction::NextWorkload
        | UserAction::StartKind => {
            let key = model.keymap.key_for(UserAction::Fold, model.screen).unwrap_or_default();
            model.notify(format!("that key is for the view by price model: {key} goes there"));
        }
        _ => {}
    }
    Some(Vec::new())
}

fn show_next_rows(model: &mut Model) -> Vec<Effect> {
    let Some(recording) = model.shown_recording() else { return Vec::new() };
    let state = &mut model.screens.bills.functions;
    let rows = state.rows_for(Some(recording)).next();
    state.chosen = Some((recording, rows));
    state.cursor = 0;
    state.error = None;
    update_visible(model);
    if rows == BillsRows::Models {
        super::request_missing_bills(model)
    } else {
        request_missing(model)
    }
}

/// Sorts and filters again; the selection stays on its function.
pub(super) fn update_visible(model: &mut Model) {
    let selected = selected_function(model).map(|(_, function)| function.key.clone());
    let words: Vec<String> =
        model.screens.bills.filter_words.split_whitespace().map(str::to_lowercase).collect();
    let state = &model.screens.bills.functions;
    let Some(held) = shown_functions(model) else {
        model.screens.bills.functions.visible.clear();
        return;
    };
    let order = match state.order {
        FunctionOrder::Saving => &held.orders[0],
        FunctionOrder::Amount => &held.orders[1],
        FunctionOrder::Name => &held.orders[2],
    };
    let fits = |at: &usize| words.iter().all(|word| held.search_texts[*at].contains(word));
    let mut visible: Vec<usize> = order.iter().copied().filter(fits).collect();
    if state.reverse {
        visible.reverse();
    }
    let is_selected = |at: &usize| Some(&held.report.functions[*at].key) == selected.as_ref();
    let place = visible.iter().position(is_selected);
    let last = visible.len().saturating_sub(1);
    let state = &mut model.screens.bills.functions;
    state.cursor = place.unwrap_or(state.cursor).min(last);
    state.visible = visible;
}

/// Selects the row at a position.
pub(super) fn click(model: &mut Model, at: Position) -> bool {
    if current_query(model).is_none() {
        return false;
    }
    let inner: Rect = inner_area(model.screens.bills.layout.table);
    let state = &mut model.screens.bills.functions;
    if inner.contains(at)
        && let Some(row) = grid::row_at(inner, at.y, state.cursor, state.visible.len())
    {
        state.cursor = row;
    }
    true
}

/// Shows everything about the selected function above the screen.
fn show_everything(model: &mut Model) {
    let Some((report, function)) = selected_function(model) else { return };
    let mut lines = Vec::new();
    for advice in &function.advice {
        lines.push(describe_advice(report, function, advice));
        lines.push(String::new());
    }
    if function.advice.is_empty() {
        lines.push("no change that was looked at saves anything".to_owned());
        lines.push(String::new());
    }
    lines.extend(function.cost.as_ref().err().map(|reason| format!("no price: {reason}")));
    lines.extend(
        function.split.as_ref().map(|it| format!("what it is for: {}", describe_split(it))),
    );
    lines.extend(function.refusals.iter().cloned());
    lines.push(String::new());
    lines.extend(list_notes(report));
    let width = usize::from(model.size.0.saturating_sub(6));
    let wrap = |line: &String| crate::widgets::text::wrap(line, width).join("\n");
    let text = lines.iter().map(wrap).collect::<Vec<_>>().join("\n");
    let title = function.key.function.clone();
    model.overlay = Some(Overlay::Text { title, text, scroll: 0 });
}

/// Divides an area into the parts of the view.
pub(super) fn lay_out(status_lines: usize, area: Rect) -> BillsLayout {
    let high = u16::try_from(status_lines).unwrap_or(1).min(area.height / 4);
    let status = Rect { height: high, ..area };
    let rest = Rect { y: area.y + high, height: area.height - high, ..area };
    if rest.width >= 140 {
        let detail = (rest.width * 2 / 5).clamp(56, 92);
        let table = Rect { width: rest.width - detail, ..rest };
        return BillsLayout {
            status,
            table,
            detail: Rect { x: table.right(), width: detail, ..rest },
        };
    }
    let detail = match rest.height {
        0..=9 => 0,
        10..=15 => 5,
        16..=29 => 10,
        high => high * 2 / 5,
    };
    let table = Rect { height: rest.height - detail, ..rest };
    BillsLayout { status, table, detail: Rect { y: table.bottom(), height: detail, ..rest } }
}

/// Builds the export of the view; `None` where price models are shown.
pub(super) fn export_table(model: &Model) -> Option<Table> {
    current_query(model)?;
    shown_functions(model).map(|held| build_program_table(&held.report))
}

/// Answers a request on the worker's thread.
pub(super) fn answer(context: &mut QueryContext, query: Box<FunctionsQuery>) -> BillsResponse {
    let prices = Arc::clone(&context.settings);
    let read = context
        .read_store()
        .map_err(ReplayError::from)
        .and_then(|store| load_functions(store, &prices.prices, &query));
    let result = read.map(Arc::new).map_err(|error| match error {
        ReplayError::Empty(of) => BillsQueryError {
            message: format!("nothing of {of} can be billed: no invocation has run to its end"),
            is_transient: false,
        },
        ReplayError::Store(error) => {
            context.forget_connection();
            BillsQueryError { message: error.to_string(), is_transient: true }
        }
    });
    BillsResponse::Functions { query, result }
}

fn load_functions(
    store: &Store,
    prices: &PriceCatalog,
    query: &FunctionsQuery,
) -> Result<LoadedFunctions, ReplayError> {
    let cells = store.recorded_cells(query.recording)?;
    let platform = cells.first().map_or("", |cell| cell.lane.as_str());
    let mut contracts: Vec<Contract> = Vec::new();
    let live = query.live_models.iter().map(String::as_str);
    for id in present_model(platform).iter().copied().chain(live) {
        let Ok(model) = prices.find_model(id) else { continue };
        let is_known = contracts.iter().any(|(known, _)| known.id() == id);
        let is_sold = model.provider().is_some() && model.effective_until().is_none();
        if !is_known && (is_sold || contracts.is_empty()) {
            contracts.push((model.clone(), Terms::for_model(model)));
        }
    }
    let plan = SavingsPlan {
        grouping: query.grouping,
        ..SavingsPlan::for_recording(query.recording, contracts)
    };
    let report = load_savings(store, &plan)?;
    let functions = &report.functions;
    let sorted = |order: FunctionOrder| {
        let mut places: Vec<usize> = (0..functions.len()).collect();
        places.sort_by(|one, two| order.compare(&functions[*one], &functions[*two]));
        places
    };
    let search_text = |function: &FunctionSavings| {
        let key = &function.key;
        let cell = key.cell.as_ref().map(|(preset, start)| format!("{preset} {start}"));
        format!("{} {} {}", key.function, key.platform, cell.unwrap_or_default()).to_lowercase()
    };
    Ok(LoadedFunctions {
        query: query.clone(),
        orders: [
            (0..functions.len()).collect(),
            sorted(FunctionOrder::Amount),
            sorted(FunctionOrder::Name),
        ],
        search_texts: functions.iter().map(search_text).collect(),
        report,
    })
}
