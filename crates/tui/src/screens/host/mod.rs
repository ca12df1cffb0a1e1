//! Host screen: what can be measured on this machine and how, which lanes run,
//! and what measuring costs.

mod check_rows;
mod draw;
mod keys;
mod layout;
mod queries;

pub use queries::{HostRequest, HostResponse};

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use crate::action::{Effect, UserAction};
use crate::keymap::ScreenKey;
use crate::model::Model;
use crate::overlay::{DialogAnswer, DialogPurpose, Overlay};
use crate::screens::{AnswerFunction, ListedScreen, Screen, live};
use cyclometer_core::units::Nanos;
use cyclometer_doctor::{HostCheckState as Found, HostFinding, LaneAvailability};
use cyclometer_lanes::LaneSpec;
use cyclometer_lanes::docker::EngineImage;
use cyclometer_report::{Cell, Column, Table};
use cyclometer_workload::Workload;
use layout::HostLayout;
use queries::{CheckGroup, SupportQuestion};

pub(crate) use check_rows::find_known_lane;

/// Legend of the figures for the help.
const LEGEND: &str = "What `cyclometer doctor` and `cyclometer lanes` find, part by part. ok: \
    it is there; warning: it is there, but less than it could be; missing: it is not, and the \
    text below says why and what to do; none: it is not, and nothing is lost by that. Meters name \
    their source; a lane says its version and starts. While something is recorded no lane is \
    opened and no read is timed: what the recording knows of its lanes is shown. cost of \
    measuring: CPU time of the sampler's own thread, and its share of the recording's time. \
    Events not shown are those that the live view was too slow for. Enter shows a line in full, r \
    looks again.";

/// State of the host screen.
#[derive(Debug, Default)]
pub(crate) struct HostState {
    /// Findings, by group.
    found: BTreeMap<CheckGroup, Vec<HostFinding>>,
    /// Lanes that were opened, and the moment of each.
    lanes: Vec<(Nanos, LaneAvailability)>,
    /// Lanes of the engine's OCI runtimes.
    runtimes: Vec<LaneSpec>,
    /// Answers of lanes about workloads, by the names of both.
    answers: BTreeMap<(String, String), LaneAnswer>,
    /// Images of the engine, or the reason why there are none; `None`: not known yet.
    images: Option<Result<Vec<EngineImage>, String>>,
    /// Requests that still have to be sent, one at a time.
    queue: VecDeque<HostRequest>,
    /// Request that the worker handles now.
    pending: Option<HostRequest>,
    /// Whether anything has been requested.
    begun: bool,
    /// Whether a recording was under way at the last frame.
    active: bool,
    /// Selected row.
    cursor: usize,
    /// Words of the filter, which rows must contain.
    filter_words: String,
    /// Layout of the last frame.
    layout: HostLayout,
}

/// Answer of an open lane about a workload.
#[derive(Debug)]
pub(crate) struct LaneAnswer {
    /// Workload that it was asked about.
    workload: Arc<Workload>,
    /// Reason why it cannot run there.
    pub refusal: Option<String>,
}

impl HostState {
    /// Returns the lanes of the engine's runtimes, as far as they are known.
    pub fn runtimes(&self) -> Vec<LaneSpec> {
        self.runtimes.clone()
    }

    /// Returns what a lane that was open answered about a workload; `None`: nothing yet.
    pub(crate) fn find_answer(&self, lane: &str, workload: &Arc<Workload>) -> Option<&LaneAnswer> {
        let answer = self.answers.get(&(lane.to_owned(), workload.name.clone()));
        // Another workload may have had that name.
        answer.filter(|answer| Arc::ptr_eq(&answer.workload, workload))
    }

    /// Returns the images of the engine, or the reason why there are none; `None`: not known yet.
    pub(crate) const fn images(&self) -> Option<&Result<Vec<EngineImage>, String>> {
        self.images.as_ref()
    }

    /// Returns the names of the engine's images, as far as they are known.
    pub(crate) fn image_names(&self) -> Vec<String> {
        let known = self.images.iter().flatten().flatten();
        known.map(|image| image.name.clone()).collect()
    }

    fn enqueue_request(&mut self, ask: HostRequest) {
        if !self.queue.contains(&ask) {
            self.queue.push_back(ask);
        }
    }
}

impl Screen for HostState {
    const NAME: &'static str = "Host";
    const TITLE: &'static str = "host";
    const LEGEND: &'static str = LEGEND;
    const KEYS: &'static [ScreenKey] = keys::KEYS;

    type Request = HostRequest;
    type Response = HostResponse;
    type Layout = HostLayout;
    type Dialog = Infallible;

    const ANSWER: Option<AnswerFunction<Self>> = Some(queries::answer);

    fn answered(model: &mut Model, answer: HostResponse) -> Vec<Effect> {
        let now = model.now;
        let (lanes, ask) = match answer {
            HostResponse::Found { part, findings, runtimes } => {
                let engine = part == CheckGroup::Containers;
                if engine {
                    model.screens.host.runtimes.clone_from(&runtimes);
                    skip_engine_lanes(model, &findings);
                }
                model.screens.host.found.insert(part, findings);
                (if engine { runtimes } else { Vec::new() }, HostRequest::Look(part))
            }
            HostResponse::Lane { spec, finding } => {
                store_lane_finding(&mut model.screens.host.lanes, now, finding);
                (Vec::new(), HostRequest::Lane(spec))
            }
            HostResponse::Support { question, finding, refusals } => {
                store_lane_finding(&mut model.screens.host.lanes, now, finding);
                keep_answers(&mut model.screens.host, &question, refusals);
                (Vec::new(), HostRequest::Support(question))
            }
            HostResponse::Images(images) => {
                model.screens.host.images = Some(images);
                (Vec::new(), HostRequest::Images)
            }
        };
        if model.screens.host.pending.as_ref() == Some(&ask) {
            model.screens.host.pending = None;
        }
        enqueue_lanes(model, lanes, false);
        let last = check_rows::visible_rows(model).len().saturating_sub(1);
        model.screens.host.cursor = model.screens.host.cursor.min(last);
        live::refresh_picker(model);
        send_next_request(model)
    }

    fn entered(model: &mut Model) -> Vec<Effect> {
        model.screens.host.active = model.snapshot.phase.is_active();
        if model.screens.host.begun {
            enqueue_changed(model);
            return send_next_request(model);
        }
        request_all(model, false)
    }

    fn tick(model: &mut Model) -> Vec<Effect> {
        let active = model.snapshot.phase.is_active();
        if std::mem::replace(&mut model.screens.host.active, active) && !active {
            // A recording ended: its sampler and its rows are known now.
            enqueue_changed(model);
        }
        send_next_request(model)
    }

    fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
        let last = check_rows::visible_rows(model).len().saturating_sub(1);
        let state = &mut model.screens.host;
        let page = state.layout.page_height();
        let at = state.cursor.min(last);
        match action {
            UserAction::Up | UserAction::PreviousPanel => state.cursor = at.saturating_sub(1),
            UserAction::Down | UserAction::NextPanel => state.cursor = (at + 1).min(last),
            UserAction::PageUp => state.cursor = at.saturating_sub(page),
            UserAction::PageDown => state.cursor = (at + page).min(last),
            UserAction::First => state.cursor = 0,
            UserAction::Last => state.cursor = last,
            UserAction::Filter => {
                let (title, text) = ("words in any line".to_owned(), state.filter_words.clone());
                model.overlay =
                    Some(Overlay::Prompt { title, text, purpose: DialogPurpose::Filter });
            }
            UserAction::Back => Self::set_filter(model, String::new()),
            UserAction::Enter => show_selected(model),
            UserAction::Refresh => {
                model.notify(if model.snapshot.phase.is_active() {
                    "looking again; at lanes when the recording is over"
                } else {
                    "looking again"
                });
                return request_all(model, true);
            }
            _ => {}
        }
        Vec::new()
    }

    fn click(model: &mut Model, at: Position) -> Vec<Effect> {
        if let Some(row) = draw::row_at(model, &model.screens.host.layout, at) {
            model.screens.host.cursor = row;
        }
        Vec::new()
    }

    fn table(model: &Model) -> Table {
        let mut table = Table::new(&[
            Column::text("section", "section"),
            Column::text("check", "check"),
            Column::text("state", "state"),
            Column::text("found", "found"),
            Column::text("fix", "fix"),
        ]);
        for row in check_rows::visible_rows(model) {
            let cells =
                [row.section.title(), &*row.check, row.mark.label(), &*row.found, &*row.fix];
            table.push(cells.map(Cell::text).to_vec());
        }
        table
    }

    fn lay_out(_model: &Model, area: Rect) -> HostLayout {
        HostLayout::new(area)
    }

    fn keep_layout(model: &mut Model, layout: HostLayout) {
        model.screens.host.layout = layout;
    }

    fn render(frame: &mut Frame<'_>, layout: &HostLayout, model: &Model) {
        draw::render(frame, layout, model);
    }

    fn submit_dialog(_: &mut Model, dialog: &Infallible, _: DialogAnswer<'_>) -> Vec<Effect> {
        match *dialog {}
    }

    fn set_filter(model: &mut Model, words: String) {
        model.screens.host.filter_words = words;
        model.screens.host.cursor = 0;
    }
}

/// Enqueues checks whose results change by themselves and are read quickly, and
/// lanes that only an older recording knew.
fn enqueue_changed(model: &mut Model) {
    model.screens.host.enqueue_request(HostRequest::Look(CheckGroup::Storage));
    model.screens.host.enqueue_request(HostRequest::Look(CheckGroup::Sampler));
    let mut specs = LaneSpec::all_known();
    specs.extend(model.screens.host.runtimes());
    specs.retain(|spec| {
        let name = spec.to_string();
        !model.screens.host.lanes.iter().any(|(_, finding)| finding.name == name)
    });
    enqueue_lanes(model, specs, false);
}

/// Requests all checks; `again`: also those of lanes that the recording opened.
fn request_all(model: &mut Model, again: bool) -> Vec<Effect> {
    model.screens.host.begun = true;
    let parts = [
        CheckGroup::Machine,
        CheckGroup::Storage,
        CheckGroup::Meters,
        CheckGroup::Sampler,
        CheckGroup::Cost,
    ];
    for part in parts {
        model.screens.host.enqueue_request(HostRequest::Look(part));
    }
    // Lanes that need no engine come first: an engine that hangs delays only
    // its own.
    let (docker, own): (Vec<LaneSpec>, Vec<LaneSpec>) =
        LaneSpec::all_known().into_iter().partition(|spec| matches!(spec, LaneSpec::Docker { .. }));
    enqueue_lanes(model, own, again);
    model.screens.host.enqueue_request(HostRequest::Look(CheckGroup::Containers));
    enqueue_lanes(model, docker, again);
    send_next_request(model)
}

fn enqueue_lanes(model: &mut Model, specs: Vec<LaneSpec>, again: bool) {
    for spec in specs {
        let name = spec.to_string();
        let known = model.snapshot.lanes.iter().any(|lane| *lane.name == *name);
        if again || !known {
            model.screens.host.enqueue_request(HostRequest::Lane(spec));
        }
    }
}

/// Requests what the picker of the live screen shows: which lanes run here, which of the
/// workloads they can run, and the images of the engine. Lanes that are known to run the workloads
/// are not opened again; those that refused may run them by now.
pub(crate) fn request_for_picker(model: &mut Model, workloads: &[Arc<Workload>]) -> Vec<Effect> {
    let mut specs = LaneSpec::all_known();
    specs.extend(model.screens.host.runtimes());
    specs.extend(model.screens.live.options.lanes.iter().cloned());
    let (docker, own): (Vec<LaneSpec>, Vec<LaneSpec>) =
        specs.into_iter().partition(|spec| matches!(spec, LaneSpec::Docker { .. }));
    for spec in own {
        enqueue_question(model, spec, workloads);
    }
    // An engine that hangs delays only its own.
    model.screens.host.enqueue_request(HostRequest::Look(CheckGroup::Containers));
    model.screens.host.enqueue_request(HostRequest::Images);
    for spec in docker {
        enqueue_question(model, spec, workloads);
    }
    send_next_request(model)
}

/// Enqueues the question which of the workloads a lane runs, unless it takes the form of none, or
/// is known to run them.
fn enqueue_question(model: &mut Model, spec: LaneSpec, workloads: &[Arc<Workload>]) {
    let name = spec.to_string();
    let state = &mut model.screens.host;
    let is_open = |it: &&Arc<Workload>| {
        let answer = state.find_answer(&name, it);
        spec.check_form(it).is_ok() && answer.is_none_or(|answer| answer.refusal.is_some())
    };
    let workloads: Vec<Arc<Workload>> = workloads.iter().filter(is_open).cloned().collect();
    if !workloads.is_empty() {
        state.enqueue_request(HostRequest::Support(SupportQuestion { spec, workloads }));
    }
}

/// Keeps the answers of a lane; one that cannot run gave none.
fn keep_answers(state: &mut HostState, question: &SupportQuestion, refusals: Vec<Option<String>>) {
    let lane = question.spec.to_string();
    for (workload, refusal) in question.workloads.iter().zip(refusals) {
        let answer = LaneAnswer { workload: Arc::clone(workload), refusal };
        state.answers.insert((lane.clone(), workload.name.clone()), answer);
    }
}

/// Sends the next request, if none is pending. Requests that could disturb a
/// recording wait for its end.
pub(crate) fn send_next_request(model: &mut Model) -> Vec<Effect> {
    let active = model.snapshot.phase.is_active();
    let disturbs = |ask: &HostRequest| {
        matches!(
            ask,
            HostRequest::Lane(_) | HostRequest::Support(_) | HostRequest::Look(CheckGroup::Cost)
        )
    };
    let state = &mut model.screens.host;
    if state.pending.is_some() {
        return Vec::new();
    }
    let place = state.queue.iter().position(|ask| !(active && disturbs(ask)));
    let Some(ask) = place.and_then(|place| state.queue.remove(place)) else { return Vec::new() };
    state.pending = Some(ask.clone());
    vec![HostState::query(ask)]
}

fn store_lane_finding(
    lanes: &mut Vec<(Nanos, LaneAvailability)>,
    now: Nanos,
    finding: LaneAvailability,
) {
    lanes.retain(|(_, older)| older.name != finding.name);
    lanes.push((now, finding));
}

/// Skips the waiting requests for lanes of an engine that is not available.
fn skip_engine_lanes(model: &mut Model, findings: &[HostFinding]) {
    let reason = findings.first().filter(|it| it.state != Found::Ok);
    let Some(reason) = reason.map(|it| it.found.clone()) else { return };
    let now = model.now;
    let state = &mut model.screens.host;
    let (lanes, queue) = (&mut state.lanes, &mut state.queue);
    queue.retain(|ask| {
        let spec = match ask {
            HostRequest::Lane(spec) => spec,
            HostRequest::Support(question) => &question.spec,
            HostRequest::Images => {
                state.images = Some(Err(reason.clone()));
                return false;
            }
            HostRequest::Look(_) => return true,
        };
        let is_of_engine = matches!(spec, LaneSpec::Docker { .. });
        if is_of_engine {
            let finding = LaneAvailability { name: spec.to_string(), about: Err(reason.clone()) };
            store_lane_finding(lanes, now, finding);
        }
        !is_of_engine
    });
}

/// Shows the selected row in full.
fn show_selected(model: &mut Model) {
    let rows = check_rows::visible_rows(model);
    let Some(row) = rows.get(model.screens.host.cursor) else { return };
    let mut text = format!("{}\n\n{}", row.mark.label(), row.found);
    if !row.fix.is_empty() {
        text = format!("{text}\n\nwhat to do: {}", row.fix);
    }
    model.overlay = Some(Overlay::Text { title: row.check.clone(), text, scroll: 0 });
}

#[cfg(test)]
mod tests;
