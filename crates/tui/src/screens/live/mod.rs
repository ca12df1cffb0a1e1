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

mod axis;
mod bills;
mod chosen;
mod detail;
mod lane;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::action::{Action, Effect};
use crate::live::{CellState, CellView, Phase, Running, SPANS, Snapshot, StorageState};
use crate::model::Model;
use crate::overlay::{Item, Overlay, Purpose};
use crate::session::{Wanted, Wish};
use crate::theme::Role;
use crate::widgets::text::{fit, width};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::{LaneSpec, StartKind, Status};

pub use table::table;

/// Legend of the figures for the help.
pub const LEGEND: &str = "A column a lane; all show the workload that is marked in the first line, \
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
/// Least useful width of a lane's column.
const LANE_WIDTH: u16 = 26;

/// State of the live screen.
#[derive(Debug)]
pub struct State {
    /// Options of the next recording.
    pub wanted: Wanted,
    /// Ids of the price models whose bills are shown.
    pub models: Vec<String>,
    /// Snapshot that is shown while the view is frozen.
    pub frozen: Option<Arc<Snapshot>>,
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
}

impl State {
    /// Creates the state before the first recording.
    #[must_use]
    pub const fn new(wanted: Wanted, models: Vec<String>, first: bool) -> Self {
        Self {
            wanted,
            models,
            frozen: None,
            frozen_at: Nanos(0),
            workload: None,
            start: None,
            lane: 0,
            per_million: true,
            zoom: None,
            first,
        }
    }
}

/// Returns the snapshot that is shown: the newest, or the frozen one.
fn shown(model: &Model) -> &Snapshot {
    model.live.frozen.as_deref().unwrap_or(&model.snapshot)
}

/// Applies an action.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    let lanes = shown(model).lanes.len().max(1);
    match action {
        Action::Start => return start(model),
        Action::Stop => return stop(model),
        Action::Pause => freeze(model),
        Action::Loop => toggle(model, |wanted| wanted.until_stopped = !wanted.until_stopped),
        Action::Race => toggle(model, |wanted| wanted.race = !wanted.race),
        Action::Workloads => choose_workloads(model),
        Action::Lanes => return choose_lanes(model),
        Action::Models => choose_models(model),
        Action::NextWorkload => model.live.workload = neighbour(model, true),
        Action::PreviousWorkload => model.live.workload = neighbour(model, false),
        Action::StartKind => {
            model.live.start = match model.live.start {
                None => Some(StartKind::Cold),
                Some(StartKind::Cold) => Some(StartKind::Warm),
                Some(StartKind::Warm) => None,
            };
        }
        Action::Unit => model.live.per_million = !model.live.per_million,
        Action::ZoomIn => {
            model.live.zoom = Some(model.live.zoom.unwrap_or(ZOOM + 1).saturating_sub(1));
        }
        Action::ZoomOut => {
            let next = model.live.zoom.map_or(ZOOM, |zoom| zoom + 1);
            model.live.zoom = Some(next.min(SPANS.len() - 1));
        }
        Action::ZoomReset => model.live.zoom = None,
        Action::Right | Action::NextPanel | Action::Down => {
            model.live.lane = (model.live.lane + 1) % lanes;
        }
        Action::Left | Action::PreviousPanel | Action::Up => {
            model.live.lane = (model.live.lane + lanes - 1) % lanes;
        }
        Action::First => model.live.lane = 0,
        Action::Last => model.live.lane = lanes - 1,
        Action::Enter => model.overlay = detail::of(model),
        Action::Back => {
            model.live.frozen = None;
            model.live.workload = None;
            model.live.start = None;
        }
        _ => {}
    }
    Vec::new()
}

fn start(model: &mut Model) -> Vec<Effect> {
    if model.snapshot.phase.is_active() {
        model.complain("a recording is under way: stop it first");
        return Vec::new();
    }
    model.live.frozen = None;
    model.live.first = false;
    model.opened = None;
    vec![Effect::Session(Wish::Start(Box::new(model.live.wanted.clone())))]
}

fn stop(model: &mut Model) -> Vec<Effect> {
    match model.snapshot.phase {
        Phase::Opening | Phase::Running => {
            let key = model.keymap.key_of(Action::Stop, model.screen).unwrap_or_default();
            model.say(format!("stops after this invocation; {key} again stops at once"));
        }
        Phase::Finishing => model.say("stops at once"),
        Phase::Idle | Phase::Ended { .. } | Phase::Failed { .. } => {
            model.complain("nothing is being recorded");
            return Vec::new();
        }
    }
    vec![Effect::Session(Wish::Stop)]
}

fn freeze(model: &mut Model) {
    model.live.frozen_at = model.now;
    model.live.frozen = match model.live.frozen.take() {
        Some(_) => None,
        None => Some(Arc::clone(&model.snapshot)),
    };
}

fn toggle(model: &mut Model, change: fn(&mut Wanted)) {
    change(&mut model.live.wanted);
    let wanted = &model.live.wanted;
    let text = format!("next recording: {}, {}", wanted.length(), wanted.order());
    model.say(text);
}

/// Returns the workload beside the one that is shown; after the last comes the
/// first.
fn neighbour(model: &Model, forward: bool) -> Option<String> {
    let snapshot = shown(model);
    let names = chosen::workloads(model, snapshot);
    let here = chosen::workload(model, snapshot)?;
    let at = names.iter().position(|name| name == here)?;
    let step = if forward { 1 } else { names.len() - 1 };
    names.get((at + step) % names.len()).cloned()
}

fn choice(title: &str, items: Vec<Item>, purpose: Purpose) -> Overlay {
    Overlay::Choice { title: title.to_owned(), items, cursor: 0, single: false, purpose }
}

fn choose_workloads(model: &mut Model) {
    let wanted = &model.live.wanted.workloads;
    let item =
        |name: &String| Item { name: name.clone(), note: String::new(), on: wanted.contains(name) };
    let items = model.settings.workloads.iter().map(item).collect();
    model.overlay = Some(choice("workloads of the next recording", items, Purpose::Workloads));
}

fn choose_lanes(model: &mut Model) -> Vec<Effect> {
    let mut specs = LaneSpec::all();
    specs.extend(model.host.runtimes());
    specs.extend(model.live.wanted.lanes.iter().cloned());
    let mut items: Vec<Item> = Vec::new();
    for spec in specs {
        let name = spec.to_string();
        if items.iter().any(|item| item.name == name) {
            continue;
        }
        let lane = model.snapshot.lanes.iter().find(|lane| *lane.name == *name);
        let note = lane.map(|lane| match &lane.unavailable {
            Some(_) => "did not run here".to_owned(),
            None => lane.version.to_string(),
        });
        let on = model.live.wanted.lanes.contains(&spec);
        items.push(Item { name, note: note.unwrap_or_default(), on });
    }
    model.overlay = Some(choice("lanes of the next recording", items, Purpose::Lanes));
    // The engine's runtimes are available the next time, if they are not known yet.
    crate::screens::host::entered(model)
}

fn choose_models(model: &mut Model) {
    let item = |it: &cyclometer_pricing::PriceModel| Item {
        name: it.id().to_owned(),
        note: it.name().to_owned(),
        on: model.live.models.iter().any(|id| id == it.id()),
    };
    let items = model.settings.prices.models().iter().map(item).collect();
    model.overlay = Some(choice("models whose bills are shown", items, Purpose::Models));
}

/// Sets the workloads of the next recording.
pub fn chose_workloads(model: &mut Model, names: &[String]) -> Vec<Effect> {
    if names.is_empty() {
        model.complain("at least one workload is needed; as before");
    } else {
        model.live.wanted.workloads = names.to_vec();
        model.say("r records these");
    }
    Vec::new()
}

/// Sets the lanes of the next recording.
pub fn chose_lanes(model: &mut Model, names: &[String]) -> Vec<Effect> {
    let lanes: Vec<LaneSpec> = names.iter().filter_map(|name| name.parse().ok()).collect();
    if lanes.is_empty() {
        model.complain("at least one lane is needed; as before");
    } else {
        model.live.wanted.lanes = lanes;
        model.say("r records in these");
    }
    Vec::new()
}

/// Sets the price models whose bills are shown.
pub fn chose_models(model: &mut Model, ids: &[String]) -> Vec<Effect> {
    if ids.is_empty() {
        model.complain("at least one model is needed; as before");
        return Vec::new();
    }
    model.live.models = ids.to_vec();
    vec![Effect::Session(Wish::Models(ids.to_vec()))]
}

/// Areas of the parts of the screen.
#[derive(Debug, Clone, Copy)]
struct Layout {
    tabs: Rect,
    summary: Rect,
    lanes: Rect,
    bills: Rect,
    messages: Rect,
}

/// Height of the screen from which on a line is reserved for the most important
/// message, even if there is none.
const ROOMY: u16 = 28;

fn layout(area: Rect, model: &Model) -> Layout {
    let snapshot = shown(model);
    let part = |y: u16, height: u16| Rect { y, height, ..area };
    let tabs = area.height.min(1);
    let matters = notable(model, snapshot).is_some();
    let summary = u16::from(area.height >= ROOMY || matters).min(area.height - tabs);
    let rest = area.height.saturating_sub(tabs + summary);
    // A short terminal has no room for messages: the newest is shown above.
    let said = u16::try_from(snapshot.log.len()).unwrap_or(u16::MAX).min(4);
    let messages = if rest >= 40 && said > 0 { said + 2 } else { 0 };
    let wish = bills::height(model, snapshot, area.width, rest);
    let bills = wish.min(rest.saturating_sub(11)).max(rest.min(5));
    let lanes = rest.saturating_sub(bills + messages);
    let top = area.y + tabs + summary;
    Layout {
        tabs: part(area.y, tabs),
        summary: part(area.y + tabs, summary),
        lanes: part(top, lanes),
        bills: part(top + lanes, bills.min(rest)),
        messages: part(top + lanes + bills, messages),
    }
}

/// Returns the tab of each workload: name, text and position.
fn tabs(model: &Model) -> Vec<(String, String, u16)> {
    let snapshot = shown(model);
    let here = chosen::workload(model, snapshot);
    let mut x = 0;
    chosen::workloads(model, snapshot)
        .iter()
        .map(|name| {
            // The brackets mark the tab on terminals that show no reversed text.
            let is_here = here == Some(name.as_str());
            let text = if is_here { format!("[{name}]") } else { format!(" {name} ") };
            let at = x;
            x += u16::try_from(width(&text)).unwrap_or(u16::MAX);
            (name.clone(), text, at)
        })
        .collect()
}

/// Returns the lanes in view, with the area of each.
fn columns(model: &Model, area: Rect) -> Vec<(usize, Rect)> {
    let count = lane::names(model).len().max(1);
    let fit = usize::from(area.width / LANE_WIDTH).clamp(1, count);
    let first = (model.live.lane + 1).saturating_sub(fit).min(count - fit);
    let share = area.width / u16::try_from(fit).unwrap_or(1);
    (0..fit)
        .map(|at| {
            let x = area.x + share * u16::try_from(at).unwrap_or(0);
            // The last lane gets the width that division leaves.
            let width = if at + 1 == fit { area.right().saturating_sub(x) } else { share };
            (first + at, Rect { x, width, ..area })
        })
        .collect()
}

/// Handles a click: it selects a workload or a lane.
pub fn click(model: &mut Model, area: Rect, at: Position) -> Vec<Effect> {
    let layout = layout(area, model);
    if layout.tabs.contains(at) {
        let x = at.x - layout.tabs.x;
        let hit = tabs(model).into_iter().find(|(_, text, from)| {
            (*from..*from + u16::try_from(width(text)).unwrap_or(0)).contains(&x)
        });
        if let Some((name, ..)) = hit {
            model.live.workload = Some(name);
        }
        return Vec::new();
    }
    let hit = columns(model, layout.lanes).into_iter().find(|(_, place)| place.contains(at));
    if let Some((lane, _)) = hit {
        model.live.lane = lane;
    }
    Vec::new()
}

/// Draws the screen.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let snapshot = shown(model);
    let layout = layout(area, model);
    draw_tabs(frame, layout.tabs, model, snapshot);
    let (text, role) =
        notable(model, snapshot).unwrap_or_else(|| (now_line(model, snapshot), Role::Dim));
    let text = fit(&format!(" {text}"), usize::from(layout.summary.width));
    let line = Line::from(Span::styled(text, model.theme.style(role)));
    frame.render_widget(Paragraph::new(line), layout.summary);
    let columns = columns(model, layout.lanes);
    let out_of_sight = lane::names(model).len().saturating_sub(columns.len());
    lane::draw(frame, &columns, model, snapshot, out_of_sight);
    bills::draw(frame, layout.bills, model, snapshot);
    if layout.messages.height > 2 {
        messages(frame, layout.messages, model, snapshot);
    }
}

/// Draws the workloads, with the one that is shown marked, and the plan.
fn draw_tabs(frame: &mut Frame<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let theme = &model.theme;
    let here = chosen::workload(model, snapshot);
    let mut spans = Vec::new();
    for (name, text, _) in tabs(model) {
        let role = if here == Some(name.as_str()) { Role::Selected } else { Role::Text };
        spans.push(Span::styled(text, theme.style(role)));
    }
    let key = |action| model.keymap.key_of(action, model.screen).unwrap_or_default();
    let keys = format!(" {} {}", key(Action::PreviousWorkload), key(Action::NextWorkload));
    let used: usize = spans.iter().map(Span::width).sum::<usize>() + width(&keys);
    spans.push(Span::styled(keys, theme.style(Role::Key)));
    let room = usize::from(area.width).saturating_sub(used + 2);
    let text = plan_text(model, snapshot);
    if width(&text) <= room {
        spans.push(Span::raw(" ".repeat(room - width(&text) + 1)));
        spans.push(Span::styled(text, theme.style(Role::Dim)));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// Returns a message so important that it has a line even in the smallest terminal.
fn notable(model: &Model, snapshot: &Snapshot) -> Option<(String, Role)> {
    if let Some(frozen) = &model.live.frozen {
        let behind = model.snapshot.events.saturating_sub(frozen.events);
        let key = model.keymap.key_of(Action::Pause, model.screen).unwrap_or_default();
        return Some((format!("frozen, {behind} events behind; {key} goes on"), Role::Warn));
    }
    if let StorageState::Waiting { reason, since } = &snapshot.storage {
        let clock = crate::frame::clock(model.now.since(*since));
        return Some((format!("recording waits for the database, {clock}: {reason}"), Role::Bad));
    }
    if let Phase::Failed { reason } = &snapshot.phase {
        return Some((reason.clone(), Role::Bad));
    }
    if snapshot.dropped > 0 {
        let text = format!(
            "{} events came too fast to be shown; they are in the database",
            snapshot.dropped
        );
        return Some((text, Role::Warn));
    }
    if let Some(text) = failing(snapshot) {
        return Some((text, Role::Bad));
    }
    let greets = model.live.first && snapshot.phase.is_active() && snapshot.done == 0;
    greets.then(|| {
        let key = |action| model.keymap.key_of(action, model.screen).unwrap_or_default();
        let (help, stop) = (key(Action::Help), key(Action::Stop));
        let count = chosen::workloads(model, snapshot).len();
        let functions =
            if count == 1 { "one function".to_owned() } else { format!("{count} functions") };
        let text = format!(
            "First run: {functions} in every lane that runs here. {help} explains, {stop} stops"
        );
        (text, Role::Good)
    })
}

/// Describes what runs now, and in which order lanes run.
fn now_line(model: &Model, snapshot: &Snapshot) -> String {
    let mut parts = Vec::new();
    let running: Vec<String> = snapshot
        .lanes
        .iter()
        .filter_map(|lane| Some((lane, lane.running.as_ref()?)))
        .map(|(lane, it)| format!("{} runs {}", lane.name, self::running(snapshot, it)))
        .collect();
    match (&snapshot.phase, snapshot.plan.race) {
        (Phase::Idle, _) => {
            let key = model.keymap.key_of(Action::Start, model.screen).unwrap_or_default();
            parts.push(format!("{key} records this"));
        }
        (Phase::Opening, _) => parts.push("opening the lanes".to_owned()),
        (Phase::Running | Phase::Finishing, race) => {
            let order = if race { "at the same time" } else { "one lane at a time" };
            let colon = if running.is_empty() { "" } else { ": " };
            parts.push(format!("{order}{colon}{}", running.join(", ")));
        }
        (Phase::Ended { .. } | Phase::Failed { .. }, _) => {
            let key = model.keymap.key_of(Action::Start, model.screen).unwrap_or_default();
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
fn running(snapshot: &Snapshot, running: &Running) -> String {
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
fn failing(snapshot: &Snapshot) -> Option<String> {
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

/// Describes the plan: the number of runs and the order of lanes. It is left
/// out where there is no room.
fn plan_text(model: &Model, snapshot: &Snapshot) -> String {
    let plan = &snapshot.plan;
    let dot = model.theme.sign(" · ", ", ");
    let (runs, order) = if snapshot.phase == Phase::Idle {
        let wanted = &model.live.wanted;
        (wanted.length(), wanted.order())
    } else {
        let runs = plan.runs.map_or_else(|| "until stopped".to_owned(), |it| format!("{it} runs"));
        (runs, if plan.race { "race" } else { "one lane at a time" })
    };
    let start = model.live.start.map_or_else(String::new, |start| format!("{start} only{dot}"));
    format!("{start}{runs}{dot}{order}")
}

fn messages(frame: &mut Frame<'_>, area: Rect, model: &Model, snapshot: &Snapshot) {
    let block = model.theme.panel("messages", false);
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
