//! Live screen: one workload in all lanes side by side while they are recorded,
//! and the cost of a million invocations of it.
//!
//! ```text
//! [nbody] nop  wait           10 runs, one lane at a time
//! one lane at a time: wasmtime runs nbody cold #4         what matters most
//! ┌ native · nbody ┐┌ wasmtime · nbody ┐┌ docker · nbody ┐
//! │ times, charts, ││ the same rows    ││ and axes       │
//! │ memory, meters ││                  ││                │
//! └────────────────┘└──────────────────┘└────────────────┘
//! ┌ bills of a million cold nbody ───────────────────────┐
//! │ models x lanes, ratio, what the coarse bill is for   │
//! └──────────────────────────────────────────────────────┘
//! ┌ messages ────────────────────────────────────────────┐  where there is room
//! ```

mod bill_panel;
mod chart_axes;
mod detail;
mod keys;
mod lane_columns;
mod lane_layout;
mod layout;
mod picker;
mod queries;
mod selection;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use picker::refresh_picker;
pub use queries::{LiveRequest, LiveResponse};

use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::action::{Effect, UserAction};
use crate::keymap::ScreenKey;
use crate::model::Model;
use crate::overlay::DialogAnswer;
use crate::screens::history;
use crate::screens::{AnswerFunction, Screen, host};
use crate::session::{RecordingOptions, SessionCommand};
use crate::theme::StyleRole;
use crate::widgets::text::{display_width, fit};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{StartKind, Status};
use cyclometer_record::live::{
    CellState, CellView, LiveSnapshot, Running, SPANS, SessionPhase, StorageState,
};
use cyclometer_report::Table;
use layout::{LiveLayout, visible_lanes, workload_tabs};

/// Legend of the figures for the help.
const LEGEND: &str = "A column a lane; all show the workload that is marked in the first line, \
    whatever runs. start: from the request to the function's first instruction; run: from there to \
    the end; last, median and 95th percentile of the newest 4096 that ended well. Dimmed: of the \
    warm-up. The charts are of this workload alone, with the same time and the same range in all \
    lanes; ? is time that was not measured. r: ticks of the time-stamp counter where no cycle \
    counter is shown, e estimated from CPU time, u user mode only. mem: the largest peak of what is \
    allocated. ops: Wasm operators of a separate counting run. Bills are those of a million \
    invocations like these, at list prices; the bar is what the bill of the named model is for. - is \
    missing: enter on the lane says why, and where every figure comes from.";

/// Resolution from which zooming in begins.
const ZOOM: usize = 1;

/// State of the live screen.
#[derive(Debug)]
pub(crate) struct LiveState {
    /// Options of the next recording.
    pub options: RecordingOptions,
    /// Ids of the price models whose bills are shown.
    pub models: Vec<String>,
    /// Snapshot that is shown while the view is frozen.
    pub frozen: Option<Arc<LiveSnapshot>>,
    /// Moment at which the view was frozen.
    pub frozen_at: Nanos,
    /// Workload that was chosen; `None`: the first that can run.
    pub workload: Option<String>,
    /// Kind of start that was chosen; `None`: both, where there is room.
    pub start: Option<StartKind>,
    /// Selected lane.
    pub lane: usize,
    /// Whether bills are of a million invocations, rather than of those so far.
    pub per_million: bool,
    /// Resolution of the charts; `None`: one that shows the whole recording.
    pub zoom: Option<usize>,
    /// Whether there was no recording before this program.
    pub first: bool,
    /// Workloads that were turned on in the choice from which a function is added.
    chosen_before: Vec<String>,
    /// Number of the newest request to add functions.
    newest_request: u64,
    /// Request for images that were chosen in the list, and the workloads chosen beside them.
    chosen_images: Option<(u64, Vec<String>)>,
    /// Layout of the last frame.
    layout: LiveLayout,
}

impl Default for LiveState {
    fn default() -> Self {
        Self::new(RecordingOptions::for_demo(), Vec::new(), false)
    }
}

/// Purpose of a dialog of the live screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiveDialog {
    /// Workloads to record.
    Workloads,
    /// Lanes to record.
    Lanes,
    /// Price models of the live view.
    Models,
    /// Function to add and to choose.
    AddFunction,
    /// Function to add to the choice of workloads.
    AddToChoice,
}

impl LiveState {
    /// Creates the state before the first recording.
    #[must_use]
    pub const fn new(wanted: RecordingOptions, models: Vec<String>, first: bool) -> Self {
        Self {
            options: wanted,
            models,
            frozen: None,
            frozen_at: Nanos(0),
            workload: None,
            start: None,
            lane: 0,
            per_million: true,
            zoom: None,
            first,
            chosen_before: Vec::new(),
            newest_request: 0,
            chosen_images: None,
            layout: LiveLayout::EMPTY,
        }
    }
}

impl Screen for LiveState {
    const NAME: &'static str = "Live";
    const TITLE: &'static str = "live comparison";
    const LEGEND: &'static str = LEGEND;
    const KEYS: &'static [ScreenKey] = keys::KEYS;
    const SHOWS_BILL_PARTS: bool = true;

    type Request = LiveRequest;
    type Response = LiveResponse;
    type Layout = LiveLayout;
    type Dialog = LiveDialog;

    const ANSWER: Option<AnswerFunction<Self>> = Some(queries::answer);

    fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
        let lanes = shown_snapshot(model).lanes.len().max(1);
        match action {
            UserAction::Start => return start_recording(model),
            UserAction::Stop => return stop_recording(model),
            UserAction::Pause => toggle_freeze(model),
            UserAction::Loop => {
                toggle_option(model, |wanted| wanted.until_stopped = !wanted.until_stopped);
            }
            UserAction::Race => toggle_option(model, |wanted| wanted.race = !wanted.race),
            UserAction::Workloads => return picker::choose_workloads(model),
            UserAction::AddFunction => return picker::open_field(model, LiveDialog::AddFunction),
            UserAction::Lanes => return picker::choose_lanes(model),
            UserAction::Models => picker::choose_models(model),
            UserAction::NextWorkload => {
                model.screens.live.workload = neighbouring_workload(model, true);
            }
            UserAction::PreviousWorkload => {
                model.screens.live.workload = neighbouring_workload(model, false);
            }
            UserAction::StartKind => {
                model.screens.live.start = match model.screens.live.start {
                    None => Some(StartKind::Cold),
                    Some(StartKind::Cold) => Some(StartKind::Warm),
                    Some(StartKind::Warm) => None,
                };
            }
            UserAction::Unit => model.screens.live.per_million = !model.screens.live.per_million,
            UserAction::ZoomIn => {
                model.screens.live.zoom =
                    Some(model.screens.live.zoom.unwrap_or(ZOOM + 1).saturating_sub(1));
            }
            UserAction::ZoomOut => {
                let next = model.screens.live.zoom.map_or(ZOOM, |zoom| zoom + 1);
                model.screens.live.zoom = Some(next.min(SPANS.len() - 1));
            }
            UserAction::ZoomReset => model.screens.live.zoom = None,
            UserAction::Right | UserAction::NextPanel | UserAction::Down => {
                model.screens.live.lane = (model.screens.live.lane + 1) % lanes;
            }
            UserAction::Left | UserAction::PreviousPanel | UserAction::Up => {
                model.screens.live.lane = (model.screens.live.lane + lanes - 1) % lanes;
            }
            UserAction::First => model.screens.live.lane = 0,
            UserAction::Last => model.screens.live.lane = lanes - 1,
            UserAction::Enter => model.overlay = detail::selected_lane_overlay(model),
            UserAction::Back => {
                model.screens.live.frozen = None;
                model.screens.live.workload = None;
                model.screens.live.start = None;
            }
            _ => {}
        }
        Vec::new()
    }

    fn click(model: &mut Model, at: Position) -> Vec<Effect> {
        let layout = model.screens.live.layout;
        if layout.tabs.contains(at) {
            let x = at.x - layout.tabs.x;
            let hit = workload_tabs(model).into_iter().find(|(_, text, from)| {
                (*from..*from + u16::try_from(display_width(text)).unwrap_or(0)).contains(&x)
            });
            if let Some((name, ..)) = hit {
                model.screens.live.workload = Some(name);
            }
            return Vec::new();
        }
        let hit =
            visible_lanes(model, layout.lanes).into_iter().find(|(_, place)| place.contains(at));
        if let Some((lane, _)) = hit {
            model.screens.live.lane = lane;
        }
        Vec::new()
    }

    fn lay_out(model: &Model, area: Rect) -> LiveLayout {
        LiveLayout::new(model, area)
    }

    fn keep_layout(model: &mut Model, layout: LiveLayout) {
        model.screens.live.layout = layout;
    }

    fn render(frame: &mut Frame<'_>, layout: &LiveLayout, model: &Model) {
        let snapshot = shown_snapshot(model);
        draw_tabs(frame, layout.tabs, model, snapshot);
        let (text, role) = urgent_notice(model, snapshot)
            .unwrap_or_else(|| (activity_line(model, snapshot), StyleRole::Dim));
        let text = fit(&format!(" {text}"), usize::from(layout.summary.width));
        let line = Line::from(Span::styled(text, model.theme.style(role)));
        frame.render_widget(Paragraph::new(line), layout.summary);
        let columns = visible_lanes(model, layout.lanes);
        let out_of_sight = lane_columns::lane_names(model).len().saturating_sub(columns.len());
        lane_columns::render(frame, &columns, model, snapshot, out_of_sight);
        bill_panel::render(frame, layout.bills, model, snapshot);
        if layout.messages.height > 2 {
            render_messages(frame, layout.messages, model, snapshot);
        }
    }

    fn tick(model: &mut Model) -> Vec<Effect> {
        let mut effects = history::conclusion::request_conclusion(model);
        // Lanes are not opened while something is recorded.
        if model.overlay.is_some() {
            effects.extend(host::send_next_request(model));
        }
        effects
    }

    fn answered(model: &mut Model, response: LiveResponse) -> Vec<Effect> {
        picker::handle_response(model, response)
    }

    fn table(model: &Model) -> Table {
        table::table(model)
    }

    fn submit_dialog(
        model: &mut Model,
        dialog: &LiveDialog,
        answer: DialogAnswer<'_>,
    ) -> Vec<Effect> {
        match (dialog, answer) {
            (LiveDialog::Workloads, DialogAnswer::Chosen(names)) => {
                picker::set_workloads(model, names)
            }
            (LiveDialog::Workloads, DialogAnswer::Opened(chosen)) => {
                model.screens.live.chosen_before = chosen.to_vec();
                picker::open_field(model, LiveDialog::AddToChoice)
            }
            (LiveDialog::Lanes, DialogAnswer::Chosen(names)) => picker::set_lanes(model, names),
            (LiveDialog::Models, DialogAnswer::Chosen(names)) => picker::set_models(model, names),
            (LiveDialog::AddFunction | LiveDialog::AddToChoice, DialogAnswer::Text(line)) => {
                picker::add_functions(model, vec![line.to_owned()])
            }
            (_, DialogAnswer::Complete(line)) => picker::complete_line(model, line),
            _ => Vec::new(),
        }
    }
}

/// Returns the snapshot that is shown: the newest, or the frozen one.
fn shown_snapshot(model: &Model) -> &LiveSnapshot {
    model.screens.live.frozen.as_deref().unwrap_or(&model.snapshot)
}

fn start_recording(model: &mut Model) -> Vec<Effect> {
    if model.snapshot.phase.is_active() {
        model.notify_error("a recording is under way: stop it first");
        return Vec::new();
    }
    if let Some(reason) = picker::find_start_refusal(model) {
        model.notify_error(reason);
        return picker::look_again(model);
    }
    model.screens.live.frozen = None;
    model.screens.live.first = false;
    model.opened = None;
    let options = Box::new(model.screens.live.options.clone());
    vec![Effect::Session(SessionCommand::Start(options, Arc::clone(&model.catalog)))]
}

fn stop_recording(model: &mut Model) -> Vec<Effect> {
    match model.snapshot.phase {
        SessionPhase::Opening | SessionPhase::Running => {
            let key = model.keymap.key_for(UserAction::Stop, model.screen).unwrap_or_default();
            model.notify(format!("stops after this invocation; {key} again stops at once"));
        }
        SessionPhase::Finishing => model.notify("stops at once"),
        SessionPhase::Idle | SessionPhase::Ended { .. } | SessionPhase::Failed { .. } => {
            model.notify_error("nothing is being recorded");
            return Vec::new();
        }
    }
    vec![Effect::Session(SessionCommand::Stop)]
}

fn toggle_freeze(model: &mut Model) {
    model.screens.live.frozen_at = model.now;
    model.screens.live.frozen = match model.screens.live.frozen.take() {
        Some(_) => None,
        None => Some(Arc::clone(&model.snapshot)),
    };
}

fn toggle_option(model: &mut Model, change: fn(&mut RecordingOptions)) {
    change(&mut model.screens.live.options);
    let wanted = &model.screens.live.options;
    let text = format!("next recording: {}, {}", wanted.length_text(), wanted.order_text());
    model.notify(text);
}

/// Returns the workload beside the one that is shown; after the last comes the
/// first.
fn neighbouring_workload(model: &Model, forward: bool) -> Option<String> {
    let snapshot = shown_snapshot(model);
    let names = selection::available_workloads(model, snapshot);
    let here = selection::shown_workload(model, snapshot)?;
    let at = names.iter().position(|name| name == here)?;
    let step = if forward { 1 } else { names.len() - 1 };
    names.get((at + step) % names.len()).cloned()
}

/// Draws the workloads, with the one that is shown marked, and the plan.
fn draw_tabs(frame: &mut Frame<'_>, area: Rect, model: &Model, snapshot: &LiveSnapshot) {
    let theme = &model.theme;
    let here = selection::shown_workload(model, snapshot);
    let mut spans = Vec::new();
    for (name, text, _) in workload_tabs(model) {
        let role = if here == Some(name.as_str()) { StyleRole::Selected } else { StyleRole::Text };
        spans.push(Span::styled(text, theme.style(role)));
    }
    let key = |action| model.keymap.key_for(action, model.screen).unwrap_or_default();
    let keys = format!(" {} {}", key(UserAction::PreviousWorkload), key(UserAction::NextWorkload));
    let used: usize = spans.iter().map(Span::width).sum::<usize>() + display_width(&keys);
    spans.push(Span::styled(keys, theme.style(StyleRole::Key)));
    let room = usize::from(area.width).saturating_sub(used + 2);
    let texts = plan_texts(model, snapshot);
    if let Some(text) = texts.into_iter().find(|text| display_width(text) <= room) {
        spans.push(Span::raw(" ".repeat(room - display_width(&text) + 1)));
        spans.push(Span::styled(text, theme.style(StyleRole::Dim)));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// Returns a message so important that it has a line even in the smallest terminal.
fn urgent_notice(model: &Model, snapshot: &LiveSnapshot) -> Option<(String, StyleRole)> {
    if let Some(frozen) = &model.screens.live.frozen {
        let behind = model.snapshot.events.saturating_sub(frozen.events);
        let key = model.keymap.key_for(UserAction::Pause, model.screen).unwrap_or_default();
        return Some((format!("frozen, {behind} events behind; {key} goes on"), StyleRole::Warn));
    }
    if let StorageState::Waiting { reason, since } = &snapshot.storage {
        let clock = crate::frame::format_clock(model.now.saturating_since(*since));
        return Some((
            format!("recording waits for the database, {clock}: {reason}"),
            StyleRole::Bad,
        ));
    }
    if let SessionPhase::Failed { reason } = &snapshot.phase {
        return Some((reason.clone(), StyleRole::Bad));
    }
    if snapshot.dropped > 0 {
        let text = format!(
            "{} events came too fast to be shown; they are in the database",
            snapshot.dropped
        );
        return Some((text, StyleRole::Warn));
    }
    if let Some(text) = failing_cells_text(snapshot) {
        return Some((text, StyleRole::Bad));
    }
    let greets = model.screens.live.first && snapshot.phase.is_active() && snapshot.done == 0;
    greets.then(|| {
        let key = |action| model.keymap.key_for(action, model.screen).unwrap_or_default();
        let (help, stop) = (key(UserAction::Help), key(UserAction::Stop));
        let count = selection::available_workloads(model, snapshot).len();
        let functions =
            if count == 1 { "one function".to_owned() } else { format!("{count} functions") };
        let text = format!(
            "First run: {functions} in every lane that runs here. {help} explains, {stop} stops"
        );
        (text, StyleRole::Good)
    })
}

/// Describes what runs now, and in which order lanes run.
fn activity_line(model: &Model, snapshot: &LiveSnapshot) -> String {
    let mut parts = Vec::new();
    let running: Vec<String> = snapshot
        .lanes
        .iter()
        .filter_map(|lane| Some((lane, lane.running.as_ref()?)))
        .map(|(lane, it)| format!("{} runs {}", lane.name, self::running_text(snapshot, it)))
        .collect();
    match (&snapshot.phase, snapshot.plan.race) {
        (SessionPhase::Idle, _) => {
            let key = model.keymap.key_for(UserAction::Start, model.screen).unwrap_or_default();
            parts.push(format!("{key} records this"));
        }
        (SessionPhase::Opening, _) => parts.push("opening the lanes".to_owned()),
        (SessionPhase::Running | SessionPhase::Finishing, race) => {
            let order = if race { "at the same time" } else { "one lane at a time" };
            let colon = if running.is_empty() { "" } else { ": " };
            parts.push(format!("{order}{colon}{}", running.join(", ")));
        }
        (SessionPhase::Ended { .. } | SessionPhase::Failed { .. }, _) => {
            let key = model.keymap.key_for(UserAction::Start, model.screen).unwrap_or_default();
            parts.push(format!("{key} records again"));
        }
    }
    if usize::from(model.size.1) < 42
        && let Some(newest) = snapshot.log.back()
    {
        parts.push(newest.to_string());
    }
    parts.join(model.theme.sign(" · ", ", "))
}

/// Describes what a lane runs: `nbody cold #4`.
fn running_text(snapshot: &LiveSnapshot, running: &Running) -> String {
    let cell = snapshot.cells.get(running.cell);
    let name = cell.map_or("", |cell| &*cell.workload);
    let start = cell.map_or("", |cell| cell.start.label());
    match running.sequence {
        None => format!("{name} {start} prepares"),
        Some(0) => format!("{name} {start} warms up"),
        Some(sequence) => format!("{name} {start} #{sequence}"),
    }
}

/// Describes the cells whose newest invocation failed, with the reason of the
/// first of them.
fn failing_cells_text(snapshot: &LiveSnapshot) -> Option<String> {
    let failed = |cell: &&CellView| {
        let newest = cell.last.as_ref().map(|last| last.status);
        matches!(cell.state, CellState::Failed(_))
            || matches!(newest, Some(Status::Failed | Status::Timeout))
    };
    let mut cells = snapshot.cells.iter().filter(failed);
    let first = cells.next()?;
    let others = match cells.count() {
        0 => String::new(),
        1 => ", and another".to_owned(),
        more => format!(", and {more} others"),
    };
    let lane = snapshot.lanes.get(first.lane).map_or("", |lane| &*lane.name);
    let reason = match &first.state {
        CellState::Failed(reason) => reason,
        _ => first.reason.as_ref()?,
    };
    Some(format!("{} in {lane}, {} fails{others}: {reason}", first.workload, first.start))
}

/// Describes the plan: the number of runs, the order of lanes, rules that are loosened and the
/// share of a CPU. Where there is no room, the last of these alone, which figures depend on, come
/// before nothing at all.
fn plan_texts(model: &Model, snapshot: &LiveSnapshot) -> Vec<String> {
    let plan = &snapshot.plan;
    let dot = model.theme.sign(" · ", ", ");
    let (runs, order, conditions) = if snapshot.phase == SessionPhase::Idle {
        let wanted = &model.screens.live.options;
        (wanted.length_text(), wanted.order_text(), wanted.conditions_text())
    } else {
        let runs = plan.runs.map_or_else(|| "until stopped".to_owned(), |it| format!("{it} runs"));
        let order = if plan.race { "race" } else { "one lane at a time" };
        (runs, order, plan.conditions.clone())
    };
    let start =
        model.screens.live.start.map_or_else(String::new, |start| format!("{start} only{dot}"));
    let plan = format!("{start}{runs}{dot}{order}");
    if conditions.is_empty() {
        return vec![plan];
    }
    vec![format!("{plan}{dot}{conditions}"), format!("{runs}{dot}{conditions}"), conditions]
}

fn render_messages(frame: &mut Frame<'_>, area: Rect, model: &Model, snapshot: &LiveSnapshot) {
    let block = model.theme.panel_block("messages", false);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let height = usize::from(inner.height);
    let first = snapshot.log.len().saturating_sub(height);
    let room = usize::from(inner.width).saturating_sub(2);
    let lines: Vec<Line<'_>> = snapshot
        .log
        .iter()
        .skip(first)
        .map(|text| Line::from(format!(" {}", fit(&text.to_string(), room))))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}
