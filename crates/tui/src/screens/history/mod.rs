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

mod deeds;
mod detail;
mod draw;
pub mod ending;
mod list;
mod work;

pub use deeds::{delete, labelled};
pub use detail::{sampler, share};
pub use draw::draw;
pub use work::{Answer, Ask, answer};

use std::collections::BTreeSet;
use std::sync::Arc;

use ratatui::layout::{Position, Rect};

use crate::action::{Action, Effect};
use crate::model::Model;
use crate::overlay::{Overlay, Purpose};
use crate::widgets::grid;
use cyclometer_core::units::Nanos;
use cyclometer_report::Table;
use cyclometer_store::Item;
use detail::Told;
use list::{Lists, Row, Sort};

/// Legend of the figures for the help.
pub const LEGEND: &str = "A line a recording (12), times in UTC; + has simulations \
    (s12), which stand under it once they are unfolded. runs: \
    invocations that are stored; failed: those among them that failed or ran out of time. A \
    simulation has no lanes of its own: `of 12` is the recording that was priced, and failures \
    are that recording's. Enter opens a recording, so that bills and timeline are of it, and esc \
    closes it again; enter on a simulation shows its amounts. Mark one with a and compare it with \
    another with c: times and counts by medians, bills by means, each with a bootstrap interval \
    of 99 %; the marked one is the first. Deleting asks twice and takes with a recording its \
    simulations. Counts and sizes below are read while you look, at most every 2 seconds while \
    something is recorded.";

/// Least time between two reads of the list.
const PACE: Nanos = Nanos(2_000_000_000);

/// Number of times that a read's duration has to pass before the next read, so
/// that reading does not disturb what is measured.
const REST: u64 = 20;

/// State of the history screen.
#[derive(Debug, Default)]
pub struct State {
    /// Recording whose conclusion was requested when it ended.
    concluded: Option<i64>,
    /// List as it was read; `None`: not yet.
    lists: Option<Arc<Lists>>,
    /// Reason why the newest read failed.
    problem: Option<String>,
    /// Positions of the rows that are shown, in order.
    visible: Vec<usize>,
    /// Selected row, by its position among those.
    cursor: usize,
    /// Recordings whose simulations are shown.
    unfolded: BTreeSet<Item>,
    /// Words of the filter, which rows must contain.
    words: String,
    sort: Sort,
    reverse: bool,
    /// First item of a comparison.
    marked: Option<Item>,
    /// Whether keys scroll the details.
    focus: bool,
    reading: Reading,
    detail: Option<Detail>,
    /// Item whose details are being read.
    looking: Option<Item>,
    /// First line of the details in view.
    scroll: usize,
    /// Simulation that is being read for an overlay.
    opening: Option<Item>,
    /// Pair of items being compared.
    comparing: Option<(Item, Item)>,
    /// Item whose deletion is being prepared.
    deleting: Option<Item>,
}

/// Bookkeeping that keeps the list up to date.
#[derive(Debug, Default)]
struct Reading {
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
struct Detail {
    /// Row of the item at the time of the request.
    row: Row,
    result: Result<Vec<Told>, String>,
    /// Width that the lines are made for.
    width: usize,
    at: Nanos,
    took: Nanos,
}

impl State {
    fn selected(&self) -> Option<&Row> {
        let at = self.visible.get(self.cursor)?;
        self.lists.as_ref()?.rows.get(*at)
    }

    fn row(&self, item: Item) -> Option<&Row> {
        self.lists.as_ref()?.rows.iter().find(|row| row.item == item)
    }

    /// Filters and sorts again; the selection stays on its item.
    fn arrange(&mut self) {
        let selected = self.selected().map(|row| row.item);
        self.arrange_around(selected);
    }

    fn arrange_around(&mut self, selected: Option<Item>) {
        let Some(lists) = &self.lists else { return };
        self.visible = lists.visible(&self.words, (self.sort, self.reverse), &self.unfolded);
        let place = self.visible.iter().position(|at| Some(lists.rows[*at].item) == selected);
        let last = self.visible.len().saturating_sub(1);
        self.cursor = place.unwrap_or(self.cursor).min(last);
    }
}

/// Handles that the screen comes into sight.
pub fn entered(model: &mut Model) -> Vec<Effect> {
    read(model)
}

/// Requests the list.
fn read(model: &mut Model) -> Vec<Effect> {
    let active = model.snapshot.phase.is_active();
    let state = &mut model.history;
    if state.reading.pending {
        state.reading.stale = true;
        return Vec::new();
    }
    state.reading.pending = true;
    state.reading.stale = false;
    state.reading.active = active;
    vec![Effect::History(Ask::List { known: state.lists.clone() })]
}

/// Refreshes the list and the details when that is due; called for every frame.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    let mut effects = if list_is_due(model) { read(model) } else { Vec::new() };
    effects.extend(look(model));
    effects
}

fn list_is_due(model: &Model) -> bool {
    let reading = &model.history.reading;
    let active = model.snapshot.phase.is_active();
    let Some(at) = reading.at.filter(|_| !reading.pending) else { return false };
    if reading.stale || active != reading.active {
        return true;
    }
    let lists = model.history.lists.as_ref();
    let running = lists.is_some_and(|lists| lists.rows.iter().any(Row::is_running));
    (active || running) && rested(model.now, at, reading.took)
}

/// Returns whether enough time has passed since a read that took `took`.
fn rested(now: Nanos, at: Nanos, took: Nanos) -> bool {
    now.since(at).0 >= PACE.0.max(took.0.saturating_mul(REST))
}

/// Requests the details of the selected item, unless they are known.
fn look(model: &mut Model) -> Vec<Effect> {
    let (now, width) = (model.now, draw::detail_width(model));
    let state = &mut model.history;
    let Some(row) = state.selected() else { return Vec::new() };
    let known =
        state.detail.as_ref().filter(|detail| detail.row.item == row.item && detail.width == width);
    let due = known.is_none_or(|detail| detail.row != *row && rested(now, detail.at, detail.took));
    if !due || state.looking.is_some() {
        return Vec::new();
    }
    let row = row.clone();
    state.looking = Some(row.item);
    vec![Effect::History(Ask::Show { row: Box::new(row), width })]
}

/// Applies an action.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::NextPanel | Action::PreviousPanel => {
            model.history.focus = !model.history.focus;
            Vec::new()
        }
        Action::Up
        | Action::Down
        | Action::PageUp
        | Action::PageDown
        | Action::First
        | Action::Last => moved(model, action),
        Action::Fold => fold(model, None),
        Action::Right => fold(model, Some(true)),
        Action::Left => fold(model, Some(false)),
        Action::Enter => deeds::open(model),
        Action::Back => deeds::back(model),
        Action::Filter => {
            let text = model.history.words.clone();
            let title = "words in any column".to_owned();
            model.overlay = Some(Overlay::Prompt { title, text, purpose: Purpose::Filter });
            Vec::new()
        }
        Action::Sort => {
            model.history.sort = model.history.sort.next();
            model.history.arrange();
            Vec::new()
        }
        Action::Reverse => {
            model.history.reverse = !model.history.reverse;
            model.history.arrange();
            Vec::new()
        }
        Action::Label => deeds::label(model),
        Action::Delete => deeds::prepare_deletion(model),
        Action::Mark => deeds::mark(model),
        Action::Compare => deeds::compare(model),
        Action::Refresh => read(model),
        _ => Vec::new(),
    }
}

/// Shows or hides the simulations of the selected recording, or of the one
/// above a selected simulation.
fn fold(model: &mut Model, open: Option<bool>) -> Vec<Effect> {
    let state = &mut model.history;
    let Some(row) = state.selected() else { return Vec::new() };
    let (selected, item) = (row.item, row.under.unwrap_or(row.item));
    if !state.lists.as_ref().is_some_and(|lists| lists.has_simulations(item)) {
        if open.is_none() {
            model.say(format!("{item} has no simulations"));
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
    state.arrange_around(Some(keeps));
    state.scroll = 0;
    look(model)
}

fn moved(model: &mut Model, action: Action) -> Vec<Effect> {
    let (rows, lines) = draw::heights(model);
    let state = &mut model.history;
    let (at, end, page) = if state.focus {
        let told = state.detail.as_ref().and_then(|detail| detail.result.as_ref().ok());
        let all = told.map_or(0, Vec::len);
        (&mut state.scroll, all.saturating_sub(lines), lines)
    } else {
        (&mut state.cursor, state.visible.len().saturating_sub(1), rows)
    };
    let page = page.saturating_sub(1).max(1);
    *at = match action {
        Action::Up => at.saturating_sub(1),
        Action::Down => *at + 1,
        Action::PageUp => at.saturating_sub(page),
        Action::PageDown => *at + page,
        Action::First => 0,
        _ => end,
    }
    .min(end);
    if state.focus {
        return Vec::new();
    }
    state.scroll = 0;
    look(model)
}

/// Filters the list to rows that contain these words, given in lower case.
pub fn filter(model: &mut Model, words: String) {
    model.history.words = words;
    model.history.arrange();
    model.history.scroll = 0;
}

/// Handles a click: it selects a row, or focuses the details.
pub fn click(model: &mut Model, area: Rect, at: Position) -> Vec<Effect> {
    let layout = draw::layout(model, area);
    let state = &mut model.history;
    if layout.details.contains(at) {
        state.focus = true;
        return Vec::new();
    }
    state.focus = false;
    let inner = draw::inside(layout.list);
    if !inner.contains(at) {
        return Vec::new();
    }
    let Some(row) = grid::row_at(inner, at.y, state.cursor, state.visible.len()) else {
        return Vec::new();
    };
    state.cursor = row;
    state.scroll = 0;
    look(model)
}

/// Handles a response of the worker.
pub fn answered(model: &mut Model, answer: Answer) -> Vec<Effect> {
    match answer {
        Answer::List { result, took } => return listed(model, result, took),
        Answer::Show { row, width, result, took } => {
            let detail = Detail { row: *row, result, width, at: model.now, took };
            return shown(model, detail);
        }
        Answer::Text { item, result } => {
            if model.history.opening.take_if(|opening| *opening == item).is_some() {
                let text = result.unwrap_or_else(|reason| reason);
                deeds::text_above(model, item.to_string(), text);
            }
        }
        Answer::Conclude { recording, result } => ending::conclude(model, recording, result),
        Answer::Extent { item, result } => deeds::confirm(model, item, result),
        Answer::Compare { first, second, result } => deeds::compared(model, first, second, result),
        Answer::Label { item, label, result } => {
            match result {
                Ok(()) if label.is_empty() => model.say(format!("{item} has no label now")),
                Ok(()) => model.say(format!("{item} is `{label}` now")),
                Err(reason) => deeds::fail(model, &format!("{item} keeps its label"), &reason),
            }
            return read(model);
        }
        Answer::Delete { items, result } => {
            deeds::deleted(model, &items, result);
            return read(model);
        }
    }
    Vec::new()
}

fn listed(model: &mut Model, result: Result<Arc<Lists>, String>, took: Nanos) -> Vec<Effect> {
    let now = model.now;
    let state = &mut model.history;
    state.reading.pending = false;
    state.reading.at = Some(now);
    state.reading.took = took;
    match result {
        Ok(lists) => {
            let selected = state.selected().map(|row| row.item);
            state.lists = Some(lists);
            state.problem = None;
            state.arrange_around(selected);
            if state.marked.is_some_and(|item| state.row(item).is_none()) {
                state.marked = None;
            }
        }
        Err(reason) => state.problem = Some(reason),
    }
    look(model)
}

fn shown(model: &mut Model, detail: Detail) -> Vec<Effect> {
    let state = &mut model.history;
    state.looking = None;
    if state.selected().map(|row| row.item) == Some(detail.row.item) {
        state.detail = Some(detail);
    }
    // The user may have moved on meanwhile, or the terminal may have another size.
    look(model)
}

/// Returns the figures of the screen.
pub fn table(model: &Model) -> Table {
    let state = &model.history;
    match &state.lists {
        Some(lists) => lists.table(&state.visible),
        None => Lists::default().table(&[]),
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
