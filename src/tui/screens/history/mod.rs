//! The history: recordings and simulations, what is told of each, and what can
//! be done with them.
//!
//! ```text
//! ┌ recordings and simulations ───────┐┌ recording 12 ──────┐
//! │ one line each, newest first       ││ plan, host, cells, │  below the list
//! │                                   ││ sizes, sources     │  in a narrow
//! └───────────────────────────────────┘│                    │  terminal
//! ┌ database ─────────────────────────┐│                    │
//! └───────────────────────────────────┘└────────────────────┘
//! ```

mod detail;
mod draw;
mod list;
mod work;

pub use detail::{lasted, sampler, share};
pub use draw::draw;
pub use work::{Answer, Ask, answer};

use std::sync::Arc;

use ratatui::layout::{Position, Rect};

use crate::report::{Table, what_goes};
use crate::store::{Extent, Item};
use crate::tui::action::{Action, Effect};
use crate::tui::model::Model;
use crate::tui::overlay::{Overlay, Purpose};
use crate::tui::screens::Screen;
use crate::tui::update::go;
use crate::tui::widgets::grid;
use crate::units::Nanos;
use detail::Told;
use list::{Lists, Row, Sort};

/// What help says of the figures.
pub const LEGEND: &str = "A line a recording (12) or simulation (s12), times in UTC. runs: \
    invocations that are stored; failed: those among them that failed or ran out of time. A \
    simulation has no lanes of its own: `of 12` is the recording that was priced, and failures \
    are that recording's. Enter opens a recording, so that bills and timeline are of it, and esc \
    closes it again; enter on a simulation shows its amounts. Mark one with a and compare it with \
    another with c: times and counts by medians, bills by means, each with a bootstrap interval \
    of 99 %; the marked one is the first. Deleting asks twice and takes with a recording its \
    simulations. Counts and sizes below are read while you look, at most every 2 seconds while \
    something is recorded.";

/// Least time between two readings of the list.
const PACE: Nanos = Nanos(2_000_000_000);

/// How many times as long as a reading took it is not read again: it must not
/// disturb what is measured.
const REST: u64 = 20;

/// What the screen remembers.
#[derive(Debug, Default)]
pub struct State {
    /// What was read; `None`: not yet.
    lists: Option<Arc<Lists>>,
    /// Why the newest reading failed.
    problem: Option<String>,
    /// Places of the rows that are shown, in order.
    visible: Vec<usize>,
    /// Which row is selected, by its place among those.
    cursor: usize,
    /// Words that rows must have.
    words: String,
    sort: Sort,
    reverse: bool,
    /// The first of a comparison.
    marked: Option<Item>,
    /// Whether keys scroll the details.
    focus: bool,
    reading: Reading,
    detail: Option<Detail>,
    /// The item whose details are being read.
    looking: Option<Item>,
    /// First line of the details in sight.
    scroll: usize,
    /// The simulation to be read above the screen.
    opening: Option<Item>,
    /// What is being compared.
    comparing: Option<(Item, Item)>,
    /// The item whose deletion is being prepared.
    deleting: Option<Item>,
}

/// How the list is kept up to date.
#[derive(Debug, Default)]
struct Reading {
    pending: bool,
    /// It has changed since it was asked for.
    stale: bool,
    /// When the newest answer came.
    at: Option<Nanos>,
    /// How long that took.
    took: Nanos,
    /// Whether something was recorded when it was asked for.
    active: bool,
}

/// What is known of one item.
#[derive(Debug)]
struct Detail {
    /// What its row said when it was asked for.
    row: Row,
    result: Result<Vec<Told>, String>,
    /// The width that the lines are made for.
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
        self.visible = lists.visible(&self.words, self.sort, self.reverse);
        let place = self.visible.iter().position(|at| Some(lists.rows[*at].item) == selected);
        let last = self.visible.len().saturating_sub(1);
        self.cursor = place.unwrap_or(self.cursor).min(last);
    }
}

/// The screen comes into sight.
pub fn entered(model: &mut Model) -> Vec<Effect> {
    read(model)
}

/// Asks for the list.
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

/// Some time went by.
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

/// Whether long enough has passed since something that took so long.
fn rested(now: Nanos, at: Nanos, took: Nanos) -> bool {
    now.since(at).0 >= PACE.0.max(took.0.saturating_mul(REST))
}

/// Asks for what is told of the selected item, if that is not known.
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

/// What an action does.
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
        Action::Enter => open(model),
        Action::Back => back(model),
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
        Action::Label => label(model),
        Action::Delete => prepare_deletion(model),
        Action::Mark => mark(model),
        Action::Compare => compare(model),
        Action::Refresh => read(model),
        _ => Vec::new(),
    }
}

fn moved(model: &mut Model, action: Action) -> Vec<Effect> {
    let (list, details) = draw::heights(model);
    let state = &mut model.history;
    let (at, last, page) = if state.focus {
        let lines = state.detail.as_ref().and_then(|detail| detail.result.as_ref().ok());
        let lines = lines.map_or(0, Vec::len);
        (&mut state.scroll, lines.saturating_sub(details), details)
    } else {
        (&mut state.cursor, state.visible.len().saturating_sub(1), list)
    };
    let page = page.saturating_sub(1).max(1);
    *at = match action {
        Action::Up => at.saturating_sub(1),
        Action::Down => *at + 1,
        Action::PageUp => at.saturating_sub(page),
        Action::PageDown => *at + page,
        Action::First => 0,
        _ => last,
    }
    .min(last);
    if state.focus {
        return Vec::new();
    }
    state.scroll = 0;
    look(model)
}

/// What Enter does: bills of a recording, amounts of a simulation.
fn open(model: &mut Model) -> Vec<Effect> {
    let Some(item) = model.history.selected().map(|row| row.item) else { return Vec::new() };
    match item {
        Item::Recording(id) => {
            model.opened = Some(id);
            let effects = go(model, Screen::Bills);
            let key = |action| model.keymap.key_of(action, Screen::History).unwrap_or_default();
            let text = format!(
                "recording {id} is open: {} bills, {} timeline; {} in history closes it",
                key(Action::Go(Screen::Bills)),
                key(Action::Go(Screen::Timeline)),
                key(Action::Back)
            );
            model.say(text);
            effects
        }
        Item::Simulation(_) => {
            model.history.opening = Some(item);
            vec![Effect::History(Ask::Text { item, width: text_width(model) })]
        }
    }
}

/// Columns of a text above the screen.
fn text_width(model: &Model) -> usize {
    usize::from(model.size.0.saturating_sub(4))
}

/// A text above the screen, if nothing else is there and the person is still here.
fn text_above(model: &mut Model, title: String, text: String) -> bool {
    let free = model.overlay.is_none() && model.screen == Screen::History;
    if free {
        model.overlay = Some(Overlay::Text { title, text, scroll: 0 });
    }
    free
}

fn back(model: &mut Model) -> Vec<Effect> {
    if let Some(id) = model.opened.take() {
        let of = model.snapshot.recording.map_or_else(
            || "bills and timeline wait for a recording".to_owned(),
            |live| format!("bills and timeline are of recording {live} again"),
        );
        model.say(format!("recording {id} is closed: {of}"));
    } else if model.history.focus {
        model.history.focus = false;
    } else if model.history.words.is_empty() {
        model.history.marked = None;
    } else {
        filter(model, String::new());
    }
    Vec::new()
}

fn mark(model: &mut Model) -> Vec<Effect> {
    let Some(item) = model.history.selected().map(|row| row.item) else { return Vec::new() };
    let again = model.history.marked == Some(item);
    model.history.marked = (!again).then_some(item);
    if !again {
        let key = model.keymap.key_of(Action::Compare, model.screen).unwrap_or_default();
        model.say(format!("{item} is marked: {key} on another compares them"));
    }
    Vec::new()
}

fn compare(model: &mut Model) -> Vec<Effect> {
    let state = &model.history;
    let Some(second) = state.selected().map(|row| row.item) else { return Vec::new() };
    let complaint = match state.marked {
        None => {
            let key = model.keymap.key_of(Action::Mark, model.screen).unwrap_or_default();
            Some(format!("mark the first of the two with {key}, then compare with another"))
        }
        Some(first) if first == second => {
            Some(format!("{first} is the marked one: select another to compare it with"))
        }
        Some(Item::Recording(_)) if matches!(second, Item::Recording(_)) => None,
        Some(Item::Simulation(_)) if matches!(second, Item::Simulation(_)) => None,
        Some(first) => Some(format!(
            "{first} and {second} cannot be compared: two recordings can, or two simulations"
        )),
    };
    if let Some(text) = complaint {
        model.complain(text);
        return Vec::new();
    }
    let Some(first) = state.marked else { return Vec::new() };
    model.say(format!("comparing {second} with {first}; this can take some seconds"));
    if model.history.comparing == Some((first, second)) {
        return Vec::new();
    }
    model.history.comparing = Some((first, second));
    vec![Effect::History(Ask::Compare { first, second, width: text_width(model) })]
}

fn label(model: &mut Model) -> Vec<Effect> {
    let Some(row) = model.history.selected() else { return Vec::new() };
    let (item, text) = (row.item, row.label.clone());
    let title = format!("label of {item}, empty for none");
    model.overlay = Some(Overlay::Prompt { title, text, purpose: Purpose::Label(item) });
    Vec::new()
}

/// A label was written.
pub fn labelled(_model: &mut Model, item: Item, label: &str) -> Vec<Effect> {
    vec![Effect::History(Ask::Label { item, label: label.to_owned() })]
}

fn prepare_deletion(model: &mut Model) -> Vec<Effect> {
    let Some(item) = model.history.selected().map(|row| row.item) else { return Vec::new() };
    let live = model.snapshot.recording.map(Item::Recording);
    if model.snapshot.phase.is_active() && live == Some(item) {
        model.complain(format!("{item} is being made: stop it first, or wait for its end"));
        return Vec::new();
    }
    if model.history.deleting == Some(item) {
        return Vec::new();
    }
    model.history.deleting = Some(item);
    vec![Effect::History(Ask::Extent { item })]
}

/// Deleting was agreed to twice.
pub fn delete(_model: &mut Model, items: Vec<Item>) -> Vec<Effect> {
    vec![Effect::History(Ask::Delete { items })]
}

/// Only lines with these words, in lower case.
pub fn filter(model: &mut Model, words: String) {
    model.history.words = words;
    model.history.arrange();
    model.history.scroll = 0;
}

/// What a click does: it selects a row, or gives the keys to the details.
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

/// The desk answered.
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
                text_above(model, item.to_string(), text);
            }
        }
        Answer::Extent { item, result } => confirm(model, item, result),
        Answer::Compare { first, second, result } => compared(model, first, second, result),
        Answer::Label { item, label, result } => {
            match result {
                Ok(()) if label.is_empty() => model.say(format!("{item} has no label now")),
                Ok(()) => model.say(format!("{item} is `{label}` now")),
                Err(reason) => fail(model, &format!("{item} keeps its label"), &reason),
            }
            return read(model);
        }
        Answer::Delete { items, result } => {
            deleted(model, &items, result);
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
    // The person went on meanwhile, or the terminal has another size.
    look(model)
}

fn confirm(model: &mut Model, item: Item, result: Result<Extent, String>) {
    if model.history.deleting.take() != Some(item) {
        return;
    }
    let extent = match result {
        Ok(extent) => extent,
        Err(reason) => return fail(model, &format!("{item} stays"), &reason),
    };
    let still = model.history.selected().map(|row| row.item) == Some(item);
    if model.overlay.is_some() || model.screen != Screen::History || !still {
        return;
    }
    let title = model.history.row(item).map_or_else(|| item.to_string(), Row::title);
    let question = format!("Delete {title}? {} would go.", what_goes(&extent));
    let purpose = Purpose::Delete(vec![item]);
    model.overlay = Some(Overlay::Confirm { question, purpose, again: false });
}

fn deleted(model: &mut Model, items: &[Item], result: Result<Extent, String>) {
    let names: Vec<String> = items.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    match result {
        Ok(extent) => {
            if model.opened.is_some_and(|id| items.contains(&Item::Recording(id))) {
                model.opened = None;
            }
            model.say(format!("deleted {names}: {}", what_goes(&extent)));
        }
        Err(reason) => fail(model, &format!("{names} stays"), &reason),
    }
}

fn compared(model: &mut Model, first: Item, second: Item, result: Result<String, String>) {
    if model.history.comparing != Some((first, second)) {
        return;
    }
    model.history.comparing = None;
    match result {
        Ok(text) => {
            model.notice = None;
            if !text_above(model, format!("{second} against {first}"), text) {
                model.say(format!("{second} is compared with {first}: ask again to see it"));
            }
        }
        Err(reason) => fail(model, "nothing was compared", &reason),
    }
}

/// Says that something failed: in the footer if it fits there, so that it can
/// be read in full otherwise.
fn fail(model: &mut Model, what: &str, reason: &str) {
    let text = format!("{what}: {reason}");
    let fits = text.chars().count() + 1 <= usize::from(model.size.0);
    if fits || !text_above(model, what.to_owned(), reason.to_owned()) {
        model.complain(text);
    }
}

/// The figures of the screen.
pub fn table(model: &Model) -> Table {
    let state = &model.history;
    match &state.lists {
        Some(lists) => lists.table(&state.visible),
        None => Lists::default().table(&[]),
    }
}

#[cfg(test)]
mod tests;
