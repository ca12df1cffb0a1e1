//! Host screen: what can be measured on this machine and how, which lanes run,
//! and what measuring costs.

mod draw;
mod rows;
mod work;

pub use draw::draw;
pub use work::{Answer, Ask, answer};

use std::collections::{BTreeMap, VecDeque};

use ratatui::layout::{Position, Rect};

use crate::action::{Action, Effect};
use crate::model::Model;
use crate::overlay::{Overlay, Purpose};
use cyclometer_core::units::Nanos;
use cyclometer_doctor::{Finding, LaneFinding, State as Found};
use cyclometer_lanes::LaneSpec;
use cyclometer_report::{Cell, Column, Table};
use work::Part;

/// Legend of the figures for the help.
pub const LEGEND: &str = "What `cyclometer doctor` and `cyclometer lanes` find, part by part. ok: \
    it is there; warning: it is there, but less than it could be; missing: it is not, and the \
    text below says why and what to do; none: it is not, and nothing is lost by that. Meters name \
    their source; a lane says its version and starts. While something is recorded no lane is \
    opened and no read is timed: what the recording knows of its lanes is shown. cost of \
    measuring: CPU time of the sampler's own thread, and its share of the recording's time. \
    Events not shown are those that the live view was too slow for. Enter shows a line in full, r \
    looks again.";

/// State of the host screen.
#[derive(Debug, Default)]
pub struct State {
    /// Findings, by group.
    found: BTreeMap<Part, Vec<Finding>>,
    /// Lanes that were opened, and the moment of each.
    lanes: Vec<(Nanos, LaneFinding)>,
    /// Lanes of the engine's OCI runtimes.
    runtimes: Vec<LaneSpec>,
    /// Requests that still have to be sent, one at a time.
    queue: VecDeque<Ask>,
    /// Request that the worker handles now.
    pending: Option<Ask>,
    /// Whether anything has been requested.
    begun: bool,
    /// Whether a recording was under way at the last frame.
    active: bool,
    /// Selected row.
    cursor: usize,
    /// Words of the filter, which rows must contain.
    words: String,
}

impl State {
    /// Returns the lanes of the engine's runtimes, as far as they are known.
    pub fn runtimes(&self) -> Vec<LaneSpec> {
        self.runtimes.clone()
    }

    fn want(&mut self, ask: Ask) {
        if !self.queue.contains(&ask) {
            self.queue.push_back(ask);
        }
    }
}

/// Handles that the screen comes into sight.
pub fn entered(model: &mut Model) -> Vec<Effect> {
    model.host.active = model.snapshot.phase.is_active();
    if model.host.begun {
        want_changed(model);
        return next(model);
    }
    look(model, false)
}

/// Enqueues checks whose results change by themselves and are read quickly, and
/// lanes that only an older recording knew.
fn want_changed(model: &mut Model) {
    model.host.want(Ask::Look(Part::Storage));
    model.host.want(Ask::Look(Part::Sampler));
    let mut specs = LaneSpec::all();
    specs.extend(model.host.runtimes());
    specs.retain(|spec| {
        let name = spec.to_string();
        !model.host.lanes.iter().any(|(_, finding)| finding.name == name)
    });
    want_lanes(model, specs, false);
}

/// Requests all checks; `again`: also those of lanes that the recording opened.
fn look(model: &mut Model, again: bool) -> Vec<Effect> {
    model.host.begun = true;
    let parts = [Part::Machine, Part::Storage, Part::Meters, Part::Sampler, Part::Cost];
    for part in parts {
        model.host.want(Ask::Look(part));
    }
    // Lanes that need no engine come first: an engine that hangs delays only
    // its own.
    let (docker, own): (Vec<LaneSpec>, Vec<LaneSpec>) =
        LaneSpec::all().into_iter().partition(|spec| matches!(spec, LaneSpec::Docker { .. }));
    want_lanes(model, own, again);
    model.host.want(Ask::Look(Part::Containers));
    want_lanes(model, docker, again);
    next(model)
}

fn want_lanes(model: &mut Model, specs: Vec<LaneSpec>, again: bool) {
    for spec in specs {
        let name = spec.to_string();
        let known = model.snapshot.lanes.iter().any(|lane| *lane.name == *name);
        if again || !known {
            model.host.want(Ask::Lane(spec));
        }
    }
}

/// Sends the next request, if none is pending. Requests that could disturb a
/// recording wait for its end.
fn next(model: &mut Model) -> Vec<Effect> {
    let active = model.snapshot.phase.is_active();
    let disturbs = |ask: &Ask| matches!(ask, Ask::Lane(_) | Ask::Look(Part::Cost));
    let state = &mut model.host;
    if state.pending.is_some() {
        return Vec::new();
    }
    let place = state.queue.iter().position(|ask| !(active && disturbs(ask)));
    let Some(ask) = place.and_then(|place| state.queue.remove(place)) else { return Vec::new() };
    state.pending = Some(ask.clone());
    vec![Effect::Host(ask)]
}

/// Sends requests that have become possible; called for every frame.
pub fn tick(model: &mut Model) -> Vec<Effect> {
    let active = model.snapshot.phase.is_active();
    if std::mem::replace(&mut model.host.active, active) && !active {
        // A recording ended: its sampler and its rows are known now.
        want_changed(model);
    }
    next(model)
}

/// Handles a response of the worker.
pub fn answered(model: &mut Model, answer: Answer) -> Vec<Effect> {
    let now = model.now;
    let (lanes, ask) = match answer {
        Answer::Found { part, findings, runtimes } => {
            let engine = part == Part::Containers;
            if engine {
                model.host.runtimes.clone_from(&runtimes);
                no_engine(model, &findings);
            }
            model.host.found.insert(part, findings);
            (if engine { runtimes } else { Vec::new() }, Ask::Look(part))
        }
        Answer::Lane { spec, finding } => {
            keep(&mut model.host.lanes, now, finding);
            (Vec::new(), Ask::Lane(spec))
        }
    };
    if model.host.pending.as_ref() == Some(&ask) {
        model.host.pending = None;
    }
    want_lanes(model, lanes, false);
    let last = rows::rows(model).len().saturating_sub(1);
    model.host.cursor = model.host.cursor.min(last);
    next(model)
}

fn keep(lanes: &mut Vec<(Nanos, LaneFinding)>, now: Nanos, finding: LaneFinding) {
    lanes.retain(|(_, older)| older.name != finding.name);
    lanes.push((now, finding));
}

/// Skips the waiting requests for lanes of an engine that is not available.
fn no_engine(model: &mut Model, findings: &[Finding]) {
    let reason = findings.first().filter(|it| it.state != Found::Ok);
    let Some(reason) = reason.map(|it| it.found.clone()) else { return };
    let now = model.now;
    let of_engine = |ask: &Ask| matches!(ask, Ask::Lane(LaneSpec::Docker { .. }));
    let state = &mut model.host;
    for ask in state.queue.iter().filter(|ask| of_engine(ask)) {
        if let Ask::Lane(spec) = ask {
            let finding = LaneFinding { name: spec.to_string(), about: Err(reason.clone()) };
            keep(&mut state.lanes, now, finding);
        }
    }
    state.queue.retain(|ask| !of_engine(ask));
}

/// Applies an action.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    let last = rows::rows(model).len().saturating_sub(1);
    let page = draw::page(model);
    let state = &mut model.host;
    let at = state.cursor.min(last);
    match action {
        Action::Up | Action::PreviousPanel => state.cursor = at.saturating_sub(1),
        Action::Down | Action::NextPanel => state.cursor = (at + 1).min(last),
        Action::PageUp => state.cursor = at.saturating_sub(page),
        Action::PageDown => state.cursor = (at + page).min(last),
        Action::First => state.cursor = 0,
        Action::Last => state.cursor = last,
        Action::Filter => {
            let (title, text) = ("words in any line".to_owned(), state.words.clone());
            model.overlay = Some(Overlay::Prompt { title, text, purpose: Purpose::Filter });
        }
        Action::Back => filter(model, String::new()),
        Action::Enter => show(model),
        Action::Refresh => {
            model.say(if model.snapshot.phase.is_active() {
                "looking again; at lanes when the recording is over"
            } else {
                "looking again"
            });
            return look(model, true);
        }
        _ => {}
    }
    Vec::new()
}

/// Shows the selected row in full.
fn show(model: &mut Model) {
    let rows = rows::rows(model);
    let Some(row) = rows.get(model.host.cursor) else { return };
    let mut text = format!("{}\n\n{}", row.mark.word(), row.found);
    if !row.fix.is_empty() {
        text = format!("{text}\n\nwhat to do: {}", row.fix);
    }
    model.overlay = Some(Overlay::Text { title: row.check.clone(), text, scroll: 0 });
}

/// Filters the rows to those that contain these words, given in lower case.
pub fn filter(model: &mut Model, words: String) {
    model.host.words = words;
    model.host.cursor = 0;
}

/// Handles a click: it selects a row.
pub fn click(model: &mut Model, area: Rect, at: Position) -> Vec<Effect> {
    if let Some(row) = draw::row_at(model, area, at) {
        model.host.cursor = row;
    }
    Vec::new()
}

/// Returns the figures of the screen.
pub fn table(model: &Model) -> Table {
    let mut table = Table::new(&[
        Column::text("section", "section"),
        Column::text("check", "check"),
        Column::text("state", "state"),
        Column::text("found", "found"),
        Column::text("fix", "fix"),
    ]);
    for row in rows::rows(model) {
        let cells = [row.section.title(), &*row.check, row.mark.word(), &*row.found, &*row.fix];
        table.push(cells.map(Cell::text).to_vec());
    }
    table
}

#[cfg(test)]
mod tests;
