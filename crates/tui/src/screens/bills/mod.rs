//! The bills screen: every price model in every lane of a recording, the parts of each
//! bill, and what the bills would be with other memory or for a whole month.
//!
//! ```text
//! recording 7  w all workloads  t cold and warm  [ ] memory as measured  ...
//! ┌ mean bill of a million invocations at list prices ─┐┌ aws-lambda-x86 in native ┐
//! │ model            grain  cur      native   wasmtime ││ price, bar, parts, charges│
//! │ aws-lambda-x86   coarse USD      0.476       0.456 ││ lanes, volumes, notes     │
//! └────────────────────────────────────────────────────┘└───────────────────────────┘
//! ```

mod bill_query;
mod bill_table;
mod detail;
mod detail_panel;
mod draw;
#[cfg(test)]
mod drawing_tests;
mod export;
#[cfg(test)]
mod fixture;
mod functions;
mod functions_draw;
#[cfg(test)]
mod functions_tests;
mod keys;
mod layout;
mod queries;
mod sorting;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use crate::action::{Effect, UserAction};
use crate::keymap::ScreenKey;
use crate::model::Model;
use crate::overlay::{DialogAnswer, DialogPurpose, Overlay};
use crate::screens::{AnswerFunction, ListedScreen, Screen};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::StartKind;
use cyclometer_report::Table;

use bill_query::{BillsQuery, MEMORY_SIZES, MONTHLY_REQUESTS, current_query};
use bill_table::BillTable;
use detail::BillDetail;
use functions::{BillsRows, FunctionsState};
use layout::BillsLayout;
use queries::{BillsQueryError, ExplainedCell, ReplayedBills};
use sorting::BillSortKey;

pub use queries::{BillsRequest, BillsResponse};

/// Explanation of the amounts, shown in the help.
const LEGEND: &str = "A row a price model, a column a lane. Lanes may have different numbers of \
    invocations, so the figure is the mean of those selected, times a million, at list prices: no \
    allowances, tiers or monthly charges. With a number of requests a month it is the bill of a \
    month of that many requests like those, where all of these apply. Amounts are in the currency \
    of the row; those of different currencies are not compared. What nobody sells stands behind \
    what is sold. - is missing: select it to read \
    why. After an id: * it no longer holds, + there are monthly charges on top, ! a value stands \
    in for one that nobody measured, ? something of the tariff is not certain; select the row to \
    read what. What if memory: time stays as it was measured, although a provider that gives CPU \
    with memory would take longer or shorter. The bar is what the bill at list prices is for: \
    work that was done, idle time, memory that was never touched, grids and minimums, start-up, \
    fees, and what is unmeasured, since CPU time by phase or memory is not known; enter shows the \
    arithmetic. f groups by function and by cell instead, as it is for traces: what each costs by \
    one model, for a trace in a month of 30 days like the period that it covers, and the change \
    that would save the most, with how that is known.";

/// Duration from which on a running computation is indicated on the screen.
const SLOW_AFTER: Nanos = Nanos(300_000_000);

/// Shortest time between two computations that are due to a growing recording.
const MIN_REFRESH_INTERVAL: Nanos = Nanos(1_000_000_000);

/// Factor between the duration of a computation and the pause that follows it:
/// recomputing takes up to a fifth of the time, since it disturbs what is measured.
const PAUSE_FACTOR: u64 = 5;

/// Time until a failed computation is tried again.
const RETRY_DELAY: Nanos = Nanos(5_000_000_000);

/// State of the bills screen.
#[derive(Debug, Default)]
pub(crate) struct BillsState {
    /// Workload shown; `None`: all.
    workload: Option<String>,
    /// Start kind shown; `None`: both.
    start: Option<StartKind>,
    /// Assumed memory, as an index into [`MEMORY_SIZES`].
    memory: usize,
    /// Requests a month, as an index into [`MONTHLY_REQUESTS`].
    volume: usize,
    /// Whether only the models of the live view are shown.
    live_only: bool,
    /// Filter: words that a row must contain, in lower case.
    filter_words: String,
    sort: BillSortKey,
    reverse: bool,
    /// Id of the selected model, which keeps the selection when rows move.
    selected_model: Option<String>,
    /// Position of the selected row among the visible ones.
    selected_row: usize,
    /// Index of the selected lane.
    selected_lane: usize,
    /// Request that has no response yet, and when it was made.
    pending: Option<(BillsQuery, Nanos)>,
    /// Cell whose explanation was requested, and when.
    pending_explanation: Option<(Box<ExplainedCell>, Nanos)>,
    /// Request that was answered last, successfully or not.
    last_answered: Option<BillsQuery>,
    /// Time before which a growing recording does not cause a new request.
    next_refresh_at: Nanos,
    /// Bills that are shown.
    loaded: Option<LoadedBills>,
    /// Error of the latest computation: the reason why nothing newer is shown.
    error: Option<BillsQueryError>,
    /// Visible rows, as indices into [`BillTable::rows`].
    visible_rows: Vec<usize>,
    /// Texts about the selected cell.
    detail: Option<BillDetail>,
    /// View by functions.
    functions: FunctionsState,
    /// Layout of the last frame.
    layout: BillsLayout,
}

/// Loaded bills with the request that they answer.
#[derive(Debug)]
struct LoadedBills {
    request: BillsQuery,
    replayed: Arc<ReplayedBills>,
    table: BillTable,
}

impl Screen for BillsState {
    const NAME: &'static str = "Bills";
    const TITLE: &'static str = "bills";
    const LEGEND: &'static str = LEGEND;
    const KEYS: &'static [ScreenKey] = keys::KEYS;
    const SHOWS_BILL_PARTS: bool = true;

    type Request = BillsRequest;
    type Response = BillsResponse;
    type Layout = BillsLayout;
    type Dialog = Infallible;

    const ANSWER: Option<AnswerFunction<Self>> = Some(queries::answer);

    fn answered(model: &mut Model, answer: BillsResponse) -> Vec<Effect> {
        match answer {
            BillsResponse::IsTrace { recording } => functions::show_trace(model, recording),
            BillsResponse::Functions { query, result } => {
                functions::handle_response(model, *query, result)
            }
            BillsResponse::Table { request, result } => {
                let (now, state) = (model.now, &mut model.screens.bills);
                let Some((_, since)) = state.pending.take_if(|(asked, _)| *asked == *request)
                else {
                    return Vec::new();
                };
                let rest = Nanos(now.saturating_since(since).0.saturating_mul(PAUSE_FACTOR))
                    .max(MIN_REFRESH_INTERVAL);
                state.next_refresh_at = Nanos(now.0 + rest.0);
                state.last_answered = Some((*request).clone());
                match result {
                    Ok((known, figures)) => {
                        state.error = None;
                        state.loaded = Some(LoadedBills {
                            request: *request,
                            replayed: known,
                            table: figures,
                        });
                    }
                    Err(trouble) => {
                        if trouble.is_transient {
                            state.next_refresh_at = Nanos(now.0 + RETRY_DELAY.0);
                        }
                        state.error = Some(trouble);
                    }
                }
                update_rows_and_detail(model);
                reset_unknown_workload(model)
            }
            BillsResponse::Explained { cell, text } => {
                show_explanation(model, &cell, text);
                Vec::new()
            }
        }
    }

    fn entered(model: &mut Model) -> Vec<Effect> {
        if model.screens.bills.error.is_some() {
            // Returning to the screen retries after an error.
            model.screens.bills.last_answered = None;
        }
        functions::update_visible(model);
        request_missing_bills(model)
    }

    fn tick(model: &mut Model) -> Vec<Effect> {
        request_missing_bills(model)
    }

    fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
        if let Some(effects) = functions::apply_action(model, action) {
            return effects;
        }
        let state = &mut model.screens.bills;
        let page = isize::try_from(state.layout.rows_per_page()).unwrap_or(1);
        state.pending_explanation = None;
        match action {
            UserAction::Up => move_selection(state, -1),
            UserAction::Down => move_selection(state, 1),
            UserAction::PageUp => move_selection(state, -page),
            UserAction::PageDown => move_selection(state, page),
            UserAction::First => move_selection(state, isize::MIN),
            UserAction::Last => move_selection(state, isize::MAX),
            UserAction::Left | UserAction::PreviousPanel => {
                state.selected_lane = state.selected_lane.saturating_sub(1);
            }
            // An index past the last lane is clamped below.
            UserAction::Right | UserAction::NextPanel => state.selected_lane += 1,
            UserAction::Sort => state.sort = state.sort.next(),
            UserAction::Reverse => state.reverse = !state.reverse,
            UserAction::LessMemory => state.memory = state.memory.saturating_sub(1),
            UserAction::MoreMemory => state.memory = (state.memory + 1).min(MEMORY_SIZES.len() - 1),
            UserAction::LessVolume => state.volume = state.volume.saturating_sub(1),
            UserAction::MoreVolume => {
                state.volume = (state.volume + 1).min(MONTHLY_REQUESTS.len() - 1);
            }
            UserAction::Models => state.live_only = !state.live_only,
            UserAction::NextWorkload => state.workload = next_workload(state),
            UserAction::StartKind => {
                state.start = match state.start {
                    None => Some(StartKind::Cold),
                    Some(StartKind::Cold) => Some(StartKind::Warm),
                    Some(StartKind::Warm) => None,
                };
            }
            UserAction::Filter => {
                let text = state.filter_words.clone();
                let title = "words of a line, name or provider".to_owned();
                model.overlay =
                    Some(Overlay::Prompt { title, text, purpose: DialogPurpose::Filter });
            }
            UserAction::Enter => return request_explanation(model),
            UserAction::Back => clear_filters(state),
            _ => return Vec::new(),
        }
        update_rows_and_detail(model);
        request_missing_bills(model)
    }

    fn click(model: &mut Model, at: Position) -> Vec<Effect> {
        if functions::click(model, at) {
            return Vec::new();
        }
        let layout = model.screens.bills.layout;
        let Some((row, lane)) = draw::cell_at_position(model, &layout, at) else {
            return Vec::new();
        };
        let state = &mut model.screens.bills;
        state.pending_explanation = None;
        if let (Some(row), Some(held)) = (row, &state.loaded) {
            state.selected_row = row;
            let row = state.visible_rows.get(row).and_then(|at| held.table.rows.get(*at));
            state.selected_model = row.map(|row| row.id.clone());
        }
        state.selected_lane = lane.unwrap_or(state.selected_lane);
        update_rows_and_detail(model);
        Vec::new()
    }

    fn set_filter(model: &mut Model, words: String) {
        model.screens.bills.filter_words = words;
        functions::update_visible(model);
        update_rows_and_detail(model);
    }

    fn lay_out(model: &Model, area: Rect) -> BillsLayout {
        BillsLayout::new(model, area)
    }

    fn keep_layout(model: &mut Model, layout: BillsLayout) {
        model.screens.bills.layout = layout;
    }

    fn render(frame: &mut Frame<'_>, layout: &BillsLayout, model: &Model) {
        draw::render(frame, layout, model);
    }

    fn table(model: &Model) -> Table {
        functions::export_table(model).unwrap_or_else(|| export::export_table(model))
    }

    fn submit_dialog(_: &mut Model, dialog: &Infallible, _: DialogAnswer<'_>) -> Vec<Effect> {
        match *dialog {}
    }
}

/// Requests the bills to be shown, unless they are loaded or already requested.
fn request_missing_bills(model: &mut Model) -> Vec<Effect> {
    let shown = model.shown_recording();
    if model.screens.bills.functions.rows_for(shown) != BillsRows::Models {
        return functions::request_missing(model);
    }
    let Some(mut wish) = current_query(model) else {
        let BillsState {
            pending: asked,
            loaded: held,
            error: trouble,
            last_answered: last,
            detail,
            visible_rows: order,
            ..
        } = &mut model.screens.bills;
        (*asked, *held, *trouble, *last, *detail) = (None, None, None, None, None);
        order.clear();
        return Vec::new();
    };
    let now = model.now;
    let state = &mut model.screens.bills;
    let other = |request: &BillsQuery| request.source.recording != wish.source.recording;
    if state.loaded.as_ref().is_some_and(|held| other(&held.request)) {
        (state.loaded, state.detail, state.error) = (None, None, None);
        state.visible_rows.clear();
    }
    if let Some(held) = &state.loaded
        && held.request.source.is_like(&wish.source)
        && held.request.view != wish.view
    {
        // Another view needs no other sums; new invocations come with the next replay.
        wish.source.done = held.request.source.done;
    }
    if let Some((asked, _)) = &state.pending {
        if asked.is_like(&wish) {
            return Vec::new();
        }
    } else if let Some(last) = state.last_answered.as_ref().filter(|last| last.is_like(&wish)) {
        let again = state.error.as_ref().is_some_and(|it| it.is_transient);
        if (last.source.done == wish.source.done && !again) || now < state.next_refresh_at {
            return Vec::new();
        }
    }
    let known = state.loaded.as_ref().map(|held| Arc::clone(&held.replayed));
    let unless_trace = state.functions.is_undecided(wish.source.recording);
    state.pending = Some((wish.clone(), now));
    vec![BillsState::query(BillsRequest::Table { request: Box::new(wish), known, unless_trace })]
}

/// Resets a workload filter that names no workload of this recording.
fn reset_unknown_workload(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.bills;
    let Some(held) = &state.loaded else { return Vec::new() };
    let gone = |name: &String| !held.table.workloads.contains(name);
    if state.workload.as_ref().is_some_and(gone) {
        state.workload = None;
        return request_missing_bills(model);
    }
    Vec::new()
}

fn show_explanation(model: &mut Model, cell: &ExplainedCell, text: Result<String, String>) {
    let asked = model.screens.bills.pending_explanation.as_ref();
    let same = asked.is_some_and(|(asked, _)| {
        asked.model == cell.model && asked.lane == cell.lane && asked.request == cell.request
    });
    if !same {
        return;
    }
    model.screens.bills.pending_explanation = None;
    let in_sight = model.screen == crate::screens::ScreenId::Bills && model.overlay.is_none();
    if !in_sight {
        return;
    }
    match text {
        Ok(text) => {
            let title = cell.replayed.summary.models().get(cell.model).map_or("", |info| &info.id);
            let title = format!("{title} in {}", cell.lane);
            model.overlay = Some(Overlay::Text { title, text, scroll: 0 });
        }
        Err(reason) => model.notify_error(format!("cannot be explained: {reason}")),
    }
}

/// Recomputes the visible rows and the detail after a change. The selected model stays
/// selected while it is visible.
fn update_rows_and_detail(model: &mut Model) {
    let state = &mut model.screens.bills;
    let Some(held) = &state.loaded else { return };
    let figures = &held.table;
    state.selected_lane = state.selected_lane.min(figures.lanes.len().saturating_sub(1));
    state.visible_rows = sorting::sort_rows(
        figures,
        &state.filter_words,
        (state.sort, state.reverse),
        state.selected_lane,
    );
    let chosen = state.selected_model.as_ref();
    let place =
        chosen.and_then(|id| state.visible_rows.iter().position(|at| figures.rows[*at].id == *id));
    state.selected_row =
        place.unwrap_or(state.selected_row).min(state.visible_rows.len().saturating_sub(1));
    let row = state.visible_rows.get(state.selected_row).copied();
    state.detail = row.map(|row| {
        detail::describe_cell(held, row, state.selected_lane, &model.screens.live.models)
    });
}

/// Clears the filter first, then every setting that differs from the recording.
fn clear_filters(state: &mut BillsState) {
    if !state.filter_words.is_empty() {
        state.filter_words.clear();
        return;
    }
    (state.workload, state.start) = (None, None);
    (state.memory, state.volume) = (0, 0);
}

fn move_selection(state: &mut BillsState, by: isize) {
    let last = state.visible_rows.len().saturating_sub(1);
    let Some(held) = &state.loaded else { return };
    state.selected_row = state.selected_row.saturating_add_signed(by).min(last);
    let row = state.visible_rows.get(state.selected_row).and_then(|at| held.table.rows.get(*at));
    state.selected_model = row.map(|row| row.id.clone());
}

/// Returns the workload after the one shown; `None` (all) after the last.
fn next_workload(state: &BillsState) -> Option<String> {
    let names = &state.loaded.as_ref()?.table.workloads;
    match &state.workload {
        None => names.first().cloned(),
        Some(name) => {
            let at = names.iter().position(|it| it == name)?;
            names.get(at + 1).cloned()
        }
    }
}

/// Requests the arithmetic of the selected cell.
fn request_explanation(model: &mut Model) -> Vec<Effect> {
    let (now, state) = (model.now, &mut model.screens.bills);
    let Some(held) = &state.loaded else { return Vec::new() };
    let figures = &held.table;
    let row = state.visible_rows.get(state.selected_row).copied();
    let Some((at, lane)) = row.zip(figures.lanes.get(state.selected_lane)) else {
        return Vec::new();
    };
    let row = &figures.rows[at];
    if let Err(reason) = &lane.group {
        let title = format!("{} in {}", row.id, lane.name);
        model.overlay = Some(Overlay::Text { title, text: reason.clone(), scroll: 0 });
        return Vec::new();
    }
    let models = held.replayed.summary.models();
    let Some(place) = models.iter().position(|info| info.id == row.id) else {
        return Vec::new();
    };
    let cell = Box::new(ExplainedCell {
        request: held.request.clone(),
        replayed: Arc::clone(&held.replayed),
        model: place,
        lane: lane.name.clone(),
    });
    state.pending_explanation = Some((cell.clone(), now));
    vec![BillsState::query(BillsRequest::Explain(cell))]
}
