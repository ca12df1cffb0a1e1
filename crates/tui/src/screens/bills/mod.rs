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

mod desk;
mod detail;
mod draw;
#[cfg(test)]
mod drawing_tests;
mod figures;
#[cfg(test)]
mod fixture;
mod order;
mod panel;
mod request;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ratatui::layout::{Position, Rect};

use crate::action::{Action, Effect};
use crate::model::Model;
use crate::overlay::{Overlay, Purpose};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::StartKind;

use desk::{Cell, Known, Trouble};
use detail::Detail;
use figures::Figures;
use order::Sort;
use request::{Request, SIZES, VOLUMES, wanted};

pub use desk::{Answer, Ask, answer};
pub use draw::draw;
pub use table::table;

/// Explanation of the amounts, shown in the help.
pub const LEGEND: &str = "A row a price model, a column a lane. Lanes may have different numbers of \
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
    arithmetic.";

/// Duration from which on a running computation is indicated on the screen.
const NOTICEABLE: Nanos = Nanos(300_000_000);

/// Shortest time between two computations that are due to a growing recording.
const PACE: Nanos = Nanos(1_000_000_000);

/// Factor between the duration of a computation and the pause that follows it:
/// recomputing takes up to a fifth of the time, since it disturbs what is measured.
const SHARE: u64 = 5;

/// Time until a failed computation is tried again.
const RETRY: Nanos = Nanos(5_000_000_000);

/// State of the bills screen.
#[derive(Debug, Default)]
pub struct State {
    /// Workload shown; `None`: all.
    workload: Option<String>,
    /// Start kind shown; `None`: both.
    start: Option<StartKind>,
    /// Assumed memory, as an index into [`SIZES`].
    memory: usize,
    /// Requests a month, as an index into [`VOLUMES`].
    volume: usize,
    /// Whether only the models of the live view are shown.
    live_only: bool,
    /// Filter: words that a row must contain, in lower case.
    words: String,
    sort: Sort,
    reverse: bool,
    /// Id of the selected model, which keeps the selection when rows move.
    chosen: Option<String>,
    /// Position of the selected row among the visible ones.
    row: usize,
    /// Index of the selected lane.
    lane: usize,
    /// Request that has no response yet, and when it was made.
    asked: Option<(Request, Nanos)>,
    /// Cell whose explanation was requested, and when.
    explaining: Option<(Box<Cell>, Nanos)>,
    /// Request that was answered last, successfully or not.
    last: Option<Request>,
    /// Time before which a growing recording does not cause a new request.
    rest_until: Nanos,
    /// Bills that are shown.
    held: Option<Held>,
    /// Error of the latest computation: the reason why nothing newer is shown.
    trouble: Option<Trouble>,
    /// Visible rows, as indices into [`Figures::rows`].
    order: Vec<usize>,
    /// Texts about the selected cell.
    detail: Option<Detail>,
}

/// Loaded bills with the request that they answer.
#[derive(Debug)]
struct Held {
    request: Request,
    known: Arc<Known>,
    figures: Figures,
}

/// Handles that the screen comes into view.
pub fn entered(model: &mut Model) -> Vec<Effect> {
    if model.bills.trouble.is_some() {
        // Returning to the screen retries after an error.
        model.bills.last = None;
    }
    follow(model)
}

/// Handles the passage of time.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    follow(model)
}

/// Requests the bills to be shown, unless they are loaded or already requested.
fn follow(model: &mut Model) -> Vec<Effect> {
    let Some(mut wish) = wanted(model) else {
        let State { asked, held, trouble, last, detail, order, .. } = &mut model.bills;
        (*asked, *held, *trouble, *last, *detail) = (None, None, None, None, None);
        order.clear();
        return Vec::new();
    };
    let now = model.now;
    let state = &mut model.bills;
    let other = |request: &Request| request.source.recording != wish.source.recording;
    if state.held.as_ref().is_some_and(|held| other(&held.request)) {
        (state.held, state.detail, state.trouble) = (None, None, None);
        state.order.clear();
    }
    if let Some(held) = &state.held
        && held.request.source.is_like(&wish.source)
        && held.request.view != wish.view
    {
        // Another view needs no other sums; new invocations come with the next replay.
        wish.source.done = held.request.source.done;
    }
    if let Some((asked, _)) = &state.asked {
        if asked.is_like(&wish) {
            return Vec::new();
        }
    } else if let Some(last) = state.last.as_ref().filter(|last| last.is_like(&wish)) {
        let again = state.trouble.as_ref().is_some_and(|it| it.passes);
        if (last.source.done == wish.source.done && !again) || now < state.rest_until {
            return Vec::new();
        }
    }
    let known = state.held.as_ref().map(|held| Arc::clone(&held.known));
    state.asked = Some((wish.clone(), now));
    vec![Effect::Bills(Ask::Figures { request: Box::new(wish), known })]
}

/// Handles a response of the query worker.
pub fn answered(model: &mut Model, answer: Answer) -> Vec<Effect> {
    match answer {
        Answer::Figures { request, result } => {
            let (now, state) = (model.now, &mut model.bills);
            let Some((_, since)) = state.asked.take_if(|(asked, _)| *asked == *request) else {
                return Vec::new();
            };
            let rest = Nanos(now.since(since).0.saturating_mul(SHARE)).max(PACE);
            state.rest_until = Nanos(now.0 + rest.0);
            state.last = Some((*request).clone());
            match result {
                Ok((known, figures)) => {
                    state.trouble = None;
                    state.held = Some(Held { request: *request, known, figures });
                }
                Err(trouble) => {
                    if trouble.passes {
                        state.rest_until = Nanos(now.0 + RETRY.0);
                    }
                    state.trouble = Some(trouble);
                }
            }
            arrange(model);
            leave_unknown_workload(model)
        }
        Answer::Explained { cell, text } => {
            explained(model, &cell, text);
            Vec::new()
        }
    }
}

/// Resets a workload filter that names no workload of this recording.
fn leave_unknown_workload(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.bills;
    let Some(held) = &state.held else { return Vec::new() };
    let gone = |name: &String| !held.figures.workloads.contains(name);
    if state.workload.as_ref().is_some_and(gone) {
        state.workload = None;
        return follow(model);
    }
    Vec::new()
}

fn explained(model: &mut Model, cell: &Cell, text: Result<String, String>) {
    let asked = model.bills.explaining.as_ref();
    let same = asked.is_some_and(|(asked, _)| {
        asked.model == cell.model && asked.lane == cell.lane && asked.request == cell.request
    });
    if !same {
        return;
    }
    model.bills.explaining = None;
    let in_sight = model.screen == crate::screens::Screen::Bills && model.overlay.is_none();
    if !in_sight {
        return;
    }
    match text {
        Ok(text) => {
            let title = cell.known.summary.models().get(cell.model).map_or("", |info| &info.id);
            let title = format!("{title} in {}", cell.lane);
            model.overlay = Some(Overlay::Text { title, text, scroll: 0 });
        }
        Err(reason) => model.complain(format!("cannot be explained: {reason}")),
    }
}

/// Recomputes the visible rows and the detail after a change. The selected model stays
/// selected while it is visible.
fn arrange(model: &mut Model) {
    let state = &mut model.bills;
    let Some(held) = &state.held else { return };
    let figures = &held.figures;
    state.lane = state.lane.min(figures.lanes.len().saturating_sub(1));
    state.order = order::order(figures, &state.words, (state.sort, state.reverse), state.lane);
    let chosen = state.chosen.as_ref();
    let place = chosen.and_then(|id| state.order.iter().position(|at| figures.rows[*at].id == *id));
    state.row = place.unwrap_or(state.row).min(state.order.len().saturating_sub(1));
    let row = state.order.get(state.row).copied();
    state.detail = row.map(|row| detail::of(held, row, state.lane, &model.live.models));
}

/// Handles an action.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    let page = isize::try_from(draw::page(model)).unwrap_or(1);
    let state = &mut model.bills;
    state.explaining = None;
    match action {
        Action::Up => move_row(state, -1),
        Action::Down => move_row(state, 1),
        Action::PageUp => move_row(state, -page),
        Action::PageDown => move_row(state, page),
        Action::First => move_row(state, isize::MIN),
        Action::Last => move_row(state, isize::MAX),
        Action::Left | Action::PreviousPanel => state.lane = state.lane.saturating_sub(1),
        // An index past the last lane is clamped below.
        Action::Right | Action::NextPanel => state.lane += 1,
        Action::Sort => state.sort = state.sort.next(),
        Action::Reverse => state.reverse = !state.reverse,
        Action::LessMemory => state.memory = state.memory.saturating_sub(1),
        Action::MoreMemory => state.memory = (state.memory + 1).min(SIZES.len() - 1),
        Action::LessVolume => state.volume = state.volume.saturating_sub(1),
        Action::MoreVolume => state.volume = (state.volume + 1).min(VOLUMES.len() - 1),
        Action::Models => state.live_only = !state.live_only,
        Action::NextWorkload => state.workload = next_workload(state),
        Action::StartKind => {
            state.start = match state.start {
                None => Some(StartKind::Cold),
                Some(StartKind::Cold) => Some(StartKind::Warm),
                Some(StartKind::Warm) => None,
            };
        }
        Action::Filter => {
            let text = state.words.clone();
            let title = "words of a line, name or provider".to_owned();
            model.overlay = Some(Overlay::Prompt { title, text, purpose: Purpose::Filter });
        }
        Action::Enter => return explain(model),
        Action::Back => back(state),
        _ => return Vec::new(),
    }
    arrange(model);
    follow(model)
}

/// Clears the filter first, then every setting that differs from the recording.
fn back(state: &mut State) {
    if !state.words.is_empty() {
        state.words.clear();
        return;
    }
    (state.workload, state.start) = (None, None);
    (state.memory, state.volume) = (0, 0);
}

fn move_row(state: &mut State, by: isize) {
    let last = state.order.len().saturating_sub(1);
    let Some(held) = &state.held else { return };
    state.row = state.row.saturating_add_signed(by).min(last);
    let row = state.order.get(state.row).and_then(|at| held.figures.rows.get(*at));
    state.chosen = row.map(|row| row.id.clone());
}

/// Returns the workload after the one shown; `None` (all) after the last.
fn next_workload(state: &State) -> Option<String> {
    let names = &state.held.as_ref()?.figures.workloads;
    match &state.workload {
        None => names.first().cloned(),
        Some(name) => {
            let at = names.iter().position(|it| it == name)?;
            names.get(at + 1).cloned()
        }
    }
}

/// Requests the arithmetic of the selected cell.
fn explain(model: &mut Model) -> Vec<Effect> {
    let (now, state) = (model.now, &mut model.bills);
    let Some(held) = &state.held else { return Vec::new() };
    let figures = &held.figures;
    let row = state.order.get(state.row).copied();
    let Some((at, lane)) = row.zip(figures.lanes.get(state.lane)) else { return Vec::new() };
    let row = &figures.rows[at];
    if let Err(reason) = &lane.group {
        let title = format!("{} in {}", row.id, lane.name);
        model.overlay = Some(Overlay::Text { title, text: reason.clone(), scroll: 0 });
        return Vec::new();
    }
    let models = held.known.summary.models();
    let Some(place) = models.iter().position(|info| info.id == row.id) else {
        return Vec::new();
    };
    let cell = Box::new(Cell {
        request: held.request.clone(),
        known: Arc::clone(&held.known),
        model: place,
        lane: lane.name.clone(),
    });
    state.explaining = Some((cell.clone(), now));
    vec![Effect::Bills(Ask::Explain(cell))]
}

/// Handles a click: selects a cell.
pub fn click(model: &mut Model, area: Rect, at: Position) -> Vec<Effect> {
    let Some((row, lane)) = draw::hit(model, area, at) else { return Vec::new() };
    let state = &mut model.bills;
    state.explaining = None;
    if let (Some(row), Some(held)) = (row, &state.held) {
        state.row = row;
        let row = state.order.get(row).and_then(|at| held.figures.rows.get(*at));
        state.chosen = row.map(|row| row.id.clone());
    }
    state.lane = lane.unwrap_or(state.lane);
    arrange(model);
    Vec::new()
}

/// Shows only rows that contain these words, given in lower case.
pub fn filter(model: &mut Model, words: String) {
    model.bills.words = words;
    arrange(model);
}
