//! History screen: recordings and simulations, the details of each, and the
//! actions on them.
//!
//! ```text
//! ┌ recordings and simulations ───────┐┌ recording 12 ──────┐
//! │ one line each, newest first       ││ plan, host, cells, │  below the list
//! │                                   ││ sizes, sources     │  in a narrow
//! └───────────────────────────────────┘│                    │  terminal
//! ┌ database ─────────────────────────┐│                    │
//! └───────────────────────────────────┘└────────────────────┘
//! ```

mod actions;
pub mod conclusion;
mod detail;
mod draw;
mod keys;
mod layout;
mod list;
mod queries;
mod trace_detail;

pub use detail::{format_share, sampler_text};
pub use queries::{HistoryRequest, HistoryResponse};

use std::collections::BTreeSet;
use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use crate::action::{Effect, UserAction};
use crate::frame::inner_area;
use crate::keymap::ScreenKey;
use crate::model::Model;
use crate::overlay::{DialogAnswer, DialogPurpose, Overlay};
use crate::screens::{AnswerFunction, ListedScreen, Screen};
use crate::widgets::grid;
use cyclometer_core::units::Nanos;
use cyclometer_report::Table;
use cyclometer_store::HistoryItem;
use detail::DetailLine;
use layout::HistoryLayout;
use list::{HistoryList, HistoryRow, HistorySort};

/// Legend of the figures for the help.
const LEGEND: &str = "A line a recording (12), times in UTC; + has simulations \
    (s12), which stand under it once they are unfolded. runs: \
    invocations that are stored; failed: those among them that failed or ran out of time. A \
    simulation has no lanes of its own: `of 12` is the recording that was priced, and failures \
    are that recording's. A trace is a log that was imported: its lanes are platforms, its \
    workloads functions, and it begins with its earliest invocation; its failures are counted \
    in its details. Enter opens a recording, so that bills and timeline are of it, and esc \
    closes it again; enter on a simulation shows its amounts. Mark one with a and compare it with \
    another with c: times and counts by medians, bills by means, each with a bootstrap interval \
    of 99 %; the marked one is the first. Deleting asks twice and takes with a recording its \
    simulations. Counts and sizes below are read while you look, at most every 2 seconds while \
    something is recorded.";

/// Least time between two reads of the list.
const LIST_INTERVAL: Nanos = Nanos(2_000_000_000);

/// Number of times that a read's duration has to pass before the next read, so
/// that reading does not disturb what is measured.
const REREAD_FACTOR: u64 = 20;

/// Purpose of a dialog of the history screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HistoryDialog {
    /// Label for a recording or simulation.
    Label(HistoryItem),
    /// Recordings and simulations to delete.
    Delete(Vec<HistoryItem>),
}

/// State of the history screen.
#[derive(Debug, Default)]
pub(crate) struct HistoryState {
    /// Recording whose conclusion was requested when it ended.
    concluded: Option<i64>,
    /// List as it was read; `None`: not yet.
    lists: Option<Arc<HistoryList>>,
    /// Reason why the newest read failed.
    problem: Option<String>,
    /// Positions of the rows that are shown, in order.
    visible: Vec<usize>,
    /// Selected row, by its position among those.
    cursor: usize,
    /// Recordings whose simulations are shown.
    unfolded: BTreeSet<HistoryItem>,
    /// Words of the filter, which rows must contain.
    filter_words: String,
    sort: HistorySort,
    reverse: bool,
    /// First item of a comparison.
    marked: Option<HistoryItem>,
    /// Whether keys scroll the details.
    focus: bool,
    refresh: ListRefresh,
    detail: Option<LoadedDetail>,
    /// Item whose details are being read.
    loading: Option<HistoryItem>,
    /// First line of the details in view.
    scroll: usize,
    /// Simulation that is being read for an overlay.
    opening: Option<HistoryItem>,
    /// Pair of items being compared.
    comparing: Option<(HistoryItem, HistoryItem)>,
    /// Item whose deletion is being prepared.
    deleting: Option<HistoryItem>,
    /// Layout of the last frame.
    layout: HistoryLayout,
}

/// Bookkeeping that keeps the list up to date.
#[derive(Debug, Default)]
struct ListRefresh {
    pending: bool,
    /// Whether the list has changed since it was requested.
    stale: bool,
    /// Moment at which the newest response came.
    at: Option<Nanos>,
    /// Time that the read took.
    took: Nanos,
    /// Whether something was recorded when the list was requested.
    active: bool,
}

/// Details of one item, as they were read.
#[derive(Debug)]
struct LoadedDetail {
    /// Row of the item at the time of the request.
    row: HistoryRow,
    result: Result<Vec<DetailLine>, String>,
    /// Width that the lines are made for.
    width: usize,
    at: Nanos,
    took: Nanos,
}

impl HistoryState {
    fn selected_row(&self) -> Option<&HistoryRow> {
        let at = self.visible.get(self.cursor)?;
        self.lists.as_ref()?.rows.get(*at)
    }

    fn find_row(&self, item: HistoryItem) -> Option<&HistoryRow> {
        self.lists.as_ref()?.rows.iter().find(|row| row.item == item)
    }

    /// Filters and sorts again; the selection stays on its item.
    fn filter_and_sort(&mut self) {
        let selected = self.selected_row().map(|row| row.item);
        self.filter_and_sort_around(selected);
    }

    fn filter_and_sort_around(&mut self, selected: Option<HistoryItem>) {
        let Some(lists) = &self.lists else { return };
        self.visible =
            lists.visible_rows(&self.filter_words, (self.sort, self.reverse), &self.unfolded);
        let place = self.visible.iter().position(|at| Some(lists.rows[*at].item) == selected);
        let last = self.visible.len().saturating_sub(1);
        self.cursor = place.unwrap_or(self.cursor).min(last);
    }
}

impl Screen for HistoryState {
    const NAME: &'static str = "History";
    const TITLE: &'static str = "history";
    const LEGEND: &'static str = LEGEND;
    const KEYS: &'static [ScreenKey] = keys::KEYS;

    type Request = HistoryRequest;
    type Response = HistoryResponse;
    type Layout = HistoryLayout;
    type Dialog = HistoryDialog;

    const ANSWER: Option<AnswerFunction<Self>> = Some(queries::answer);

    fn answered(model: &mut Model, answer: HistoryResponse) -> Vec<Effect> {
        match answer {
            HistoryResponse::List { result, took } => return store_list(model, result, took),
            HistoryResponse::Show { row, width, result, took } => {
                let detail = LoadedDetail { row: *row, result, width, at: model.now, took };
                return store_detail(model, detail);
            }
            HistoryResponse::Text { item, result } => {
                if model.screens.history.opening.take_if(|opening| *opening == item).is_some() {
                    let text = result.unwrap_or_else(|reason| reason);
                    actions::show_text(model, item.to_string(), text);
                }
            }
            HistoryResponse::Conclude { recording, result } => {
                conclusion::show_conclusion(model, recording, result);
            }
            HistoryResponse::Extent { item, result } => {
                actions::confirm_deletion(model, item, result);
            }
            HistoryResponse::Compare { first, second, result } => {
                actions::show_comparison(model, first, second, result);
            }
            HistoryResponse::Label { item, label, result } => {
                match result {
                    Ok(()) if label.is_empty() => model.notify(format!("{item} has no label now")),
                    Ok(()) => model.notify(format!("{item} is `{label}` now")),
                    Err(reason) => {
                        actions::report_failure(model, &format!("{item} keeps its label"), &reason);
                    }
                }
                return request_list(model);
            }
            HistoryResponse::Delete { items, result } => {
                actions::show_deletion_result(model, &items, result);
                return request_list(model);
            }
        }
        Vec::new()
    }

    fn entered(model: &mut Model) -> Vec<Effect> {
        request_list(model)
    }

    fn tick(model: &mut Model) -> Vec<Effect> {
        let mut effects = if is_list_due(model) { request_list(model) } else { Vec::new() };
        effects.extend(request_detail(model));
        effects
    }

    fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
        match action {
            UserAction::NextPanel | UserAction::PreviousPanel => {
                model.screens.history.focus = !model.screens.history.focus;
                Vec::new()
            }
            UserAction::Up
            | UserAction::Down
            | UserAction::PageUp
            | UserAction::PageDown
            | UserAction::First
            | UserAction::Last => move_cursor(model, action),
            UserAction::Fold => toggle_simulations(model, None),
            UserAction::Right => toggle_simulations(model, Some(true)),
            UserAction::Left => toggle_simulations(model, Some(false)),
            UserAction::Enter => actions::open_selected(model),
            UserAction::Back => actions::go_back(model),
            UserAction::Filter => {
                let text = model.screens.history.filter_words.clone();
                let title = "words in any column".to_owned();
                model.overlay =
                    Some(Overlay::Prompt { title, text, purpose: DialogPurpose::Filter });
                Vec::new()
            }
            UserAction::Sort => {
                model.screens.history.sort = model.screens.history.sort.next_key();
                model.screens.history.filter_and_sort();
                Vec::new()
            }
            UserAction::Reverse => {
                model.screens.history.reverse = !model.screens.history.reverse;
                model.screens.history.filter_and_sort();
                Vec::new()
            }
            UserAction::Label => actions::prompt_for_label(model),
            UserAction::Delete => actions::prepare_deletion(model),
            UserAction::Mark => actions::toggle_mark(model),
            UserAction::Compare => actions::compare_with_marked(model),
            UserAction::Refresh => request_list(model),
            _ => Vec::new(),
        }
    }

    fn click(model: &mut Model, at: Position) -> Vec<Effect> {
        let state = &mut model.screens.history;
        let layout = state.layout;
        if layout.details.contains(at) {
            state.focus = true;
            return Vec::new();
        }
        state.focus = false;
        let inner = inner_area(layout.list);
        if !inner.contains(at) {
            return Vec::new();
        }
        let Some(row) = grid::row_at(inner, at.y, state.cursor, state.visible.len()) else {
            return Vec::new();
        };
        state.cursor = row;
        state.scroll = 0;
        request_detail(model)
    }

    fn table(model: &Model) -> Table {
        let state = &model.screens.history;
        match &state.lists {
            Some(lists) => lists.to_table(&state.visible),
            None => HistoryList::default().to_table(&[]),
        }
    }

    fn lay_out(model: &Model, area: Rect) -> HistoryLayout {
        HistoryLayout::new(area, model.screens.history.focus)
    }

    fn keep_layout(model: &mut Model, layout: HistoryLayout) {
        model.screens.history.layout = layout;
    }

    fn render(frame: &mut Frame<'_>, layout: &HistoryLayout, model: &Model) {
        draw::render(frame, layout, model);
    }

    fn set_filter(model: &mut Model, words: String) {
        model.screens.history.filter_words = words;
        model.screens.history.filter_and_sort();
        model.screens.history.scroll = 0;
    }

    fn submit_dialog(
        _model: &mut Model,
        dialog: &HistoryDialog,
        answer: DialogAnswer<'_>,
    ) -> Vec<Effect> {
        match (dialog, answer) {
            (HistoryDialog::Label(item), DialogAnswer::Text(text)) => {
                actions::submit_label(*item, text.trim())
            }
            (HistoryDialog::Delete(items), DialogAnswer::Confirmed) => {
                actions::submit_deletion(items.clone())
            }
            _ => Vec::new(),
        }
    }
}

/// Requests the list.
fn request_list(model: &mut Model) -> Vec<Effect> {
    let active = model.snapshot.phase.is_active();
    let state = &mut model.screens.history;
    if state.refresh.pending {
        state.refresh.stale = true;
        return Vec::new();
    }
    state.refresh.pending = true;
    state.refresh.stale = false;
    state.refresh.active = active;
    vec![HistoryState::query(HistoryRequest::List { known: state.lists.clone() })]
}

fn is_list_due(model: &Model) -> bool {
    let reading = &model.screens.history.refresh;
    let active = model.snapshot.phase.is_active();
    let Some(at) = reading.at.filter(|_| !reading.pending) else { return false };
    if reading.stale || active != reading.active {
        return true;
    }
    let lists = model.screens.history.lists.as_ref();
    let running = lists.is_some_and(|lists| lists.rows.iter().any(HistoryRow::is_running));
    (active || running) && is_interval_over(model.now, at, reading.took)
}

/// Returns whether enough time has passed since a read that took `took`.
fn is_interval_over(now: Nanos, at: Nanos, took: Nanos) -> bool {
    now.saturating_since(at).0 >= LIST_INTERVAL.0.max(took.0.saturating_mul(REREAD_FACTOR))
}

/// Requests the details of the selected item, unless they are known.
fn request_detail(model: &mut Model) -> Vec<Effect> {
    let (now, width) = (model.now, model.screens.history.layout.detail_width());
    let state = &mut model.screens.history;
    let Some(row) = state.selected_row() else { return Vec::new() };
    let known =
        state.detail.as_ref().filter(|detail| detail.row.item == row.item && detail.width == width);
    let due = known
        .is_none_or(|detail| detail.row != *row && is_interval_over(now, detail.at, detail.took));
    if !due || state.loading.is_some() {
        return Vec::new();
    }
    let row = row.clone();
    state.loading = Some(row.item);
    vec![HistoryState::query(HistoryRequest::Show { row: Box::new(row), width })]
}

/// Shows or hides the simulations of the selected recording, or of the one
/// above a selected simulation.
fn toggle_simulations(model: &mut Model, open: Option<bool>) -> Vec<Effect> {
    let state = &mut model.screens.history;
    let Some(row) = state.selected_row() else { return Vec::new() };
    let (selected, item) = (row.item, row.under.unwrap_or(row.item));
    if !state.lists.as_ref().is_some_and(|lists| lists.has_simulations(item)) {
        if open.is_none() {
            model.notify(format!("{item} has no simulations"));
        }
        return Vec::new();
    }
    let is_open = state.unfolded.contains(&item);
    let keeps = if open.unwrap_or(!is_open) {
        state.unfolded.insert(item);
        selected
    } else {
        state.unfolded.remove(&item);
        item
    };
    state.filter_and_sort_around(Some(keeps));
    state.scroll = 0;
    request_detail(model)
}

fn move_cursor(model: &mut Model, action: UserAction) -> Vec<Effect> {
    let state = &mut model.screens.history;
    let (rows, lines) = state.layout.visible_heights();
    let (at, end, page) = if state.focus {
        let told = state.detail.as_ref().and_then(|detail| detail.result.as_ref().ok());
        let all = told.map_or(0, Vec::len);
        (&mut state.scroll, all.saturating_sub(lines), lines)
    } else {
        (&mut state.cursor, state.visible.len().saturating_sub(1), rows)
    };
    let page = page.saturating_sub(1).max(1);
    *at = match action {
        UserAction::Up => at.saturating_sub(1),
        UserAction::Down => *at + 1,
        UserAction::PageUp => at.saturating_sub(page),
        UserAction::PageDown => *at + page,
        UserAction::First => 0,
        _ => end,
    }
    .min(end);
    if state.focus {
        return Vec::new();
    }
    state.scroll = 0;
    request_detail(model)
}

fn store_list(
    model: &mut Model,
    result: Result<Arc<HistoryList>, String>,
    took: Nanos,
) -> Vec<Effect> {
    let now = model.now;
    let state = &mut model.screens.history;
    state.refresh.pending = false;
    state.refresh.at = Some(now);
    state.refresh.took = took;
    match result {
        Ok(lists) => {
            let selected = state.selected_row().map(|row| row.item);
            state.lists = Some(lists);
            state.problem = None;
            state.filter_and_sort_around(selected);
            if state.marked.is_some_and(|item| state.find_row(item).is_none()) {
                state.marked = None;
            }
        }
        Err(reason) => state.problem = Some(reason),
    }
    request_detail(model)
}

fn store_detail(model: &mut Model, detail: LoadedDetail) -> Vec<Effect> {
    let state = &mut model.screens.history;
    state.loading = None;
    if state.selected_row().map(|row| row.item) == Some(detail.row.item) {
        state.detail = Some(detail);
    }
    // The user may have moved on meanwhile, or the terminal may have another size.
    request_detail(model)
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
